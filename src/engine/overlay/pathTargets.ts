/*
 * The nodes with which containers of this host share overlay networks, and how large the packets are that may go there.
 */
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import type { Carrier } from '../../drivers/overlay/carrier.ts';
import { parseOverlayOptions } from '../../drivers/overlay/options.ts';
import { outerMtu } from '../../drivers/overlay/segments.ts';
import { vtepOf } from './encryptedCarrier.ts';
import type { PathTarget } from './pathSize.ts';

export interface NodePath extends PathTarget {
  /** The same as long as it is the same way to the same node. */
  readonly key: string;
  readonly hostname: string;
  readonly isEncrypted: boolean;
  /** What is put around such a packet on the way, as networks reckon. */
  readonly headerBytes: number;
}

export interface PathCarriers {
  readonly plain: Pick<Carrier, 'underlay'>;
  readonly encrypted: Pick<Carrier, 'underlay' | 'namespace'>;
}

/** Empty without a swarm. Nodes that are down are left out, and those whose addresses are IPv6. */
export function findNodePaths(
  swarm: Pick<SwarmNetworks, 'dataPath' | 'networks' | 'findNode' | 'peers' | 'blocks'>,
  carriers: PathCarriers,
): readonly NodePath[] {
  const ownId = swarm.dataPath?.nodeId;
  if (ownId === undefined) return [];
  const found = new Map<string, NodePath>();
  for (const network of swarm.networks) {
    const ids = new Set(
      [...swarm.peers(network.id), ...swarm.blocks(network.id)].map(({ nodeId }) => nodeId),
    );
    ids.delete(ownId);
    if (ids.size === 0) continue;
    const options = parseOverlayOptions(network);
    const { isEncrypted } = options;
    const { plain, encrypted } = carriers;
    const underlay = (isEncrypted ? encrypted : plain).underlay();
    const { address: from, headerBytes = 0 } = underlay;
    const fullBytes = outerMtu(options, underlay) - headerBytes;
    for (const id of ids) {
      const node = swarm.findNode(id);
      const to = vtepOf(node, isEncrypted);
      if (node === undefined || node.isDown || to?.family !== 4 || from.family !== 4) continue;
      const key = `${isEncrypted ? 'encrypted' : 'plain'}:${id}`;
      if ((found.get(key)?.fullBytes ?? 0) >= fullBytes) continue;
      const namespace = isEncrypted ? { namespace: encrypted.namespace } : {};
      const { hostname } = node;
      found.set(key, {
        key,
        hostname,
        isEncrypted,
        from,
        to,
        ...namespace,
        headerBytes,
        fullBytes,
        maySplit: !isEncrypted,
      });
    }
  }
  return [...found.values()];
}
