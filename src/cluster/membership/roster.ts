/*
 * The nodes of a swarm as a manager knows them: records, which are stored, and who is there, which is heard: from the node,
 * or from the manager that has its session. A record is changed by comparing its revision, so that two changes of one
 * never both happen, whoever makes them.
 */
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Mirror, MirrorChange } from '../../store/mirror.ts';
import type { Compare, Entry, Store, Txn } from '../../store/store.ts';
import type { NodeSpec, NodeState } from '../swarm.ts';
import {
  type LiveNode,
  liveManagersPrefix,
  liveNodeKey,
  liveNodesPrefix,
  type NodeRecord,
  type NodeTls,
  nodeKey,
  nodesPrefix,
  rolesKey,
} from './records.ts';

export interface Presence {
  readonly state: NodeState;
  /** Why it is not ready. */
  readonly message: string;
}

export interface RosterEvents extends Record<string, unknown> {
  readonly removed: NodeRecord;
  /** It is down, or is no longer. */
  readonly presence: { readonly id: string };
  /** It is in another state. */
  readonly state: { readonly node: NodeRecord; readonly before: NodeState; readonly after: NodeState };
  /** The manager that had its session is gone. */
  readonly orphaned: { readonly id: string };
  /** A manager begins. */
  readonly managerFound: { readonly id: string };
  /** A manager has died, or ended. */
  readonly managerLost: { readonly id: string };
  readonly changed: { readonly before: NodeRecord | undefined; readonly after: NodeRecord };
}

/** Others cannot be first for ever. */
const mostAttempts = 20;

export interface RosterDependencies {
  readonly store: Store;
  readonly mirror: Mirror;
  readonly clock: Clock;
  /** The manager's own node. */
  readonly selfId: string;
}

const absent: Presence = {
  state: 'unknown',
  message: 'Node moved to "unknown" state due to a manager that just began',
};
const orphaned: Presence = { state: 'unknown', message: 'the manager that had its session is gone' };

function inOrder(nodes: NodeRecord[]): readonly NodeRecord[] {
  return nodes.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
}

/** Code outOfSequence. */
function withSpec(node: NodeRecord, version: number, spec: NodeSpec): NodeRecord {
  if (node.version !== version) throw new LinkspanError('outOfSequence', 'update out of sequence');
  return { ...node, spec };
}

export class Roster implements Disposable {
  readonly events: Events<RosterEvents> = new Events();
  readonly #deps: RosterDependencies;
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #presence = new Map<string, Presence>();
  /** By what this manager itself knows: of which session. */
  readonly #heardIn = new Map<string, number>();
  /** Those that run, and since which revision of the store. */
  readonly #living = new Map<string, number>();
  /** Of what was told: what is told again is written again, as another may have written over it. */
  #count = 0;
  readonly #mutex = new KeyedMutex();
  readonly #listener: Disposable;

  /** Knows at once what the mirror has. */
  constructor(deps: RosterDependencies) {
    const { mirror } = deps;
    this.#deps = deps;
    this.#hear({ revision: mirror.revision, put: [...mirror.entries()], del: [] });
    this.#listener = mirror.events.on('changed', (change) => this.#hear(change));
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }

  /** Resolves when all is known that was written before the call. */
  fresh(): Promise<void> {
    return this.#deps.mirror.fresh();
  }

  /** In order of creation. */
  get nodes(): readonly NodeRecord[] {
    return inOrder([...this.#nodes.values()]);
  }

  /** Those that are managers, or are to be; in order of creation. */
  get managers(): readonly NodeRecord[] {
    return inOrder([...this.#nodes.values()].filter(({ spec }) => spec.role === 'manager'));
  }

  get byId(): ReadonlyMap<string, NodeRecord> {
    return this.#nodes;
  }

  find(id: string): NodeRecord | undefined {
    return this.#nodes.get(id);
  }

  presenceOf(id: string): Presence {
    return this.#presence.get(id) ?? absent;
  }

  /** What this manager hears of a node itself, in its session of today. */
  note(id: string, presence: Presence): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    this.#heardIn.set(id, node.epoch);
    this.#see(id, presence);
    this.#tell(id);
  }

  /** Of a node that is a manager; without a store that managers share there is one. */
  managerState(id: string): { readonly isLeader: boolean; readonly isReachable: boolean } {
    const { store, selfId } = this.#deps;
    if (store.live === undefined) return { isLeader: id === selfId, isReachable: id === selfId };
    const oldest = [...this.#living].sort(([, a], [, b]) => a - b)[0]?.[0];
    return { isLeader: id === oldest, isReachable: this.#living.has(id) };
  }

  /** A node that joins; one that has joined with the same key stays as it is. Resolves with its record. */
  add(node: Omit<NodeRecord, 'version' | 'createdAt' | 'updatedAt' | 'epoch'>): Promise<NodeRecord> {
    const { mirror, clock } = this.#deps;
    return this.#mutex.run(node.id, async () => {
      const known = this.#nodes.get(node.id);
      if (known !== undefined) return known;
      const now = timestamp(clock);
      const record: NodeRecord = { ...node, version: 1, createdAt: now, updatedAt: now, epoch: 0 };
      await mirror.commit({
        compare: [{ key: nodeKey(node.id), is: 'absent' }],
        write: [{ key: nodeKey(node.id), put: record }],
      });
      const joined: Presence = { state: 'down', message: 'the node has joined and was not heard of yet' };
      if (!this.#presence.has(node.id)) this.#presence.set(node.id, joined);
      return this.#nodes.get(node.id) ?? record;
    });
  }

  /** Code outOfSequence if `version` is not the record's. */
  async changeSpec(id: string, version: number, spec: NodeSpec): Promise<void> {
    await this.#change(id, (node) => withSpec(node, version, spec));
  }

  /** As `changeSpec`; what `check` allows is so as long as no other role changes, whoever changes it. */
  async changeRole(id: string, version: number, spec: NodeSpec, check: () => Promise<void>): Promise<void> {
    const guard = async (): Promise<Required<Pick<Txn, 'compare' | 'write'>>> => {
      const asRead = this.#deps.mirror.unchanged(rolesKey);
      await check();
      return { compare: [asRead], write: [{ key: rolesKey, put: {} }] };
    };
    await this.#change(id, (node) => withSpec(node, version, spec), guard);
  }

  /** A session begins: its number, and what the node says of itself now. Undefined if there is no such node. */
  async begin(
    id: string,
    heard: Pick<NodeRecord, 'description' | 'address' | 'dataPath' | 'managerAddress' | 'tls'>,
  ): Promise<NodeRecord | undefined> {
    if (!this.#nodes.has(id)) return undefined;
    return await this.#change(id, (node) => ({ ...node, ...heard, epoch: node.epoch + 1 }));
  }

  /** What a node shows and trusts; stored where it is news. */
  async noteTls(id: string, tls: NodeTls): Promise<void> {
    const known = this.#nodes.get(id)?.tls;
    if (!this.#nodes.has(id) || (known?.issuer === tls.issuer && known.trusts === tls.trusts)) return;
    await this.#change(id, (node) => ({ ...node, tls }));
  }

  /** Success if it is gone already. */
  remove(id: string): Promise<void> {
    return this.#mutex.run(id, async () => {
      for (let attempt = 0; this.#nodes.has(id) && attempt < mostAttempts; attempt += 1) {
        if (this.#nodes.get(id)?.spec.role === 'manager')
          throw new LinkspanError('nodeInUse', `node ${id} has become a manager`);
        await this.#deps.mirror.commit({
          compare: [this.unchanged(id)],
          write: [{ key: nodeKey(id), del: true }],
        });
      }
    });
  }

  /** What a change must compare that holds only as long as the node's record is as it is known here. */
  unchanged(id: string): Compare {
    return this.#deps.mirror.unchanged(nodeKey(id));
  }

  #hear({ put, del }: MirrorChange): void {
    for (const { key, value } of del) {
      if (key.startsWith(nodesPrefix)) this.#lose(value as NodeRecord);
      else if (key.startsWith(liveManagersPrefix)) {
        const id = key.slice(liveManagersPrefix.length);
        if (this.#living.delete(id)) this.events.emit('managerLost', { id });
      }
    }
    for (const entry of put) {
      if (entry.key.startsWith(nodesPrefix)) this.#put(entry);
      else if (entry.key.startsWith(liveManagersPrefix)) {
        const id = entry.key.slice(liveManagersPrefix.length);
        this.#living.set(id, entry.revision);
        this.events.emit('managerFound', { id });
      }
    }
    // After the records, which say what counts.
    for (const { key, value } of put)
      if (key.startsWith(liveNodesPrefix))
        this.#hearFrom(key.slice(liveNodesPrefix.length), value as LiveNode);
    for (const { key, value } of del)
      if (key.startsWith(liveNodesPrefix))
        this.#hearNoMore(key.slice(liveNodesPrefix.length), value as LiveNode);
  }

  #hearFrom(id: string, { manager, epoch, state, message }: LiveNode): void {
    if (manager === this.#deps.selfId) return;
    // Of a session before the one that is ours: it came late.
    if (epoch < (this.#heardIn.get(id) ?? -1)) this.#tell(id);
    else if (epoch >= (this.#nodes.get(id)?.epoch ?? 0)) {
      // It is another manager's now, also when this one's lease is lost and its keys are put again.
      if (this.#heardIn.delete(id)) this.#deps.store.live?.delete(liveNodeKey(id));
      this.#see(id, { state, message });
    }
  }

  #hearNoMore(id: string, { manager }: LiveNode): void {
    if (manager === this.#deps.selfId || this.#heardIn.has(id) || !this.#nodes.has(id)) return;
    if (this.presenceOf(id).state === 'down') return;
    this.#see(id, orphaned);
    this.events.emit('orphaned', { id });
  }

  /** Tells other managers. */
  #tell(id: string): void {
    const { store, selfId } = this.#deps;
    const epoch = this.#heardIn.get(id);
    if (epoch === undefined) return;
    this.#count += 1;
    const live: LiveNode = { manager: selfId, epoch, count: this.#count, ...this.presenceOf(id) };
    store.live?.set(liveNodeKey(id), live);
  }

  #see(id: string, presence: Presence): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    const before = this.presenceOf(id).state;
    const after = presence.state;
    this.#presence.set(id, presence);
    if ((before === 'down') !== (after === 'down')) this.events.emit('presence', { id });
    if (before !== after) this.events.emit('state', { node, before, after });
  }

  #lose(node: NodeRecord): void {
    const { id } = node;
    if (!this.#nodes.delete(id)) return;
    this.#presence.delete(id);
    if (this.#heardIn.delete(id)) this.#deps.store.live?.delete(liveNodeKey(id));
    this.events.emit('removed', node);
  }

  #put({ value }: Entry): void {
    const after = value as NodeRecord;
    const before = this.#nodes.get(after.id);
    this.#nodes.set(after.id, after);
    this.events.emit('changed', { before, after });
  }

  /** Code nodeNotFound. */
  #change(
    id: string,
    change: (node: NodeRecord) => NodeRecord,
    guard: () => Promise<Required<Pick<Txn, 'compare' | 'write'>>> = () =>
      Promise.resolve({ compare: [], write: [] }),
  ): Promise<NodeRecord> {
    const { mirror, clock } = this.#deps;
    return this.#mutex.run(id, async () => {
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        const before = this.#nodes.get(id);
        if (before === undefined) throw new LinkspanError('nodeNotFound', `node ${id} not found`);
        const after = { ...change(before), version: before.version + 1, updatedAt: timestamp(clock) };
        const asRead = this.unchanged(id);
        const more = await guard();
        const isDone = await mirror.commit({
          compare: [asRead, ...more.compare],
          write: [{ key: nodeKey(id), put: after }, ...more.write],
        });
        if (isDone) return after;
      }
      throw new LinkspanError(
        'store',
        'could not change the node: other managers changed it again and again',
      );
    });
  }
}
