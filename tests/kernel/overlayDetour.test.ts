/*
 * A network that is not encrypted whose peers are reached by two ways, by the driver on the real kernel: a VXLAN device to
 * the underlay and one to the tunnels at one bridge. That each peer is reached by its own and others are not, also after a
 * move, that large packets get through or their sender is told, and that nothing passes between the two devices.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DriverNetwork } from '../../src/drivers/interface.ts';
import type { OverlayPeer } from '../../src/drivers/overlay/peerTable.ts';
import { expectClosed, expectOpen, run, until } from './bridgeWorld.ts';
import {
  type Attached,
  ip,
  makeNetwork,
  type OverlayHost,
  openHost,
  openOverlayWorld,
  type OverlayWorld,
  passesWhole,
  runContainer,
} from './overlayWorld.ts';
import { encryptLinks } from './tunnelLinks.ts';

const fileBytes = 10_000_000;
const isInGuest = process.env['LINKSPAN_VM_GUEST'] === '1';
/** For the file; an emulated processor encrypts some 3 Mbit a second. */
const fetchSeconds = isInGuest ? 100 : 10;

/** In the vm lane's machine the tunnels are WireGuard's, which its kernel has. */
async function openWorld(count: number): Promise<OverlayWorld> {
  await using made = new AsyncDisposableStack();
  const world = made.use(await openOverlayWorld(count, 4, true));
  if (isInGuest) await encryptLinks(world.hosts);
  made.move();
  return world;
}

const detour = (number: number): Pick<OverlayPeer, 'vtep' | 'isDetour'> => ({
  ...{ vtep: ip(`100.64.0.${number}`), isDetour: true },
});

/** By the way of `more`, the underlay by default. */
const by = ({ peers }: Attached, more: Partial<OverlayPeer> = {}): readonly OverlayPeer[] =>
  peers.map((peer) => ({ ...peer, ...more }));

interface Device {
  readonly ifindex: number;
  readonly stats64: { readonly tx: { readonly packets: number } };
}

function deviceOf(host: OverlayHost, network: DriverNetwork, link: string): Device {
  const [device] = JSON.parse(host.inside(network, 'ip', '-j', '-s', 'link', 'show', link)) as Device[];
  return device ?? assert.fail(link);
}

/** Packets. */
const sent = (...at: Parameters<typeof deviceOf>): number => deviceOf(...at).stats64.tx.packets;

const devices = (host: OverlayHost, network: DriverNetwork): readonly string[] => {
  const found = JSON.parse(host.inside(network, 'ip', '-j', 'link', 'show', 'type', 'vxlan')) as {
    readonly ifname: string;
  }[];
  return found.map(({ ifname }) => ifname).toSorted();
};

/** Answers are of `ping -c COUNT`, at once: what is lost is not asked for again. */
function ping(from: string, to: string, ...words: readonly string[]): number {
  const text = run('host', 'sh', '-c', `ip netns exec ${from} busybox ping ${words.join(' ')} ${to} || true`);
  return Number(/(\d+) packets received/.exec(text)?.[1]);
}

/** Bytes that `to` gets of a large file from `from`, by TCP in time. */
async function fetch(from: string, address: string, to: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-detour-'));
  writeFileSync(join(folder, 'big'), Buffer.alloc(fileBytes));
  const words = ['netns', 'exec', from, 'busybox', 'httpd', '-f', '-p', '9000', '-h', folder];
  const server = spawn('ip', words, { stdio: 'ignore' });
  try {
    await until(`${from} serves`, () => run(from, 'ss', '-Htln', 'sport', '=', ':9000') !== '');
    const url = `http://${address.includes(':') ? `[${address}]` : address}:9000/big`;
    return Number(run(to, 'sh', '-c', `timeout ${fetchSeconds} busybox wget -qO- ${url} | wc -c`));
  } finally {
    server.kill('SIGTERM');
    await once(server, 'close');
    rmSync(folder, { recursive: true });
  }
}

test('peers are reached by two ways, each by its own, in packets that fit', async () => {
  await using world = await openWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24', 'fd00:1::/64']);
  const c1 = await runContainer(h1, network, 'c1', ['10.0.1.2', 'fd00:1::2']);
  const c2 = await runContainer(h2, network, 'c2', ['10.0.1.3', 'fd00:1::3']);
  const c3 = await runContainer(h3, network, 'c3', ['10.0.1.4', 'fd00:1::4']);
  await h1.driver.setPeers(network, [...by(c2), ...by(c3, detour(3))]);
  await h2.driver.setPeers(network, by(c1));
  await h3.driver.setPeers(network, by(c1, detour(1)));
  assert.deepEqual(devices(h1, network), ['vxlan0', 'vxlan0-wg']);
  assert.deepEqual(devices(h2, network), ['vxlan0']);
  assert.deepEqual([[...h1.holders], [...h2.holders]], [[network.id], []]);

  // From the first packet on.
  assert.equal(ping('c1', '10.0.1.4', '-c', '1', '-W', '1'), 1);
  assert.equal(ping('c3', 'fd00:1::2', '-c', '1', '-W', '1'), 1);
  await expectOpen(['c1', '10.0.1.3'], ['c1', 'fd00:1::3'], ['c2', '10.0.1.2']);
  // Nobody has told them of each other, and the first host carries nothing for them.
  await expectClosed(['c2', '10.0.1.4'], ['c3', '10.0.1.3']);

  const before = [sent(h1, network, 'vxlan0'), sent(h1, network, 'vxlan0-wg')] as const;
  assert.equal(ping('c1', '10.0.1.3', '-c', '50', '-i', '0.01'), 50);
  assert.equal(ping('c1', '10.0.1.4', '-c', '30', '-i', '0.01'), 30);
  const after = [sent(h1, network, 'vxlan0'), sent(h1, network, 'vxlan0-wg')] as const;
  assert.ok(after[0] - before[0] >= 50 && after[0] - before[0] < 60, `${after[0] - before[0]}`);
  assert.ok(after[1] - before[1] >= 30 && after[1] - before[1] < 40, `${after[1] - before[1]}`);

  assert.match(run('c1', 'ip', 'link', 'show', 'eth0'), /mtu 1450/);
  assert.equal(await passesWhole('c1', '10.0.1.3', 1450), true);
  assert.equal(await passesWhole('c1', '10.0.1.4', 1370), true);
  assert.equal(await passesWhole('c1', '10.0.1.4', 1371), false);
  assert.match(run('c1', 'ip', 'route', 'get', '10.0.1.4'), /mtu 1370/);
  assert.doesNotMatch(run('c1', 'ip', 'route', 'get', '10.0.1.3'), /mtu/);
  for (const [from, address, to] of [
    ['c1', '10.0.1.2', 'c3'],
    ['c3', '10.0.1.4', 'c1'],
    ['c3', 'fd00:1::4', 'c1'],
    ['c1', '10.0.1.2', 'c2'],
  ] as const)
    assert.equal(await fetch(from, address, to), fileBytes, `${from} to ${to}`);
  for (const name of ['c1', 'c2', 'c3']) run('host', 'ip', 'netns', 'del', name);
});

for (const [family, subnet, ...addresses] of [
  [4, '10.0.1.0/24', '10.0.1.2', '10.0.1.3', '10.0.1.4'],
  [6, 'fd00:1::/64', 'fd00:1::2', 'fd00:1::3', 'fd00:1::4'],
] as const)
  test(`a peer that changes its way is reached by the other at once, and the second device goes with the last: IPv${family}`, async () => {
    const [first, second, third] = addresses;
    await using world = await openWorld(2);
    const [h1, h2] = world.hosts;
    assert.ok(h1 !== undefined && h2 !== undefined);
    const network = makeNetwork('4097', [subnet]);
    const c1 = await runContainer(h1, network, 'd1', [first]);
    const c2 = await runContainer(h2, network, 'd2', [second]);
    const more = await runContainer(h2, network, 'd2b', [third]);
    await h1.driver.setPeers(network, [...by(c2), ...by(more)]);
    await h2.driver.setPeers(network, by(c1));
    await expectOpen(['d1', second], ['d1', third]);

    // Though the bridges have learned where each is.
    await h1.driver.addPeers(network, by(c2, detour(2)));
    await h2.driver.setPeers(network, by(c1, detour(1)));
    assert.equal(ping('d1', second, '-c', '1', '-W', '1'), 1);
    assert.equal(sent(h1, network, 'vxlan0-wg') > 0, true);
    await h1.driver.addPeers(network, by(more, detour(2)));
    assert.equal(ping('d2b', first, '-c', '1', '-W', '1'), 1);

    await h1.driver.setPeers(network, [...by(c2), ...by(more, detour(2))]);
    assert.deepEqual(devices(h1, network), ['vxlan0', 'vxlan0-wg']);
    await h1.driver.removePeers(network, by(more));
    await h2.driver.setPeers(network, by(c1));
    assert.equal(ping('d1', second, '-c', '1', '-W', '1'), 1);
    for (const one of [h1, h2]) {
      assert.deepEqual(devices(one, network), ['vxlan0']);
      assert.equal(one.holders.size, 0);
    }
    assert.equal(run('t1', 'nft', 'list', 'ruleset'), '');
    for (const name of ['d1', 'd2', 'd2b']) run('host', 'ip', 'netns', 'del', name);
  });

test('what comes in by one device never leaves by the other', async () => {
  await using world = await openWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'e1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'e2', ['10.0.1.3']);
  const c3 = await runContainer(h3, network, 'e3', ['10.0.1.4']);
  await h1.driver.setPeers(network, [...by(c2), ...by(c3, detour(3))]);
  // They believe that the other is on the first host, which knows the way to both.
  await h2.driver.setPeers(network, [...by(c1), ...by(c3, { vtep: h1.vtep })]);
  await h3.driver.setPeers(network, [...by(c1, detour(1)), ...by(c2, detour(1))]);
  await expectOpen(['e1', '10.0.1.3'], ['e1', '10.0.1.4'], ['e2', '10.0.1.2'], ['e3', '10.0.1.2']);
  const before = [sent(h1, network, 'vxlan0'), sent(h1, network, 'vxlan0-wg')];
  await expectClosed(['e2', '10.0.1.4'], ['e3', '10.0.1.3']);
  assert.deepEqual([sent(h1, network, 'vxlan0'), sent(h1, network, 'vxlan0-wg')], before);
  for (const name of ['e1', 'e2', 'e3']) run('host', 'ip', 'netns', 'del', name);
});

test('another daemon takes both devices over, and what somebody does to the second one is put right', async () => {
  await using world = await openWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'f1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'f2', ['10.0.1.3']);
  await h1.driver.setPeers(network, by(c2, detour(2)));
  await h2.driver.setPeers(network, by(c1, detour(1)));
  const { ifindex } = deviceOf(h1, network, 'vxlan0-wg');
  const again = await openHost(1, 4, true, true);
  await again.driver.sweep({ links: [], addresses: [] }, { networks: [network], endpoints: [c1.endpoint] });
  await again.driver.ensureNetwork(network);
  // Nobody has told it of peers.
  assert.equal(ping('f1', '10.0.1.3', '-c', '1', '-W', '1'), 1);
  assert.deepEqual([...again.holders], [network.id]);
  await again.driver.setPeers(network, by(c2, detour(2)));
  assert.equal(deviceOf(h1, network, 'vxlan0-wg').ifindex, ifindex);
  assert.deepEqual(await again.driver.repairNetwork(network), []);

  for (const [words, cause] of [
    [['del', 'vxlan0-wg'], /vxlan0-wg of network net4097 was gone: made again/],
    [['set', 'vxlan0-wg', 'down'], /vxlan0-wg of network net4097 was down: set up/],
    [['set', 'vxlan0-wg', 'nomaster'], /vxlan0-wg was not in br0 of network net4097: put back/],
  ] as const) {
    again.inside(network, 'ip', 'link', ...words);
    assert.match((await again.driver.repairNetwork(network)).join('\n'), cause);
    assert.equal(ping('f1', '10.0.1.3', '-c', '1', '-W', '1'), 1, words.join(' '));
    assert.match(again.inside(network, 'bridge', '-d', 'link', 'show', 'dev', 'vxlan0-wg'), /isolated on/);
  }
  // What there was of such peers before it began, goes with the first word of none.
  const third = await openHost(1, 4, true, true);
  await third.driver.ensureNetwork(network);
  await third.driver.setPeers(network, []);
  assert.deepEqual(devices(h1, network), ['vxlan0']);
  assert.equal(third.holders.size, 0);
  for (const host of [again, third]) await host.kernel[Symbol.asyncDispose]();
  for (const name of ['f1', 'f2']) run('host', 'ip', 'netns', 'del', name);
});

test('where hosts have blocks, some are routed by the tunnels, and senders are told what fits', async () => {
  await using world = await openWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24'], { 'linkspan.host-prefix': '26' });
  await runContainer(h1, network, 'g1', ['10.0.1.2']);
  await runContainer(h2, network, 'g2', ['10.0.1.66']);
  await runContainer(h3, network, 'g3', ['10.0.1.130']);
  const block = (first: string) => ({ block: { base: ip(first), length: 26 } });
  const [one, two, three] = ['10.0.1.0', '10.0.1.64', '10.0.1.128'].map(block);
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  await h1.driver.setBlocks(network, [
    { ...two, vtep: h2.vtep },
    { ...three, ...detour(3) },
  ]);
  await h2.driver.setBlocks(network, [{ ...one, vtep: h1.vtep }]);
  await h3.driver.setBlocks(network, [{ ...one, ...detour(1) }]);
  await expectOpen(['g1', '10.0.1.66'], ['g1', '10.0.1.130'], ['g2', '10.0.1.2'], ['g3', '10.0.1.2']);
  assert.equal(await passesWhole('g1', '10.0.1.66', 1450), true);
  assert.equal(await passesWhole('g1', '10.0.1.130', 1370), true);
  assert.equal(await passesWhole('g1', '10.0.1.130', 1371), false);
  assert.match(run('g1', 'ip', 'route', 'get', '10.0.1.130'), /mtu 1370/);
  assert.equal(await fetch('g1', '10.0.1.2', 'g3'), fileBytes);
  // The way changes, and back.
  await h1.driver.setBlocks(
    network,
    [two, three].map((one) => ({ ...one, vtep: h2.vtep })),
  );
  assert.deepEqual(devices(h1, network), ['vxlan0']);
  await h1.driver.setBlocks(network, [
    { ...two, vtep: h2.vtep },
    { ...three, ...detour(3) },
  ]);
  assert.equal(ping('g1', '10.0.1.130', '-c', '1', '-W', '1'), 1);
  for (const name of ['g1', 'g2', 'g3']) run('host', 'ip', 'netns', 'del', name);
});
