/*
 * Random identifiers. Docker's local objects carry 64 lower-case hex digits, shown short as the first 12.
 * Ids are branded so that a container's id cannot be passed where a network's is meant.
 */
import { randomBytes } from 'node:crypto';

declare const brand: unique symbol;

/** A string that is an id of the kind `K`; made by `newId` or by a cast where a record is read back. */
export type Id<K extends string> = string & { readonly [brand]: K };

/** 64 lower-case hex digits from the system's random source. Never all decimal digits in its short form. */
export function newId<K extends string>(): Id<K> {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    // A short id that looks like a number would be taken for one by tools that parse `ps` output.
    if (!/^\d{12}/.test(id)) return id as Id<K>;
  }
}

/** The first 12 characters, as tables show them. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}
