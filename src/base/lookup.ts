/*
 * How users name things: full id, then full name, then a unique prefix of the id.
 */

export type Lookup<T> =
  | { readonly found: T }
  /** None, or several: by name (`isName`) or by id prefix. */
  | { readonly found: undefined; readonly matches: number; readonly isName: boolean };

/** O(number of objects) only for a prefix; ids and names go through the maps. */
export function lookUp<T extends { readonly id: string }>(
  ref: string,
  byId: ReadonlyMap<string, T>,
  byName: (name: string) => readonly T[],
): Lookup<T> {
  const exact = byId.get(ref);
  if (exact !== undefined) return { found: exact };
  const named = byName(ref);
  if (named.length === 1 && named[0] !== undefined) return { found: named[0] };
  if (named.length > 1) return { found: undefined, matches: named.length, isName: true };
  // Ids are hex digits, or of base 36.
  if (!/^[0-9a-z]{1,64}$/.test(ref)) return { found: undefined, matches: 0, isName: false };
  const prefixed = [...byId.values()].filter(({ id }) => id.startsWith(ref));
  if (prefixed.length === 1 && prefixed[0] !== undefined) return { found: prefixed[0] };
  return { found: undefined, matches: prefixed.length, isName: false };
}
