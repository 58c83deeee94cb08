/*
 * How long questions took, counted into buckets as they are answered: two clock readings and an increment each. Read
 * by /metrics. An answer of our own takes 10 to 100 µs; a forwarded one what its server takes, 12 s at most.
 */

/** Upper bounds, milliseconds; the last bucket has none. */
export const latencyBoundsMs: readonly number[] = [
  0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 12_500,
];

/** One number a bucket, not summed up, and one more for what took longer. */
export interface Latencies {
  readonly counts: readonly number[];
  readonly sumMs: number;
}

export class LatencyCount {
  readonly #counts = Array.from({ length: latencyBoundsMs.length + 1 }, () => 0);
  #sumMs = 0;

  add(durationMs: number): void {
    let i = 0;
    while (i < latencyBoundsMs.length && durationMs > (latencyBoundsMs[i] as number)) i++;
    this.#counts[i] = (this.#counts[i] as number) + 1;
    this.#sumMs += durationMs;
  }

  read(): Latencies {
    return { counts: [...this.#counts], sumMs: this.#sumMs };
  }
}
