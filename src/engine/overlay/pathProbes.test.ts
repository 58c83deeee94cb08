/*
 * Which lengths of packets get through, found by what comes back; and what is said of it, for how long.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import { type Kernel, KernelError, type PathProbe } from '../../kernel/kernel.ts';
import { formatIp, parseIp } from '../../net/ip.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { PathProbes } from './pathProbes.ts';
import { findPathSize } from './pathSize.ts';

const address = (text: string) => {
  const ip = parseIp(text);
  assert.ok(ip);
  return ip;
};

/** A way on which packets of up to these lengths get through; `losses`: how many questions are lost first. */
class Way {
  readonly asked: PathProbe[] = [];
  wholeBytes = 1500;
  splitBytes = 65_535;
  losses = 0;
  error: KernelError | undefined;

  readonly kernel: Pick<Kernel, 'probePath'> = {
    probePath: (probe) => {
      this.asked.push(probe);
      if (this.error !== undefined) return Promise.reject(this.error);
      if (this.losses-- > 0) return Promise.resolve([]);
      const most = probe.isWhole ? this.wholeBytes : this.splitBytes;
      return Promise.resolve(probe.sizes.filter((size) => size <= most));
    },
  };

  find(maySplit = true) {
    const ends = { from: address('192.0.2.1'), to: address('192.0.2.2') };
    return findPathSize(this.kernel, { ...ends, fullBytes: 1500, maySplit });
  }
}

test('a way that takes full packets costs one question', async () => {
  const way = new Way();
  assert.deepEqual(await way.find(), { kind: 'whole' });
  assert.deepEqual(
    way.asked.map(({ sizes }) => sizes),
    [[128, 1500]],
  );
});

test('the largest length that passes is found to the byte', async () => {
  for (const wholeBytes of [128, 129, 576, 1280, 1399, 1400, 1498, 1499]) {
    const way = new Way();
    way.wholeBytes = wholeBytes;
    assert.deepEqual(await way.find(), { kind: 'split', passingBytes: wholeBytes });
    way.splitBytes = 1400;
    assert.deepEqual(await way.find(), { kind: 'lost', passingBytes: wholeBytes });
    way.splitBytes = 65_535;
    assert.deepEqual(await way.find(false), { kind: 'lost', passingBytes: wholeBytes });
    assert.ok(way.asked.length < 60, String(way.asked.length));
    for (const { sizes } of way.asked) assert.ok(sizes.length <= 17, String(sizes.length));
  }
});

test('silence says nothing, and neither does a packet that was lost', async () => {
  const way = new Way();
  way.wholeBytes = 0;
  assert.deepEqual(await way.find(), { kind: 'unknown' });
  const lossy = new Way();
  lossy.losses = 1;
  assert.deepEqual(await lossy.find(), { kind: 'whole' });
  // One of three rounds was lost whole: the length need not be why.
  lossy.losses = 1;
  lossy.wholeBytes = 1400;
  assert.deepEqual(await lossy.find(), { kind: 'unknown' });
});

const nodeOf = (id: string, vtep: string, number: number): SwarmNode => ({
  ...{ id, hostname: `host-${id}`, vtep, isDown: false },
  tunnel: { publicKey: id, number, mtuBytes: 1500, endpoints: [] },
});

function openWorld() {
  const clock = new HandClock();
  const swarm = new FakeSwarm(true);
  const way = new Way();
  const add = (id: string, vtep: string, number: number): void => {
    swarm.nodesById.set(id, nodeOf(id, vtep, number));
  };
  add('self', '192.0.2.1', 1);
  add('two', '192.0.2.2', 2);
  add('three', '2001:db8::3', 3);
  const network = (id: string, options: Readonly<Record<string, string>>) => ({
    ...{ id, name: id, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true },
    ...{ hasIpv6: false, pools: [], vnis: [4097], labels: {}, createdAt: '', options },
  });
  swarm.networks = [
    network('plain', {}),
    network('small', { 'com.docker.network.driver.mtu': '1400' }),
    network('secret', { encrypted: '' }),
  ];
  const attach = (networkId: string, nodeId: string, isUp = true): void => {
    swarm.rows.set(`${networkId}-${nodeId}`, {
      ...{ endpointId: `${networkId}-${nodeId}`, networkId, containerId: '', containerName: '', mac: '' },
      ...{ dnsNames: [], isUp, nodeId, revision: 1 },
    });
    swarm.events.emit('peers', { networkId, isSnapshot: false, added: [], removed: [] });
  };
  const plain = { address: address('192.0.2.1'), mtuBytes: 1500, port: 4789 };
  const encrypted = { ...plain, address: address('100.64.0.1'), headerBytes: 80 };
  const probes = new PathProbes({
    ...{ kernel: way.kernel, swarm, clock, logger: silentLogger, random: () => 0.5 },
    carriers: {
      plain: { underlay: () => plain },
      encrypted: { underlay: () => encrypted, namespace: '/tunnels' },
    },
  });
  probes.start();
  /** Whom was asked for which lengths since it was looked last. */
  const asked = (): readonly string[] =>
    way.asked
      .splice(0)
      .map(({ to, sizes, namespace = '-', isWhole }) =>
        [formatIp(to), namespace, sizes.length > 2 ? 'search' : sizes.join(' '), isWhole].join(' '),
      );
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) await clock.advance(500);
  };
  return { probes, way, swarm, clock, attach, asked, pass };
}

test('in a tunnel nothing larger is tried than its links take, whatever a network asks for', async () => {
  const { probes, swarm, attach, asked, pass } = openWorld();
  using _probes = probes;
  const secret = swarm.networks.find(({ id }) => id === 'secret') ?? assert.fail();
  swarm.networks = [{ ...secret, options: { ...secret.options, 'com.docker.network.driver.mtu': '9000' } }];
  attach('secret', 'two');
  await pass(5000);
  assert.deepEqual(asked(), ['100.64.0.2 /tunnels 128 1420 true']);
});

test('networks in clear whose packets take the tunnels to a node behind NAT are tried there', async () => {
  const { probes, swarm, attach, asked, pass } = openWorld();
  using _probes = probes;
  const two = swarm.findNode('two');
  assert.ok(two?.tunnel);
  swarm.nodesById.set('two', { ...two, tunnel: { ...two.tunnel, seenAs: '198.51.100.2' } });
  attach('small', 'two');
  await pass(5000);
  assert.deepEqual(asked(), ['100.64.0.2 /tunnels 128 1400 true']);
  attach('plain', 'two');
  await pass(5000);
  assert.deepEqual(asked(), ['100.64.0.2 /tunnels 128 1420 true']);
});

test('a clock that is set changes nothing of when a way is tried again', async () => {
  const { probes, clock, attach, asked, pass } = openWorld();
  using _probes = probes;
  attach('plain', 'two');
  await pass(5000);
  assert.equal(asked().length, 1);
  clock.set(3_600_000);
  await pass(5000);
  assert.equal(asked().length, 0);
  clock.set(-7_200_000);
  await pass(610_000);
  assert.equal(asked().length, 1);
});

test('only ways that are used are tried: one for each node and carrier, at its networks’ largest packet', async () => {
  const { probes, attach, asked, pass } = openWorld();
  using _probes = probes;
  await pass(5000);
  assert.deepEqual(asked(), []);
  attach('small', 'two');
  await pass(5000);
  assert.deepEqual(asked(), ['192.0.2.2 - 128 1400 true']);
  attach('plain', 'two');
  attach('secret', 'two');
  // Not by IPv6.
  attach('plain', 'three');
  await pass(5000);
  assert.deepEqual(asked(), ['192.0.2.2 - 128 1500 true', '100.64.0.2 /tunnels 128 1420 true']);
  await pass(590_000);
  assert.deepEqual(asked(), []);
  await pass(20_000);
  assert.equal(asked().length, 2);
  assert.deepEqual(probes.conditions, []);
});

test('a black hole is a condition with both names and the length, until it is gone', async () => {
  const { probes, way, swarm, attach, pass } = openWorld();
  using _probes = probes;
  const found = (): readonly string[] => probes.conditions.map(({ id }) => id);
  way.wholeBytes = 1380;
  attach('plain', 'two');
  attach('secret', 'two');
  await pass(6000);
  assert.deepEqual(found(), ['path.fragments:plain:two', 'path.blackHole:encrypted:two']);
  const [fragments, hole] = probes.conditions;
  assert.match(
    fragments?.text ?? '',
    /1500 bytes.* arrive in fragments.* between host-self and host-two; .* whole is 1380: .*mtu=1380$/,
  );
  assert.match(
    hole?.text ?? '',
    /1420 bytes.* are lost.* in the encrypted tunnel between host-self and host-two; .* is 1380: .*mtu=1460$/,
  );
  assert.deepEqual([fragments?.severity, hole?.severity], ['warning', 'error']);
  way.splitBytes = 1380;
  await pass(65_000);
  assert.deepEqual(found(), ['path.blackHole:plain:two', 'path.blackHole:encrypted:two']);
  way.wholeBytes = 1500;
  await pass(65_000);
  assert.deepEqual(found(), []);
  // Found again, and then the node goes.
  way.wholeBytes = 1380;
  await pass(700_000);
  assert.equal(found().length, 2);
  swarm.rows.clear();
  swarm.events.emit('peers', { networkId: 'plain', isSnapshot: true, added: [], removed: [] });
  await pass(3000);
  assert.deepEqual(found(), []);
});

test('who does not answer is asked ever less often, and is no condition', async () => {
  const { probes, way, attach, asked, pass } = openWorld();
  using _probes = probes;
  way.wholeBytes = 0;
  attach('plain', 'two');
  await pass(60_000);
  const often = asked().length;
  way.error = new KernelError('bind icmp', 'EADDRNOTAVAIL');
  await pass(600_000);
  assert.ok(asked().length <= often * 2, 'it went on as often');
  assert.deepEqual(probes.conditions, []);
  way.error = undefined;
  way.wholeBytes = 1400;
  await pass(700_000);
  assert.deepEqual(
    probes.conditions.map(({ severity }) => severity),
    ['warning'],
  );
});
