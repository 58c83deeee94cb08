/*
 * The containers that exist, in memory and in the store (`containers/<id>`), and who may use which name. A name is
 * taken synchronously, so that two requests never get the same one; the store follows.
 */
import { parseTimestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Store, Survival, Write } from '../../store/store.ts';
import { lookUp } from '../../base/lookup.ts';
import type { Container, ContainerId } from '../model.ts';
import { LiveContainer } from './liveContainer.ts';

const prefix = 'containers/';

/** Trailing zeros are cut from timestamps, so their texts have no order. */
function createdMs(record: Container): number {
  return parseTimestamp(record.createdAt);
}

export class ContainerTable {
  readonly #store: Store;
  readonly #live = new Map<ContainerId, LiveContainer>();
  readonly #names = new Map<string, ContainerId>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads everything back. Call once, before anything else. */
  async load(): Promise<void> {
    for (const { value } of (await this.#store.list(prefix)).entries) {
      const record = value as Container;
      this.#names.set(record.name, record.id);
      this.#live.set(record.id, new LiveContainer(record));
    }
  }

  /** Newest first, as `ps` shows them. */
  list(): readonly LiveContainer[] {
    return [...this.#live.values()].sort((a, b) => createdMs(b.record) - createdMs(a.record));
  }

  find(id: ContainerId): LiveContainer | undefined {
    return this.#live.get(id);
  }

  /** By full id, name or id prefix; undefined if there is none. Code containerAmbiguous. */
  findByRef(ref: string): LiveContainer | undefined {
    const byId = this.#live as ReadonlyMap<string, LiveContainer>;
    const found = lookUp(ref, byId, (name) => {
      const id = this.#names.get(name.startsWith('/') ? name.slice(1) : name);
      const live = id === undefined ? undefined : this.#live.get(id);
      return live === undefined ? [] : [live];
    });
    if (found.found !== undefined) return found.found;
    if (found.matches > 1) {
      throw new LinkspanError('containerAmbiguous', `multiple IDs found with provided prefix: ${ref}`);
    }
    return undefined;
  }

  /** By full id, name or id prefix. Codes containerNotFound, containerAmbiguous. */
  get(ref: string): LiveContainer {
    const found = this.findByRef(ref);
    if (found === undefined) throw new LinkspanError('containerNotFound', `No such container: ${ref}`);
    return found;
  }

  /** True for a container, and for one that is being created. */
  isInUse(id: string): boolean {
    return this.#live.has(id as ContainerId) || [...this.#names.values()].some((owner) => owner === id);
  }

  isNameTaken(name: string): boolean {
    return this.#names.has(name);
  }

  /** Takes `name` for `id`; code containerNameTaken if somebody has it. */
  takeName(name: string, id: ContainerId): void {
    const owner = this.#names.get(name);
    if (owner !== undefined) {
      throw new LinkspanError(
        'containerNameTaken',
        `Conflict. The container name "/${name}" is already in use by container "${owner}". ` +
          'You have to remove (or rename) that container to be able to reuse that name.',
      );
    }
    this.#names.set(name, id);
  }

  /** Gives `name` back, if `id` has it. */
  releaseName(name: string, id: ContainerId): void {
    if (this.#names.get(name) === id) this.#names.delete(name);
  }

  /** Adds a new container whose name is taken already; durable, with `writes`, when it resolves. */
  async insert(record: Container, writes: readonly Write[]): Promise<LiveContainer> {
    await this.#store.txn({ write: [...writes, { key: prefix + record.id, put: record }] });
    const live = new LiveContainer(record);
    this.#live.set(record.id, live);
    return live;
  }

  /**
   * Changes a record in memory at once, and durably (`starting`: for this machine's uptime) when it resolves; `survives`
   * where `sync` follows. A refused write takes the change back.
   */
  async update(live: LiveContainer, change: Partial<Container>, survives?: Survival): Promise<void> {
    const before = live.record;
    const next = { ...before, ...change };
    live.record = next;
    try {
      await this.#write(next, survives);
    } catch (error) {
      if (live.record === next) live.record = before;
      throw error;
    }
  }

  /** What was written outlives the machine when it resolves. */
  sync(): Promise<void> {
    return this.#store.sync();
  }

  /** Forgets a container and its name. */
  async delete(live: LiveContainer): Promise<void> {
    const { id, name } = live.record;
    await this.#store.txn({ write: [{ key: prefix + id, del: true }] });
    this.#live.delete(id);
    this.releaseName(name, id);
  }

  /** A start that power loss cuts short has left nothing; a removal has: images and snapshots are on the disk. */
  async #write(
    record: Container,
    survives: Survival = record.state === 'starting' ? 'process' : 'machine',
  ): Promise<void> {
    await this.#store.txn({ write: [{ key: prefix + record.id, put: record }], survives });
  }
}
