/*
 * JSON with whole numbers beyond 2^53, as Go programs write and read them: bigints become numbers.
 */

/** Not yet in TypeScript's library. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

/** As JSON.stringify, which takes no bigints. */
export function stringifyBig(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === 'bigint' ? rawJSON(item.toString()) : item,
  );
}
