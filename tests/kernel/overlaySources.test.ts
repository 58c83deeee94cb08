/*
 * What a container on an overlay network may send, on the real kernel: frames that pretend to be another's, to a
 * container of the same host and through the tunnel; with the option off, after a flush, and over a restart.
 *
 *   [c1]  [near]      [far]
 *     \    /            |
 *      [h1] ========= [h2]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkLocalOf, type Mac } from '../../src/net/mac.ts';
import { formatIp } from '../../src/net/ip.ts';
import { run } from './bridgeWorld.ts';
import {
  arp,
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
import {
  type Attached,
  inside,
  makeNetwork,
  openHost,
  openOverlayWorld,
  runContainer,
  tellAll,
} from './overlayWorld.ts';

const [own4, near4, far4] = ['10.0.1.2', '10.0.1.3', '10.0.1.4'] as const;
const [own6, near6, far6] = ['fd00::2', 'fd00::3', 'fd00::4'] as const;
const subnets = ['10.0.1.0/24', 'fd00::/64'];

type Frames = readonly (readonly [what: string, frame: Uint8Array])[];
const names = (frames: Frames): readonly string[] => frames.map(([what]) => what);

/** What c1 sends that is nobody but itself. */
function honest(own: Mac, to: Mac): Frames {
  return [
    ['IPv4', ether(to, own, type.ip, udp4(own4, near4, 7, 7))],
    ['IPv6', ether(to, own, type.ip6, icmp6Packet(own6, near6, 128, [0, 1, 0, 1]))],
  ];
}

/** What passes between containers of one host only: the tunnel answers for others. */
function honestNear(own: Mac, to: Mac): Frames {
  return [
    ['ARP request', ether(to, own, type.arp, arp(1, own, own4, near4))],
    ['ARP reply', ether(to, own, type.arp, arp(2, own, own4, near4))],
    ['solicitation', ether(to, own, type.ip6, neighbour(own6, near6, icmp6.solicit, near6))],
    ['advertisement', ether(to, own, type.ip6, neighbour(own6, near6, icmp6.advert, own6))],
  ];
}

/** What it must not, by its own MAC and by another's. */
function forged(own: Mac, other: Mac, to: Mac): Frames {
  const linkLocal = formatIp(linkLocalOf(own));
  const router = [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
  return [
    ['another’s IPv4 address', ether(to, own, type.ip, udp4(far4, near4, 7, 7))],
    ['an IPv4 address of nobody', ether(to, own, type.ip, udp4('192.0.2.9', near4, 7, 7))],
    ['another’s MAC', ether(to, other, type.ip, udp4(own4, near4, 7, 7))],
    ['another’s MAC and address', ether(to, other, type.ip, udp4(far4, near4, 7, 7))],
    ['another’s IPv6 address', ether(to, own, type.ip6, icmp6Packet(far6, near6, 128, [0, 1, 0, 1]))],
    ['ARP reply for another', ether(to, own, type.arp, arp(2, own, far4, near4))],
    ['ARP with another’s MAC inside', ether(to, own, type.arp, arp(2, other, own4, near4))],
    ['advertisement for another', ether(to, own, type.ip6, neighbour(own6, near6, icmp6.advert, far6))],
    [
      'router advertisement',
      ether(to, own, type.ip6, icmp6Packet(linkLocal, near6, icmp6.routerAdvert, router)),
    ],
    ['a tagged frame', tagged(ether(to, own, type.ip, udp4(own4, near4, 8, 8)), 5)],
    ['another protocol', ether(to, own, type.experimental, [1, 2, 3, 4])],
  ];
}

const portOf = ({ name }: Attached): Port => inside(`/run/netns/${name}`, () => openPort('eth0'));

/** What of `frames` comes out at `to`; `last` comes out in any case. */
async function passing(from: Port, to: Port, frames: Frames, count: number): Promise<readonly string[]> {
  for (const [, frame] of frames) from.send(frame);
  const last = ether(to.mac, from.mac, type.ip, udp4(own4, near4, 9, count));
  from.send(last);
  const came = (await to.receiveUntil(last)).map((frame) => Buffer.from(frame).toString('hex'));
  // The kernel hands a tag over beside the frame.
  const untagged = (hex: string): string =>
    hex.slice(24, 28) === '8100' ? hex.slice(0, 24) + hex.slice(32) : hex;
  return names(frames.filter(([, frame]) => came.includes(untagged(Buffer.from(frame).toString('hex')))));
}

test('a container sends as itself only, to its own host and through the tunnel', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', subnets);
  const own = await runContainer(h1, network, 'c1', [own4, own6]);
  const near = await runContainer(h1, network, 'near', [near4, near6]);
  const far = await runContainer(h2, network, 'far', [far4, far6]);
  await tellAll(network, [own, near, far]);
  const [x, y, z] = [portOf(own), portOf(near), portOf(far)];
  let count = 0;
  const sees = (port: Port, frames: Frames): Promise<readonly string[]> => passing(x, port, frames, ++count);
  const good = [...honest(x.mac, y.mac), ...honestNear(x.mac, y.mac)];
  const bad = forged(x.mac, z.mac, y.mac);
  const [goodFar, badFar] = [honest(x.mac, z.mac), forged(x.mac, y.mac, z.mac)];
  const check = async (when: string): Promise<void> => {
    assert.deepEqual(await sees(y, [...good, ...bad]), names(good), when);
    assert.deepEqual(await sees(z, [...goodFar, ...badFar]), names(goodFar), `${when}, through the tunnel`);
  };
  await check('at first');
  const list = (): string => h1.inside(network, 'nft', '-s', 'list', 'table', 'bridge', 'linkspan');
  const whole = list();
  assert.equal(whole.match(/"ep-/g)?.length, 2 * (1 + 1 + 1 + 2 + 2));

  h1.inside(network, 'nft', 'flush', 'ruleset');
  assert.deepEqual(await sees(y, bad.slice(0, 1)), names(bad.slice(0, 1)), 'nothing is in the way');
  assert.match((await h1.driver.repairNetwork(network)).join(), /^linkspan of network net4097: .*was gone/);
  assert.deepEqual(await h1.driver.repairNetwork(network), []);
  assert.equal(list(), whole);
  await check('after a flush');

  // A daemon that starts: what it has not heard of stays, until it has.
  const again = await openHost(1, 4, true);
  const gone = { ...near.endpoint };
  await again.driver.ensureNetwork(network);
  assert.equal(list(), whole);
  await again.driver.sweep(
    { links: [], addresses: [] },
    { networks: [network], endpoints: [own.endpoint, gone] },
  );
  assert.equal(list(), whole);
  await check('after a restart');
  await again.driver.detach(network, gone, '/run/netns/near');
  assert.equal(list().includes(`ep-${gone.id.slice(0, 12)}`), false);
  assert.deepEqual(await sees(z, badFar), []);

  h1.inside(network, 'nft', 'flush', 'ruleset');
  await again.driver.detach(network, own.endpoint, '/run/netns/c1');
  assert.doesNotMatch(list(), /"ep-/);
  await again.driver.removeNetwork(network, []);
  await again.driver.detach(network, own.endpoint, '/run/netns/c1');
  await again.kernel[Symbol.asyncDispose]();
  for (const port of [x, y, z]) port[Symbol.dispose]();
  for (const name of ['c1', 'near', 'far']) run('host', 'ip', 'netns', 'del', name);
});

test('with linkspan.anti-spoof=false a container sends what it likes', async () => {
  await using world = await openOverlayWorld(2);
  const [h1, h2] = world.hosts;
  assert.ok(h1 !== undefined && h2 !== undefined);
  const network = makeNetwork('4097', subnets, { 'linkspan.anti-spoof': 'false' });
  const own = await runContainer(h1, network, 'c1', [own4, own6]);
  const far = await runContainer(h2, network, 'far', [far4, far6]);
  await tellAll(network, [own, far]);
  const [x, z] = [portOf(own), portOf(far)];
  const of = (from: string): Frames => [[from, ether(z.mac, x.mac, type.ip, udp4(from, far4, 7, 7))]];
  assert.deepEqual(await passing(x, z, [...of(near4), ...of('192.0.2.9')], 1), [near4, '192.0.2.9']);
  assert.equal(h1.inside(network, 'nft', 'list', 'tables'), '');
  for (const port of [x, z]) port[Symbol.dispose]();
  for (const name of ['c1', 'far']) run('host', 'ip', 'netns', 'del', name);
});
