/*
 * What must hold of blocks of networks: in a managers' store after every commit, of what lives on nodes, and once all is
 * well between the two.
 */
import assert from 'node:assert/strict';
import type { NodeNetworks } from '../../src/cluster/networks/nodeNetworks.ts';
import type { EndpointClaim, SwarmEndpoint, SwarmNetwork } from '../../src/cluster/swarmNetworks.ts';
import type { Disk } from './virtualTime.ts';

/** Of the block, which is smaller than 256 addresses. */
function firstOf(ipv4: string, bits: number): string {
  const last = Number(/\d+$/.exec(ipv4)?.[0]);
  return ipv4.replace(/\d+$/, String(last - (last % (1 << bits))));
}

/** Each endpoint is in a block of its node. */
export function checkBlocks(
  rows: readonly { readonly value: unknown }[],
  networks: readonly SwarmNetwork[],
): void {
  const blocks = new Set(
    rows.flatMap(({ value }) => {
      const { block, networkId, ipv4, nodeId } = value as SwarmEndpoint;
      return block === undefined ? [] : `${networkId} ${ipv4} ${nodeId}`;
    }),
  );
  for (const { value } of rows) {
    const { block, networkId, ipv4 = '', nodeId } = value as SwarmEndpoint;
    const bits = networks.find(({ id }) => id === networkId)?.blockBits;
    if (bits === undefined || block !== undefined) continue;
    const isThere = blocks.has(`${networkId} ${firstOf(ipv4, bits)} ${nodeId}`);
    assert.ok(isThere, `${ipv4} is of a block of its node`);
  }
}

/** A block that a node chose from is its own, whoever else knows of what it chose. */
export function checkOwnBlock(
  disk: Disk,
  nodeId: string,
  { networkId, ipv4 = '' }: EndpointClaim,
  bits: number,
): void {
  const holder = disk.entries.get(`cluster/ips/${networkId}/${firstOf(ipv4, bits)}`)?.value;
  assert.equal((holder as { nodeId?: string } | undefined)?.nodeId, nodeId, `${ipv4} is of an own block`);
}

interface BlockHost {
  readonly id: string;
  readonly disk: Disk;
  readonly daemon: { readonly networks: NodeNetworks } | undefined;
}

export function checkBlocksAtEnd(
  disk: Disk,
  hosts: readonly BlockHost[],
  isKept: (networkId: string) => boolean,
): void {
  const given = disk
    .list('cluster/endpoints/')
    .map(({ value }) => value as SwarmEndpoint)
    .flatMap((row) => (row.block === undefined ? [] : `${row.nodeId} ${row.networkId}/${row.ipv4}`));
  const held = hosts.flatMap(({ id, daemon }) =>
    (daemon?.networks.networks ?? []).flatMap((network) =>
      (daemon?.networks.blocks(network.id) ?? []).flatMap(({ block, nodeId }) =>
        nodeId === id ? `${id} ${network.id}/${block.split('/')[0]}` : [],
      ),
    ),
  );
  assert.deepEqual(given.sort(), held.sort(), 'nodes have the blocks that the store says');
  for (const { id, disk: own } of hosts)
    for (const { key } of own.list('swarm/blocks/').filter((one) => isKept(one.key.split('/')[2] ?? '')))
      assert.ok(given.includes(`${id} ${key.slice('swarm/blocks/'.length)}`), `${key} of ${id} is its own`);
}
