/*
 * The overlay driver on the real kernel, between hosts that are namespaces: traffic, its VNI and MTU on the underlay,
 * peers that come, move and go, repairs, and that nothing stays behind, whatever step fails.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { DriverNetwork } from '../../src/drivers/interface.ts';
import type { OverlayPeer } from '../../src/drivers/overlay/peerTable.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import { createTunnelGuard } from '../../src/firewall/tunnelGuard.ts';
import { KernelError } from '../../src/kernel/kernel.ts';
import { macFromBytes } from '../../src/net/mac.ts';
import { expectClosed, expectOpen, reaches, run, until } from './bridgeWorld.ts';
import {
  ip,
  makeEndpoint,
  makeNetwork,
  type OverlayHost,
  openOverlayWorld,
  passesWhole,
  runContainer,
  tellAll,
} from './overlayWorld.ts';

/** Counts VXLAN packets between hosts since the last call, by VNI. */
function countVnis(...vnis: readonly number[]): () => Readonly<Record<string, number>> {
  const names = [...vnis.map(String), 'other'];
  const rules = names.map((name) => {
    const vni = name === 'other' ? '' : `@th,96,24 ${name}`;
    return `add rule bridge count forward meta l4proto udp udp dport 4789 ${vni} counter accept comment "${name}"`;
  });
  const chain = 'add chain bridge count forward { type filter hook forward priority 0; }';
  run(
    'host',
    'nft',
    ['add table bridge count', 'delete table bridge count', 'add table bridge count', chain, ...rules].join(
      '\n',
    ),
  );
  const totals = (): number[] => {
    const text = run('host', 'nft', 'list', 'table', 'bridge', 'count');
    const found = [...text.matchAll(/counter packets (\d+) bytes \d+ accept comment "\w+"/g)];
    assert.equal(found.length, names.length, text);
    return found.map(([, count]) => Number(count));
  };
  let before = totals();
  return () => {
    const now = totals();
    const counts = Object.fromEntries(names.map((name, i) => [name, (now[i] ?? 0) - (before[i] ?? 0)]));
    before = now;
    return counts;
  };
}

const entriesOf = (host: OverlayHost, network: DriverNetwork): string =>
  [
    host.inside(network, 'bridge', 'fdb', 'show', 'dev', 'vxlan0'),
    host.inside(network, 'ip', 'neigh', 'show', 'nud', 'permanent', 'dev', 'vxlan0'),
  ]
    .flatMap((text) => text.split('\n'))
    // What the bridge knows of its ports.
    .filter((line) => line !== '' && !line.includes('master'))
    .map((line) => line.trim())
    .toSorted()
    .join('\n');

test('containers on two hosts reach each other under their network’s VNI, and packets of its MTU pass', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'c1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'c2', ['10.0.1.3']);
  const near = await runContainer(h1, network, 'c1b', ['10.0.1.4']);
  await tellAll(network, [c1, c2, near]);

  const counts = countVnis(4097);
  await expectOpen(['c1', '10.0.1.4'], ['c1', '10.0.1.1']);
  await expectClosed(['c1', '10.0.1.77']);
  assert.deepEqual(counts(), { 4097: 0, other: 0 }, 'what is on one host stays there, and nobody is asked');
  await expectOpen(['c1', '10.0.1.3'], ['c2', '10.0.1.2'], ['c2', '10.0.1.4']);
  const { 4097: ours = 0, other } = counts();
  assert.ok(ours >= 12, `${ours} packets`);
  assert.equal(other, 0);

  assert.match(run('c1', 'ip', 'link', 'show', 'eth0'), /mtu 1450/);
  assert.equal(await passesWhole('c1', '10.0.1.3', 1450), true);
  assert.equal(await passesWhole('c1', '10.0.1.3', 1451), false);
  // A MAC of its own choice carries no further than its port.
  const mac = c1.endpoint.mac;
  run('c1', 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99');
  await expectClosed(['c1', '10.0.1.4'], ['c1', '10.0.1.3']);
  run('c1', 'ip', 'link', 'set', 'eth0', 'address', mac);
  await expectOpen(['c1', '10.0.1.4'], ['c1', '10.0.1.3']);

  // The device's socket is the host's.
  assert.match(run('h1', 'ss', '-uln'), /:4789\b/);
  assert.doesNotMatch(h1.inside(network, 'ss', '-uln'), /4789/);
  for (const name of ['c1', 'c2', 'c1b']) run('host', 'ip', 'netns', 'del', name);
});

test('a peer that moves is reached at once, one that is removed is not, and one that took an address keeps it', async () => {
  await using world = await openOverlayWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'c1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'c2', ['10.0.1.3']);
  const c3 = await runContainer(h3, network, 'c3', ['10.0.1.4']);
  await tellAll(network, [c1, c2, c3]);
  await expectOpen(['c1', '10.0.1.3'], ['c1', '10.0.1.4'], ['c2', '10.0.1.4'], ['c3', '10.0.1.2']);

  // With its addresses, as when a container is made again on another host.
  await h2.driver.detach(network, c2.endpoint, '/run/netns/c2');
  const moved = await runContainer(h3, network, 'c2b', ['10.0.1.3'], c2.endpoint);
  await h3.driver.setPeers(network, c1.peers);
  assert.equal(await reaches('c1', '10.0.1.3'), false, 'before it is told');
  await h1.driver.addPeers(network, moved.peers);
  assert.equal(
    run('c1', 'busybox', 'ping', '-c', '1', '-W', '1', '10.0.1.3').includes('1 packets received'),
    true,
  );
  await expectOpen(['c2b', '10.0.1.2'], ['c2b', '10.0.1.4']);

  await h1.driver.removePeers(network, c3.peers);
  await expectClosed(['c1', '10.0.1.4']);
  // Its address goes to another endpoint, and only then the old one's end is heard of.
  const next = makeEndpoint(network, ['10.0.1.4']);
  await h3.driver.detach(network, c3.endpoint, '/run/netns/c3');
  await h3.driver.attach(network, next, '/run/netns/c3');
  const peer = { endpointId: next.id, ip: ip('10.0.1.4'), mac: next.mac, vtep: h3.vtep };
  await h1.driver.addPeers(network, c3.peers);
  await h1.driver.addPeers(network, [peer]);
  await h1.driver.removePeers(network, c3.peers);
  // Though c1 remembers the old one's MAC.
  await expectOpen(['c1', '10.0.1.4'], ['c3', '10.0.1.2']);
  assert.doesNotMatch(entriesOf(h1, network), new RegExp(c3.endpoint.mac));
  for (const name of ['c1', 'c2', 'c2b', 'c3']) run('host', 'ip', 'netns', 'del', name);
});

test('several subnets have a VNI each, both families share one, and an underlay of IPv6 takes 20 bytes more', async () => {
  await using world = await openOverlayWorld(2, 6);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const several = makeNetwork('4097,4098', ['10.0.1.0/24', '10.0.2.0/24']);
  const both = makeNetwork('4099', ['10.0.3.0/24', 'fd00:3::/64']);
  const containers = [
    await runContainer(h1, several, 'a1', ['10.0.1.2']),
    await runContainer(h2, several, 'a2', ['10.0.1.3']),
    await runContainer(h1, several, 'b1', ['10.0.2.2']),
    await runContainer(h2, several, 'b2', ['10.0.2.3']),
  ];
  const pair = [
    await runContainer(h1, both, 'd1', ['10.0.3.2', 'fd00:3::2']),
    await runContainer(h2, both, 'd2', ['10.0.3.3', 'fd00:3::3']),
  ];
  await tellAll(several, containers);
  await tellAll(both, pair);
  const counts = countVnis(4097, 4098, 4099);
  await expectOpen(['a1', '10.0.1.3']);
  const once = counts();
  assert.ok((once[4097] ?? 0) >= 4 && once[4098] === 0, JSON.stringify(once));
  await expectOpen(['b2', '10.0.2.2']);
  const twice = counts();
  assert.ok((twice[4098] ?? 0) >= 4 && twice[4097] === 0, JSON.stringify(twice));
  await expectOpen(['d1', '10.0.3.3'], ['d1', 'fd00:3::3'], ['d2', 'fd00:3::2'], ['d2', 'fd00:3::1']);
  const { 4097: a, 4098: b, 4099: d = 0, other } = counts();
  assert.ok(d >= 12, `${d} packets`);
  assert.deepEqual([a, b, other], [0, 0, 0]);
  assert.match(run('a1', 'ip', 'link', 'show', 'eth0'), /mtu 1430/);
  assert.equal(await passesWhole('a1', '10.0.1.3', 1430), true);
  assert.equal(await passesWhole('a1', '10.0.1.3', 1431), false);
  for (const { name } of [...containers, ...pair]) run('host', 'ip', 'netns', 'del', name);
});

test('ten thousand peers are set, changed and swept', async () => {
  await using world = await openOverlayWorld(1);
  const [h1] = world.hosts;
  assert.ok(h1);
  const network = makeNetwork('4097', ['10.1.0.0/16']);
  const peer = (i: number, vtep = 2): OverlayPeer => ({
    endpointId: `e${i}`,
    ip: { family: 4, bits: 0x0a010002n + BigInt(i) },
    mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, i >> 8, i & 0xff)),
    vtep: ip(`192.0.2.${vtep}`),
  });
  const peers = Array.from({ length: 10_000 }, (_, i) => peer(i));
  // Told before the network is set up here.
  await h1.driver.setPeers(network, peers.slice(0, 5000));
  await h1.driver.ensureNetwork(network);
  const read = async (): Promise<readonly [number, number, number]> => {
    const { forwards, neighbours } = await h1.kernel.peers('vxlan0', h1.pathOf(network));
    return [
      forwards.length,
      neighbours.length,
      forwards.filter(({ vtep }) => vtep.bits === 0xc0000203n).length,
    ];
  };
  assert.deepEqual(await read(), [5000, 5000, 0]);
  await h1.driver.addPeers(network, peers);
  assert.deepEqual(await read(), [10_000, 10_000, 0]);
  assert.equal(entriesOf(h1, network).split('\n').length, 20_000);
  await h1.driver.addPeers(
    network,
    Array.from({ length: 1000 }, (_, i) => peer(i, 3)),
  );
  assert.deepEqual(await read(), [10_000, 10_000, 1000]);
  await h1.driver.removePeers(network, peers.slice(0, 2000));
  assert.deepEqual(await read(), [8000, 8000, 0]);
  await h1.driver.setPeers(network, peers.slice(9990));
  assert.deepEqual(await read(), [10, 10, 0]);
  await h1.driver.setPeers(network, []);
  assert.equal(entriesOf(h1, network), '');
});

test('a VNI or a port that somebody else on the host has is refused, and nothing stays', async () => {
  await using world = await openOverlayWorld(1);
  const [h1] = world.hosts;
  assert.ok(h1);
  const network = makeNetwork('4096,4097', ['10.0.1.0/24', '10.0.2.0/24']);
  run(
    'h1',
    'ip',
    'link',
    'add',
    'their0',
    'type',
    'vxlan',
    'id',
    '4097',
    'local',
    '192.0.2.1',
    'dstport',
    '4789',
  );
  const refusal = (text: RegExp) => (error: unknown) =>
    error instanceof LinkspanError && error.code === 'networkConflict' && text.test(error.message);
  const attempt = h1.driver.ensureNetwork(network);
  await assert.rejects(attempt, refusal(/VNI 4097 is taken by another VXLAN device of this host$/));
  assert.deepEqual(readdirSync('/run/overlays-h1'), []);
  run('h1', 'ip', 'link', 'del', 'their0');

  const server = "require('node:dgram').createSocket('udp4').bind(4789)";
  const words = ['--net=/run/netns/h1', process.execPath, '-e', server];
  const other = spawn('nsenter', words, { stdio: 'ignore' });
  await until('the port is taken', () => run('h1', 'ss', '-uln').includes(':4789'));
  await assert.rejects(h1.driver.ensureNetwork(network), refusal(/UDP port 4789 of this host is taken/));
  assert.deepEqual(readdirSync('/run/overlays-h1'), []);
  const ended = new Promise((resolve) => other.once('exit', resolve));
  other.kill('SIGKILL');
  await ended;
  await h1.driver.ensureNetwork(network);
  await h1.driver.removeNetwork(network, []);
});

test('whatever step fails, nothing stays, and the next attempt gets through', async () => {
  await using world = await openOverlayWorld(1);
  const [h1] = world.hosts;
  assert.ok(h1);
  const { driver, seam, kernel } = h1;
  const network = makeNetwork('4097', ['10.0.1.0/24', 'fd00::/64']);
  const endpoint = makeEndpoint(network, ['10.0.1.2', 'fd00::2']);
  const peers: OverlayPeer[] = ['10.0.1.3', 'fd00::3'].map((text) => ({
    ...{ endpointId: 'p', ip: ip(text), mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, 3)) },
    vtep: ip('192.0.2.2'),
  }));
  await kernel.createNamespace('/run/netns/c1');
  const host = run('h1', 'ip', '-o', 'link');
  const steps = async (work: () => Promise<void>): Promise<number> => {
    seam.load({ at: 0, action: 'count' });
    seam.arm();
    await work();
    return seam.count;
  };
  const healed: string[] = [];
  /** False where the work got through all the same. */
  const failing = async (what: string, at: number, work: () => Promise<void>): Promise<boolean> => {
    seam.load({ at, action: { errno: 'ENOMEM' } });
    seam.arm();
    const outcome = await work().catch((error: unknown) => String(error));
    seam.load({ at: 0, action: 'count' });
    // A refused change of a table is none: it is written anew.
    if (outcome === undefined) healed.push(what);
    else assert.match(outcome, /ENOMEM/, `step ${at}`);
    return outcome !== undefined;
  };

  const ensure = (): Promise<void> => driver.ensureNetwork(network);
  const count = await steps(ensure);
  await driver.removeNetwork(network, []);
  assert.ok(count >= 18, `only ${count} steps`);
  for (let at = 1; at <= count; at++) {
    if (!(await failing('ensure', at, ensure))) await driver.removeNetwork(network, []);
    assert.deepEqual(readdirSync('/run/overlays-h1'), [], `step ${at} of ensureNetwork`);
    assert.equal(run('h1', 'ip', '-o', 'link'), host);
  }
  await ensure();

  const links = (): string => h1.inside(network, 'ip', '-o', 'link') + run('c1', 'ip', '-o', 'link');
  const empty = links();
  const attach = (): Promise<void> => driver.attach(network, endpoint, '/run/netns/c1');
  const attachSteps = await steps(attach);
  await driver.detach(network, endpoint, '/run/netns/c1');
  assert.equal(links(), empty);
  for (let at = 1; at <= attachSteps; at++) {
    if (!(await failing('attach', at, attach))) await driver.detach(network, endpoint, '/run/netns/c1');
    assert.equal(links(), empty, `step ${at} of attach`);
  }

  const set = (): Promise<void> => driver.setPeers(network, peers);
  const setSteps = await steps(set);
  const full = entriesOf(h1, network);
  assert.equal(full.split('\n').length, 3);
  for (let at = 1; at <= setSteps; at++) {
    await driver.setPeers(network, []);
    await failing('set', at, set);
    // What is known is set with the next change, whatever it is.
    await driver.removePeers(network, []);
    assert.equal(entriesOf(h1, network), full, `step ${at} of setPeers`);
    await set();
    assert.equal(entriesOf(h1, network), full);
  }

  const removeSteps = await steps(() => driver.removeNetwork(network, []));
  for (let at = 1; at <= removeSteps; at++) {
    await ensure();
    await failing('remove', at, () => driver.removeNetwork(network, []));
    await driver.removeNetwork(network, []);
    assert.deepEqual(readdirSync('/run/overlays-h1'), [], `step ${at} of removeNetwork`);
  }
  // Writing the table of sources and reading it; elements; the table of members.
  assert.deepEqual([...new Set(healed)], ['ensure', 'attach', 'set', 'remove']);
  assert.ok(healed.length < 25, healed.join());
  assert.equal(run('h1', 'ip', '-o', 'link'), host);
  await kernel.removeNamespace('/run/netns/c1');
  await assert.rejects(
    kernel.peers('vxlan0', h1.pathOf(network)),
    (error) => error instanceof KernelError && error.code === 'ENOENT',
  );
});

test('what somebody takes away is put back: entries, links, the bridge’s address, the namespace', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'c1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'c2', ['10.0.1.3']);
  await tellAll(network, [c1, c2]);
  const port = `ep-${c1.endpoint.id.slice(0, 12)}`;
  const repair = async (): Promise<readonly string[]> => [
    ...(await h1.driver.repairNetwork(network)),
    ...(await h1.driver.repairEndpoint(network, c1.endpoint, '/run/netns/c1', 'all')),
  ];
  const inside = (...words: readonly string[]): string => h1.inside(network, ...words);
  const full = entriesOf(h1, network);
  assert.deepEqual(await repair(), []);
  const peerMac = c2.endpoint.mac;
  for (const [commands, causes] of [
    [[`bridge fdb del ${peerMac} dev vxlan0 self`], [/^1 entries for peers on vxlan0 .* set$/]],
    [['ip neigh del 10.0.1.3 dev vxlan0'], [/^1 entries for peers/]],
    [
      ['bridge fdb add 02:00:00:00:00:77 dev vxlan0 dst 192.0.2.9 self permanent'],
      [/^1 entries on vxlan0 .* were of no peer: removed$/],
    ],
    [[`bridge fdb replace ${peerMac} dev vxlan0 dst 192.0.2.9 self permanent`], [/^1 entries for peers/]],
    [['ip link set vxlan0 down'], [/^vxlan0 .* was down: set up$/, /^1 entries for peers/]],
    [['ip link del vxlan0'], [/^vxlan0 of network net4097 was gone: made again$/, /^2 entries for peers/]],
    [['ip link set vxlan0 nomaster'], [/^vxlan0 was not in br0/]],
    [['ip link set br0 down'], [/^br0 .* was down: set up$/]],
    [['ip address del 10.0.1.1/24 dev br0'], [/^address 10.0.1.1\/24 of br0 was missing: added$/]],
    [['ip link del br0'], [/^br0 .* was gone: made again$/, new RegExp(`^${port} was not in br0`)]],
    [[`ip link set ${port} nomaster`], [new RegExp(`^${port} was not in br0 .* put back$`)]],
    [[`ip link set ${port} down`], [new RegExp(`^${port} was down: set up$`)]],
    [[`ip link del ${port}`], [/^eth0 in the container, or its other end, was gone/]],
    [
      ['ip link set br0 down', 'ip link set br0 name other0'],
      [/^br0 .* was gone: made again$/, new RegExp(`^${port} was not in br0`)],
    ],
    [
      ['ip link del vxlan0', 'ip link add vxlan0 type vxlan id 5 local 192.0.2.1 dstport 4789'],
      [
        /^vxlan0 was not in br0/,
        /^vxlan0 .* was down: set up$/,
        /^vxlan0 .* was another device: made again$/,
        /^2 entries for peers/,
      ],
    ],
  ] as const) {
    for (const command of commands) inside(...command.split(' '));
    const found = await repair();
    const wrong = causes.filter((cause) => !found.some((text) => cause.test(text)));
    const what = `${commands.join('; ')}\n${found.join('\n')}`;
    assert.deepEqual([found.length, wrong], [causes.length, []], what);
    assert.equal(entriesOf(h1, network), full, commands.join('; '));
    assert.deepEqual(await repair(), [], commands.join('; '));
    await expectOpen(['c1', '10.0.1.3'], ['c1', '10.0.1.1']);
  }

  run('host', 'umount', h1.pathOf(network));
  // The kernel takes a namespace apart in its own time, and its device has the VNI until then.
  const causes: string[] = [];
  await until('the namespace is back', async () => {
    const found = await repair().catch(() => undefined);
    causes.push(...(found ?? []));
    return found !== undefined;
  });
  assert.match(
    causes.join('\n'),
    /^the namespace of network net4097 was gone: made again\neth0 in the container/,
  );
  assert.deepEqual(await repair(), []);
  assert.equal(entriesOf(h1, network), full);
  await expectOpen(['c1', '10.0.1.3'], ['c2', '10.0.1.2']);

  // A daemon of another life: what it does not keep, goes.
  const stray = makeEndpoint(network, ['10.0.1.9']);
  await h1.kernel.createNamespace('/run/netns/c9');
  await h1.driver.attach(network, stray, '/run/netns/c9');
  await h1.driver.sweep({ links: [], addresses: [] }, { networks: [network], endpoints: [c1.endpoint] });
  assert.doesNotMatch(inside('ip', '-o', 'link'), new RegExp(stray.id.slice(0, 12)));
  assert.match(inside('ip', '-o', 'link'), new RegExp(port));
  for (const name of ['c1', 'c2', 'c9']) run('host', 'ip', 'netns', 'del', name);
});

test('what goes to an encrypted network goes nowhere else, whatever becomes of its interface', async () => {
  await using world = await openOverlayWorld(1);
  const [h1] = world.hosts;
  assert.ok(h1);
  // The tunnels are another test's; here both kinds are carried alike.
  const network = makeNetwork('4097', ['10.0.1.0/24', 'fd00::/64'], { encrypted: '' });
  const { endpoint } = await runContainer(h1, network, 'c1', ['10.0.1.2', 'fd00::2']);
  run('c1', 'ip', 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'far');
  run('c1', 'ip', 'address', 'add', '172.18.0.2/16', 'dev', 'out');
  run('c1', 'ip', 'address', 'add', '2001:db8:1::2/64', 'dev', 'out', 'nodad');
  for (const link of ['out', 'far']) run('c1', 'ip', 'link', 'set', link, 'up');
  run('c1', 'ip', 'route', 'add', 'default', 'via', '172.18.0.1');
  run('c1', 'ip', '-6', 'route', 'add', 'default', 'via', '2001:db8:1::1');
  const wayTo = (address: string): string => {
    const { stdout } = spawnSync('ip', ['-n', 'c1', '-o', 'route', 'get', address], { encoding: 'utf8' });
    return / dev (\w+)/.exec(stdout)?.[1] ?? 'nowhere';
  };
  const ways = (): readonly string[] => ['10.0.1.3', 'fd00::3', '192.0.2.99', '2001:db8:2::1'].map(wayTo);
  assert.deepEqual(ways(), ['eth0', 'eth0', 'out', 'out']);
  run('c1', 'ip', 'link', 'set', 'eth0', 'down');
  assert.deepEqual(ways(), ['nowhere', 'nowhere', 'out', 'out']);

  run('c1', 'ip', 'route', 'del', 'unreachable', '10.0.1.0/24');
  const causes = await h1.driver.repairEndpoint(network, endpoint, '/run/netns/c1', 'all');
  assert.match(
    causes.join('\n'),
    /^nothing barred the subnets of network net4097 from other ways out: barred$/m,
  );
  assert.deepEqual(ways(), ['eth0', 'eth0', 'out', 'out']);
  assert.deepEqual(await h1.driver.repairEndpoint(network, endpoint, '/run/netns/c1', 'all'), []);

  await h1.driver.detach(network, endpoint, '/run/netns/c1');
  assert.deepEqual(ways(), ['out', 'out', 'out', 'out']);
  run('host', 'ip', 'netns', 'del', 'c1');
});

test('frames of a network are taken from the hosts of its members alone, and other VNIs on the port are let be', async () => {
  await using world = await openOverlayWorld(3);
  const [h1, h2, h3] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined && h3 !== undefined);
  const network = makeNetwork('4097', ['10.0.1.0/24']);
  const c1 = await runContainer(h1, network, 'c1', ['10.0.1.2']);
  const c2 = await runContainer(h2, network, 'c2', ['10.0.1.3']);
  const intruder = await runContainer(h3, network, 'c3', ['10.0.1.4']);
  run('c1', 'nft', 'add table inet t; add chain inet t c { type filter hook input priority 0; }');
  run('c1', 'nft', 'add rule inet t c ip saddr 10.0.1.4 counter');
  const arrived = (): boolean => !run('c1', 'nft', 'list', 'table', 'inet', 't').includes('packets 0 ');
  await tellAll(network, [c1, c2]);
  await h3.driver.setPeers(network, [...c1.peers, ...c2.peers]);
  await expectOpen(['c1', '10.0.1.3']);
  await expectClosed(['c3', '10.0.1.2']);
  assert.equal(arrived(), false);

  // Another's tunnel between the same hosts on the same port.
  for (const [name, own, other] of [
    ['h1', '1', '3'],
    ['h3', '3', '1'],
  ] as const) {
    const remote = ['local', `192.0.2.${own}`, 'remote', `192.0.2.${other}`, 'dstport', '4789'];
    run(name, 'ip', 'link', 'add', 'their0', 'type', 'vxlan', 'id', '77', ...remote);
    run(name, 'ip', 'address', 'add', `10.9.0.${own}/24`, 'dev', 'their0');
    run(name, 'ip', 'link', 'set', 'their0', 'up');
  }
  await expectOpen(['h3', '10.9.0.1']);

  // Somebody takes the table away, or all tables: it comes back by itself.
  for (const words of [
    ['delete', 'table', 'inet', 'linkspan-tunnels'],
    ['flush', 'ruleset'],
  ]) {
    run('h1', 'nft', ...words);
    await until('the table is back', () => run('h1', 'nft', 'list', 'tables').includes('linkspan-tunnels'));
    assert.equal(arrived(), false);
  }
  await h1.driver.addPeers(network, intruder.peers);
  await expectOpen(['c3', '10.0.1.2'], ['c1', '10.0.1.3']);
  const table = (): string => run('h1', 'nft', 'list', 'table', 'inet', 'linkspan-tunnels');
  assert.match(table(), /192\.0\.2\.2 \. 0x1001/);
  await h1.driver.removePeers(network, intruder.peers);
  assert.doesNotMatch(table(), /192\.0\.2\.3/);

  // A daemon that comes after one that was killed, and has no use for the table.
  run('h3', 'nft', 'list', 'table', 'inet', 'linkspan-tunnels');
  const later = createTunnelGuard({
    ...{ kernel: h3.kernel, clock: systemClock, logger: silentLogger },
    port: () => 4789,
  });
  await later.sweep();
  assert.doesNotMatch(run('h3', 'nft', 'list', 'tables'), /linkspan-tunnels/);
  later[Symbol.dispose]();
  await h1.driver.removeNetwork(network, []);
  assert.doesNotMatch(run('h1', 'nft', 'list', 'tables'), /linkspan-tunnels/);
  for (const name of ['c1', 'c2', 'c3']) run('host', 'ip', 'netns', 'del', name);
});
