/*
 * The nodes with which containers of this host share overlay networks, and how large the packets are that may go there.
 */
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import type { Carrier } from '../../drivers/overlay/carrier.ts';
import { parseOverlayOptions } from '../../drivers/overlay/options.ts';
import { outerMtu } from '../../drivers/overlay/segments.ts';
import { viewOf, wayTo } from './nodeWays.ts';
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
  swarm: Pick<SwarmNetworks, 'nodes' | 'dataPath' | 'networks' | 'findNode' | 'peers' | 'blocks'>,
  carriers: PathCarriers,
): readonly NodePath[] {
  const ownId = swarm.dataPath?.nodeId;
  if (ownId === undefined) return [];
  const view = viewOf(swarm);
  const { namespace } = carriers.encrypted;
  const ends = { plain: carriers.plain.underlay(), encrypted: carriers.encrypted.underlay() };
  const found = new Map<string, NodePath>();
  for (const network of swarm.networks) {
    const ids = new Set(
      [...swarm.peers(network.id), ...swarm.blocks(network.id)].map(({ nodeId }) => nodeId),
    );
    ids.delete(ownId);
    if (ids.size === 0) continue;
    const options = parseOverlayOptions(network);
    for (const id of ids) {
      const node = swarm.findNode(id);
      const way = wayTo(view, node, options.isEncrypted);
      const isDetour = way?.isDetour === true;
      const isInTunnels = options.isEncrypted || isDetour;
      const underlay = isInTunnels ? ends.encrypted : ends.plain;
      const { address: from, mtuBytes, headerBytes = 0 } = underlay;
      const to = way?.vtep;
      if (node === undefined || node.isDown || to?.family !== 4 || from.family !== 4) continue;
      // Senders on a detour are told of its length, whatever their network's is.
      const fullBytes = isDetour
        ? Math.min(options.underlayMtuBytes ?? mtuBytes, mtuBytes - headerBytes)
        : outerMtu(options, underlay) - headerBytes;
      const key = `${isInTunnels ? 'encrypted' : 'plain'}:${id}`;
      if ((found.get(key)?.fullBytes ?? 0) >= fullBytes) continue;
      found.set(key, {
        ...{ key, hostname: node.hostname, isEncrypted: isInTunnels, from, to, fullBytes },
        ...(isInTunnels ? { namespace } : {}),
        // What the option says is of the packets that go into the tunnel.
        headerBytes: isDetour ? 0 : headerBytes,
        maySplit: !isInTunnels,
      });
    }
  }
  return [...found.values()];
}
