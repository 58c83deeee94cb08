/*
 * How this node may reach another one with WireGuard, from what managers tell of both: who of the two begins, at which
 * endpoints, and by which relay meanwhile. Pure; what of it works is found out by tunnelTry.ts.
 */
import { createHash } from 'node:crypto';
import { mostSeen, type NodeTunnel, type SwarmNode } from '../../cluster/swarmNetworks.ts';
import { formatHostPort, hostOf } from '../../net/hostPort.ts';

/**
 * `call`: the other is reachable, so that this node can begin. `wait`: the other is behind NAT, and this node is not: it
 * begins. `meet`: both are behind NAT: both begin at once, and a relay carries what they say until that worked.
 */
export type Way = 'call' | 'wait' | 'meet';

export interface Reach {
  readonly way: Way;
  /** As `NodeTunnel.endpoints`, to be tried in this order; may be empty. */
  readonly endpoints: readonly string[];
  /** Id of the relay, the same that the other chooses; undefined where none is needed or there is none. */
  readonly relay: string | undefined;
  /** Ids of the relays to keep in touch with, so that there is one that both reach. */
  readonly kept: readonly string[];
  /** Of the two this one begins first, since two that begin at once hinder each other. */
  readonly isFirst: boolean;
}

type Tunnelled = SwarmNode & { readonly tunnel: NodeTunnel };

export function isTunnelled(node: SwarmNode): node is Tunnelled {
  return node.tunnel !== undefined;
}

/** Nodes that everybody reaches and that may be relays, in an order that all nodes have. */
function relaysAmong(nodes: readonly SwarmNode[]): readonly Tunnelled[] {
  return nodes
    .filter(isTunnelled)
    .filter(({ isRelay, isDown, tunnel }) => isRelay === true && !isDown && tunnel.seenAs === undefined)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** That a pair keeps in touch with at most. */
const mostKept = 8;

/**
 * Of each pair others first, and the same as long as they are there, whichever others come and go: the first that says it
 * sees both, as it tells all; until one does, the first of all, and all are kept.
 */
function relaysOf(a: string, b: string, relays: readonly Tunnelled[]): Pick<Reach, 'relay' | 'kept'> {
  const pair = [a, b].sort().join(' ');
  const weigh = (id: string): string => createHash('sha256').update(`${pair} ${id}`).digest('hex');
  const ranked = relays
    .map(({ id, tunnel: { sees = {} } }) => ({ id, weight: weigh(id), seesBoth: a in sees && b in sees }))
    .toSorted((one, other) => (one.weight > other.weight ? -1 : 1))
    .slice(0, mostKept);
  const ids = ranked.map(({ id }) => id);
  const found = ranked.findIndex(({ seesBoth }) => seesBoth);
  return found < 0 ? { relay: ids[0], kept: ids } : { relay: ids[found], kept: ids.slice(0, found + 1) };
}

/** From within its own network, where no NAT is between the two. */
function isWithin({ endpoints }: NodeTunnel, seen: string): boolean {
  return endpoints.some((one) => hostOf(one) === hostOf(seen));
}

/** Where relays that are outside see a node come from; a NAT may show it differently to each of them. */
function mappedEndpointsOf({ id, tunnel }: Tunnelled, relays: readonly Tunnelled[]): readonly string[] {
  const found = relays.flatMap((relay) => relay.tunnel.sees?.[id] ?? []);
  return [...new Set(found.filter((seen) => !isWithin(tunnel, seen)))];
}

/**
 * Relays that this node keeps in touch with so that others hear where it comes from: the first that sees that, or is to,
 * and those before it, which are in this node's own network.
 */
export function witnessesOf({ own, relays }: Standpoint): readonly string[] {
  const isOutside = ({ tunnel }: Tunnelled): boolean => {
    const seen = tunnel.sees?.[own?.id ?? ''];
    return seen === undefined || own?.tunnel === undefined || !isWithin(own.tunnel, seen);
  };
  const first = relays.findIndex(isOutside);
  return relays.slice(0, first < 0 ? relays.length : first + 1).map(({ id }) => id);
}

/** Where this node stands among all. */
export interface Standpoint {
  /** As far as managers told of it. */
  readonly own: SwarmNode | undefined;
  readonly ownHosts: ReadonlySet<string>;
  readonly relays: readonly Tunnelled[];
}

export function standpointOf(nodeId: string, nodes: readonly SwarmNode[]): Standpoint {
  const own = nodes.find(({ id }) => id === nodeId);
  const ownHosts = new Set((own?.tunnel?.endpoints ?? []).map(hostOf));
  return { own, ownHosts, relays: relaysAmong(nodes) };
}

export function reachOf({ own, ownHosts, relays }: Standpoint, other: Tunnelled): Reach {
  // An address that both have leads here.
  const told = other.tunnel.endpoints.filter((one) => !ownHosts.has(hostOf(one)));
  const { seenAs } = other.tunnel;
  const ownSeenAs = own?.tunnel?.seenAs;
  const isFirst = (own?.tunnel?.number ?? 0) < other.tunnel.number;
  const shared = { isFirst, relay: undefined, kept: [] };
  if (seenAs === undefined) return { ...shared, way: 'call', endpoints: told };
  const seen = mappedEndpointsOf(other, relays);
  if (ownSeenAs === undefined) return { ...shared, way: 'wait', endpoints: seen };
  return {
    // Behind the same NAT, as managers see it, their own addresses may do.
    ...{ ...shared, way: 'meet', endpoints: seenAs === ownSeenAs ? [...told, ...seen] : seen },
    ...relaysOf(own?.id ?? '', other.id, relays),
  };
}

/** Where this node, which may be a relay, sees others come from who are behind NAT: what it is to tell of them. */
export function seenFrom(
  nodes: readonly SwarmNode[],
  endpointOf: (node: Tunnelled) => Parameters<typeof formatHostPort>[0] | undefined,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    nodes
      .filter(isTunnelled)
      .filter(({ tunnel }) => tunnel.seenAs !== undefined)
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .flatMap((node) => {
        const endpoint = endpointOf(node);
        return endpoint === undefined ? [] : [[node.id, formatHostPort(endpoint)]];
      })
      .slice(0, mostSeen),
  );
}
