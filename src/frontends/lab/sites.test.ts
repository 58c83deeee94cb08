import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSites, planSites } from './sites.ts';
import { addressOf, findRouterOf, isReachable, portName, routersOf } from './topology.ts';
import { planHostLinks, planNat, planRouterLinks } from './underlay.ts';

const texts = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `${'abcdefgh'[i]?.repeat(4)}=2`);

test('two sites, as `ip -batch` is told it: only public addresses are known to the other one', () => {
  const topology = planSites(parseSites(['A=1', 'B=1'], ['B']));
  const [a, b] = topology.hosts;
  assert.ok(a && b);
  assert.deepEqual(planHostLinks(topology, b), [
    'address add 192.168.102.11/27 dev eth0',
    'link set eth0 up',
    'route add default via 192.168.102.1',
  ]);
  assert.deepEqual(
    routersOf(topology).map((router) => planRouterLinks(topology, router).join('\n')),
    [
      `address add 203.0.113.1/27 dev lan
link set lan up
address add 198.51.100.1/24 dev wan
link set wan up`,
      `address add 192.168.102.1/27 dev lan
link set lan up
address add 198.51.100.2/24 dev wan
link set wan up
route add 203.0.113.0/27 via 198.51.100.1`,
    ],
  );
  assert.deepEqual(
    [a, b].map((host) => isReachable(topology, host)),
    [true, false],
  );
  assert.equal(findRouterOf(topology, b)?.nat, 'portPreserving');
});

test('the largest lab of sites has no address or port twice, and no port longer than the kernel takes', () => {
  const topology = planSites(parseSites(texts(8), ['bbbb', 'dddd=symmetric', 'hhhh=port-preserving']));
  const stations = [...topology.hosts, ...routersOf(topology)];
  const addresses = stations.flatMap(({ links }) => links.map(({ address }) => address));
  assert.equal(new Set(addresses).size, addresses.length);
  assert.equal(topology.hosts.map(addressOf).length, 16);
  const bridges = topology.segments.map(({ name }) => name);
  const ports = stations.flatMap((station) => station.links.map((link) => portName(station, link)));
  assert.equal(new Set([...bridges, ...ports]).size, bridges.length + ports.length);
  for (const name of [...bridges, ...ports]) assert.ok(name.length <= 15, name);
  assert.throws(() => parseSites([...texts(8), 'i=1'], []), /at most 8 sites/);
});

test('ports of a symmetric NAT are random, of the other one those of the sender', () => {
  const rule = (kind: 'symmetric' | 'portPreserving'): string | undefined =>
    planNat(kind).find((line) => line.includes('masquerade'));
  assert.match(rule('symmetric') ?? '', /masquerade fully-random$/);
  assert.match(rule('portPreserving') ?? '', /masquerade$/);
});
