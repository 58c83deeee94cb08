/*
 * The nodes of a swarm as a manager knows them: records, which are stored, and who is there, which is heard. A record is
 * changed by comparing its version, so that two changes of one never both happen.
 */
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Compare, Store } from '../../store/store.ts';
import type { NodeSpec, NodeState } from '../swarm.ts';
import { type NodeRecord, nodeKey, nodesPrefix } from './records.ts';

export interface Presence {
  readonly state: NodeState;
  /** Why it is not ready. */
  readonly message: string;
}

export interface RosterEvents extends Record<string, unknown> {
  readonly removed: { readonly id: string };
  /** It is down, or is no longer. */
  readonly presence: { readonly id: string };
  readonly changed: { readonly before: NodeRecord | undefined; readonly after: NodeRecord };
}

const absent: Presence = {
  state: 'unknown',
  message: 'Node moved to "unknown" state due to a manager that just began',
};

export class Roster {
  readonly events: Events<RosterEvents> = new Events();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #nodes = new Map<string, NodeRecord>();
  /** Of their records, in the store. */
  readonly #revisions = new Map<string, number>();
  readonly #presence = new Map<string, Presence>();
  readonly #mutex = new KeyedMutex();

  private constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  static async open(store: Store, clock: Clock): Promise<Roster> {
    const roster = new Roster(store, clock);
    for (const { value, revision } of (await store.list(nodesPrefix)).entries) {
      const node = value as NodeRecord;
      roster.#nodes.set(node.id, node);
      roster.#revisions.set(node.id, revision);
    }
    return roster;
  }

  /** In order of creation. */
  get nodes(): readonly NodeRecord[] {
    return [...this.#nodes.values()].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
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

  /** Nobody writes down that a node comes and goes. */
  note(id: string, presence: Presence): void {
    if (!this.#nodes.has(id)) return;
    const wasDown = this.presenceOf(id).state === 'down';
    this.#presence.set(id, presence);
    if (wasDown !== (presence.state === 'down')) this.events.emit('presence', { id });
  }

  /** A node that joins; one that has joined with the same key stays as it is. Resolves with its record. */
  add(node: Omit<NodeRecord, 'version' | 'createdAt' | 'updatedAt' | 'epoch'>): Promise<NodeRecord> {
    return this.#mutex.run(node.id, async () => {
      const known = this.#nodes.get(node.id);
      if (known !== undefined) return known;
      const now = timestamp(this.#clock);
      const record: NodeRecord = { ...node, version: 1, createdAt: now, updatedAt: now, epoch: 0 };
      const done = await this.#store.txn({
        compare: [{ key: nodeKey(node.id), is: 'absent' }],
        write: [{ key: nodeKey(node.id), put: record }],
      });
      if (done.ok) this.#revisions.set(node.id, done.revision);
      this.#presence.set(node.id, { state: 'down', message: 'the node has joined and was not heard of yet' });
      this.#put(undefined, record);
      return record;
    });
  }

  /** Code outOfSequence if `version` is not the record's. */
  changeSpec(id: string, version: number, spec: NodeSpec): Promise<void> {
    return this.#change(id, (node) => {
      if (node.version !== version) throw new LinkspanError('outOfSequence', 'update out of sequence');
      return { ...node, spec };
    }).then(() => {});
  }

  /** A session begins: its number, and what the node says of itself now. Undefined if there is no such node. */
  async begin(
    id: string,
    heard: Pick<NodeRecord, 'description' | 'address' | 'dataPath'>,
  ): Promise<NodeRecord | undefined> {
    if (!this.#nodes.has(id)) return undefined;
    return await this.#change(id, (node) => ({ ...node, ...heard, epoch: node.epoch + 1 }));
  }

  /** Success if it is gone already. */
  remove(id: string): Promise<void> {
    return this.#mutex.run(id, async () => {
      if (!this.#nodes.has(id)) return;
      await this.#store.txn({ write: [{ key: nodeKey(id), del: true }] });
      this.#lose(id);
    });
  }

  /** What a change must compare that holds only as long as the node's record is as it is known here. */
  unchanged(id: string): Compare {
    const revision = this.#revisions.get(id);
    const key = nodeKey(id);
    return revision === undefined ? { key, is: 'absent' } : { key, is: 'revision', revision };
  }

  /** Takes the record from the store, as it may be another than is known here. */
  reread(id: string): Promise<void> {
    return this.#mutex.run(id, async () => {
      const entry = await this.#store.get(nodeKey(id));
      if (entry === undefined) this.#lose(id);
      else if (entry.revision !== this.#revisions.get(id)) {
        this.#revisions.set(id, entry.revision);
        this.#put(this.#nodes.get(id), entry.value as NodeRecord);
      }
    });
  }

  #lose(id: string): void {
    if (!this.#nodes.delete(id)) return;
    this.#revisions.delete(id);
    this.#presence.delete(id);
    this.events.emit('removed', { id });
  }

  #change(id: string, change: (node: NodeRecord) => NodeRecord): Promise<NodeRecord> {
    return this.#mutex.run(id, async () => {
      const before = this.#nodes.get(id);
      if (before === undefined) throw new LinkspanError('nodeNotFound', `node ${id} not found`);
      const after = {
        ...change(before),
        version: before.version + 1,
        updatedAt: timestamp(this.#clock),
      };
      const done = await this.#store.txn({ write: [{ key: nodeKey(id), put: after }] });
      if (done.ok) this.#revisions.set(id, done.revision);
      this.#put(before, after);
      return after;
    });
  }

  #put(before: NodeRecord | undefined, after: NodeRecord): void {
    this.#nodes.set(after.id, after);
    this.events.emit('changed', { before, after });
  }
}
