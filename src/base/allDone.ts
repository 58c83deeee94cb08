/*
 * For calls that are made together and undone together: none may still be under way when undoing begins.
 */

/** Waits until all have settled, then resolves, or rejects with what the first of the list that failed said. */
export async function allDone(calls: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(calls))
    if (outcome.status === 'rejected') throw outcome.reason;
}
