import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SwarmNetwork, SwarmNode } from '../../cluster/swarmNetworks.ts';
import { formatIp } from '../../net/ip.ts';
import { FakeSwarm } from './fakeSwarm.ts';
import { mayMeet, tunnelNeighbours, viewOf, wayTo } from './nodeWays.ts';

function nodeOf(id: string, number?: number, seenAs?: string): SwarmNode {
  const node = { id, hostname: id, vtep: `192.0.2.${number ?? 99}`, isDown: false };
  if (number === undefined) return node;
  const tunnel = { publicKey: id, number, mtuBytes: 1500, endpoints: [] };
  return { ...node, tunnel: { ...tunnel, ...(seenAs === undefined ? {} : { seenAs }) } };
}

function networkOf(id: string, isEncrypted = false, isIngress = false): SwarmNetwork {
  return {
    ...{ id, name: id, isInternal: false, isAttachable: true, isIngress, hasIpv4: true, hasIpv6: false },
    ...{ pools: [], vnis: [4097], labels: {}, createdAt: '', options: isEncrypted ? { encrypted: '' } : {} },
  };
}

const [nat, otherNat] = ['198.51.100.2', '198.51.100.3'];

/** Its WireGuard is gone. */
const lacking: SwarmNode = {
  ...nodeOf('a', 1),
  tunnel: { publicKey: 'a', number: 1, mtuBytes: 1500, endpoints: [], lacks: 'it is gone' },
};

/** A manager whose router passes two ports on to it. */
const inner: SwarmNode = {
  ...{ id: 'a', hostname: 'a', vtep: '10.1.0.1', isDown: false },
  tunnel: { publicKey: 'a', number: 1, mtuBytes: 1500, endpoints: ['10.1.0.1:1', `${nat}:1`] },
};

for (const [what, own, other, plain, encrypted] of [
  ['both are reached', nodeOf('a', 1), nodeOf('b', 2), '192.0.2.2', '100.64.0.2'],
  ['the other is behind NAT', nodeOf('a', 1), nodeOf('b', 2, nat), '100.64.0.2 detour', '100.64.0.2'],
  ['this one is', nodeOf('a', 1, nat), nodeOf('b', 2), '100.64.0.2 detour', '100.64.0.2'],
  ['behind one NAT', nodeOf('a', 1, nat), nodeOf('b', 2, nat), '192.0.2.2', '100.64.0.2'],
  ['behind two NATs', nodeOf('a', 1, nat), nodeOf('b', 2, otherNat), '100.64.0.2 detour', '100.64.0.2'],
  ['beside a manager that others reach', inner, nodeOf('b', 2, nat), '192.0.2.2', '100.64.0.2'],
  ['elsewhere than that manager', inner, nodeOf('b', 2, otherNat), '100.64.0.2 detour', '100.64.0.2'],
  ['the other has no tunnel', nodeOf('a', 1, nat), nodeOf('b'), '192.0.2.99', 'unknown'],
  ['this one has none', nodeOf('a'), nodeOf('b', 2, nat), '192.0.2.2', '100.64.0.2'],
  ['this one has none any more', lacking, nodeOf('b', 2, nat), '192.0.2.2', '100.64.0.2'],
  ['the other has none any more', nodeOf('b', 2, nat), lacking, '192.0.2.1', '100.64.0.1'],
] as const)
  test(`the way to another node: ${what}`, () => {
    const swarm = new FakeSwarm(true);
    swarm.dataPath = { nodeId: own.id, address: own.vtep, port: 4789 };
    for (const node of [own, other]) swarm.nodesById.set(node.id, node);
    const words = [false, true].map((isEncrypted) => {
      const way = wayTo(viewOf(swarm), other, isEncrypted);
      return way === undefined ? 'unknown' : `${formatIp(way.vtep)}${way.isDetour === true ? ' detour' : ''}`;
    });
    assert.deepEqual(words, [plain, encrypted]);
  });

test('the tunnels are for all neighbours of an encrypted network, and for those of another that no other way leads to', () => {
  const swarm = new FakeSwarm(true);
  swarm.networks = [networkOf('plain'), networkOf('secret', true)];
  for (const node of [nodeOf('self', 1), nodeOf('near', 2), nodeOf('far', 3, nat)])
    swarm.nodesById.set(node.id, node);
  for (const networkId of ['plain', 'secret'])
    for (const nodeId of ['near', 'far'])
      swarm.rows.set(`${networkId} ${nodeId}`, {
        ...{ networkId, endpointId: `${networkId} ${nodeId}`, nodeId, containerId: '', containerName: '' },
        ...{ mac: '02:00:00:00:00:09', dnsNames: [], isUp: true, revision: 1 },
      });
  assert.deepEqual([...tunnelNeighbours(swarm, ['plain'])], ['far']);
  assert.deepEqual([...tunnelNeighbours(swarm, ['secret'])], ['near', 'far']);
  assert.deepEqual([...tunnelNeighbours(swarm, [])], []);
});

test('a relay is needed by nodes behind two NATs, and on an encrypted network by any two behind NAT', () => {
  const [one, beside, other] = [nodeOf('a', 1, nat), nodeOf('b', 2, nat), nodeOf('c', 3, otherNat)];
  const [ingress, plain, secret] = [networkOf('i', false, true), networkOf('p'), networkOf('s', true)];
  assert.ok(mayMeet([one, other], [ingress, plain]));
  assert.ok(!mayMeet([one, other], [ingress]));
  assert.ok(!mayMeet([one, beside], [ingress, plain]));
  assert.ok(mayMeet([one, beside], [secret]));
  assert.ok(!mayMeet([one], [plain, secret]));
});
