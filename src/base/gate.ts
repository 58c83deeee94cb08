/*
 * So many at a time: work beyond that waits for its turn, first come, first served.
 */
export class Gate {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** `places`: how many may be inside at once. */
  constructor(places: number) {
    this.#free = places;
  }

  /** Rejects as `work` does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((enter) => this.#waiting.push(enter));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
