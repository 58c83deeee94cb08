/*
 * Encrypted tunnels as a manager keeps them: which public key each node has, the number that its address inside is made
 * of, and where it may be reached. A node says it of itself, in its session; a key or number has one node, in any history.
 */
import { isDeepStrictEqual } from 'node:util';
import { Events } from '../../base/events.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseHostPort } from '../../net/hostPort.ts';
import { equalIp, formatIp, type Ip } from '../../net/ip.ts';
import { isPrivateIp } from '../../net/prefix.ts';
import type { Mirror, MirrorChange } from '../../store/mirror.ts';
import type { Compare, Entry, Write } from '../../store/store.ts';
import type { NodeTunnel, TunnelOffer } from '../swarmNetworks.ts';
import type { Writer } from './endpointBook.ts';
import { givenUp, mostAttempts } from './networkBook.ts';
import { tunnelKey, tunnelKeyHolder, tunnelNumberHolder, tunnelsPrefix } from './records.ts';

export interface TunnelBookEvents extends Record<string, unknown> {
  /** Nodes whose tunnel is new, other than before, or gone. */
  readonly changed: { readonly nodes: readonly string[] };
}

/** Numbers that fit into the addresses inside, 100.64.0.0/10 (RFC 6598) without its ends. */
const lastNumber = 2 ** 22 - 2;

/** Where a session comes from, and how far that says what others see. */
export interface Sighting {
  readonly from: Ip;
  /** That the manager which sees it tells everybody to reach it by. */
  readonly advertised?: Ip;
}

function seenOf({ endpoints }: TunnelOffer, sighting: Sighting | undefined): Pick<NodeTunnel, 'seenAs'> {
  if (sighting === undefined) return {};
  const { from, advertised } = sighting;
  const own = endpoints.flatMap((text) => parseHostPort(text)?.ip ?? []);
  // Within the manager's own network: what is outside knows that by the manager's address.
  if (advertised !== undefined && !isPrivateIp(advertised) && [from, ...own].every(isPrivateIp))
    return { seenAs: formatIp(advertised) };
  return own.some((ip) => equalIp(ip, from)) ? {} : { seenAs: formatIp(from) };
}

export class TunnelBook implements Disposable {
  readonly events: Events<TunnelBookEvents> = new Events();
  readonly #mirror: Mirror;
  readonly #tunnels = new Map<string, NodeTunnel>();
  readonly #listener: Disposable;

  constructor(mirror: Mirror) {
    this.#mirror = mirror;
    this.#hear({ put: mirror.entries(), del: [] });
    this.#listener = mirror.events.on('changed', (change) => this.#hear(change));
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }

  find(nodeId: string): NodeTunnel | undefined {
    return this.#tunnels.get(nodeId);
  }

  /**
   * The node has this tunnel from now on; what it said before is replaced, and its number stays. `sighting`: of its
   * session; absent for one within the manager's process. Codes nodeRefused where a key is another node's, addressesExhausted where every number is taken.
   */
  async publish(
    nodeId: string,
    offer: TunnelOffer,
    writer: Writer,
    sighting?: Sighting,
  ): Promise<NodeTunnel> {
    const seenAs = seenOf(offer, sighting);
    for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
      const guard = writer.check();
      const before = this.#tunnels.get(nodeId);
      this.#refuseForeign(nodeId, offer.publicKey);
      const tunnel: NodeTunnel = { ...offer, ...seenAs, number: before?.number ?? this.#freeNumber() };
      if (isDeepStrictEqual(before, tunnel)) return tunnel;
      const { compare, write } = this.#plan(nodeId, before, tunnel);
      if (await this.#mirror.commit({ compare: [...guard, ...compare], write })) return tunnel;
    }
    throw givenUp('could not store the key of a node');
  }

  /** Of nodes that are no more. */
  async dropNodes(isGone: (nodeId: string) => boolean): Promise<void> {
    for (const nodeId of [...this.#tunnels.keys()].filter(isGone))
      for (let attempt = 0; ; attempt += 1) {
        const before = this.#tunnels.get(nodeId);
        if (before === undefined) break;
        if (attempt === mostAttempts) throw givenUp('could not remove the key of a node');
        const keys = [
          tunnelKey(nodeId),
          tunnelNumberHolder(before.number),
          tunnelKeyHolder(before.publicKey),
        ];
        const write = keys.map((key): Write => ({ key, del: true }));
        await this.#mirror.commit({ compare: [this.#mirror.unchanged(tunnelKey(nodeId))], write });
      }
  }

  #plan(
    nodeId: string,
    before: NodeTunnel | undefined,
    tunnel: NodeTunnel,
  ): { readonly compare: readonly Compare[]; readonly write: readonly Write[] } {
    const isSameKey = before?.publicKey === tunnel.publicKey;
    const come = isSameKey ? [] : [tunnelKeyHolder(tunnel.publicKey)];
    const gone = isSameKey || before === undefined ? [] : [tunnelKeyHolder(before.publicKey)];
    if (before === undefined) come.push(tunnelNumberHolder(tunnel.number));
    return {
      compare: [
        this.#mirror.unchanged(tunnelKey(nodeId)),
        ...come.map((key) => ({ key, is: 'absent' as const })),
      ],
      write: [
        { key: tunnelKey(nodeId), put: tunnel },
        ...come.map((key) => ({ key, put: { id: nodeId } })),
        ...gone.map((key): Write => ({ key, del: true })),
      ],
    };
  }

  #refuseForeign(nodeId: string, key: string): void {
    const holder = this.#mirror.get(tunnelKeyHolder(key))?.value as { readonly id: string } | undefined;
    if (holder === undefined || holder.id === nodeId) return;
    throw new LinkspanError('nodeRefused', `the public key ${key} is that of node ${holder.id}`);
  }

  #freeNumber(): number {
    for (let number = 1; number <= lastNumber; number++)
      if (this.#mirror.get(tunnelNumberHolder(number)) === undefined) return number;
    throw new LinkspanError('addressesExhausted', 'every number of a tunnel is taken by a node of the swarm');
  }

  #hear({ put, del }: Pick<MirrorChange, 'del'> & { readonly put: Iterable<Entry> }): void {
    const nodes: string[] = [];
    const idOf = ({ key }: Entry): string => key.slice(tunnelsPrefix.length);
    for (const entry of del)
      if (entry.key.startsWith(tunnelsPrefix) && this.#tunnels.delete(idOf(entry))) nodes.push(idOf(entry));
    for (const entry of put) {
      if (!entry.key.startsWith(tunnelsPrefix)) continue;
      this.#tunnels.set(idOf(entry), entry.value as NodeTunnel);
      nodes.push(idOf(entry));
    }
    if (nodes.length > 0) this.events.emit('changed', { nodes });
  }
}
