import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Events } from '../../base/events.ts';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { Network, NetworkId } from '../model.ts';
import type { SwarmClaims } from './claims.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { PlainPaths } from './plainPaths.ts';
import type { EngineChoice } from '../../tunnels/tunnel.ts';

function nodeOf(
  id: string,
  seenAs?: string,
  vtep = '192.0.2.1',
  endpoints: readonly string[] = [],
): SwarmNode {
  const seen = seenAs === undefined ? {} : { seenAs };
  const tunnel = { publicKey: '', number: 1, mtuBytes: 1500, endpoints, ...seen } as never;
  return { ...withoutTunnel(id), vtep, tunnel };
}

function withoutTunnel(id: string): SwarmNode {
  return { id, hostname: `host-${id}`, vtep: '192.0.2.1', isDown: false };
}

/** A manager that others reach by an address of its network's NAT. */
const manager = (vtep: string): SwarmNode =>
  nodeOf('self', undefined, vtep, ['10.1.0.1:1', '198.51.100.2:1']);

function open(own: SwarmNode, others: readonly SwarmNode[], isEncrypted = false) {
  const [swarm, clock] = [new FakeSwarm(true), new HandClock()];
  for (const node of [own, ...others]) swarm.nodesById.set(node.id, node);
  for (const { id: nodeId } of others)
    swarm.rows.set(nodeId, {
      ...{ networkId: 'net', endpointId: nodeId, nodeId, containerId: 'x', containerName: 'x' },
      ...{ mac: '02:00:00:00:00:09', dnsNames: [], ipv4: '10.0.0.2', isUp: true, revision: 1 },
    });
  const followed = ['net' as NetworkId];
  const claims: Pick<SwarmClaims, 'events' | 'followed'> = { events: new Events(), followed };
  const network = { id: 'net', name: 'plain', isEncrypted } as unknown as Network;
  const table = { find: (id: string) => (id === 'net' ? network : undefined) };
  const tunnels = {
    choice: { engine: 'kernel' } as EngineChoice,
    failure: 'nobody answers' as string | undefined,
    engine: () => Promise.resolve(tunnels.choice),
    failureTo: () => tunnels.failure,
  };
  const paths = new PlainPaths({ swarm, claims, table, tunnels, clock, logger: silentLogger });
  const texts = (): readonly string[] => paths.conditions.map(({ text }) => text);
  const look = async (): Promise<readonly string[]> => {
    swarm.events.emit('nodes', { changed: [] });
    await clock.advance(1000);
    return texts();
  };
  return { swarm, tunnels, clock, texts, look };
}

for (const [what, own, other, expected] of [
  ['neither is behind NAT', nodeOf('self'), nodeOf('b'), undefined],
  ['the other is', nodeOf('self'), nodeOf('b', '198.51.100.2'), 'host-b is behind NAT'],
  ['this one is', nodeOf('self', '198.51.100.2'), nodeOf('b'), 'host-self is behind NAT'],
  ['both are, behind one', nodeOf('self', '198.51.100.2'), nodeOf('b', '198.51.100.2'), undefined],
  [
    'both are, behind two',
    nodeOf('self', '198.51.100.2'),
    nodeOf('b', '198.51.100.3'),
    'each is behind a NAT of its own',
  ],
  ['the other is beside this one', manager('10.1.0.1'), nodeOf('b', '198.51.100.2'), undefined],
  [
    'the same, but for the data path',
    manager('198.51.100.2'),
    nodeOf('b', '198.51.100.2'),
    'host-b is behind NAT',
  ],
  ['the other is elsewhere', manager('10.1.0.1'), nodeOf('b', '198.51.100.3'), 'host-b is behind NAT'],
] as const)
  test(`two nodes of a network that is not encrypted, with no path of the tunnels: ${what}`, async () => {
    const { look } = open(own, [other]);
    const text = `containers on network plain on host-self and host-b do not reach each other: ${expected}, and the encrypted tunnels do not lead there: nobody answers`;
    assert.deepEqual(await look(), expected === undefined ? [] : [text]);
  });

test('an encrypted network passes, and a node is named once however many endpoints it has, until the last is gone', async () => {
  const other = nodeOf('b', '198.51.100.2');
  assert.deepEqual(await open(nodeOf('self'), [other], true).look(), []);
  const { swarm, look } = open(nodeOf('self'), [other]);
  const row = swarm.rows.get('b');
  assert.ok(row);
  swarm.rows.set('second', { ...row, endpointId: 'second' });
  assert.equal((await look()).length, 1);
  swarm.rows.clear();
  assert.deepEqual(await look(), []);
});

test('where the tunnels lead there is nothing to say, and what becomes of them is said soon', async () => {
  const { tunnels, clock, texts, look } = open(nodeOf('self'), [nodeOf('b', '198.51.100.2')]);
  tunnels.failure = undefined;
  assert.deepEqual(await look(), []);
  tunnels.failure = 'nobody answers';
  await clock.advance(5000);
  assert.equal(texts().length, 1);
  tunnels.failure = undefined;
  await clock.advance(5000);
  assert.deepEqual(texts(), []);
});

for (const [what, own, other, choice, expected] of [
  [
    'this one',
    withoutTunnel('self'),
    nodeOf('b', '198.51.100.2'),
    { engine: undefined, reason: 'it is too old' },
    'host-self has no WireGuard: it is too old',
  ],
  [
    'the other',
    nodeOf('self', '198.51.100.2'),
    withoutTunnel('b'),
    { engine: 'kernel' },
    'host-b has no WireGuard, or has not told its key yet',
  ],
] as const)
  test(`no WireGuard on ${what} is why there is no way`, async () => {
    const { tunnels, look } = open(own, [other]);
    tunnels.choice = choice;
    tunnels.failure = undefined;
    assert.match((await look())[0] ?? '', new RegExp(`do not lead there: ${expected}$`));
  });
