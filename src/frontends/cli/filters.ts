/*
 * `--filter key=value` flags as the API's `filters` parameter: {"key":{"value":true}}. Pure.
 */
import { CliError } from './cliError.ts';

/** The JSON for the query, or undefined when there is no filter. Throws CliError where `=` is missing. */
export function encodeFilters(filters: readonly string[]): string | undefined {
  const byKey: Record<string, Record<string, true>> = {};
  for (const filter of filters) {
    if (filter === '') continue;
    const at = filter.indexOf('=');
    if (at < 0) throw new CliError('invalid filter', 125);
    const key = filter.slice(0, at).trim().toLowerCase();
    (byKey[key] ??= {})[filter.slice(at + 1).trim()] = true;
  }
  const keys = Object.keys(byKey).sort();
  if (keys.length === 0) return undefined;
  const sorted = (values: Record<string, true> = {}): Record<string, true> =>
    Object.fromEntries(
      Object.keys(values)
        .sort()
        .map((value) => [value, true]),
    );
  return JSON.stringify(Object.fromEntries(keys.map((key) => [key, sorted(byKey[key])])));
}
