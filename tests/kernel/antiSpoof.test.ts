/*
 * What a container may send, on the real kernel: frames of every kind that could pretend to be another's, byte by byte
 * through a guarded bridge port; then containers as they are, with addresses that are not theirs. With br_netfilter on
 * and off, with the option off, after a flush, and over a restart.
 *
 *   x1 ── x0 (guarded) ─┐
 *   y1 ── y0 ───────────┴─ brx 172.18.0.1/16
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { createBridgeDriver } from '../../src/drivers/bridge/bridge.ts';
import { bridgeLabels as label } from '../../src/drivers/bridge/options.ts';
import { createFirewall } from '../../src/firewall/firewall.ts';
import { formatIp, parseIp } from '../../src/net/ip.ts';
import { linkLocalOf, type Mac, macToBytes, parseMac, randomMac } from '../../src/net/mac.ts';
import { expectClosed, expectOpen, openWorld, reaches, run, until, type World } from './bridgeWorld.ts';
import {
  addressBytes,
  arp,
  broadcast,
  ether,
  etherTypes as type,
  icmp6,
  icmp6Packet,
  neighbour,
  openPort,
  type Port,
  tagged,
  udp4,
} from './frames.ts';
import { matchGolden } from './golden.ts';
import { openRepairWorld } from './repairWorld.ts';

const mac = (text: string): Mac => {
  const parsed = parseMac(text);
  assert.ok(parsed);
  return parsed;
};
const value = (text: string): NonNullable<ReturnType<typeof parseIp>> => {
  const parsed = parseIp(text);
  assert.ok(parsed);
  return parsed;
};

const [own4, other4, gateway4] = ['172.18.0.10', '172.18.0.11', '172.18.0.1'] as const;
const [own6, other6, gateway6] = ['fd00:18::10', 'fd00:18::11', 'fd00:18::1'] as const;
const [allNodes, allRouters, mldRouters] = ['ff02::1', 'ff02::2', 'ff02::16'] as const;
const multicast6 = mac('33:33:00:00:00:01');
const record = [0, 0, 0, 1, 4, 0, 0, 0, ...addressBytes('ff02::1:ff00:10')];

type Frames = readonly (readonly [what: string, frame: Uint8Array])[];

/** What a container sends that is nobody but itself. To everybody, since a bridge that was misled misdelivers. */
function honest(own: Mac): Frames {
  const linkLocal = formatIp(linkLocalOf(own));
  return [
    ['IPv4', ether(broadcast, own, type.ip, udp4(own4, other4, 7, 7))],
    ['IPv4 multicast', ether(mac('01:00:5e:00:00:fb'), own, type.ip, udp4(own4, '224.0.0.251', 5353, 5353))],
    ['ARP request', ether(broadcast, own, type.arp, arp(1, own, own4, other4))],
    ['ARP reply', ether(broadcast, own, type.arp, arp(2, own, own4, other4))],
    ['ARP announcement', ether(broadcast, own, type.arp, arp(1, own, own4, own4))],
    ['ARP probe', ether(broadcast, own, type.arp, arp(1, own, '0.0.0.0', '172.18.0.77'))],
    ['DHCP', ether(broadcast, own, type.ip, udp4('0.0.0.0', '255.255.255.255', 68, 67))],
    ['IPv6', ether(broadcast, own, type.ip6, icmp6Packet(own6, other6, 128, [0, 1, 0, 1]))],
    [
      'IPv6 from the link-local address',
      ether(broadcast, own, type.ip6, icmp6Packet(linkLocal, other6, 128, [0, 1, 0, 1])),
    ],
    ['solicitation', ether(multicast6, own, type.ip6, neighbour(own6, allNodes, icmp6.solicit, other6))],
    ['advertisement', ether(multicast6, own, type.ip6, neighbour(own6, allNodes, icmp6.advert, own6))],
    [
      'advertisement of the link-local address',
      ether(multicast6, own, type.ip6, neighbour(linkLocal, allNodes, icmp6.advert, linkLocal)),
    ],
    [
      'duplicate address detection',
      ether(multicast6, own, type.ip6, neighbour('::', allNodes, icmp6.solicit, own6)),
    ],
    [
      'duplicate address detection of the link-local address',
      ether(multicast6, own, type.ip6, neighbour('::', allNodes, icmp6.solicit, linkLocal)),
    ],
    [
      'router solicitation from ::',
      ether(multicast6, own, type.ip6, icmp6Packet('::', allRouters, icmp6.routerSolicit, [0, 0, 0, 0])),
    ],
    [
      'MLD report from ::',
      ether(multicast6, own, type.ip6, icmp6Packet('::', mldRouters, icmp6.listenerReport, record, true)),
    ],
    [
      'MLD report',
      ether(
        multicast6,
        own,
        type.ip6,
        icmp6Packet(linkLocal, mldRouters, icmp6.listenerReport, record, true),
      ),
    ],
  ];
}

/** What it must not. */
function forged(own: Mac, other: Mac): Frames {
  const linkLocal = formatIp(linkLocalOf(own));
  const otherLocal = formatIp(linkLocalOf(other));
  const named = (from: Mac, kind: number, payload: readonly number[]): Uint8Array =>
    ether(broadcast, from, kind, payload);
  const router = [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
  return [
    ['another’s IPv4 address', named(own, type.ip, udp4(other4, gateway4, 7, 7))],
    ['the gateway’s IPv4 address', named(own, type.ip, udp4(gateway4, other4, 7, 7))],
    ['an IPv4 address of nobody', named(own, type.ip, udp4('192.0.2.9', other4, 7, 7))],
    ['no IPv4 address, not DHCP', named(own, type.ip, udp4('0.0.0.0', other4, 68, 69))],
    ['another’s MAC, own IPv4 address', named(other, type.ip, udp4(own4, other4, 7, 7))],
    ['another’s MAC and IPv4 address', named(other, type.ip, udp4(other4, gateway4, 7, 7))],
    ['another’s MAC, DHCP', named(other, type.ip, udp4('0.0.0.0', '255.255.255.255', 68, 67))],
    ['ARP reply with another’s address', named(own, type.arp, arp(2, own, other4, gateway4))],
    [
      'ARP announcement of the gateway’s address',
      ether(broadcast, own, type.arp, arp(1, own, gateway4, gateway4)),
    ],
    ['ARP with another’s MAC inside', named(own, type.arp, arp(2, other, own4, gateway4))],
    ['ARP with another’s MAC outside', named(other, type.arp, arp(1, own, own4, gateway4))],
    ['ARP probe with another’s MAC', named(other, type.arp, arp(1, other, '0.0.0.0', gateway4))],
    ['ARP reply without an address', named(own, type.arp, arp(2, own, '0.0.0.0', gateway4))],
    ['another’s IPv6 address', named(own, type.ip6, icmp6Packet(other6, gateway6, 128, [0, 1, 0, 1]))],
    [
      'another’s link-local address',
      named(own, type.ip6, icmp6Packet(otherLocal, gateway6, 128, [0, 1, 0, 1])),
    ],
    [
      'another’s MAC, own IPv6 address',
      named(other, type.ip6, icmp6Packet(own6, gateway6, 128, [0, 1, 0, 1])),
    ],
    ['no IPv6 address, echo', named(own, type.ip6, icmp6Packet('::', other6, 128, [0, 1, 0, 1]))],
    [
      'advertisement of another’s address',
      named(own, type.ip6, neighbour(own6, allNodes, icmp6.advert, other6)),
    ],
    [
      'advertisement of the gateway’s address from the link-local one',
      named(own, type.ip6, neighbour(linkLocal, allNodes, icmp6.advert, gateway6)),
    ],
    ['advertisement from ::', named(own, type.ip6, neighbour('::', allNodes, icmp6.advert, own6))],
    [
      'duplicate address detection of another’s address',
      named(own, type.ip6, neighbour('::', allNodes, icmp6.solicit, other6)),
    ],
    [
      'duplicate address detection with another’s MAC',
      named(other, type.ip6, neighbour('::', allNodes, icmp6.solicit, own6)),
    ],
    [
      'router advertisement',
      named(own, type.ip6, icmp6Packet(linkLocal, allNodes, icmp6.routerAdvert, router)),
    ],
    [
      'redirect',
      named(
        own,
        type.ip6,
        icmp6Packet(linkLocal, other6, icmp6.redirect, [
          ...[0, 0, 0, 0, ...addressBytes(linkLocal), ...addressBytes('fd00::9')],
        ]),
      ),
    ],
    ['a tagged frame of its own', tagged(named(own, type.ip, udp4(own4, other4, 8, 8)), 5)],
    ['a tagged frame of another', tagged(named(own, type.ip, udp4(other4, gateway4, 8, 8)), 5)],
    ['another protocol', named(own, type.experimental, [1, 2, 3, 4])],
  ];
}

function setFiltering(isOn: boolean): void {
  const script = `for f in iptables ip6tables arptables; do echo ${isOn ? 1 : 0} > /proc/sys/net/bridge/bridge-nf-call-$f; done`;
  run('host', 'sh', '-c', script);
}

interface Ports extends AsyncDisposable {
  readonly world: World;
  readonly x: Port;
  readonly y: Port;
  /** Sends all of these from x1; resolves with those that came out at y1. */
  passing(frames: Frames): Promise<readonly string[]>;
  /** The port at which the bridge believes `mac` to be. */
  whereIs(mac: Mac): string | undefined;
}

async function openPorts(): Promise<Ports> {
  const world = await openWorld();
  await world.createNetwork('172.18.0.0/16', { [label.name]: 'brx' });
  for (const name of ['x', 'y'])
    for (const words of [
      `link add ${name}0 type veth peer name ${name}1`,
      `link set ${name}0 master brx up`,
      `link set ${name}1 up`,
    ])
      run('host', 'ip', ...words.split(' '));
  // Reports of listeners go to every port.
  run('host', 'ip', 'link', 'set', 'brx', 'type', 'bridge', 'mcast_snooping', '0');
  const [x, y] = [openPort('x1'), openPort('y1')];
  let count = 0;
  return {
    ...{ world, x, y },
    passing: async (frames) => {
      for (const [, frame] of frames) x.send(frame);
      const last = ether(broadcast, x.mac, type.ip, udp4(own4, '172.18.255.255', 9, ++count));
      x.send(last);
      const came = (await y.receiveUntil(last)).map((frame) => Buffer.from(frame).toString('hex'));
      // The kernel hands a tag over beside the frame.
      const untagged = (hex: string): string =>
        hex.slice(24, 28) === '8100' ? hex.slice(0, 24) + hex.slice(32) : hex;
      return frames
        .filter(([, frame]) => came.includes(untagged(Buffer.from(frame).toString('hex'))))
        .map(([what]) => what);
    },
    whereIs: (wanted) =>
      run('host', 'bridge', 'fdb', 'show', 'br', 'brx')
        .split('\n')
        .map((line) => /^(\S+) dev (\S+) master brx $/.exec(line))
        .find((match) => match?.[1] === wanted)?.[2],
    [Symbol.asyncDispose]: async () => {
      x[Symbol.dispose]();
      y[Symbol.dispose]();
      for (const name of ['x0', 'y0']) run('host', 'ip', 'link', 'del', name);
      await world[Symbol.asyncDispose]();
    },
  };
}

const names = (frames: Frames): readonly string[] => frames.map(([what]) => what);
const addresses = [value(own4), value(own6)];
const x0 = { link: 'x0', owner: 'x', isChecked: true } as const;

test('a guarded port sends as itself only, with br_netfilter off and on; one that is not, as it likes', async () => {
  await using ports = await openPorts();
  const { world, x, y } = ports;
  const [good, bad] = [honest(x.mac), forged(x.mac, y.mac)];
  setFiltering(false);
  assert.deepEqual(await ports.passing([...good, ...bad]), names([...good, ...bad]), 'nobody is in the way');
  await world.firewall.guardEndpoint({ ...x0, mac: x.mac, addresses });
  for (const isFiltering of [false, true]) {
    setFiltering(isFiltering);
    assert.deepEqual(await ports.passing([...good, ...bad]), names(good), `filtering ${isFiltering}`);
  }
  setFiltering(false);
  y.send(ether(broadcast, y.mac, type.arp, arp(1, y.mac, other4, gateway4)));
  assert.equal(ports.whereIs(y.mac), 'y0');
  await ports.passing(bad);
  // What goes to these addresses meets no nftables hook before the bridge could learn from it.
  for (const last of ['00', '02', '03', '0e', '21'])
    x.send(ether(mac(`01:80:c2:00:00:${last}`), y.mac, 0x88cc, [0, 0]));
  await ports.passing([]);
  assert.equal(ports.whereIs(y.mac), 'y0', 'the bridge was not misled');
  await world.firewall.releaseEndpoint('x0');
  assert.deepEqual(await ports.passing(bad), names(bad), 'free again');
});

test('an endpoint has every address that it was given, and another MAC at the next start', async () => {
  await using ports = await openPorts();
  const { world, x, y } = ports;
  const next = randomMac();
  const of = (from: Mac, address: string): Frames => [
    [`${from} ${address}`, ether(y.mac, from, type.ip, udp4(address, other4, 7, 7))],
  ];
  const given = [own4, '169.254.7.7'];
  await world.firewall.guardEndpoint({ ...x0, mac: x.mac, addresses: given.map(value) });
  const all = given.flatMap((address) => [...of(x.mac, address), ...of(next, address)]);
  assert.deepEqual(
    await ports.passing(all),
    given.map((address) => `${x.mac} ${address}`),
  );
  await world.firewall.guardEndpoint({ ...x0, mac: next, addresses: given.map(value) });
  const last = ether(broadcast, next, type.ip, udp4(own4, '172.18.255.255', 9, 9));
  for (const [, frame] of all) x.send(frame);
  x.send(last);
  const came = await y.receiveUntil(last);
  const from = (frame: Uint8Array): boolean => Buffer.compare(frame.subarray(6, 12), macToBytes(x.mac)) === 0;
  assert.equal(came.filter(from).length, 0);
});

const listGuard = (): string => run('host', 'nft', '-s', 'list', 'table', 'bridge', 'linkspan');

test('a container of two networks may answer by either, until it leaves one', async () => {
  await using ports = await openPorts();
  const { world, x, y } = ports;
  const elsewhere = '172.19.0.7';
  const frames: Frames = [
    ['own', ether(y.mac, x.mac, type.ip, udp4(own4, other4, 7, 7))],
    ['of the other network', ether(y.mac, x.mac, type.ip, udp4(elsewhere, other4, 7, 7))],
    ['ARP with it', ether(broadcast, x.mac, type.arp, arp(1, x.mac, elsewhere, other4))],
    ['another’s', ether(y.mac, x.mac, type.ip, udp4('172.19.0.8', other4, 7, 7))],
  ];
  const second = { link: 'elsewhere0', owner: 'x', isChecked: false, mac: randomMac() } as const;
  await world.firewall.guardEndpoint({ ...x0, mac: x.mac, addresses });
  assert.deepEqual(await ports.passing(frames), ['own']);
  await world.firewall.guardEndpoint({ ...second, addresses: [value(elsewhere)] });
  assert.deepEqual(await ports.passing(frames), ['own', 'of the other network', 'ARP with it']);
  await world.firewall.releaseEndpoint(second.link);
  assert.deepEqual(await ports.passing(frames), ['own']);
  assert.deepEqual(await world.firewall.check(), []);
});

test('the table in text: two endpoints, a change of the MAC, after detach, and after an attach that failed', async () => {
  await using world = await openWorld();
  await matchGolden('guardEmpty', listGuard());
  const network = await world.createNetwork('172.18.0.0/16');
  const w1 = await world.runContainer('w1', network);
  const free = await world.createNetwork('172.19.0.0/16', { [label.antiSpoof]: 'false' });
  await world.runContainer('v1', free);
  const steady = (): string =>
    listGuard().replaceAll(w1.endpoint.hostInterfaceName, 'vethw1').replaceAll(w1.endpoint.mac, 'MAC');
  const before = steady();
  const bits = linkLocalOf(w1.endpoint.mac).bits;
  await matchGolden(
    'guardOne',
    before
      .replaceAll(formatIp({ family: 6, bits }), 'LINKLOCAL')
      .replaceAll(`0x${bits.toString(16)}`, 'LINKLOCAL'),
  );
  const failing = {
    ...w1.endpoint,
    hostInterfaceName: 'vethnope',
    interfaceName: 'eth9',
    sysctls: [{ key: 'net/ipv4/conf/eth9/nope', value: '1' }],
  };
  await assert.rejects(world.driver.attach(network, failing, w1.path));
  assert.equal(steady(), before);
  assert.deepEqual(await world.firewall.check(), []);
  await world.driver.detach(network, w1.endpoint, undefined);
  await matchGolden('guardEmpty', listGuard());
});

for (const isFiltering of [false, true])
  test(`bridge-nf-call-iptables=${isFiltering ? 1 : 0}: a container with others’ addresses or MAC is not heard, as itself it is`, async () => {
    await using world = await openWorld();
    setFiltering(isFiltering);
    const network = await world.createNetwork('172.18.0.0/16');
    const free = await world.createNetwork('172.19.0.0/16', { [label.antiSpoof]: 'false' });
    const [w1, w2] = [await world.runContainer('w1', network), await world.runContainer('w2', network)];
    const [v1, v2] = [await world.runContainer('v1', free), await world.runContainer('v2', free)];
    await expectOpen(['w1', w2.address], ['w2', '172.18.0.1'], ['host', w1.address], ['v1', v2.address]);
    // The host remembers nothing that an impostor said.
    const remembered = (address: string): string => run('host', 'ip', 'neigh', 'show', address);
    const before = /lladdr \S+/.exec(remembered(w1.address))?.[0];
    await world.kernel.announce('eth0', w2.endpoint.mac, value(w1.address), w2.path);
    await expectOpen(['host', w1.address]);
    assert.equal(/lladdr \S+/.exec(remembered(w1.address))?.[0], before);
    for (const [where, subnet] of [
      ['w2', '172.18'],
      ['v2', '172.19'],
    ] as const) {
      run(where, 'ip', 'address', 'add', `${subnet}.0.99/16`, 'dev', 'eth0');
      run(where, 'ip', 'route', 'replace', `${subnet}.0.1/32`, 'dev', 'eth0', 'src', `${subnet}.0.99`);
    }
    await expectClosed(['w2', '172.18.0.1', 'by an address of nobody']);
    await expectOpen(['v2', '172.19.0.1', 'the option lets it']);
    for (const where of ['w2', 'v2']) {
      run(
        where,
        'ip',
        'route',
        'flush',
        'dev',
        'eth0',
        'table',
        'main',
        'root',
        '0.0.0.0/0',
        'scope',
        'link',
      );
      run(where, 'ip', 'address', 'flush', 'dev', 'eth0');
      run(where, 'ip', 'link', 'set', 'eth0', 'address', randomMac());
    }
    run('w2', 'ip', 'address', 'add', `${w2.address}/16`, 'dev', 'eth0');
    run('v2', 'ip', 'address', 'add', `${v2.address}/16`, 'dev', 'eth0');
    for (const address of [w2.address, v2.address]) run('host', 'ip', 'neigh', 'flush', 'to', address);
    await expectClosed(['w2', w1.address, 'by another MAC']);
    await expectOpen(['v2', v1.address]);
    run('w2', 'ip', 'link', 'set', 'eth0', 'address', w2.endpoint.mac);
    await expectOpen(['w2', w1.address]);
  });

test('IPv6 works as before: neighbours, link-local addresses, duplicate address detection; others’ addresses do not', async () => {
  await using world = await openRepairWorld();
  await world.createNetwork('n1', {
    ipv6: true,
    pools: [{ subnet: '10.71.0.0/24' }, { subnet: 'fd00:71::/64' }],
    options: { [label.name]: 'br-n1' },
  });
  const [a, b] = [await world.attach('a', ['n1']), await world.attach('b', ['n1'], true)];
  await expectOpen(['a', 'fd00:71::3'], ['b', 'fd00:71::1'], ['host', 'fd00:71::2'], ['a', '10.71.0.3']);
  const ownMac = mac(b.endpoints[0]?.mac ?? '');
  const linkLocal = formatIp(linkLocalOf(ownMac));
  await until(
    'the link-local address is there, unopposed',
    async () =>
      !/tentative|dadfailed/.test(run('b', 'ip', '-6', 'address', 'show', 'dev', 'eth0')) &&
      (await reaches('a', `${linkLocal}%eth0`)),
  );
  const bPath = b.container.sandbox?.path;
  const remembered = (): string | undefined =>
    /lladdr \S+/.exec(run('host', 'ip', 'neigh', 'show', 'fd00:71::2'))?.[0];
  const before = remembered();
  assert.equal(before, `lladdr ${a.endpoints[0]?.mac ?? ''}`);
  await world.kernel.announce('eth0', ownMac, value('fd00:71::2'), bPath);
  await expectOpen(['host', 'fd00:71::2']);
  assert.equal(remembered(), before);
  run('b', 'ip', 'address', 'del', 'fd00:71::3/64', 'dev', 'eth0');
  run('b', 'ip', 'address', 'add', 'fd00:71::99/64', 'dev', 'eth0', 'nodad');
  await expectClosed(['b', 'fd00:71::1']);
  run('b', 'ip', 'address', 'del', 'fd00:71::99/64', 'dev', 'eth0');
  // With duplicate address detection this time.
  run('b', 'ip', 'address', 'add', 'fd00:71::3/64', 'dev', 'eth0');
  await until('the address is back', () => reaches('b', 'fd00:71::1'));
});

test('a flush, a deleted table, a lost element and a changed rule are repaired, logged and counted', async () => {
  await using world = await openRepairWorld();
  await world.createNetwork('n1', { pools: [{ subnet: '10.71.0.0/24' }] });
  await world.firewall.applyEndpoints([]);
  const { endpoints } = await world.attach('a', ['n1']);
  const before = listGuard();
  const link = endpoints[0]?.hostInterfaceName ?? '';
  for (const [command, cause] of [
    ['flush ruleset', /^the table was gone$/],
    ['delete table bridge linkspan', /^the table was gone$/],
    [`delete element bridge linkspan ports { "${link}" }`, /^1 elements were missing$/],
    ['add element bridge linkspan ports { "intruder" }', /^1 elements were too many$/],
    ['flush chain bridge linkspan check', /^rules had changed$/],
  ] as const) {
    const since = world.repairs.recent.at(-1)?.id ?? 0;
    run('host', 'nft', command);
    await until(command, () =>
      world.repairs.recent.some(
        ({ id, object, cause: found, trigger }) =>
          id > since && object === 'table bridge linkspan' && cause.test(found) && trigger === 'event',
      ),
    );
    assert.equal(listGuard(), before, command);
  }
  await expectOpen(['a', '10.71.0.1']);
});

test('a new daemon leaves guarded what was, until it knows its endpoints; then others go', async () => {
  await using world = await openWorld();
  const network = await world.createNetwork('172.18.0.0/16');
  const w1 = await world.runContainer('w1', network);
  const w2 = await world.runContainer('w2', network);
  const before = listGuard();
  await world.firewall.stop();
  const firewall = createFirewall({ kernel: world.kernel, logger: silentLogger });
  const driver = createBridgeDriver({
    kernel: world.kernel,
    firewall,
    logger: silentLogger,
    daemonId: 'test',
  });
  await firewall.start();
  await firewall.check();
  assert.equal(listGuard(), before);
  const actual = { links: await world.kernel.links(), addresses: await world.kernel.addresses() };
  await driver.sweep(actual, { networks: [network], endpoints: [w1.endpoint] });
  const after = listGuard();
  assert.ok(after.includes(w1.endpoint.hostInterfaceName));
  assert.ok(!after.includes(w2.endpoint.hostInterfaceName));
  await driver.detach(network, w1.endpoint, undefined);
  await matchGolden('guardEmpty', listGuard());
  await firewall.stop();
});

test('on a bridge of the user’s, our ports are guarded, and others are not', async () => {
  await using world = await openWorld();
  run('host', 'ip', 'link', 'add', 'br-user', 'up', 'type', 'bridge');
  const network = await world.createNetwork('172.18.0.0/16', { [label.name]: 'br-user' });
  const w1 = await world.runContainer('w1', network);
  run('host', 'ip', 'link', 'add', 'u0', 'type', 'veth', 'peer', 'name', 'eth7', 'netns', 'D');
  run('host', 'ip', 'link', 'set', 'u0', 'master', 'br-user', 'up');
  run('D', 'ip', 'address', 'add', '172.18.0.200/16', 'dev', 'eth7');
  run('D', 'ip', 'link', 'set', 'eth7', 'up');
  await expectOpen(['D', w1.address], ['w1', '172.18.0.200']);
  run('w1', 'ip', 'address', 'flush', 'dev', 'eth0');
  run('w1', 'ip', 'address', 'add', '172.18.0.201/16', 'dev', 'eth0');
  await expectClosed(['w1', '172.18.0.200']);
  for (const name of ['u0', 'br-user']) run('host', 'ip', 'link', 'del', name);
});
