/*
 * For tests: time that passes only when it is told to.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from './clock.ts';

export class HandClock implements Clock {
  #upMs = 0;
  #offsetMs = 0;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  nowMs(): number {
    return this.#upMs + this.#offsetMs;
  }

  upMs(): number {
    return this.#upMs;
  }

  /** The clock of the day is set, by so much; no time passes. */
  set(ms: number): void {
    this.#offsetMs += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      this.#sleepers.push({ atMs: this.#upMs + ms, wake: resolve });
    });
  }

  /** Wakes who is due, and lets them run. */
  async advance(ms: number): Promise<void> {
    this.#upMs += ms;
    const due = this.#sleepers.filter(({ atMs }) => atMs <= this.#upMs);
    this.#sleepers = this.#sleepers.filter(({ atMs }) => atMs > this.#upMs);
    for (const { wake } of due) wake();
    await nextTurn();
  }
}
