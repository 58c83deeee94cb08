import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, getHost, hostNames, mostHosts, planTopology, type Topology } from './topology.ts';
import { planHostLinks, planPartition, planSegments } from './underlay.ts';

test('a lab of two hosts, as `ip -batch` is told it', () => {
  const topology = planTopology(hostNames(2));
  const pidOf = (host: string): number => (host === 'host1' ? 101 : 102);
  assert.deepEqual(planSegments(topology, pidOf), [
    'link add underlay type bridge',
    'link set underlay up',
    'link add host1-eth0 type veth peer name eth0 netns /proc/101/ns/net',
    'link set host1-eth0 master underlay up',
    'link add host2-eth0 type veth peer name eth0 netns /proc/102/ns/net',
    'link set host2-eth0 master underlay up',
  ]);
  assert.deepEqual(planHostLinks(topology, getHost(topology, 'host2')), [
    'address add 192.0.2.12/24 dev eth0',
    'link set eth0 up',
  ]);
});

test('the largest lab stays within one segment and within the names that the kernel takes', () => {
  const { hosts } = planTopology(hostNames(mostHosts));
  assert.equal(new Set(hosts.map(addressOf)).size, mostHosts);
  const ports = planSegments({ segments: [], hosts }, () => 1).map((line) => line.split(' ')[2] ?? '');
  assert.equal(
    ports.every((port) => port.length <= 15),
    true,
    ports.join(' '),
  );
});

test('a partition cuts two hosts on every segment that both are on, and on no other', () => {
  const link = (device: string, segment: string) => ({ device, segment, address: '' });
  const topology: Topology = {
    segments: [],
    hosts: [
      { name: 'a', links: [link('eth0', 'east'), link('eth1', 'backbone')] },
      { name: 'b', links: [link('eth0', 'west'), link('eth1', 'backbone')] },
      { name: 'c', links: [link('eth0', 'west')] },
    ],
  };
  const elements = (a: string, b: string): string | undefined =>
    planPartition(getHost(topology, a), getHost(topology, b)).at(-1);
  assert.equal(
    elements('a', 'b'),
    'add element bridge linkspan-lab cut { "a-eth1" . "b-eth1", "b-eth1" . "a-eth1" }',
  );
  assert.equal(
    elements('b', 'c'),
    'add element bridge linkspan-lab cut { "b-eth0" . "c-eth0", "c-eth0" . "b-eth0" }',
  );
});
