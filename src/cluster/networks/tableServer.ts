/*
 * A manager's side of the sessions about networks: which session of a node counts, and what all of them are told, each
 * message encoded once.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import type { NodeRecord } from '../membership/records.ts';
import type { Roster } from '../membership/roster.ts';
import type { SwarmNode } from '../swarmNetworks.ts';
import { EndpointBook } from './endpointBook.ts';
import type { Link } from './link.ts';
import type { NetworkBook } from './networkBook.ts';
import { NodeSession } from './nodeSession.ts';
import { TunnelBook } from './tunnelBook.ts';
import type { NetworksPush, NodesPush } from './wire.ts';

export interface TableServerDependencies {
  readonly book: NetworkBook;
  readonly roster: Roster;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Which this manager tells everybody to reach it by. */
  readonly advertised?: Ip | undefined;
  /** As the book's. */
  readonly turn: (work: () => void) => void;
}

/** Of a worker that may be a relay, `true`. */
const relayLabel = 'linkspan.relay';
function mayRelay(node: Pick<NodeRecord, 'spec'> | undefined): boolean {
  return node?.spec.role === 'manager' || node?.spec.labels[relayLabel] === 'true';
}

/** After a failure of the store. */
const againMs = 1000;

export class TableServer implements Disposable {
  readonly #deps: TableServerDependencies;
  readonly #endpoints: EndpointBook;
  readonly #tunnels: TunnelBook;
  /** The newest of each node. */
  readonly #sessions = new Map<string, NodeSession>();
  readonly #subscribers = new Set<Link>();
  readonly #listeners = new DisposableStack();
  readonly #changedNodes = new Set<string>();
  #isTurnComing = false;
  #isOver = false;

  private constructor(deps: TableServerDependencies) {
    this.#deps = deps;
    this.#endpoints = new EndpointBook(deps.book);
    this.#tunnels = this.#listeners.use(new TunnelBook(deps.book.deps.mirror));
    const { book, roster } = deps;
    this.#listeners.use(
      book.events.on('networks', ({ added, removed }) => {
        for (const { id } of removed) for (const session of this.#sessions.values()) session.unfollow(id);
        this.#push({ type: 'networks', isAll: false, networks: added, gone: removed.map(({ id }) => id) });
      }),
    );
    this.#listeners.use(
      this.#tunnels.events.on('changed', ({ nodes }) => {
        for (const id of nodes) this.#noteNode(id);
      }),
    );
    this.#listeners.use(roster.events.on('changed', ({ after }) => this.#noteNode(after.id)));
    this.#listeners.use(roster.events.on('presence', ({ id }) => this.#noteNode(id)));
    this.#listeners.use(
      roster.events.on('removed', ({ id }) => {
        this.#sessions.get(id)?.end();
        this.#noteNode(id);
        void this.#dropNodes((nodeId) => nodeId === id);
      }),
    );
  }

  /** Resolves when what nodes left that were removed is free. */
  static async open(deps: TableServerDependencies): Promise<TableServer> {
    const server = new TableServer(deps);
    await server.#drop((nodeId) => deps.roster.find(nodeId) === undefined);
    return server;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#listeners.dispose();
    for (const session of this.#sessions.values()) session.end();
  }

  /** A node's session begins, the `epoch`th, `from` an address; an earlier one counts no more. */
  accept(nodeId: string, epoch: number, link: Link, from?: Ip): void {
    const { book, clock, logger, roster, advertised } = this.#deps;
    this.#sessions.get(nodeId)?.end();
    const seen = advertised === undefined ? {} : { advertised };
    const session: NodeSession = new NodeSession({
      ...{ nodeId, link, book, clock, logger, endpoints: this.#endpoints },
      ...(from === undefined ? {} : { sighting: { ...seen, from } }),
      addressOf: () => parseIp(roster.find(nodeId)?.address ?? ''),
      tunnels: this.#tunnels,
      counts: () =>
        !this.#isOver && this.#sessions.get(nodeId) === session && roster.find(nodeId)?.epoch === epoch,
      mayRelay: () => mayRelay(roster.find(nodeId)),
      unchanged: () => roster.unchanged(nodeId),
      subscribe: () => this.#subscribe(link),
      ended: () => {
        this.#subscribers.delete(link);
        if (this.#sessions.get(nodeId) === session) this.#sessions.delete(nodeId);
      },
    });
    this.#sessions.set(nodeId, session);
    session.begin();
  }

  /** All nodes, then all networks; changes follow. */
  #subscribe(link: Link): void {
    const { roster, book } = this.#deps;
    const nodes: NodesPush = {
      ...{ type: 'nodes', isAll: true, nodes: roster.nodes.map((node) => this.#toNode(node)), gone: [] },
    };
    const networks: NetworksPush = { type: 'networks', isAll: true, networks: book.networks, gone: [] };
    link.send(JSON.stringify(nodes));
    link.send(JSON.stringify(networks));
    this.#subscribers.add(link);
  }

  #push(message: NetworksPush | NodesPush): void {
    const encoded = Buffer.from(JSON.stringify(message));
    for (const link of this.#subscribers) link.send(encoded);
  }

  /** Several changes of nodes within a turn are one message. */
  #noteNode(id: string): void {
    this.#changedNodes.add(id);
    if (this.#isTurnComing) return;
    this.#isTurnComing = true;
    this.#deps.turn(() => {
      this.#isTurnComing = false;
      const found = [...this.#changedNodes].map((one) => [one, this.#deps.roster.find(one)] as const);
      this.#changedNodes.clear();
      this.#push({
        ...{ type: 'nodes', isAll: false },
        nodes: found.flatMap(([, node]) => (node === undefined ? [] : this.#toNode(node))),
        gone: found.flatMap(([one, node]) => (node === undefined ? one : [])),
      });
    });
  }

  #toNode({ id, description, dataPath, address, spec }: NodeRecord): SwarmNode {
    const isDown = this.#deps.roster.presenceOf(id).state === 'down';
    const tunnel = this.#tunnels.find(id);
    const isRelay = mayRelay({ spec });
    return {
      ...{ id, hostname: description.hostname, vtep: dataPath ?? address, isDown },
      ...(tunnel === undefined ? {} : { tunnel }),
      ...(isRelay ? { isRelay } : {}),
    };
  }

  async #drop(isGone: (nodeId: string) => boolean): Promise<void> {
    // First of all nobody takes what it sends.
    await this.#tunnels.dropNodes(isGone);
    await this.#endpoints.dropNodes(isGone);
  }

  /** Until it is done, or the manager ends: one that starts does it again. */
  async #dropNodes(isGone: (nodeId: string) => boolean): Promise<void> {
    for (;;) {
      try {
        await this.#drop(isGone);
        return;
      } catch (error) {
        this.#deps.logger.error({ err: error }, 'could not release what a node had that was removed');
      }
      await this.#deps.clock.sleep(againMs);
      if (this.#isOver) return;
    }
  }
}
