/*
 * Overlay networks of which each host has a block (`linkspan.host-prefix`), by the driver on the real kernel: traffic
 * between blocks, what the kernel has for it, repairs, blocks that move, and that nothing stays behind.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { prefixOf } from '../../src/net/prefix.ts';
import { expectClosed, expectOpen, run } from './bridgeWorld.ts';
import {
  ip,
  makeNetwork,
  type OverlayHost,
  openHost,
  openOverlayWorld,
  passesWhole,
  runContainer,
} from './overlayWorld.ts';

const blocksOf = (
  ...held: readonly (readonly [first: string, host: OverlayHost | undefined])[]
): Parameters<OverlayHost['driver']['setBlocks']>[1] =>
  held.map(([first, host]) => ({
    block: prefixOf(ip(first), first.includes(':') ? 122 : 26),
    vtep: host?.vtep ?? ip('192.0.2.99'),
  }));

const options = { 'linkspan.host-prefix': '26' };

test('blocks are routed between hosts, by one route, neighbour and forward each, whatever the number of containers', async () => {
  await using world = await openOverlayWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24'], options);
  for (const [host, name, address] of [
    [h1, 'a1', '10.0.1.2'],
    [h1, 'a2', '10.0.1.3'],
    [h2, 'b1', '10.0.1.65'],
    [h2, 'b2', '10.0.1.66'],
    [h3, 'c1', '10.0.1.129'],
  ] as const)
    await runContainer(host, network, name, [address]);
  const [first, second, third] = [
    ['10.0.1.0', h1],
    ['10.0.1.64', h2],
    ['10.0.1.128', h3],
  ] as const;
  await h1.driver.setBlocks(network, blocksOf(second, third));
  await h2.driver.setBlocks(network, blocksOf(first, third));
  await h3.driver.setBlocks(network, blocksOf(first, second));

  await expectOpen(
    ...[['a1', '10.0.1.3'] as const, ['a1', '10.0.1.65'] as const, ['a2', '10.0.1.66'] as const],
    ...[['b1', '10.0.1.129'] as const, ['c1', '10.0.1.2'] as const, ['b2', '10.0.1.65'] as const],
  );
  // Nobody has the fourth block, nor these addresses of others.
  await expectClosed(['a1', '10.0.1.200'], ['a1', '10.0.1.77'], ['a1', '10.0.1.9']);
  const routes = h1.inside(network, 'ip', 'route', 'show', 'dev', 'vxlan0').trim().split('\n');
  assert.deepEqual(
    routes.map((line) => line.trim()),
    ['10.0.1.64/26 via 10.0.1.64 onlink', '10.0.1.128/26 via 10.0.1.128 onlink'],
  );
  const lines = (...words: readonly string[]): number =>
    h1
      .inside(network, ...words)
      .split('\n')
      .filter((line) => line.trim() !== '').length;
  assert.equal(lines('ip', 'neigh', 'show', 'nud', 'permanent', 'dev', 'vxlan0'), 2);
  assert.equal(lines('bridge', 'fdb', 'show', 'dev', 'vxlan0'), 2);
  assert.doesNotMatch(h1.inside(network, 'ip', '-o', 'link', 'show', 'vxlan0'), /master/);
  // What a container sees is a subnet as ever.
  assert.match(run('a1', 'ip', 'route'), /^10\.0\.1\.0\/24 dev eth0 .*src 10\.0\.1\.2 *\n$/);
  assert.equal(await passesWhole('a1', '10.0.1.65', 1450), true);
  assert.equal(await passesWhole('a1', '10.0.1.65', 1451), false);
  // The first question for an address behind the tunnel does not wait its turn.
  const delay = await h1.kernel.getSysctl('net/ipv4/neigh/br0/proxy_delay', h1.pathOf(network));
  assert.equal(delay, '0');
  for (const name of ['a1', 'a2', 'b1', 'b2', 'c1']) run('host', 'ip', 'netns', 'del', name);
});

test('a block that is another host’s now is found there, one that is gone leads nowhere, and an earlier daemon’s is swept', async () => {
  await using world = await openOverlayWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24'], options);
  const a1 = await runContainer(h1, network, 'a1', ['10.0.1.2']);
  await runContainer(h2, network, 'b1', ['10.0.1.65']);
  await runContainer(h3, network, 'c1', ['10.0.1.66']);
  await h2.driver.setBlocks(network, blocksOf(['10.0.1.0', h1]));
  await h3.driver.setBlocks(network, blocksOf(['10.0.1.0', h1]));
  await h1.driver.setBlocks(network, blocksOf(['10.0.1.64', h2], ['10.0.1.128', undefined]));
  await expectOpen(['a1', '10.0.1.65']);
  await expectClosed(['a1', '10.0.1.66']);
  await h1.driver.setBlocks(network, blocksOf(['10.0.1.64', h3]));
  await expectOpen(['a1', '10.0.1.66']);
  await expectClosed(['a1', '10.0.1.65']);
  assert.doesNotMatch(h1.inside(network, 'ip', 'route'), /10\.0\.1\.128/);

  // A daemon that starts: what is there goes on, and goes when it is told otherwise.
  const again = await openHost(1, 4, true);
  await again.driver.ensureNetwork(network);
  await expectOpen(['a1', '10.0.1.66']);
  await again.driver.setBlocks(network, []);
  await expectClosed(['a1', '10.0.1.66']);
  assert.doesNotMatch(h1.inside(network, 'ip', 'route'), /via/);
  await again.driver.setBlocks(network, blocksOf(['10.0.1.64', h3]));
  await expectOpen(['a1', '10.0.1.66']);
  await again.driver.detach(network, a1.endpoint, '/run/netns/a1');
  await again.driver.removeNetwork(network, []);
  assert.deepEqual(readdirSync('/run/overlays-h1'), []);
  await again.kernel[Symbol.asyncDispose]();
  for (const name of ['a1', 'b1', 'c1']) run('host', 'ip', 'netns', 'del', name);
});

test('what somebody takes away or changes is put back: routes, neighbours, forwards, parameters, the device', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24'], options);
  await runContainer(h1, network, 'a1', ['10.0.1.2']);
  await runContainer(h2, network, 'b1', ['10.0.1.65']);
  await h1.driver.setBlocks(network, blocksOf(['10.0.1.64', h2]));
  await h2.driver.setBlocks(network, blocksOf(['10.0.1.0', h1]));
  await expectOpen(['a1', '10.0.1.65']);
  assert.deepEqual(await h1.driver.repairNetwork(network), []);
  for (const [words, cause] of [
    ['ip route del 10.0.1.64/26', /^1 routes by vxlan0 of network net4097 were missing or wrong: set$/],
    ['ip neigh flush nud permanent dev vxlan0', /^1 entries for peers on vxlan0/],
    ['ip route add 10.0.1.192/26 via 10.0.1.192 dev vxlan0 onlink', /^1 routes by vxlan0 .* led to no block/],
    ['sysctl -qw net.ipv4.ip_forward=0', /^net\/ipv4\/ip_forward of network net4097 was 0: set to 1$/],
    ['sysctl -qw net.ipv4.conf.br0.proxy_arp=0', /^net\/ipv4\/conf\/br0\/proxy_arp .* was 0: set to 1$/],
    ['sysctl -qw net.ipv4.conf.vxlan0.rp_filter=0', /^net\/ipv4\/conf\/vxlan0\/rp_filter/],
    ['ip link set vxlan0 master br0', /^vxlan0 of network net4097 was a port of a bridge: taken out$/],
    ['ip link set vxlan0 address 02:00:00:00:00:01', /^vxlan0 .* had another link address: set back$/],
    ['ip link set vxlan0 down', /^vxlan0 of network net4097 was down: set up$/],
    ['ip link del vxlan0', /^vxlan0 of network net4097 was gone: made again$/],
    ['ip link del br0', /^br0 of network net4097 was gone: made again$/],
  ] as const) {
    h1.inside(network, ...words.split(' '));
    const causes = await h1.driver.repairNetwork(network);
    assert.ok(
      causes.some((one) => cause.test(one)),
      `${words}: ${causes.join('; ')}`,
    );
    assert.deepEqual(await h1.driver.repairNetwork(network), [], words);
    if (words !== 'ip link del br0') await expectOpen(['a1', '10.0.1.65']);
  }
  for (const name of ['a1', 'b1']) run('host', 'ip', 'netns', 'del', name);
});

test('what comes by the tunnel must be of a block behind it, or it is dropped', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24'], { ...options, 'linkspan.anti-spoof': 'false' });
  await runContainer(h1, network, 'a1', ['10.0.1.2']);
  await runContainer(h2, network, 'b1', ['10.0.1.65']);
  await h1.driver.setBlocks(network, blocksOf(['10.0.1.64', h2]));
  await h2.driver.setBlocks(network, blocksOf(['10.0.1.0', h1]));
  await expectOpen(['b1', '10.0.1.2']);
  /** Echo requests and whatever else of ICMP came to a1. */
  const received = (): number => {
    const lines = run('a1', 'cat', '/proc/net/snmp').split('\n');
    return Number(lines.find((line) => /^Icmp: \d/.test(line))?.split(' ')[1]);
  };
  const before = received();
  // As one of the first block, as one of nobody's, and as one from elsewhere.
  for (const source of ['10.0.1.3', '10.0.1.201', '192.0.2.77']) {
    run('b1', 'ip', 'address', 'add', `${source}/32`, 'dev', 'eth0');
    run('b1', 'sh', '-c', `busybox ping -c 1 -W 1 -I ${source} 10.0.1.2 >/dev/null 2>&1 || true`);
    run('b1', 'ip', 'address', 'del', `${source}/32`, 'dev', 'eth0');
  }
  assert.equal(received(), before);
  await expectOpen(['b1', '10.0.1.2']);
  assert.ok(received() > before);
  for (const name of ['a1', 'b1']) run('host', 'ip', 'netns', 'del', name);
});
