/*
 * The firewall on the real kernel: what reaches what, with br_netfilter on and off, and what the table looks like.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bridgeLabels as label } from '../../src/drivers/bridge/options.ts';
import { acceptedMark } from '../../src/firewall/skeleton.ts';
import {
  addRoute,
  addressSeenBy,
  clientAddress,
  expectClosed,
  expectOpen,
  hostAddress,
  leavesLoopback6,
  openWorld,
  run,
  setBridgeFiltering,
  until,
} from './bridgeWorld.ts';
import { matchGolden } from './golden.ts';

const listTable = (): string => run('host', 'nft', '-s', 'list', 'table', 'inet', 'linkspan');
const countRules = (): number => listTable().match(/^\t\t(?!type|flags|elements|\t)\S.*$/gm)?.length ?? 0;

for (const isFiltering of [false, true]) {
  const mode = `bridge-nf-call-iptables=${isFiltering ? 1 : 0}`;

  test(`${mode}: containers reach each other, the outside by the host’s address, and no other network`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const n1 = await world.createNetwork('172.18.0.0/16');
    const n2 = await world.createNetwork('172.19.0.0/16');
    const w1 = await world.runContainer('w1', n1);
    const w2 = await world.runContainer('w2', n1);
    const v1 = await world.runContainer('v1', n2);
    await expectOpen(['w1', w2.address, 'same network'], ['host', w1.address]);
    assert.equal(addressSeenBy('w1', clientAddress), hostAddress, 'masqueraded');
    assert.equal(addressSeenBy('v1', clientAddress), hostAddress, 'masqueraded');
    addRoute('C', '172.18.0.0/16');
    addRoute('D', '172.18.0.0/16');
    await expectClosed(['w1', v1.address], ['v1', w1.address], ['C', w1.address], ['D', w1.address]);
    await expectOpen(['C', hostAddress, 'the host itself answers']);
  });

  test(`${mode}: an internal network is cut off on all sides`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const inner = await world.createNetwork('172.18.0.0/16', {}, true);
    const other = await world.createNetwork('172.19.0.0/16');
    const w1 = await world.runContainer('w1', inner);
    const w2 = await world.runContainer('w2', inner);
    const v1 = await world.runContainer('v1', other);
    assert.equal(run('w1', 'ip', 'route', 'show', 'default'), '', 'no default route');
    run('w1', 'ip', 'route', 'add', 'default', 'via', '172.18.0.1');
    addRoute('C', '172.18.0.0/16');
    await expectOpen(['w1', w2.address]);
    await expectClosed(['w1', clientAddress], ['w1', v1.address], ['v1', w1.address], ['C', w1.address]);
  });

  test(`${mode}: icc=false stops peers, also by the bridge’s own address, and not the way out`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const network = await world.createNetwork('172.18.0.0/16', { [label.icc]: 'false' });
    const w1 = await world.runContainer('w1', network);
    const w2 = await world.runContainer('w2', network);
    await expectClosed(['w1', w2.address], ['w2', w1.address]);
    const bridge = JSON.parse(run('host', 'ip', '-j', 'link', 'show', `br-${network.id.slice(0, 12)}`)) as [
      { address: string },
    ];
    for (const [from, to] of [
      ['w1', w2.address],
      ['w2', w1.address],
    ] as const)
      run(from, 'ip', 'neigh', 'replace', to, 'lladdr', bridge[0].address, 'nud', 'permanent', 'dev', 'eth0');
    await expectClosed(['w1', w2.address, 'not through the host’s IP stack']);
    assert.equal(addressSeenBy('w1', clientAddress), hostAddress);
  });

  test(`${mode}: gateway modes, masquerading off, and a given source address`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    run('host', 'ip', 'address', 'add', '192.0.2.77/24', 'dev', 'up0');
    const routed = await world.createNetwork('172.18.0.0/16', { [label.gatewayMode4]: 'routed' });
    const open = await world.createNetwork('172.19.0.0/16', { [label.gatewayMode4]: 'nat-unprotected' });
    const plain = await world.createNetwork('172.20.0.0/16', { [label.masquerade]: 'false' });
    const given = await world.createNetwork('172.21.0.0/16', { [label.host4]: '192.0.2.77' });
    const r1 = await world.runContainer('r1', routed);
    const o1 = await world.runContainer('o1', open);
    const p1 = await world.runContainer('p1', plain);
    const g1 = await world.runContainer('g1', given);
    for (const subnet of ['172.18.0.0/16', '172.19.0.0/16', '172.20.0.0/16', '172.21.0.0/16'])
      addRoute('C', subnet);
    assert.equal(addressSeenBy('r1', clientAddress), r1.address);
    assert.equal(addressSeenBy('o1', clientAddress), hostAddress);
    assert.equal(addressSeenBy('p1', clientAddress), p1.address);
    assert.equal(addressSeenBy('g1', clientAddress), '192.0.2.77');
    await expectOpen(
      ['C', r1.address, 'routed lets ICMP in'],
      ['C', o1.address, 'nat-unprotected lets everything in'],
    );
    await expectClosed(['C', p1.address], ['C', g1.address]);
  });
}

test('the table in text, for a matrix of options, and after removal', async () => {
  // Else we switch it on, and the guard stands.
  run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  await using world = await openWorld();
  await matchGolden('empty', listTable());
  const matrix = [
    ['172.18.0.0/16', 'br-plain', {}, false],
    ['172.19.0.0/16', 'br-noicc', { [label.icc]: 'false' }, false],
    ['172.20.0.0/16', 'br-nomasq', { [label.masquerade]: 'false' }, false],
    ['172.21.0.0/16', 'br-host', { [label.host4]: '192.0.2.77' }, false],
    ['172.22.0.0/16', 'br-routed', { [label.gatewayMode4]: 'routed' }, false],
    ['172.23.0.0/16', 'br-open', { [label.gatewayMode4]: 'nat-unprotected' }, false],
    ['172.24.0.0/16', 'br-internal', {}, true],
    ['172.25.0.0/16', 'br-isolated', { [label.gatewayMode4]: 'isolated' }, true],
  ] as const;
  const made = [];
  for (const [subnet, name, options, isInternal] of matrix)
    made.push(await world.createNetwork(subnet, { ...options, [label.name]: name }, isInternal));
  await matchGolden('matrix', listTable());
  for (const network of made) await world.driver.removeNetwork(network, []);
  assert.deepEqual(await world.firewall.check(), []);
  await matchGolden('removed', listTable());
});

test('fifty networks need as many rules as one', async () => {
  await using world = await openWorld();
  await world.createNetwork('10.1.0.0/24');
  const one = countRules();
  assert.ok(one > 15, listTable());
  for (let i = 2; i <= 50; i++) await world.createNetwork(`10.1.${i}.0/24`);
  assert.equal(countRules(), one);
  assert.deepEqual(await world.firewall.check(), []);
});

test('a flush by others is repaired within moments, and what check finds it says', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16');
  await world.runContainer('w1', network);
  const before = listTable();
  run('host', 'nft', 'flush', 'ruleset');
  await until('the table is back', () => {
    try {
      return listTable() === before;
    } catch {
      return false;
    }
  });
  assert.equal(addressSeenBy('w1', clientAddress), hostAddress);
  run('host', 'nft', 'delete', 'element', 'inet', 'linkspan', 'masq4', '{ 172.18.0.0/16 }');
  run('host', 'nft', 'add', 'element', 'inet', 'linkspan', 'bridges', '{ "intruder" }');
  run('host', 'nft', 'flush', 'chain', 'inet', 'linkspan', 'forward');
  await until('the table is right again', () => listTable() === before);
});

test('the operator’s chain comes first, sees the original address, and is never flushed', async () => {
  await using world = await openWorld();
  const n1 = await world.createNetwork('172.18.0.0/16');
  await world.runContainer('w1', n1);
  await expectOpen(['w1', clientAddress]);
  run('host', 'nft', 'add', 'rule', 'inet', 'linkspan', 'operator', 'ct original ip daddr 192.0.2.2 drop');
  await expectClosed(['w1', clientAddress]);
  run('host', 'nft', 'flush', 'chain', 'inet', 'linkspan', 'forward');
  await until('the chain is repaired', () => listTable().includes('jump operator'));
  await world.firewall.start();
  assert.match(listTable(), /ct original ip daddr 192\.0\.2\.2 drop/);
});

test('forwarding that we switched on does not make the host a router', async () => {
  const saved: unknown[] = [];
  const save = (record: unknown): Promise<void> => {
    saved.push(record);
    return Promise.resolve();
  };
  run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward');
  await using world = await openWorld({ saveForwarding: save });
  addRoute('C', '198.51.100.0/24');
  addRoute('D', '192.0.2.0/24');
  // A bridge of somebody else with two ports, whose frames br_netfilter shows to our rules.
  run('host', 'ip', 'link', 'add', 'virbr0', 'type', 'bridge');
  run('host', 'ip', 'link', 'set', 'virbr0', 'up');
  for (const [name, address] of [
    ['vm1', '10.9.0.1'],
    ['vm2', '10.9.0.2'],
  ] as const) {
    run('host', 'ip', 'netns', 'add', name);
    run('host', 'ip', 'link', 'add', `p${name}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    run('host', 'ip', 'link', 'set', `p${name}`, 'master', 'virbr0', 'up');
    run(name, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
    run(name, 'ip', 'link', 'set', 'eth0', 'up');
  }
  setBridgeFiltering(true);
  const n1 = await world.createNetwork('172.18.0.0/16');
  const w1 = await world.runContainer('w1', n1);
  assert.equal(saved.length, 1);
  assert.equal(run('host', 'cat', '/proc/sys/net/ipv4/ip_forward').trim(), '1');
  await expectClosed(['C', '198.51.100.2', 'C does not reach D through the host'], ['vm1', w1.address]);
  assert.equal(addressSeenBy('w1', clientAddress), hostAddress);
  await expectOpen(['vm1', '10.9.0.2', 'frames inside the foreign bridge pass']);
  for (const name of ['vm1', 'vm2']) run('host', 'ip', 'netns', 'del', name);
  run('host', 'ip', 'link', 'del', 'virbr0');
});

test('forwarding that was on before is left to the administrator', async () => {
  run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  await using world = await openWorld();
  addRoute('C', '198.51.100.0/24');
  addRoute('D', '192.0.2.0/24');
  await world.createNetwork('172.18.0.0/16');
  await expectOpen(['C', '198.51.100.2']);
});

test('bridges hand IPv6 frames to the firewall, or not: the host’s ::1 is translated accordingly, at once', async () => {
  await using _world = await openWorld();
  const set = (value: number): string =>
    run('host', 'sh', '-c', `echo ${value} > /proc/sys/net/bridge/bridge-nf-call-ip6tables`);
  for (const isFiltering of [true, false, true]) {
    set(isFiltering ? 1 : 0);
    await until('the parameter is followed', () => leavesLoopback6() === isFiltering);
  }
});

test('marks are left alone while no other firewall needs them', async () => {
  await using world = await openWorld();
  await world.createNetwork('172.18.0.0/16');
  assert.ok(!listTable().includes(acceptedMark.toString(16)));
});

test('a host that has its IPv6 default route from a router is told that forwarding takes it', async () => {
  await using world = await openWorld();
  const setAcceptance = (value: number): string =>
    run('host', 'sh', '-c', `echo ${value} > /proc/sys/net/ipv6/conf/up0/accept_ra`);
  run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/all/forwarding');
  run('host', 'ip', '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'up0', 'proto', 'ra');
  setAcceptance(1);
  await world.firewall.ensureForwarding([4, 6]);
  const ids = (): readonly string[] =>
    world.firewall.conditions.map(({ id }) => id).filter((id) => id.includes('Advertisements'));
  assert.deepEqual(ids(), ['firewall.routerAdvertisements:up0']);
  await world.firewall.check();
  assert.equal(ids().length, 1, 'it stands');
  setAcceptance(2);
  await world.firewall.check();
  assert.deepEqual(ids(), [], 'somebody did something about it');
});
