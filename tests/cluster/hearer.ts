/*
 * One who watches a store, for tests: keeps what was told, and knows what should be there by that alone.
 */
import assert from 'node:assert/strict';
import type { Store, StoreChange } from '../../src/store/store.ts';
import { eventually } from '../compat/command.ts';

export class Hearer implements AsyncDisposable {
  readonly changes: StoreChange[] = [];
  readonly known: Map<string, unknown> = new Map();
  readonly #store: Store;
  readonly #prefix: string;
  #watch: Disposable | undefined;
  #violation: unknown;

  private constructor(store: Store, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  /** Resolves when all was told once. */
  static async start(store: Store, prefix: string): Promise<Hearer> {
    const hearer = new Hearer(store, prefix);
    hearer.#watch = store.watch(prefix, (change) => hearer.#hear(change));
    assert.ok(await eventually(() => Promise.resolve(hearer.changes.length > 0), 10_000));
    return hearer;
  }

  /** Resolves when it was told of this revision or a later one. */
  async until(revision: number, timeoutMs = 10_000): Promise<void> {
    const isThere = (): boolean => (this.changes.at(-1)?.revision ?? 0) >= revision;
    assert.ok(await eventually(() => Promise.resolve(isThere()), timeoutMs), 'it was not told');
  }

  /** What it knows is what is there. */
  async assertKnows(): Promise<void> {
    if (this.#violation !== undefined) throw this.#violation;
    const { entries } = await this.#store.list(this.#prefix);
    assert.deepEqual(
      [...this.known].toSorted(([a], [b]) => (a < b ? -1 : 1)),
      entries.map(({ key, value }) => [key, value]),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    return Promise.resolve();
  }

  #hear(change: StoreChange): void {
    const before = this.changes.at(-1);
    try {
      if (before === undefined) assert.ok(change.isAll, 'all comes first');
      else if (change.isAll) assert.ok(change.revision >= before.revision, 'it went back');
      else assert.ok(change.revision > before.revision, 'out of order');
      if (change.isAll) assert.deepEqual(change.del, []);
      assert.ok(change.put.every(({ key }) => key.startsWith(this.#prefix)));
    } catch (error) {
      this.#violation ??= error;
    }
    if (change.isAll) this.known.clear();
    for (const { key, value } of change.put) this.known.set(key, value);
    for (const key of change.del) this.known.delete(key);
    this.changes.push(change);
  }
}
