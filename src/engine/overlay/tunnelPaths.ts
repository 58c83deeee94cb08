/*
 * By which path each other node is reached: what managers tell (tunnelReach.ts) and what the device says (tunnelTry.ts)
 * put together. Asks nobody; whoever has the device looks at it and tells.
 */
import { ConditionBook } from '../../base/conditionBook.ts';
import type { Condition } from '../../base/condition.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { SwarmNode } from '../../cluster/swarmNetworks.ts';
import type { WireguardPeerState } from '../../codec/wireguard/device.ts';
import { formatHostPort } from '../../net/hostPort.ts';
import type { TunnelPath } from '../engine.ts';
import { isTunnelled, type Reach, reachOf, seenFrom, standpointOf, witnessesOf } from './tunnelReach.ts';
import { nextTry, type Try } from './tunnelTry.ts';

/** How a node is reached, as the device is told. */
export interface Route {
  readonly endpoint: string | undefined;
  /** The peer is made anew with each. */
  readonly serial: number;
  readonly keepaliveSeconds: number;
  /** Id of the node whose peer has its address. */
  readonly relay: string | undefined;
}

export interface Surroundings {
  /** Of this node. */
  readonly nodeId: string;
  readonly nodes: readonly SwarmNode[];
  /** To which networks of this host send through the tunnels. */
  readonly needed: ReadonlySet<string>;
}

export type PeerStates = ReadonlyMap<string, WireguardPeerState>;

/** That a peer which should be reached by now is not: longer than it takes one that is behind NAT to come by itself. */
const patienceMs: Readonly<Record<Reach['way'], number>> = { call: 15_000, wait: 60_000, meet: 30_000 };

/** So long after it became needed a path may come to work at any moment. */
const freshMs = 10_000;

interface Place {
  readonly node: SwarmNode;
  readonly reach: Reach;
  readonly attempt: Try;
  readonly isNeeded: boolean;
  /** When it was heard of that it has another key. */
  readonly rekeyedAtMs?: number | undefined;
  /** Where there is a session: from when on packets go there, and no more by a relay. */
  readonly directAtMs: number | undefined;
}

/**
 * Both ends change from a relay to the other itself so long after their first handshake, of which they know the time to a
 * one-way trip: each takes packets from the peer alone to which it sends. Longer than a look at the device takes to come.
 */
const handoverMs = 1000;

/** For a session with the new key of a node that was reached with the old one. */
const rekeyMs = 15_000;

export class TunnelPaths {
  readonly #clock: Clock;
  readonly #conditions: ConditionBook;
  #places: ReadonlyMap<string, Place> = new Map();
  #own: SwarmNode | undefined;
  /** By public key, as the device said last. */
  #states: PeerStates = new Map();

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = deps.clock;
    this.#conditions = new ConditionBook(deps);
  }

  get conditions(): readonly Condition[] {
    return this.#conditions.list();
  }

  /** Something is being tried, or may have begun to work just now: the device is to be looked at soon. */
  get isTrying(): boolean {
    const youngMs = this.#clock.nowMs() - freshMs;
    return [...this.#places.values()].some(
      ({ attempt: { isTrying, failingSinceMs = Number.NEGATIVE_INFINITY } }) =>
        isTrying || failingSinceMs > youngMs,
    );
  }

  /** Until the next change from a relay to the other itself is due; undefined: none is to come. */
  get untilHandoverMs(): number | undefined {
    const nowMs = this.#clock.nowMs();
    const left = [...this.#places.values()]
      .filter((place) => place.attempt.isLive && this.#relayTo(place) !== undefined)
      .map(({ directAtMs = nowMs }) => directAtMs - nowMs);
    return left.length === 0 ? undefined : Math.min(...left);
  }

  /** Once the device is gone: nothing of it is known. */
  forget(): void {
    this.#states = new Map();
    this.#places = new Map();
    this.#conditions.report('paths', []);
  }

  /** It is another device than before, which knows nothing: where others were heard from last they are to be found. */
  renew(): void {
    this.#places = new Map(
      [...this.#places].map(([id, place]) => {
        const endpoint = this.#states.get(place.node.tunnel?.publicKey ?? '')?.endpoint;
        if (!place.attempt.isLive || endpoint === undefined) return [id, place];
        return [id, { ...place, attempt: { ...place.attempt, endpoint: formatHostPort(endpoint) } }];
      }),
    );
    this.#states = new Map();
  }

  /** There is a session with it, so that the device knows where it is. */
  isLive(nodeId: string): boolean {
    return this.#places.get(nodeId)?.attempt.isLive === true;
  }

  /** One step for each node; `states` where the device was looked at just now. */
  step({ nodeId, nodes, needed }: Surroundings, states: PeerStates = this.#states): void {
    this.#states = states;
    const standpoint = standpointOf(nodeId, nodes);
    const { own } = standpoint;
    this.#own = own;
    const others = nodes.filter(isTunnelled).filter(({ id }) => id !== nodeId);
    const reaches = others.map((node) => ({
      node,
      reach: reachOf(standpoint, node),
      isNeeded: needed.has(node.id),
    }));
    const kept = keptRelays(reaches, witnessesOf(standpoint));
    const isBehindNat = own?.tunnel?.seenAs !== undefined;
    const nowMs = this.#clock.nowMs();
    this.#places = new Map(
      reaches.map(({ node, reach, isNeeded }) => {
        const device = states.get(node.tunnel.publicKey);
        const rekeyed = this.#rekeyed(node, device, nowMs);
        if (rekeyed !== undefined) return [node.id, { ...rekeyed, node, reach, isNeeded }];
        const attempt = nextTry(this.#places.get(node.id)?.attempt, {
          ...{ reach, isBehindNat, nowMs, isDown: node.isDown },
          isNeeded: isNeeded || kept.has(node.id),
          device,
        });
        const directAtMs = this.#directAt(this.#places.get(node.id), { attempt, device, nowMs });
        return [node.id, { node, reach, attempt, isNeeded, directAtMs }];
      }),
    );
    this.#reportFailures(nowMs);
  }

  /** A node that was reached is where it was with another key too, until it has had the time to begin a session with it. */
  #rekeyed(
    { id, tunnel }: Place['node'],
    device: WireguardPeerState | undefined,
    nowMs: number,
  ): Pick<Place, 'attempt' | 'rekeyedAtMs' | 'directAtMs'> | undefined {
    const before = this.#places.get(id);
    if (before?.attempt.isLive !== true || device?.lastHandshakeMs !== undefined) return undefined;
    const isNews = before.node.tunnel?.publicKey !== tunnel?.publicKey;
    const rekeyedAtMs = isNews ? nowMs : before.rekeyedAtMs;
    if (rekeyedAtMs === undefined || nowMs - rekeyedAtMs > rekeyMs) return undefined;
    return { attempt: before.attempt, rekeyedAtMs, directAtMs: before.directAtMs };
  }

  #directAt(
    before: Place | undefined,
    {
      attempt,
      device,
      nowMs,
    }: Pick<Place, 'attempt'> & { device: WireguardPeerState | undefined; nowMs: number },
  ): number | undefined {
    if (!attempt.isLive) return undefined;
    if (before?.directAtMs !== undefined) return before.directAtMs;
    const atMs = (device?.lastHandshakeMs ?? nowMs) + handoverMs;
    // A clock that was set between the two says nothing.
    return Math.min(atMs, nowMs + handoverMs);
  }

  /** Id of the relay that carries what is sent to it; undefined if nobody does. */
  #relayTo({ reach, attempt, directAtMs = 0 }: Place): string | undefined {
    if (!attempt.isLive) return reach.relay;
    const isDue = this.#clock.nowMs() >= directAtMs;
    // Where it carries nothing there is nothing to hand over.
    return isDue || !this.isLive(reach.relay ?? '') ? undefined : reach.relay;
  }

  routeTo(nodeId: string): Route {
    const place = this.#places.get(nodeId);
    if (place === undefined) return { endpoint: undefined, serial: 0, keepaliveSeconds: 0, relay: undefined };
    const { endpoint, serial, keepaliveSeconds } = place.attempt;
    return { endpoint, serial, keepaliveSeconds, relay: this.#relayTo(place) };
  }

  /** Where this node sees others come from who are behind NAT; undefined until it has looked. */
  seen(nodes: readonly SwarmNode[]): Readonly<Record<string, string>> | undefined {
    if (this.#states.size === 0) return undefined;
    return seenFrom(nodes, ({ id, tunnel }) =>
      this.#places.get(id)?.attempt.isLive === true
        ? this.#states.get(tunnel.publicKey)?.endpoint
        : undefined,
    );
  }

  pathTo(node: SwarmNode, state: WireguardPeerState | undefined): TunnelPath {
    const { id: nodeId, hostname, tunnel } = node;
    const { endpoint, lastHandshakeMs, receivedBytes = 0, sentBytes = 0 } = state ?? {};
    const shared = {
      ...{ nodeId, hostname, receivedBytes, sentBytes },
      ...(lastHandshakeMs === undefined ? {} : { lastHandshakeMs }),
    };
    const place = this.#places.get(nodeId);
    if (tunnel === undefined)
      return { ...shared, state: 'none', why: 'it has no WireGuard, or has not told its key yet' };
    if (state === undefined || place === undefined)
      return { ...shared, state: 'none', why: 'no network of this node sends through the tunnels' };
    const text = endpoint === undefined ? place.reach.endpoints[0] : formatHostPort(endpoint);
    const known = { ...shared, ...(text === undefined ? {} : { endpoint: text }) };
    const relay = this.#places.get(this.#relayTo(place) ?? '');
    if (place.attempt.isLive && relay === undefined)
      return { ...known, state: 'direct', why: directWords(place, text) };
    const failure = this.#failureOf(place, this.#clock.nowMs());
    if (failure !== undefined) return { ...known, state: 'none', why: failure };
    if (relay?.attempt.isLive === true && place.isNeeded)
      return { ...known, state: 'relay', relay: relay.node.hostname, why: meetWords(place) };
    return { ...known, state: 'idle', why: idleWords(place) };
  }

  /** Half a sentence: why it is not reached though it should be; undefined if nothing says so. */
  failureTo(nodeId: string): string | undefined {
    const place = this.#places.get(nodeId);
    return place === undefined ? undefined : this.#failureOf(place, this.#clock.nowMs());
  }

  #failureOf(place: Place, nowMs: number): string | undefined {
    const { node, reach, attempt, isNeeded } = place;
    const sinceMs = attempt.failingSinceMs;
    if (!isNeeded || node.isDown || attempt.isLive) return undefined;
    if (node.tunnel?.lacks !== undefined) return `it has no WireGuard any more: ${node.tunnel.lacks}`;
    const relay = this.#places.get(this.#relayTo(place) ?? '');
    if (sinceMs === undefined || relay?.attempt.isLive === true) return undefined;
    if (nowMs - sinceMs < patienceMs[reach.way]) return undefined;
    switch (reach.way) {
      case 'call':
        return `it does not answer at ${reach.endpoints.join(' or ')}: is its UDP port let through?`;
      case 'wait':
        return 'it is behind NAT, and does not come by itself: is the UDP port of this node let through?';
      case 'meet':
        return relay === undefined
          ? 'both are behind NAT, a hole through both could not be punched, and no node may be their relay'
          : `both are behind NAT, and their relay ${relay.node.hostname} does not answer`;
    }
  }

  #reportFailures(nowMs: number): void {
    const own = this.#own?.hostname ?? 'this node';
    this.#conditions.report(
      'paths',
      [...this.#places].flatMap(([id, place]) => {
        const failure = this.#failureOf(place, nowMs);
        if (failure === undefined) return [];
        const text = `${own} has no path to ${place.node.hostname} through the encrypted tunnels: ${failure}`;
        return { id: `tunnel.noPath:${id}`, severity: 'error' as const, text };
      }),
    );
  }
}

/** Those that are used or may have to be, and those that are to see where this node comes from. */
function keptRelays(
  reaches: readonly Pick<Place, 'reach' | 'isNeeded'>[],
  witnesses: readonly string[],
): ReadonlySet<string> {
  const met = reaches.filter(({ reach, isNeeded }) => isNeeded && reach.way === 'meet');
  return new Set(met.length === 0 ? [] : [...met.flatMap(({ reach }) => reach.kept), ...witnesses]);
}

function directWords({ reach, node }: Place, endpoint: string | undefined): string {
  const isOwn = node.tunnel?.endpoints.includes(endpoint ?? '') === true;
  switch (reach.way) {
    case 'call':
      return isOwn ? 'it can be reached' : 'it was heard from there';
    case 'wait':
      return 'it is behind NAT, and keeps the way open';
    case 'meet':
      return isOwn ? 'both are behind the same NAT' : 'through the NATs of both';
  }
}

function meetWords({ attempt, reach }: Place): string {
  if (attempt.isTrying || attempt.isLive) return 'both are behind NAT; a way through is being tried';
  return reach.endpoints.length === 0
    ? 'both are behind NAT; nobody has told yet where it comes from'
    : 'both are behind NAT, and there was no way through; it is tried again every two minutes';
}

function idleWords({ node, attempt, reach }: Place): string {
  if (node.isDown) return 'the node is down';
  if (attempt.failingSinceMs !== undefined) return 'it has not answered yet';
  return reach.way === 'call' ? 'nothing was sent lately' : 'no network sends to it through the tunnels';
}
