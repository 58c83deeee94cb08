/*
 * A one-reader queue of byte pieces with back-pressure: the socket pauses while the reader is behind.
 */

const highWaterPieces = 16;

export class ByteQueue implements AsyncIterable<Buffer> {
  readonly #pieces: Buffer[] = [];
  readonly #setPaused: (isPaused: boolean) => void;
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  /** `setPaused` stops and restarts the source. */
  constructor(setPaused: (isPaused: boolean) => void) {
    this.#setPaused = setPaused;
  }

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    if (this.#pieces.length === highWaterPieces) this.#setPaused(true);
    this.#wake?.();
  }

  /** Ends the queue after what is in it; with `error` the reader then gets that thrown. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        if (this.#pieces.length === highWaterPieces - 1) this.#setPaused(false);
        yield piece;
      } else if (this.#ended) {
        if (this.#error !== undefined) throw this.#error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
