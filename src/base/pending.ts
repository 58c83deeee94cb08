/*
 * Work that goes on without anybody who waits for it, until somebody does.
 */

export class Pending {
  readonly #all = new Set<Promise<void>>();

  /** `work` never rejects. */
  add(work: Promise<void>): void {
    const pending = work.finally(() => this.#all.delete(pending));
    this.#all.add(pending);
  }

  /** Resolves when all that was added so far is done. */
  async settled(): Promise<void> {
    await Promise.all(this.#all);
  }
}
