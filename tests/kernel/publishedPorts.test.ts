/*
 * Published ports on the real kernel: who reaches them by which address, and who does not. The firewall's elements and
 * the port's hairpin are set here by hand; what decides on them is the engine's (tests/compat).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { bridgeLabels as label } from '../../src/drivers/bridge/options.ts';
import type { FirewallBinding } from '../../src/firewall/binding.ts';
import { parseIp } from '../../src/net/ip.ts';
import { parsePrefix } from '../../src/net/prefix.ts';
import {
  addRoute,
  addressSeenBy,
  type Container,
  clientAddress,
  expectUnseen,
  hostAddress,
  openWorld,
  run,
  setBridgeFiltering,
  until,
} from './bridgeWorld.ts';
import { matchGolden } from './golden.ts';
import { binding, otherHostAddress, publish, serve, udpAddressSeenBy } from './portWorld.ts';

const gatewayOf = (subnet: string): string => subnet.replace(/0\/16$/, '1');

for (const isFiltering of [false, true]) {
  const mode = `bridge-nf-call-iptables=${isFiltering ? 1 : 0}`;

  test(`${mode}: a port published on every address is reached from everywhere, and sees who calls`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const n1 = await world.createNetwork('172.18.0.0/16');
    const n2 = await world.createNetwork('172.19.0.0/16');
    const w1 = await world.runContainer('w1', n1);
    const w2 = await world.runContainer('w2', n1);
    const v1 = await world.runContainer('v1', n2);
    await using _server = await serve('w1', [80], [53]);
    await publish(world, w1, binding(w1, 8080, 80), binding(w1, 5353, 53, { proto: 'udp' }));
    const gateway = gatewayOf('172.18.0.0/16');
    assert.equal(addressSeenBy('C', hostAddress, 8080), clientAddress, 'from outside');
    assert.equal(addressSeenBy('D', otherHostAddress, 8080), '198.51.100.2', 'by another address');
    assert.equal(addressSeenBy('host', '127.0.0.1', 8080), gateway, 'the host by 127.0.0.1');
    assert.equal(addressSeenBy('host', '127.3.2.1', 8080), gateway, 'the host by 127.3.2.1');
    assert.equal(addressSeenBy('host', hostAddress, 8080), hostAddress, 'the host by its address');
    assert.equal(addressSeenBy('v1', hostAddress, 8080), v1.address, 'from another network');
    assert.equal(addressSeenBy('v1', gateway, 8080), v1.address, 'by the other network’s gateway');
    assert.equal(addressSeenBy('w2', hostAddress, 8080), gateway, 'from its own network');
    assert.equal(addressSeenBy('w1', hostAddress, 8080), gateway, 'from itself');
    assert.equal(addressSeenBy('w1', gateway, 8080), gateway, 'from itself by its gateway');
    assert.equal(addressSeenBy('w2', w1.address, 80), w2.address, 'directly');
    assert.equal(udpAddressSeenBy('C', hostAddress, 5353), clientAddress, 'UDP');
    assert.equal(udpAddressSeenBy('host', '127.0.0.1', 5353), gateway, 'UDP by 127.0.0.1');
    await world.firewall.publish('w1', []);
    await expectUnseen(['C', hostAddress, 8080]);
    assert.deepEqual(await world.firewall.check(), []);
  });

  test(`${mode}: what is published on 127.0.0.1, or not at all, is out of a neighbour’s reach`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const n1 = await world.createNetwork('172.18.0.0/16');
    const w1 = await world.runContainer('w1', n1);
    const v1 = await world.runContainer('v1', await world.createNetwork('172.19.0.0/16'));
    await using _server = await serve('w1', [80, 90]);
    await using _own = await serve('host', [7777]);
    const hostIp = parseIp('127.0.0.1');
    await publish(world, w1, binding(w1, 8081, 80, { hostIp }), binding(w1, 8090, 90));
    assert.equal(addressSeenBy('host', '127.0.0.1', 8081), '172.18.0.1');
    await expectUnseen(['host', hostAddress, 8081, 'only 127.0.0.1'], ['C', hostAddress, 8081]);
    // As an attacker on the segment: routes to the container's and the host's loopback address.
    addRoute('C', '172.18.0.0/16');
    run('C', 'ip', 'route', 'del', 'local', '127.0.0.0/8', 'dev', 'lo', 'table', 'local');
    run('C', 'ip', 'route', 'del', 'local', '127.0.0.1', 'dev', 'lo', 'table', 'local');
    run('C', 'ip', 'address', 'flush', 'dev', 'lo');
    addRoute('C', '127.0.0.0/8');
    run('C', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet');
    // Even where somebody let loopback addresses in from there.
    run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/up0/route_localnet');
    await expectUnseen(
      ['C', '127.0.0.1', 8081, 'published on loopback'],
      ['C', '127.0.0.1', 8090, 'published everywhere, called by loopback'],
      ['C', w1.address, 80, 'unpublished address'],
      ['C', w1.address, 90, 'published, but not by this address'],
    );
    assert.equal(addressSeenBy('C', hostAddress, 8090), clientAddress);
    // From a container: the bridge has route_localnet.
    for (const name of ['w1', 'v1']) {
      run(name, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet');
      run(name, 'ip', 'route', 'del', 'local', '127.0.0.0/8', 'dev', 'lo', 'table', 'local');
      run(name, 'ip', 'address', 'flush', 'dev', 'lo');
      const via = name === 'w1' ? '172.18.0.1' : '172.19.0.1';
      run(name, 'ip', 'route', 'add', '127.0.0.0/8', 'via', via);
      await expectUnseen(
        [name, '127.0.0.1', 7777, `${name}: the host’s own service`],
        [name, '127.0.0.1', 8081, `${name}: published on loopback`],
      );
    }
    assert.equal(addressSeenBy('host', '127.0.0.1', 7777), '127.0.0.1');
    assert.ok(v1);
  });

  test(`${mode}: runs, one address, several protocols, and who may come`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const n1 = await world.createNetwork('172.18.0.0/16');
    const w1 = await world.runContainer('w1', n1);
    await using _server = await serve('w1', [9000, 9005, 9010, 9103, 80, 81], []);
    const only = (text: string): FirewallBinding['sources'] =>
      text.split(' ').flatMap((one) => parsePrefix(one) ?? []);
    await publish(
      world,
      w1,
      binding(w1, 9000, 9000, { count: 11 }),
      binding(w1, 9200, 9100, { count: 4 }),
      binding(w1, 8080, 80, { hostIp: parseIp(hostAddress) }),
      binding(w1, 8081, 81, { sources: only('192.0.2.0/24 192.0.2.128/25 172.16.0.0/12') }),
      binding(w1, 9300, 9000, { sources: only('203.0.113.0/24') }),
    );
    for (const port of [9000, 9005, 9010, 9203])
      assert.equal(addressSeenBy('C', hostAddress, port), clientAddress, `${port}`);
    await expectUnseen(['C', hostAddress, 9011]);
    assert.equal(addressSeenBy('host', '127.0.0.1', 9005), '172.18.0.1');
    assert.equal(addressSeenBy('C', hostAddress, 8080), clientAddress);
    await expectUnseen(['D', otherHostAddress, 8080, 'not by the other address']);
    assert.equal(addressSeenBy('C', hostAddress, 8081), clientAddress, 'admitted');
    await expectUnseen(['D', otherHostAddress, 8081, 'not admitted']);
    assert.equal(addressSeenBy('w1', hostAddress, 8081), '172.18.0.1', 'admitted from its own network');
    await expectUnseen(['C', hostAddress, 9300]);
    assert.equal(addressSeenBy('host', hostAddress, 9300), hostAddress, 'the host itself always may');
    assert.deepEqual(await world.firewall.check(), []);
  });

  test(`${mode}: what publishing means in each gateway mode`, async () => {
    await using world = await openWorld();
    setBridgeFiltering(isFiltering);
    const routed = await world.createNetwork('172.18.0.0/16', { [label.gatewayMode4]: 'routed' });
    const open = await world.createNetwork('172.19.0.0/16', { [label.gatewayMode4]: 'nat-unprotected' });
    const r1 = await world.runContainer('r1', routed);
    const o1 = await world.runContainer('o1', open);
    const v1 = await world.runContainer('v1', await world.createNetwork('172.20.0.0/16'));
    await using _routed = await serve('r1', [80, 81, 90]);
    await using _open = await serve('o1', [80, 81]);
    for (const subnet of ['172.18.0.0/16', '172.19.0.0/16']) addRoute('C', subnet);
    addRoute('D', '172.18.0.0/16');
    const sources = [parsePrefix('192.0.2.0/24')].flatMap((one) => one ?? []);
    await publish(
      world,
      r1,
      binding(r1, 0, 80, { isRouted: true }),
      binding(r1, 0, 90, { isRouted: true, sources }),
    );
    await publish(world, o1, binding(o1, 8080, 80));
    assert.equal(addressSeenBy('C', r1.address, 80), clientAddress);
    assert.equal(addressSeenBy('v1', r1.address, 80), v1.address, 'from another network');
    await expectUnseen(['C', r1.address, 81, 'unpublished']);
    assert.equal(addressSeenBy('C', r1.address, 90), clientAddress);
    await expectUnseen(['D', r1.address, 90, 'not admitted']);
    assert.equal(addressSeenBy('C', o1.address, 81), clientAddress, 'nat-unprotected: unpublished too');
    assert.equal(addressSeenBy('C', hostAddress, 8080), clientAddress);
  });
}

test('what is published is reached by the container’s own address from trusted links, and from no others', async () => {
  await using world = await openWorld();
  const w1 = await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
  await using _server = await serve('w1', [80, 81]);
  for (const name of ['C', 'D'] as const) addRoute(name, '172.18.0.0/16');
  const trustedLinks = ['up0'];
  await publish(
    world,
    w1,
    binding(w1, 8080, 80, { trustedLinks }),
    binding(w1, 8081, 80, { trustedLinks, hostIp: parseIp('127.0.0.1') }),
  );
  assert.equal(addressSeenBy('C', w1.address, 80), clientAddress);
  await expectUnseen(['C', w1.address, 81, 'unpublished'], ['D', w1.address, 80, 'not trusted']);
  await publish(world, w1, binding(w1, 8081, 80, { trustedLinks }));
  assert.equal(addressSeenBy('C', w1.address, 80), clientAddress);
  assert.deepEqual(await world.firewall.check(), []);
  await world.firewall.publish('w1', []);
  await expectUnseen(['C', w1.address, 80]);
});

test('publish policy host-input: what the host’s INPUT rules refuse stays refused', async () => {
  await using world = await openWorld({ asksHost: true });
  setBridgeFiltering(false);
  const w1 = await world.runContainer('w1', await world.createNetwork('172.18.0.0/16'));
  await using _server = await serve('w1', [80], [53]);
  await publish(world, w1, binding(w1, 8080, 80), binding(w1, 5353, 53, { proto: 'udp' }));
  assert.equal(addressSeenBy('C', hostAddress, 8080), clientAddress, 'nothing forbids it');
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353), undefined, 'the first packet asks');
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353), clientAddress);
  assert.equal(addressSeenBy('host', '127.0.0.1', 8080), '172.18.0.1');
  run('host', 'nft', 'add table inet admin');
  run('host', 'nft', 'add chain inet admin input { type filter hook input priority filter; }');
  run('host', 'nft', 'add rule inet admin input ip saddr 192.0.2.2 tcp dport 8080 reject');
  await until('the answer of before is forgotten', () => addressSeenBy('C', hostAddress, 8080) === undefined);
  assert.equal(addressSeenBy('D', otherHostAddress, 8080), '198.51.100.2', 'another client still may');
  run('host', 'nft', 'delete table inet admin');
  await until('allowed again', () => addressSeenBy('C', hostAddress, 8080) === clientAddress);
});

test('an old UDP flow does not outlive a change of its port', async () => {
  await using world = await openWorld();
  const n1 = await world.createNetwork('172.18.0.0/16');
  const w1 = await world.runContainer('w1', n1);
  const w2 = await world.runContainer('w2', n1);
  await using _first = await serve('w1', [], [53, 54]);
  const flow = { family: 4, proto: 'udp', firstPort: 5353, count: 1, hostIp: undefined } as const;
  const udp = (container: Container): FirewallBinding => binding(container, 5353, 53, { proto: 'udp' });
  // The host itself answers at first, so that an untranslated flow comes to stand.
  {
    await using _own = await serve('host', [], [5353]);
    assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), clientAddress);
  }
  await publish(world, w1, udp(w1));
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), undefined, 'the old flow is in the way');
  await world.kernel.forgetFlows([flow]);
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), clientAddress);
  // Nothing answers in w2: an answer comes from w1, by the flow of before.
  await world.firewall.publish('w1', []);
  await publish(world, w2, udp(w2));
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), clientAddress);
  await world.kernel.forgetFlows([
    { ...flow, hostIp: parseIp('192.0.2.9') },
    { ...flow, firstPort: 5354, count: 3 },
    { ...flow, proto: 'tcp' },
  ]);
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), clientAddress, 'other flows stay');
  await world.kernel.forgetFlows([
    { ...flow, hostIp: parseIp(hostAddress) },
    { ...flow, firstPort: 1, count: 5 },
  ]);
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), undefined);
  await using _second = await serve('w2', [], [53]);
  assert.equal(udpAddressSeenBy('C', hostAddress, 5353, 40000), clientAddress);
});

test('the table with published ports in text, and ten thousand of them need no more rules', async () => {
  // Else we switch it on, and the guard stands.
  run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  await using world = await openWorld();
  const n1 = await world.createNetwork('172.18.0.0/16', { [label.name]: 'br-ports' });
  const w1 = await world.runContainer('w1', n1);
  const list = (): string => run('host', 'nft', '-s', 'list', 'table', 'inet', 'linkspan');
  const sources = ['10.0.0.0/8', '10.1.0.0/16', '203.0.113.7/32'].flatMap((one) => parsePrefix(one) ?? []);
  const hostIp = parseIp('127.0.0.1');
  await publish(
    world,
    w1,
    binding(w1, 8080, 80),
    binding(w1, 8081, 80, { hostIp, proto: 'udp' }),
    binding(w1, 9000, 9000, { count: 1000, proto: 'sctp' }),
    binding(w1, 7000, 7100, { count: 2, sources }),
    binding(w1, 0, 443, { isRouted: true, sources }),
    binding(w1, 0, 444, { isRouted: true }),
  );
  await matchGolden('publishedPorts', list());
  assert.deepEqual(await world.firewall.check(), []);
  const rules = (): number => list().match(/^\t\t(?!type|flags|elements|\t)\S.*$/gm)?.length ?? 0;
  const before = rules();
  await world.firewall.publish('w1', [binding(w1, 20_000, 30_000, { count: 10_000 })]);
  assert.equal(rules(), before);
  assert.deepEqual(await world.firewall.check(), []);
  await world.firewall.publish('w1', []);
  assert.equal(rules(), before);
});

test('a host port that is held cannot be taken, and one that is taken cannot be held', async () => {
  await using world = await openWorld();
  const { kernel } = world;
  const any = parseIp('0.0.0.0');
  const any6 = parseIp('::');
  const one = parseIp(hostAddress);
  assert.ok(any && any6 && one);
  const listens = (address: string, port: number): boolean =>
    spawnSync(process.execPath, [
      '-e',
      `require('node:net').createServer().on('error', () => process.exit(1)).listen(${port}, '${address}', () => process.exit(0))`,
    ]).status === 0;
  const tcp = { proto: 'tcp', ip: any, port: 8080 } as const;
  assert.equal(await kernel.holdPorts([tcp, { ...tcp, ip: any6 }]), undefined);
  assert.ok(!listens('0.0.0.0', 8080) && !listens('127.0.0.1', 8080) && !listens('::1', 8080));
  assert.equal(await kernel.holdPorts([tcp]), undefined, 'held on');
  {
    await using _own = await serve('host', [8081]);
    const busy = { ...tcp, port: 8081 };
    assert.deepEqual(await kernel.holdPorts([{ ...tcp, port: 8082 }, busy]), {
      port: busy,
      code: 'EADDRINUSE',
    });
    assert.ok(listens('0.0.0.0', 8082), 'all or none');
    // A connection that the server closed first leaves its port in TIME_WAIT, which is no reason to refuse.
    run(
      'C',
      process.execPath,
      '-e',
      `require('node:net').connect(8081, '${hostAddress}').resume().on('close', () => process.exit(0))`,
    );
  }
  await until(
    'the port is free',
    async () => (await kernel.holdPorts([{ ...tcp, port: 8081 }])) === undefined,
  );
  assert.match(run('host', 'ss', '-tan', 'state', 'time-wait'), /8081/);
  const elsewhere = parseIp('203.0.113.1');
  assert.ok(elsewhere);
  assert.equal((await kernel.holdPorts([{ ...tcp, ip: elsewhere }]))?.code, 'EADDRNOTAVAIL');
  for (const proto of ['udp', 'sctp'] as const)
    assert.equal(await kernel.holdPorts([{ proto, ip: one, port: 53 }]), undefined);
  await kernel.releasePorts([tcp, { ...tcp, ip: any6 }, { ...tcp, port: 1 }]);
  assert.ok(listens('0.0.0.0', 8080));
});
