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

function nodeOf(
  id: string,
  seenAs?: string,
  vtep = '192.0.2.1',
  endpoints: readonly string[] = [],
): SwarmNode {
  const seen = seenAs === undefined ? {} : { seenAs };
  const tunnel = { publicKey: '', number: 1, mtuBytes: 1500, endpoints, ...seen } as never;
  return { id, hostname: `host-${id}`, vtep, isDown: false, tunnel };
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
  const paths = new PlainPaths({ swarm, claims, table, clock, logger: silentLogger });
  const look = async (): Promise<readonly string[]> => {
    swarm.events.emit('nodes', { changed: [] });
    await clock.advance(1000);
    return paths.conditions.map(({ text }) => text.replace(/, which.*/, ''));
  };
  return { swarm, look };
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
  test(`two nodes of a network that is not encrypted: ${what}`, async () => {
    const { look } = open(own, [other]);
    const text = `containers on network plain on host-self and host-b do not reach each other: ${expected}`;
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
