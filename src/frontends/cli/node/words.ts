/*
 * Words of the API as Docker's tables show them. Pure.
 */

/** `ready` is shown as `Ready`. */
export function capitalize(word: string): string {
  return `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`;
}
