/*
 * Where packets of a network go to get to another node, by what managers tell of both ends: straight, or through the
 * encrypted tunnels; those of a network that is not encrypted take them where no other way leads there. Both ends come to
 * the same. Pure. By which path the tunnels reach the node is tunnelReach.ts's.
 */
import type { SwarmNetwork, SwarmNetworks, SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { OverlayPeer } from '../../drivers/overlay/peerTable.ts';
import { hostOf } from '../../net/hostPort.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import { isPrivateIp } from '../../net/prefix.ts';
import { isEncrypted } from './swarmRecords.ts';

/** 100.64.0.0/10 (RFC 6598): nobody else's, since nothing else is in the tunnels' namespace. */
export const inside = { bits: 0x64400000n, length: 10 } as const;

/** Inside the tunnels, made of the number that managers gave the node. */
export function insideAddress(number: number): Ip {
  return { family: 4, bits: inside.bits + BigInt(number) };
}

export type Way = Pick<OverlayPeer, 'vtep' | 'isDetour'>;

/** What this node knows of where nodes are. */
export interface View {
  /** This node. */
  readonly own: SwarmNode | undefined;
  /** Hosts that nodes say they are reached by; found out when it is asked for, as it seldom is. */
  readonly known: () => ReadonlySet<string>;
}

export function viewOf(swarm: Pick<SwarmNetworks, 'nodes' | 'dataPath' | 'findNode'>): View {
  const { nodes } = swarm;
  let known: ReadonlySet<string> | undefined;
  return {
    own: swarm.findNode(swarm.dataPath?.nodeId ?? ''),
    known: () => (known ??= new Set(nodes.flatMap(({ tunnel }) => tunnel?.endpoints.map(hostOf) ?? []))),
  };
}

/** Undefined if that is not known. */
export function wayTo(view: View, node: SwarmNode | undefined, isInTunnels: boolean): Way | undefined {
  if (node?.tunnel !== undefined) {
    const vtep = insideAddress(node.tunnel.number);
    if (isInTunnels) return { vtep };
    const own = view.own?.tunnel;
    const has = own !== undefined && own.lacks === undefined && node.tunnel.lacks === undefined;
    if (has && isApart(view, node)) return { vtep, isDetour: true };
  }
  const vtep = isInTunnels ? undefined : parseIp(node?.vtep ?? '');
  return vtep === undefined ? undefined : { vtep };
}

/**
 * Managers see one of the two come from a NAT that the other is not behind: VXLAN as it is does not pass that. Both ends
 * come to the same.
 */
export function isApart({ own, known }: View, other: SwarmNode): boolean {
  if (own === undefined || own.id === other.id) return false;
  const [one, two] = [own.tunnel?.seenAs, other.tunnel?.seenAs];
  if (one === two) return false;
  const open = one === undefined ? own : two === undefined ? other : undefined;
  const vtep = parseIp(open?.vtep ?? '');
  // One that is in the network of a manager is not behind NAT for who has the data path in there too.
  return !(vtep !== undefined && isPrivateIp(vtep) && known().has(one ?? two ?? ''));
}

type Known = Pick<
  SwarmNetworks,
  'nodes' | 'networks' | 'dataPath' | 'findNode' | 'peers' | 'blocks' | 'isInTouch'
>;

/** Nodes to which packets of containers of this host on these networks go through the tunnels. */
export function tunnelNeighbours(swarm: Known, networkIds: Iterable<string>): ReadonlySet<string> {
  const view = viewOf(swarm);
  const found = new Set<string>();
  for (const id of networkIds) {
    const network = swarm.networks.find((one) => one.id === id);
    const isPlain = network !== undefined && !isEncrypted(network);
    // A block outlives the containers in it; who cannot be told of containers goes by that.
    const blocks = swarm.isInTouch ? [] : swarm.blocks(id);
    for (const { nodeId } of [...swarm.peers(id), ...blocks])
      if (!isPlain || wayTo(view, swarm.findNode(nodeId), false)?.isDetour === true) found.add(nodeId);
  }
  return found;
}

/** What two nodes of `hidden`, which are behind NATs, say to each other on these networks may go through the tunnels. */
export function mayMeet(hidden: readonly SwarmNode[], networks: readonly SwarmNetwork[]): boolean {
  if (hidden.length < 2) return false;
  if (networks.some(isEncrypted)) return true;
  const nats = new Set(hidden.map(({ tunnel }) => tunnel?.seenAs));
  return nats.size > 1 && networks.some(({ isIngress }) => !isIngress);
}
