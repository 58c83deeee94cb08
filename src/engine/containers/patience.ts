/*
 * Waiting with a limit, on the injected clock.
 */
import type { Clock } from '../../base/clock.ts';

/** Waits until `work` settles, but no longer than `limitMs`; true if it settled. Rejects as `work` does. */
export async function settlesWithin(work: Promise<unknown>, limitMs: number, clock: Clock): Promise<boolean> {
  const timer = new AbortController();
  const late = clock.sleep(limitMs, timer.signal).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    timer.abort();
  }
}
