/*
 * A swarm's networks on this node: what managers told it, and its calls to them. There before, during and after a
 * membership. A session tells the manager first what this node has (`sync`); what was claimed in this daemon's life and
 * is not yet among the engine's endpoints counts as had, since the engine may be about to write it down.
 */
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import type { Logger } from '../../base/logger.ts';
import { hasCode, isStoreFailure, LinkspanError } from '../../errors/linkspanError.ts';
import type { Store } from '../../store/store.ts';
import { refusals } from '../refusals.ts';
import type {
  EndpointClaim,
  OwnEndpoints,
  SwarmBlock,
  SwarmEndpoint,
  SwarmNetwork,
  SwarmNetworkSpec,
  SwarmNetworks,
  SwarmNetworksEvents,
  SwarmNode,
  SwarmSurroundings,
  TunnelOffer,
} from '../swarmNetworks.ts';
import { blocksIn, claimFromBlocks } from './blockClaims.ts';
import { TunnelTeller } from './tunnelTeller.ts';
import { CallBox, unreachable, within } from './callBox.ts';
import type { Link } from './link.ts';
import type { NetworkBook } from './networkBook.ts';
import { hasBlocks, NodeBlocks } from './nodeBlocks.ts';
import { namesOf, parts } from './parts.ts';
import { addressesOf } from './records.ts';
import { type Outcome, Replica, type RowChanges } from './replica.ts';
import { ReplicaCache } from './replicaCache.ts';
import { type EndpointName, keyOf, maxPartRows, type Push, type Refusal, readPush } from './wire.ts';

export interface NodeNetworksDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly ownEndpoints: OwnEndpoints;
}

/** Of this node, in the swarm that it is in. */
export interface NodeMembership {
  readonly nodeId: string;
  readonly address: string;
  /** Of VXLAN, read each time. */
  readonly port: () => number;
  /** On a manager. */
  readonly book?: NetworkBook;
  /** Of a manager that is not open, and has no book: why. */
  readonly trouble?: string;
  /** Of a manager: the swarm's records are not on this machine alone, and may be out of reach. */
  readonly isShared?: boolean;
  /** Its records are on the move. */
  readonly isPaused?: boolean;
}

/** How long nobody is kept waiting for a manager. */
const patienceMs = 2000;
/** A claim may wait for a manager that starts again. */
const claimPatienceMs = 5000;
/** After a call that failed within a session. */
const syncAgainMs = 1000;

interface Session {
  readonly link: Link;
  readonly calls: CallBox;
}

export class NodeNetworks implements SwarmNetworks {
  readonly events: Events<SwarmNetworksEvents> = new Events();
  readonly #deps: NodeNetworksDependencies;
  #membership: NodeMembership | undefined;
  #cache: ReplicaCache | undefined;
  #replica = new Replica();
  #session: Session | undefined;
  /** Wakes who waits for a session, a table or a network. */
  #news: PromiseWithResolvers<void> = Promise.withResolvers();
  /** What the engine follows, and what a look at all rows does for a while. */
  readonly #followed = new Set<string>();
  readonly #glances = new Map<string, number>();
  /** Had since this daemon began, until the engine names it or lets go of it. */
  readonly #claimed = new Map<string, EndpointClaim>();
  readonly #claiming = new Map<string, EndpointName>();
  readonly #blocks: NodeBlocks;
  readonly #tunnel: TunnelTeller;
  #isStarted = false;
  /** Of the session: it has told all nodes and networks. */
  #isTold = false;
  #isSyncDue = false;

  constructor(deps: NodeNetworksDependencies) {
    this.#deps = deps;
    this.#tunnel = new TunnelTeller(deps);
    this.#blocks = new NodeBlocks({
      ...deps,
      own: (networkId) =>
        [...deps.ownEndpoints(), ...this.#claimed.values()].filter((one) => one.networkId === networkId),
      claim: (claim) => this.#claimAtManager(claim),
      release: (blocks) => this.#tellReleased(blocks),
      isHeard: () => this.#session !== undefined,
      ownerOf: (networkId, first) => this.#ownerOf(networkId, first),
    });
  }

  /** From now on `ownEndpoints` is the truth about this node; sessions tell it. */
  start(): void {
    this.#isStarted = true;
    this.#blocks.tidy();
    if (this.#session !== undefined) this.#sync(this.#session);
    this.#tellNews();
  }

  /**
   * This node is a member, or has become another kind of one. Resolves when it knows what an earlier daemon knew.
   */
  async enter(membership: NodeMembership): Promise<void> {
    const { store, logger } = this.#deps;
    const isNew = this.#membership === undefined;
    this.#membership = membership;
    const { book, trouble, isShared = false } = membership;
    const before = new Set(this.#replica.networks.keys());
    // A manager has it all in its store.
    if ((book ?? trouble) !== undefined && !isShared) this.#cache = undefined;
    else if (this.#cache === undefined) {
      this.#cache = new ReplicaCache(store, logger);
      if (isNew) await this.#cache.load(this.#replica);
      else this.#cache.keepAll(this.#replica);
    }
    if (isNew) await this.#blocks.load();
    this.#replica.applyNetworks({ isAll: false, networks: book?.networks ?? [], gone: [] });
    const added = [...this.#replica.networks.values()].filter(({ id }) => !before.has(id));
    if (added.length > 0) this.events.emit('networks', { added, removed: [] });
    this.#tellNews();
  }

  /** The records of the swarm are on the move, until `enter`: changes of networks wait. */
  pause(): void {
    if (this.#membership !== undefined) this.#membership = { ...this.#membership, isPaused: true };
  }

  /** A session with a manager begins. */
  connect(link: Link): void {
    this.#end();
    const session: Session = { link, calls: new CallBox(link) };
    this.#session = session;
    link.listen({
      message: (value) => this.#hear(session, value),
      end: () => {
        if (this.#session === session) this.#end();
      },
    });
    this.#send({ type: 'subscribe' });
    this.#tunnel.connect(session.calls);
    if (this.#isStarted) this.#sync(session);
    for (const id of new Set([...this.#followed, ...this.#glances.keys()])) this.#ask(id);
    this.#tellNews();
  }

  /** Resolves when a manager has told what nodes there are, or none has within two seconds. */
  async told(): Promise<void> {
    await this.#wait(patienceMs, () => this.#isTold);
  }

  /** The daemon ends: what is known stays stored. */
  async close(): Promise<void> {
    this.#end();
    this.#blocks.forgetAll();
    await this.#cache?.settle();
  }

  /** This node is a member no more: nothing is known. */
  async leave(): Promise<void> {
    await this.close();
    const removed = this.networks;
    const nodes = [...this.#replica.nodes.keys()];
    const followed = [...this.#followed].map((id) => ({ id, rows: this.peers(id) }));
    this.#replica = new Replica();
    this.#membership = undefined;
    this.#cache = undefined;
    this.#followed.clear();
    this.#claimed.clear();
    for (const { id, rows } of followed)
      this.events.emit('peers', { networkId: id, isSnapshot: true, added: [], removed: rows });
    if (nodes.length > 0) this.events.emit('nodes', { changed: nodes });
    if (removed.length > 0) this.events.emit('networks', { added: [], removed });
  }

  get isInTouch(): boolean {
    return this.#session !== undefined;
  }

  get networks(): readonly SwarmNetwork[] {
    return [...this.#replica.networks.values()];
  }

  get dataPath(): { readonly nodeId: string; readonly address: string; readonly port: number } | undefined {
    if (this.#membership === undefined) return undefined;
    const { nodeId, address, port } = this.#membership;
    return { nodeId, address, port: port() };
  }

  get nodes(): readonly SwarmNode[] {
    return [...this.#replica.nodes.values()];
  }

  findNode(id: string): SwarmNode | undefined {
    return this.#replica.nodes.get(id);
  }

  peers(networkId: string): readonly SwarmEndpoint[] {
    if (!this.#followed.has(networkId)) return [];
    return [...this.#replica.table(networkId).rows.values()].filter((row) => this.#isPeer(row));
  }

  blocks(networkId: string): readonly SwarmBlock[] {
    const nodeId = this.#membership?.nodeId ?? '';
    const network = this.#replica.networks.get(networkId);
    if (!hasBlocks(network)) return [];
    return blocksIn(
      network,
      this.#replica.table(networkId).rows.values(),
      nodeId,
      this.#blocks.of(networkId),
    );
  }

  async createNetwork(plan: (around: SwarmSurroundings) => SwarmNetworkSpec): Promise<SwarmNetwork> {
    const network = await this.#change((book) => book.create(plan));
    await this.#wait(patienceMs, () => this.#replica.networks.has(network.id));
    return network;
  }

  async removeNetwork(id: string): Promise<void> {
    await this.#change((book) => book.remove(id));
    await this.#wait(patienceMs, () => !this.#replica.networks.has(id));
  }

  async claim(claim: EndpointClaim): Promise<SwarmEndpoint> {
    if (this.#membership === undefined) throw new LinkspanError('noSwarm', refusals.noSwarm);
    const network = this.#replica.networks.get(claim.networkId);
    if (hasBlocks(network)) {
      if (!(await this.#wait(claimPatienceMs, () => this.#isStarted))) throw unreachable();
      const { clock } = this.#deps;
      const { nodeId } = this.#membership;
      const by = {
        ...{ clock, nodeId, blocks: this.#blocks, claimed: this.#claimed },
        ...{ calls: () => this.#session?.calls, syncSoon: () => this.#syncSoon() },
      };
      return await claimFromBlocks(by, network, claim);
    }
    return await this.#claimAtManager(claim, (row) => this.#claimed.set(keyOf(claim), toClaim(row)));
  }

  /** `note` is called before a session may be told that the node has nothing of the kind. */
  async #claimAtManager(claim: EndpointClaim, note?: (row: SwarmEndpoint) => void): Promise<SwarmEndpoint> {
    const { clock } = this.#deps;
    const untilMs = clock.nowMs() + claimPatienceMs;
    const key = keyOf(claim);
    this.#claiming.set(key, claim);
    try {
      for (;;) {
        const leftMs = untilMs - clock.nowMs();
        const isReady = await this.#wait(leftMs, () => this.#session !== undefined && this.#isStarted);
        const session = this.#session;
        if (!isReady || session === undefined) throw unreachable();
        try {
          const leftMs = untilMs - clock.nowMs();
          const row = await within(clock, leftMs, session.calls.call('claim', { claim }));
          note?.(row);
          return row;
        } catch (error) {
          // The same endpoint again has one effect; in the next session, if there is one in time.
          if (hasCode(error, 'managerUnreachable') && this.#session !== session) continue;
          throw error;
        }
      }
    } catch (error) {
      // The manager may have done it all the same.
      if (hasCode(error, 'managerUnreachable') || isStoreFailure(error)) this.#syncSoon();
      throw error;
    } finally {
      this.#claiming.delete(key);
    }
  }

  async #ownerOf(networkId: string, first: string): Promise<string | undefined> {
    await this.#wait(patienceMs, () => this.#isKnown(networkId));
    const row = [...this.#replica.table(networkId).rows.values()].find(
      (one) => one.block !== undefined && addressesOf(one).includes(first),
    );
    return row && (this.findNode(row.nodeId)?.hostname ?? row.nodeId);
  }

  async release(endpoints: Parameters<SwarmNetworks['release']>[0]): Promise<void> {
    for (const one of endpoints) {
      const had = this.#claimed.get(keyOf(one));
      this.#claimed.delete(keyOf(one));
      if (this.#replica.networks.get(one.networkId)?.blockBits !== undefined)
        this.#blocks.rest(one.networkId, addressesOf({ ...had, ...one }));
    }
    this.#blocks.tidy();
    await this.#tellReleased(endpoints);
  }

  async #tellReleased(endpoints: readonly EndpointName[]): Promise<void> {
    await this.#try(async ({ calls }) => {
      for (const part of parts(namesOf(endpoints))) await calls.call('release', { endpoints: part });
    });
  }

  async amend(claims: readonly EndpointClaim[]): Promise<void> {
    for (const claim of claims)
      if (this.#claimed.has(keyOf(claim)))
        this.#claimed.set(keyOf(claim), { ...this.#claimed.get(keyOf(claim)), ...claim });
    await this.#try(async ({ calls }) => {
      for (const part of parts(claims)) this.#refused((await calls.call('amend', { claims: part })).refused);
    });
  }

  async follow(networkId: string): Promise<void> {
    if (!this.#followed.has(networkId)) {
      this.#followed.add(networkId);
      // From the cache, or as another asked: a manager tells only what has changed since.
      if (this.#replica.tables.has(networkId))
        this.events.emit('peers', { networkId, isSnapshot: true, added: this.peers(networkId), removed: [] });
      this.#ask(networkId);
    }
    // Its addresses need no manager: nobody waits for one that is away.
    if (this.#session === undefined && hasBlocks(this.#replica.networks.get(networkId))) return;
    await this.#wait(patienceMs, () => this.#isKnown(networkId));
  }

  unfollow(networkId: string): void {
    this.#followed.delete(networkId);
    this.#letGo(networkId);
  }

  offerTunnel(offer: TunnelOffer | undefined): void {
    this.#tunnel.offer(offer);
  }

  async endpoints(networkId: string): Promise<readonly SwarmEndpoint[]> {
    const glances = this.#glances.get(networkId) ?? 0;
    this.#glances.set(networkId, glances + 1);
    try {
      if (glances === 0 && !this.#isKnown(networkId)) this.#ask(networkId);
      await this.#wait(patienceMs, () => this.#isKnown(networkId));
      const { rows } = this.#replica.table(networkId);
      const own = this.#isKnown(networkId) ? [] : this.#ownRows(networkId, rows);
      return [...rows.values(), ...own];
    } finally {
      const left = (this.#glances.get(networkId) ?? 1) - 1;
      if (left > 0) this.#glances.set(networkId, left);
      else this.#glances.delete(networkId);
      this.#letGo(networkId);
    }
  }

  /** As a manager would have them, once one answers. */
  #ownRows(networkId: string, known: ReadonlyMap<string, SwarmEndpoint>): readonly SwarmEndpoint[] {
    const nodeId = this.#membership?.nodeId ?? '';
    return [...this.#blocks.claims, ...this.#deps.ownEndpoints()]
      .filter((claim) => claim.networkId === networkId && !known.has(claim.endpointId))
      .map((claim) => ({ ...claim, nodeId, revision: 0 }));
  }

  /** From a manager, or there is nothing that could be. */
  #isKnown(networkId: string): boolean {
    return this.#membership === undefined || this.#replica.table(networkId).isCurrent;
  }

  #isPeer(row: SwarmEndpoint): boolean {
    return row.isUp && row.nodeId !== this.#membership?.nodeId;
  }

  /** Once more where the records moved meanwhile. */
  async #change<T>(work: (book: NetworkBook) => Promise<T>): Promise<T> {
    await this.#wait(patienceMs, () => this.#membership?.isPaused !== true);
    const book = this.#book();
    try {
      return await work(book);
    } catch (error) {
      if (!hasCode(error, 'storeUnavailable') || this.#membership?.isPaused !== true) throw error;
      await this.#wait(claimPatienceMs, () => this.#membership?.isPaused !== true);
      return await work(this.#book());
    }
  }

  #book(): NetworkBook {
    if (this.#membership === undefined) throw new LinkspanError('noSwarm', refusals.noSwarm);
    const { book, trouble } = this.#membership;
    if (trouble !== undefined) throw new LinkspanError('managerUnreachable', trouble);
    if (book === undefined) throw new LinkspanError('notManager', refusals.worker);
    return book;
  }

  #letGo(networkId: string): void {
    if (this.#followed.has(networkId) || this.#glances.has(networkId)) return;
    this.#send({ type: 'unfollow', network: networkId });
    this.#replica.drop(networkId);
    this.#cache?.dropTable(networkId);
  }

  #ask(networkId: string): void {
    const { epoch, revision } = this.#replica.table(networkId);
    this.#send({ type: 'follow', network: networkId, epoch, revision });
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    this.#session?.link.send(JSON.stringify(message));
  }

  #end(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#session = undefined;
    this.#isTold = false;
    this.#replica.age();
    this.#tunnel.connect(undefined);
    session.calls.end();
    this.#tellNews();
  }

  #hear(session: Session, value: unknown): void {
    const push = readPush(value);
    if (push === undefined || this.#session !== session) return;
    this.#take(session, push);
    this.#tellNews();
  }

  #take(session: Session, push: Push): void {
    switch (push.type) {
      case 'answer':
        session.calls.answer(push);
        break;
      case 'networks': {
        const { added, removed } = this.#replica.applyNetworks(push);
        this.#cache?.keepNetworks(added, removed);
        if (push.isAll) {
          this.#isTold = true;
          this.#sweep();
        }
        if (push.isAll || removed.length > 0)
          this.#dropBlocks(({ networkId }) => !this.#replica.networks.has(networkId));
        if (added.length + removed.length > 0) this.events.emit('networks', { added, removed });
        break;
      }
      case 'nodes': {
        const changed = this.#replica.applyNodes(push);
        this.#cache?.keepNodes(changed, this.#replica.nodes);
        if (changed.length > 0) this.events.emit('nodes', { changed });
        break;
      }
      case 'snapshot':
        this.#takeRows(push.network, () => this.#replica.applySnapshot(push));
        break;
      case 'changes':
        this.#takeRows(push.network, () => this.#replica.applyChanges(push));
        break;
    }
  }

  /** Tables of an earlier daemon's, of networks that are gone. */
  #sweep(): void {
    for (const id of [...this.#replica.tables.keys()]) if (!this.#replica.networks.has(id)) this.#letGo(id);
  }

  #takeRows(networkId: string, apply: () => Outcome): void {
    // It was let go of, and the manager did not know when it sent this.
    if (!this.#followed.has(networkId) && !this.#glances.has(networkId)) return;
    const outcome = apply();
    if (outcome === 'incomplete') return;
    if (outcome === 'gap') {
      this.#ask(networkId);
      return;
    }
    this.#cache?.keepTable(networkId, this.#replica.table(networkId), outcome);
    if (this.#followed.has(networkId)) this.#tellPeers(networkId, outcome);
  }

  #tellPeers(networkId: string, { isSnapshot, put, del }: RowChanges): void {
    const added = put.flatMap(({ row }) => (this.#isPeer(row) ? row : []));
    const removed = [
      ...del.filter((row) => this.#isPeer(row)),
      ...put.flatMap(({ row, before }) =>
        before !== undefined && this.#isPeer(before) && !this.#isPeer(row) ? before : [],
      ),
    ];
    if (isSnapshot || added.length + removed.length > 0)
      this.events.emit('peers', { networkId, isSnapshot, added, removed });
    if ([...put.map(({ row }) => row), ...del].some(({ block }) => block !== undefined))
      this.events.emit('blocks', { networkId });
  }

  /** `networkId`: of one that stays, where the block is another's now. */
  #dropBlocks(isLost: (claim: EndpointClaim) => boolean, networkId?: string): void {
    const dropping = this.#blocks.drop(isLost).catch((error: unknown) => {
      this.#deps.logger.error({ err: error }, 'could not forget a block of a network');
    });
    if (networkId !== undefined) void dropping.then(() => this.events.emit('blocks', { networkId }));
  }

  /** What is asked of a manager that may be away: never longer than people wait, and the next sync heals it. */
  async #try(work: (session: Session) => Promise<void>): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    try {
      await within(this.#deps.clock, patienceMs, work(session));
    } catch (error) {
      this.#deps.logger.warn(
        { err: error },
        'a manager did not take a change of endpoints; it is told again',
      );
      this.#syncSoon();
    }
  }

  #syncSoon(): void {
    if (this.#isSyncDue) return;
    this.#isSyncDue = true;
    void this.#deps.clock.sleep(syncAgainMs).then(() => {
      this.#isSyncDue = false;
      if (this.#session !== undefined && this.#isStarted) this.#sync(this.#session);
    });
  }

  #sync(session: Session): void {
    // What is being claimed is said by its claim, which may have left before this.
    const claims = new Map([...this.#claimed].filter(([key]) => !this.#claiming.has(key)));
    for (const claim of this.#deps.ownEndpoints()) {
      const key = keyOf(claim);
      // Claimed for a start that the engine is about to write down; where that fails, it is amended.
      const isStarting = !claim.isUp && claims.get(key)?.isUp === true;
      if (isStarting || this.#claiming.has(key)) continue;
      claims.set(key, claim);
      // From now on the engine says.
      this.#claimed.delete(key);
    }
    const keep = namesOf([...this.#claiming.values(), ...this.#blocks.asking]).slice(0, maxPartRows);
    // Blocks before what is in them.
    const all = parts([...this.#blocks.claims, ...claims.values()]);
    const told = (all.length === 0 ? [[]] : all).map((part, i) =>
      session.calls.call('sync', { claims: part, keep, isLast: i >= all.length - 1 }),
    );
    Promise.all(told).then(
      (answers) => this.#refused(answers.flatMap(({ refused }) => refused)),
      (error: unknown) => {
        if (this.#session !== session) return;
        this.#deps.logger.warn({ err: error }, 'a manager did not take what this node has; it is told again');
        this.#syncSoon();
      },
    );
  }

  #refused(refusals: readonly Refusal[]): void {
    for (const refusal of refusals) {
      this.#deps.logger.warn(
        { endpoint: refusal.endpointId, cause: refusal.message },
        'a manager refuses an endpoint',
      );
      const { endpointId, networkId, code } = refusal;
      // A network that is about to go, or a manager in trouble, says nothing of whose it is.
      const isOthers = code === 'addressTaken' || code === 'nodeRefused' || code === 'addressInvalid';
      if (isOthers && this.#blocks.claims.some((one) => one.endpointId === endpointId))
        this.#dropBlocks((one) => one.endpointId === endpointId, networkId);
      this.events.emit('refused', refusal);
    }
  }

  #tellNews(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  /** False if it has not become so within `ms`. */
  async #wait(ms: number, isIt: () => boolean): Promise<boolean> {
    if (isIt()) return true;
    const { clock } = this.#deps;
    const late = new AbortController();
    const untilSo = async (): Promise<void> => {
      while (!late.signal.aborted && !isIt()) await this.#news.promise;
    };
    try {
      await within(clock, ms, untilSo());
      return true;
    } catch {
      late.abort();
      return isIt();
    }
  }
}

function toClaim({ nodeId: _node, revision: _revision, ...claim }: SwarmEndpoint): EndpointClaim {
  return claim;
}
