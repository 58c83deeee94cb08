import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { newId } from '../../base/ids.ts';
import { openSeam } from '../../base/seam.ts';
import { hasCode } from '../../errors/linkspanError.ts';
import {
  attachmentRequest as attachment,
  containerRecord as container,
  networkRequest as request,
  openNetworkWorld as world,
} from './networkStand.ts';
import { dropOrphans, recoverEndpoints, recoverNetworks } from './recover.ts';

test('a network gets the lowest pool clear of the machine, and is found by id, name and prefix', async () => {
  await using w = await world();
  const { network: first } = await w.networks.create(request('n1'));
  const { network: second } = await w.networks.create(request('n2'));
  assert.deepEqual([first.pools[0]?.subnet, first.pools[0]?.gateway], ['172.17.0.0/16', '172.17.0.1']);
  assert.equal(second.pools[0]?.subnet, '172.19.0.0/16', '172.18.5.0/24 is on-link');
  assert.match(first.id, /^[0-9a-f]{64}$/);
  for (const ref of [first.id, 'n1', first.id.slice(0, 10)]) assert.equal(w.networks.get(ref).id, first.id);
  await w.networks.remove('n1');
  assert.equal(
    (await w.networks.create(request('n3'))).network.pools[0]?.subnet,
    '172.17.0.0/16',
    'lowest gap again',
  );
  assert.deepEqual(
    w.events.kept().map(({ action, attributes }) => `${action} ${attributes['name']}`),
    ['create n1', 'create n2', 'destroy n1', 'create n3'],
  );
});

for (const [what, bad, code, message] of [
  ['a duplicate name', request('taken'), 'networkNameTaken', /^network with name taken already exists$/],
  [
    'a predefined name',
    request('bridge'),
    'networkPredefined',
    /^operation is not permitted on predefined bridge network $/,
  ],
  ['an unknown driver', request('x', { driver: 'nope' }), 'driverNotFound', /^plugin "nope" not found$/],
  [
    'an overlay without a swarm',
    request('x', { driver: 'overlay' }),
    'noSwarm',
    /^This node is not a swarm manager/,
  ],
  [
    'an overlapping subnet',
    request('x', { pools: [{ subnet: '172.17.3.0/24' }] }),
    'poolOverlap',
    /Pool overlaps with other one/,
  ],
  [
    'a bad subnet',
    request('x', { pools: [{ subnet: '10.0.0.1/24' }] }),
    'networkConfigInvalid',
    /it should be 10.0.0.0\/24/,
  ],
  ['an empty name', request(' '), 'networkConfigInvalid', /name is empty/],
] as const) {
  test(`create refuses ${what} and leaves nothing behind`, async () => {
    await using w = await world();
    await w.networks.create(request('taken'));
    const before = await w.store.list('');
    await assert.rejects(w.networks.create(bad), (e) => hasCode(e, code) && message.test(e.message));
    assert.deepEqual((await w.store.list('')).entries, before.entries);
    assert.equal(w.networks.list().length, 1);
  });
}

test('two creates of one name at once: one wins', async () => {
  await using w = await world();
  const results = await Promise.allSettled([
    w.networks.create(request('n')),
    w.networks.create(request('n')),
  ]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

test('a driver that fails leaves no network', async () => {
  await using w = await world();
  w.driver.failing = 'ensure n1';
  await assert.rejects(w.networks.create(request('n1')), /cannot ensure/);
  assert.deepEqual(w.driver.log, ['ensure n1', 'remove n1']);
  assert.equal((await w.store.list('')).entries.length, 0);
  w.driver.failing = undefined;
  await w.networks.create(request('n1'));
});

test('a removal that fails once is tried again; one that fails twice can be asked for again', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  w.driver.isHiccup = true;
  w.driver.failing = 'remove n1';
  await w.networks.remove('n1');
  assert.equal((await w.store.list('')).entries.length, 0);
  await w.networks.create(request('n2'));
  w.driver.isHiccup = false;
  w.driver.failing = 'remove n2';
  await assert.rejects(w.networks.remove('n2'), /cannot remove n2/);
  assert.deepEqual(
    w.networks.list().map(({ name, state }) => `${name} ${state}`),
    ['n2 removing'],
  );
  w.driver.failing = undefined;
  await w.networks.remove('n2');
  assert.equal((await w.store.list('')).entries.length, 0);
});

test('a removal that the disk alone refuses to keep is an error, and the network is gone for who hears of events, too', async () => {
  const seam = openSeam();
  await using w = await world(undefined, seam);
  await w.networks.create(request('n1'));
  await w.store.sync();
  const seen: string[] = [];
  using _listening = w.events.follow(({ action }) => seen.push(action));
  // After the intent.
  seam.load({ at: 2, action: { errno: 'ENOSPC' } });
  seam.arm();
  await assert.rejects(w.networks.remove('n1'), /store sync: injected ENOSPC/);
  assert.deepEqual(w.networks.list(), []);
  assert.deepEqual(seen, ['destroy']);
});

test('endpoints get the lowest addresses, keep them over a stop, and block the removal of their network', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  await w.networks.create(request('n2'));
  const [c1, c2] = [container('c1'), container('c2')];
  const { sandbox, endpoints } = await w.sandboxes.create(
    c1,
    [attachment('n1'), attachment('n2', { gatewayPriority: 5 })],
    true,
  );
  assert.deepEqual(
    endpoints.map(({ ipv4, interfaceName }) => [ipv4, interfaceName]),
    [
      ['172.17.0.2/16', 'eth0'],
      ['172.19.0.2/16', 'eth1'],
    ],
  );
  assert.ok(
    w.driver.log.includes('attach eth1 to n2 with default route') &&
      w.driver.log.includes('attach eth0 to n1'),
  );
  await assert.rejects(
    w.networks.remove('n1'),
    (e) =>
      hasCode(e, 'networkInUse') && /has active endpoints \(name:"c1" id:"[0-9a-f]{12}"\)$/.test(e.message),
  );
  assert.ok(sandbox);
  await w.sandboxes.release({ ...c1, sandbox });
  assert.deepEqual(w.namespaces, []);
  const other = await w.sandboxes.create(c2, [attachment('n1')], true);
  assert.equal(other.endpoints[0]?.ipv4, '172.17.0.3/16', 'the stopped one keeps .2');
  const again = await w.sandboxes.create(c1, [attachment('n1')], true);
  assert.equal(again.endpoints[0]?.ipv4, '172.17.0.2/16');
  assert.notEqual(again.endpoints[0]?.mac, endpoints[0]?.mac, 'a new incarnation has a new MAC');
  await w.sandboxes.release(c1);
  await w.sandboxes.forget(c1);
  assert.equal(
    (await w.sandboxes.create(container('c3'), [attachment('n1')], true)).endpoints[0]?.ipv4,
    '172.17.0.2/16',
  );
});

for (const [what, requests, code, message] of [
  ['an unknown network', [attachment('nope')], 'networkNotFound', /^network nope not found$/],
  [
    'a static address outside',
    [attachment('n1', { ipv4: '10.9.9.9' })],
    'addressInvalid',
    /no configured subnet contains IP address 10.9.9.9/,
  ],
  ['a taken address', [attachment('n1', { ipv4: '172.17.0.1' })], 'addressTaken', /^Address already in use$/],
  ['a bad MAC', [attachment('n1', { mac: 'zz' })], 'addressInvalid', /invalid MAC address/],
  ['a second network that is unknown', [attachment('n1'), attachment('nope')], 'networkNotFound', /nope/],
] as const) {
  test(`an attachment to ${what} is refused and leases nothing`, async () => {
    await using w = await world();
    await w.networks.create(request('n1'));
    await assert.rejects(
      w.sandboxes.create(container('c'), requests, true),
      (e) => hasCode(e, code) && message.test(e.message),
    );
    assert.equal((await w.store.list('endpoints/')).entries.length, 0);
    assert.equal(
      (await w.sandboxes.create(container('d'), [attachment('n1')], true)).endpoints[0]?.ipv4,
      '172.17.0.2/16',
    );
  });
}

test('the address of a stopped container is for who asks for it, not for who takes any', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-test-'));
  const [old, any, wants] = [container('old'), container('any'), container('wants')];
  {
    await using w = await world(folder);
    await w.networks.create(request('n1', { ipv6: true }));
    const { endpoints } = await w.sandboxes.create(old, [attachment('n1', { ipv4: '172.17.0.2' })], true);
    const ipv6 = endpoints[0]?.ipv6?.split('/')[0] ?? assert.fail();
    const both = [attachment('n1', { ipv4: '172.17.0.2', ipv6 })];
    const isTaken = (e: unknown): boolean => hasCode(e, 'addressTaken');
    await assert.rejects(w.sandboxes.create(wants, both, true), isTaken, 'it runs');
    await w.sandboxes.release(old);
    const taken = await w.sandboxes.create(any, [attachment('n1')], true);
    assert.equal(taken.endpoints[0]?.ipv4, '172.17.0.3/16');

    // What a request that fails took, it gives back.
    const others = [
      attachment('n1', { ipv4: '172.17.0.2', ipv6: taken.endpoints[0]?.ipv6?.split('/')[0] ?? '' }),
    ];
    await assert.rejects(w.sandboxes.create(wants, others, true), isTaken);
    assert.equal(w.table.endpointsOfContainer(old.id)[0]?.state, 'reserved');

    const { endpoints: got } = await w.sandboxes.create(wants, both, true);
    assert.deepEqual([got[0]?.ipv4, got[0]?.ipv6?.split('/')[0]], ['172.17.0.2/16', ipv6]);
    await assert.rejects(w.sandboxes.create(old, [attachment('n1', { ipv4: '172.17.0.2' })], true), isTaken);
  }
  await using w = await world(folder);
  assert.deepEqual(
    w.table.endpoints.map(({ containerName, ipv4 }) => `${containerName} ${ipv4}`).toSorted(),
    ['any 172.17.0.3/16', 'wants 172.17.0.2/16'],
  );
  rmSync(folder, { recursive: true });
});

test('an address that is asked for while its stopped container is removed has one owner', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  const [old, wants, any] = [container('old'), container('wants'), container('any')];
  const asked = [attachment('n1', { ipv4: '172.17.0.2' })];
  await w.sandboxes.create(old, asked, true);
  await w.sandboxes.release(old);
  const [, { endpoints }] = await Promise.all([
    w.sandboxes.forget(old),
    w.sandboxes.create(wants, asked, true),
  ]);
  assert.equal(endpoints[0]?.ipv4, '172.17.0.2/16');
  const { endpoints: others } = await w.sandboxes.create(any, [attachment('n1')], true);
  assert.equal(others[0]?.ipv4, '172.17.0.3/16');
});

test('an attach that fails half-way is taken back in reverse', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  await w.networks.create(request('n2'));
  w.driver.log.length = 0;
  w.driver.failing = 'attach eth1 to n2';
  await assert.rejects(
    w.sandboxes.create(container('c'), [attachment('n1'), attachment('n2')], true),
    /cannot attach/,
  );
  assert.deepEqual(w.driver.log, [
    'attach eth0 to n1 with default route',
    'attach eth1 to n2',
    'detach eth1 from n2',
    'detach eth0 from n1',
  ]);
  assert.deepEqual(w.namespaces, []);
  assert.equal((await w.store.list('endpoints/')).entries.length, 0);
});

test('followers hear of a sandbox after its endpoints and before they go; one that fails takes them back', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  const c = container('c');
  const { sandbox } = await w.sandboxes.create(c, [attachment('n1')], true);
  assert.ok(sandbox);
  await w.sandboxes.adopt([{ ...c, sandbox }]);
  await w.sandboxes.release({ ...c, sandbox });
  assert.deepEqual(w.following, ['c: n1', 'adopted 1', 'c released']);
  await assert.rejects(w.sandboxes.create(container('unlucky'), [attachment('n1')], true), /cannot follow/);
  assert.deepEqual(w.following.slice(3), ['unlucky: n1', 'unlucky released']);
  assert.deepEqual(w.namespaces, []);
  assert.deepEqual(w.driver.log.slice(-1), ['detach eth0 from n1']);
});

test('endpoints carry the names that a resolver knows, and a rename changes the first', async () => {
  await using w = await world();
  await w.networks.create(request('n1'));
  const c = container('c');
  const changes: string[] = [];
  using _listening = w.table.events.on('endpoint', ({ before, after }) =>
    changes.push(`${before?.dnsNames[0] ?? '-'} ${after?.dnsNames[0] ?? '-'}`),
  );
  await w.sandboxes.create(c, [attachment('n1', { aliases: ['web', 'c'] })], true);
  await w.sandboxes.renamed(c, 'd');
  assert.deepEqual(w.table.endpointsOfContainer(c.id)[0]?.dnsNames, ['d', 'web', c.id.slice(0, 12)]);
  await w.sandboxes.release({ ...c, name: 'd' });
  await w.sandboxes.forget(c);
  assert.deepEqual(changes, ['- c', 'c d', 'd d', 'd -']);
});

test('a full pool says so, and a freed address can be had again', async () => {
  await using w = await world();
  await w.networks.create(request('tiny', { pools: [{ subnet: '10.0.0.0/30' }] }));
  const c1 = container('c1');
  await w.sandboxes.create(c1, [attachment('tiny')], true);
  await assert.rejects(
    w.sandboxes.create(container('c2'), [attachment('tiny')], true),
    (e) =>
      hasCode(e, 'addressesExhausted') &&
      /no available IPv4 addresses on this network's address pools: tiny/.test(e.message),
  );
  await w.sandboxes.release(c1);
  await w.sandboxes.forget(c1);
  await w.sandboxes.create(container('c3'), [attachment('tiny')], true);
});

test('a restart finishes removals and creations, keeps what cannot be made now, and ends the endpoints of the dead', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-networks-'));
  const [alive, dead, gone] = [container('alive'), container('dead'), container('gone')];
  {
    await using w = await world(folder);
    const { network } = await w.networks.create(request('n1'));
    await w.sandboxes.create(alive, [attachment('n1')], true);
    await w.sandboxes.create(dead, [attachment('n1')], true);
    await w.sandboxes.create(gone, [attachment('n1')], true);
    await w.table.putNetwork({
      ...network,
      id: newId<'network'>(),
      name: 'half',
      state: 'creating',
      pools: [],
    });
    await w.table.putNetwork({
      ...network,
      id: newId<'network'>(),
      name: 'refused',
      state: 'creating',
      pools: [],
    });
    await w.table.putNetwork({
      ...network,
      id: newId<'network'>(),
      name: 'going',
      state: 'removing',
      pools: [],
    });
  }
  await using w = await world(folder);
  w.driver.failing = 'ensure refused';
  await recoverNetworks({ ...w });
  w.driver.failing = undefined;
  assert.deepEqual(w.driver.log.toSorted(), ['ensure half', 'ensure n1', 'ensure refused', 'remove going']);
  assert.deepEqual(
    w.networks.list().map(({ name, state }) => `${name} ${state}`),
    ['half ready', 'n1 ready', 'refused ready'],
  );
  mkdirSync(w.namespaceFolder);
  await recoverEndpoints(
    { ...w },
    { running: new Set([alive.id]), sandboxPaths: new Set(), unwanted: new Set() },
  );
  await dropOrphans(w.table, new Set([alive.id, dead.id]));
  assert.deepEqual(
    w.table.endpoints.map(({ containerName, state }) => `${containerName} ${state}`).toSorted(),
    ['alive attached', 'dead reserved'],
  );
  assert.equal(w.driver.log.at(-1), 'sweep all but 3 networks, 1 endpoints');
  rmSync(folder, { recursive: true });
});

for (const [what, more, pools] of [
  ['both families', { ipv6: true }, ['172.17.0.0/16 172.17.0.1', 'fd ::1']],
  ['IPv6 alone', { ipv4: false, ipv6: true }, ['fd ::1']],
  [
    'IPv6 as an option says',
    { options: { 'com.docker.network.enable_ipv6': 'true' } },
    ['172.17.0.0/16 172.17.0.1', 'fd ::1'],
  ],
  [
    'no IPv6 where the request says so',
    { ipv6: false, options: { 'com.docker.network.enable_ipv6': '1' } },
    ['172.17.0.0/16 172.17.0.1'],
  ],
  [
    'given subnets, IPv4 first',
    { ipv6: true, pools: [{ subnet: 'fd00:7::/64', gateway: 'fd00:7::9' }, { subnet: '10.7.0.0/24' }] },
    ['10.7.0.0/24 10.7.0.1', 'fd00:7::/64 fd00:7::9'],
  ],
] as const) {
  test(`a network with ${what}`, async () => {
    await using w = await world();
    const { network } = await w.networks.create(request('n', more));
    assert.deepEqual(
      network.pools.map(({ subnet, gateway = '' }) =>
        // Of a chosen one, what is certain.
        subnet.startsWith('fd') && subnet !== 'fd00:7::/64'
          ? `fd ${gateway.slice(gateway.lastIndexOf('::'))}`
          : `${subnet} ${gateway}`,
      ),
      pools,
    );
    const { endpoints } = await w.sandboxes.create(container('c'), [attachment('n')], true);
    const [endpoint] = endpoints;
    assert.equal(endpoint?.ipv4 !== undefined, network.hasIpv4);
    assert.equal(endpoint?.ipv6 !== undefined, network.hasIpv6);
    if (network.hasIpv6) assert.match(endpoint?.ipv6 ?? '', /::[12]\/64$/);
  });
}

for (const [what, more, message] of [
  [
    'a subnet of a family that is off',
    { pools: [{ subnet: 'fd00:7::/64' }] },
    /IPv6 is not enabled on this network$/,
  ],
  [
    'an IPv4 subnet without IPv4',
    { ipv4: false, ipv6: true, pools: [{ subnet: '10.7.0.0/24' }] },
    /IPv4 is not enabled/,
  ],
  [
    'a switch that is none',
    { options: { 'com.docker.network.enable_ipv6': 'yes' } },
    /failed to parse com\.docker\.network\.enable_ipv6 value: yes/,
  ],
] as const) {
  test(`create refuses ${what}`, async () => {
    await using w = await world();
    await assert.rejects(
      w.networks.create(request('n', more)),
      (e) => e instanceof Error && message.test(e.message),
    );
    assert.equal(w.networks.list().length, 0);
  });
}

test('when one family has no address left, the other’s is given back', async () => {
  await using w = await world();
  const pools = [{ subnet: '10.7.0.0/24' }, { subnet: 'fd00:7::/126' }];
  await w.networks.create(request('n', { ipv6: true, pools }));
  for (const name of ['c1', 'c2']) await w.sandboxes.create(container(name), [attachment('n')], true);
  await assert.rejects(
    w.sandboxes.create(container('c3'), [attachment('n')], true),
    (e) => hasCode(e, 'addressesExhausted') && /no available IPv6 addresses/.test(e.message),
  );
  await w.networks.create(request('n2', { pools: [{ subnet: '10.8.0.0/24' }] }));
  const taken = attachment('n', { ipv4: '10.7.0.4' });
  await assert.rejects(w.sandboxes.create(container('c4'), [taken], true), (e) =>
    hasCode(e, 'addressesExhausted'),
  );
});
