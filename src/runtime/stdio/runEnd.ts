/*
 * When a reader of the journal has all of a run: its last entries come there some time after the process has ended.
 */

/** How long the next entry of a run that has ended may take from the journal's socket to its files. */
const settleMs = 1000;

/** Fires `signal` after a run has ended and nothing more came for a while, of which the reader waited for all of it. */
export class RunEnd implements Disposable {
  readonly #abort = new AbortController();
  readonly #settle = (): void => this.#abort.abort();
  #hasEnded = false;
  #isWaiting = true;
  #timer: NodeJS.Timeout | undefined;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The run has ended; `isComplete` when the reader has its last entry already. */
  ended(isComplete: boolean): void {
    this.#hasEnded = true;
    if (isComplete) this.#settle();
    else this.#arm();
  }

  /** Whether the reader waits for the journal, from now on anew, or is busy with what came from there. */
  waits(isWaiting: boolean): void {
    this.#isWaiting = isWaiting;
    this.#arm();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#hasEnded && this.#isWaiting) this.#timer = setTimeout(this.#settle, settleMs).unref();
  }
}
