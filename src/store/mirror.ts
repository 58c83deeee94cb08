/*
 * What a store has below a prefix, in memory: follows it by a watch. It may be late, and is never wrong: at each of its
 * revisions it is what the store was at that revision.
 */
import type { Clock } from '../base/clock.ts';
import { Events } from '../base/events.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Compare, Entry, Store, StoreChange, Txn } from './store.ts';

export interface MirrorChange {
  readonly revision: number;
  readonly put: readonly Entry[];
  /** As they were. */
  readonly del: readonly Entry[];
}

export interface MirrorEvents extends Record<string, unknown> {
  readonly changed: MirrorChange;
}

/** How long somebody waits to hear of what is done. An election takes etcd between one and two seconds. */
const patienceMs = 5000;

interface Waiting {
  readonly revision: number;
  readonly settle: (error?: LinkspanError) => void;
}

const silent = (): LinkspanError =>
  new LinkspanError('storeUnavailable', "the swarm's store does not tell what has changed");

export class Mirror implements Disposable {
  readonly events: Events<MirrorEvents> = new Events();
  readonly #store: Store;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Set<Waiting>();
  readonly #watch: Disposable;
  #revision = -1;

  private constructor(store: Store, prefix: string, clock: Clock) {
    this.#store = store;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#watch = store.watch(prefix, (change) => this.#hear(change));
  }

  /** Resolves when all is there. Rejects as `Store.get`; code storeUnavailable if the store tells nothing. */
  static async open(store: Store, prefix: string, clock: Clock): Promise<Mirror> {
    // A store that does not answer says why.
    await store.get(`${prefix}barrier`);
    const mirror = new Mirror(store, prefix, clock);
    try {
      await mirror.reached(0);
      return mirror;
    } catch (error) {
      mirror[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    for (const { settle } of [...this.#waiting]) settle(new LinkspanError('store', 'the store is closed'));
  }

  /** The store's, up to which everything was heard. */
  get revision(): number {
    return this.#revision;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** All of them. */
  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Resolves when what was done at `revision` was heard. Code storeUnavailable after five seconds. */
  async reached(revision: number): Promise<void> {
    if (this.#revision >= revision) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const ending = new AbortController();
    const waiting: Waiting = {
      revision,
      settle: (error) => {
        this.#waiting.delete(waiting);
        ending.abort();
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    this.#waiting.add(waiting);
    this.#clock.sleep(patienceMs, ending.signal).then(
      () => waiting.settle(silent()),
      // It was settled.
      () => {},
    );
    await promise;
  }

  /** What holds as long as the key is as it is known here. */
  unchanged(key: string): Compare {
    const entry = this.#entries.get(key);
    return entry === undefined ? { key, is: 'absent' } : { key, is: 'revision', revision: entry.revision };
  }

  /** True: it is done, and heard. False: a comparison failed, and what was faster is heard. Rejects as `fresh`. */
  async commit(txn: Txn): Promise<boolean> {
    const done = await this.#store.txn(txn);
    await (done.ok ? this.reached(done.revision) : this.fresh());
    return done.ok;
  }

  /** Resolves when everything was heard that was done before the call. Rejects as `Store.txn`, and as `reached`. */
  async fresh(): Promise<void> {
    const barrier = { key: `${this.#prefix}barrier`, put: {} };
    const done = await this.#store.txn({ write: [barrier], survives: 'process' });
    if (done.ok) await this.reached(done.revision);
  }

  #hear({ isAll, revision, put, del }: StoreChange): void {
    const isNew = (one: Entry): boolean => this.#entries.get(one.key)?.revision !== one.revision;
    const news = isAll ? put.filter(isNew).sort((a, b) => a.revision - b.revision) : put;
    const keys = isAll ? new Set(put.map(({ key }) => key)) : undefined;
    const gone = keys === undefined ? del : [...this.#entries.keys()].filter((key) => !keys.has(key));
    const lost = gone.flatMap((key) => this.#entries.get(key) ?? []);
    for (const { key } of lost) this.#entries.delete(key);
    for (const entry of news) this.#entries.set(entry.key, entry);
    // A store that was set back goes back.
    this.#revision = isAll ? revision : Math.max(this.#revision, revision);
    if (news.length + lost.length > 0) this.events.emit('changed', { revision, put: news, del: lost });
    for (const { revision: wanted, settle } of [...this.#waiting]) if (wanted <= this.#revision) settle();
  }
}
