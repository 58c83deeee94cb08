/*
 * Nodes that are not heard from on ways in clear: when it is said, and when no more.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import { KernelError } from '../../kernel/kernel.ts';
import { formatIp, parseIp } from '../../net/ip.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { PathPulse } from './pathPulse.ts';

function openWorld() {
  const clock = new HandClock();
  const swarm = new FakeSwarm(true);
  const asked: string[] = [];
  const silent = new Set<string>();
  const world: { error: KernelError | undefined } = { error: undefined };
  for (const [number, id] of ['self', 'two', 'three'].entries())
    swarm.nodesById.set(id, {
      ...{ id, hostname: `host-${id}`, vtep: `192.0.2.${number + 1}`, isDown: false },
      tunnel: { publicKey: id, number, mtuBytes: 1500, endpoints: [] },
    });
  const network = (id: string, options: Readonly<Record<string, string>>) => ({
    ...{ id, name: id, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true },
    ...{ hasIpv6: false, pools: [], vnis: [4097], labels: {}, createdAt: '', options },
  });
  swarm.networks = [network('plain', {}), network('secret', { encrypted: '' })];
  const attach = (networkId: string, nodeId: string): void =>
    void swarm.rows.set(`${networkId}-${nodeId}`, {
      ...{ endpointId: `${networkId}-${nodeId}`, networkId, containerId: '', containerName: '', mac: '' },
      ...{ dnsNames: [], isUp: true, nodeId, revision: 1 },
    });
  const address = parseIp('192.0.2.1') ?? assert.fail();
  const plain = { address, mtuBytes: 1500, port: 4789 };
  const pulse = new PathPulse({
    ...{ swarm, clock, logger: silentLogger },
    kernel: {
      probePath: ({ to, sizes }) => {
        asked.push(formatIp(to));
        if (world.error !== undefined) return Promise.reject(world.error);
        return Promise.resolve(silent.has(formatIp(to)) ? [] : sizes);
      },
    },
    carriers: {
      plain: { underlay: () => plain },
      encrypted: { underlay: () => ({ ...plain, headerBytes: 80 }), namespace: '/tunnels' },
    },
  });
  pulse.start();
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) await clock.advance(500);
  };
  const said = (): readonly string[] => pulse.conditions.map(({ id, severity }) => `${severity} ${id}`);
  return { pulse, swarm, asked, silent, attach, pass, said, world };
}

test('a node that answered and does not any more is an error with both names, until it answers', async () => {
  const { pulse, silent, attach, pass, said } = openWorld();
  using _pulse = pulse;
  attach('plain', 'two');
  attach('plain', 'three');
  await pass(60_000);
  assert.deepEqual(said(), []);
  silent.add('192.0.2.2');
  await pass(25_000);
  assert.deepEqual(said(), []);
  await pass(10_000);
  assert.deepEqual(said(), ['error path.silent:plain:two']);
  assert.match(pulse.conditions[0]?.text ?? '', /between host-self and host-two \(192\.0\.2\.2\)/);
  silent.clear();
  await pass(25_000);
  assert.deepEqual(said(), []);
});

test('one that never answered is a warning, since echo may not be let through', async () => {
  const { pulse, silent, attach, pass, said } = openWorld();
  using _pulse = pulse;
  silent.add('192.0.2.2');
  attach('plain', 'two');
  await pass(40_000);
  assert.deepEqual(said(), ['warning path.silent:plain:two']);
});

test('nobody is asked with whom no network in clear is shared, or who is down', async () => {
  const { pulse, swarm, asked, attach, pass } = openWorld();
  using _pulse = pulse;
  attach('secret', 'two');
  attach('plain', 'three');
  const three = swarm.findNode('three') ?? assert.fail();
  swarm.nodesById.set('three', { ...three, isDown: true });
  await pass(60_000);
  assert.deepEqual(asked, []);
});

test('an address that the machine has no more is said once, whoever is asked', async () => {
  const { pulse, attach, pass, said, world } = openWorld();
  using _pulse = pulse;
  attach('plain', 'two');
  attach('plain', 'three');
  world.error = new KernelError('bind icmp', 'EADDRNOTAVAIL');
  await pass(40_000);
  assert.deepEqual(said(), ['error path.noAddress']);
  assert.match(pulse.conditions[0]?.text ?? '', /^192\.0\.2\.1, from which host-self sends/);
  world.error = undefined;
  await pass(25_000);
  assert.deepEqual(said(), []);
});
