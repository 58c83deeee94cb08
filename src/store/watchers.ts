/*
 * Who watches a store that one program has for itself, and what each of them hears of a transaction. Not for etcd, which
 * keeps count of its own.
 */
import type { Entry, StoreChange } from './store.ts';

/** One key's fate in a transaction; no entry = it is gone. */
export interface Written {
  readonly key: string;
  readonly entry?: Entry;
}

export class Watcher implements Disposable {
  readonly prefix: string;
  readonly #hear: (change: StoreChange) => void;
  /** It has heard all that there is; changes before that are in it. */
  #isListed = false;
  isOver = false;

  constructor(prefix: string, hear: (change: StoreChange) => void) {
    this.prefix = prefix;
    this.#hear = hear;
  }

  tellAll(revision: number, put: readonly Entry[]): void {
    if (this.isOver) return;
    this.#isListed = true;
    this.#hear({ isAll: true, revision, put, del: [] });
  }

  /** What one transaction did, each key once. */
  tell(revision: number, written: readonly Written[]): void {
    if (this.isOver || !this.#isListed) return;
    const mine = written.filter(({ key }) => key.startsWith(this.prefix));
    if (mine.length === 0) return;
    const put = mine.flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
    const del = mine.filter(({ entry }) => entry === undefined).map(({ key }) => key);
    this.#hear({ isAll: false, revision, put, del });
  }

  [Symbol.dispose](): void {
    this.isOver = true;
  }
}

export class Watchers {
  readonly #all = new Set<Watcher>();

  [Symbol.iterator](): Iterator<Watcher> {
    return [...this.#all].filter(({ isOver }) => !isOver)[Symbol.iterator]();
  }

  /** It hears nothing before its `tellAll`. */
  add(prefix: string, hear: (change: StoreChange) => void): Watcher {
    for (const watcher of this.#all) if (watcher.isOver) this.#all.delete(watcher);
    const watcher = new Watcher(prefix, hear);
    this.#all.add(watcher);
    return watcher;
  }

  isWatched(key: string): boolean {
    for (const { prefix, isOver } of this.#all) if (!isOver && key.startsWith(prefix)) return true;
    return false;
  }

  /** Of two writes of one key the last one counts. */
  tell(revision: number, writes: readonly Written[]): void {
    const written = [...new Map(writes.map((write) => [write.key, write])).values()];
    for (const watcher of this) watcher.tell(revision, written);
  }
}
