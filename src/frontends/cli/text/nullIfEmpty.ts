/*
 * Nothing but the null-or-list choice that Docker's JSON makes for empty lists. Pure.
 */

/** Go's nil slice for an empty list. */
export function nullIfEmpty<T>(list: readonly T[]): readonly T[] | null {
  return list.length === 0 ? null : list;
}
