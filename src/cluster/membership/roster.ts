/*
 * The nodes of a swarm as a manager knows them: records, which are stored, and who is there, which is heard. A record is
 * changed by comparing its revision, so that two changes of one never both happen, whoever makes them.
 */
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Mirror, MirrorChange } from '../../store/mirror.ts';
import type { Compare, Entry, Store } from '../../store/store.ts';
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

/** Others cannot be first for ever. */
const mostAttempts = 20;

export interface RosterDependencies {
  readonly store: Store;
  readonly mirror: Mirror;
  readonly clock: Clock;
}

export class Roster implements Disposable {
  readonly events: Events<RosterEvents> = new Events();
  readonly #deps: RosterDependencies;
  readonly #nodes = new Map<string, NodeRecord>();
  /** Of their records, in the store. */
  readonly #revisions = new Map<string, number>();
  readonly #presence = new Map<string, Presence>();
  readonly #mutex = new KeyedMutex();
  readonly #listener: Disposable;

  /** Knows at once what the mirror has. */
  constructor(deps: RosterDependencies) {
    const { mirror } = deps;
    this.#deps = deps;
    for (const entry of mirror.entries()) if (entry.key.startsWith(nodesPrefix)) this.#put(entry);
    this.#listener = mirror.events.on('changed', (change) => this.#hear(change));
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
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
    const { store, mirror, clock } = this.#deps;
    return this.#mutex.run(node.id, async () => {
      const known = this.#nodes.get(node.id);
      if (known !== undefined) return known;
      const now = timestamp(clock);
      const record: NodeRecord = { ...node, version: 1, createdAt: now, updatedAt: now, epoch: 0 };
      const done = await store.txn({
        compare: [{ key: nodeKey(node.id), is: 'absent' }],
        write: [{ key: nodeKey(node.id), put: record }],
      });
      if (done.ok) await mirror.reached(done.revision);
      else await mirror.fresh();
      const joined: Presence = { state: 'down', message: 'the node has joined and was not heard of yet' };
      if (!this.#presence.has(node.id)) this.#presence.set(node.id, joined);
      return this.#nodes.get(node.id) ?? record;
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
    const { store, mirror } = this.#deps;
    return this.#mutex.run(id, async () => {
      if (!this.#nodes.has(id)) return;
      const done = await store.txn({ write: [{ key: nodeKey(id), del: true }] });
      if (done.ok) await mirror.reached(done.revision);
    });
  }

  /** What a change must compare that holds only as long as the node's record is as it is known here. */
  unchanged(id: string): Compare {
    const revision = this.#revisions.get(id);
    const key = nodeKey(id);
    return revision === undefined ? { key, is: 'absent' } : { key, is: 'revision', revision };
  }

  #hear({ put, del }: MirrorChange): void {
    for (const { key, value } of del) {
      const { id } = value as NodeRecord;
      if (!key.startsWith(nodesPrefix) || !this.#nodes.delete(id)) continue;
      this.#revisions.delete(id);
      this.#presence.delete(id);
      this.events.emit('removed', { id });
    }
    for (const entry of put) {
      if (!entry.key.startsWith(nodesPrefix)) continue;
      const after = entry.value as NodeRecord;
      const before = this.#nodes.get(after.id);
      this.#put(entry);
      this.events.emit('changed', { before, after });
    }
  }

  #put({ value, revision }: Entry): void {
    const node = value as NodeRecord;
    this.#nodes.set(node.id, node);
    this.#revisions.set(node.id, revision);
  }

  /** Code nodeNotFound. */
  #change(id: string, change: (node: NodeRecord) => NodeRecord): Promise<NodeRecord> {
    const { store, mirror, clock } = this.#deps;
    return this.#mutex.run(id, async () => {
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        const before = this.#nodes.get(id);
        if (before === undefined) throw new LinkspanError('nodeNotFound', `node ${id} not found`);
        const after = { ...change(before), version: before.version + 1, updatedAt: timestamp(clock) };
        const write = [{ key: nodeKey(id), put: after }];
        const done = await store.txn({ compare: [this.unchanged(id)], write });
        if (!done.ok) {
          await mirror.fresh();
          continue;
        }
        await mirror.reached(done.revision);
        return after;
      }
      throw new LinkspanError(
        'store',
        'could not change the node: other managers changed it again and again',
      );
    });
  }
}
