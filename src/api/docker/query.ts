/*
 * Query parameters with Docker's rules: the first of several counts, and anything but a few words is true.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** What the router parsed. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Empty if missing. */
export function textOf(query: Query, name: string): string {
  const value = query[name];
  return (typeof value === 'object' ? value[0] : value) ?? '';
}

/** All values of a parameter that may be repeated. */
export function allOf(query: Query, name: string): readonly string[] {
  const value = query[name];
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}

/** False for missing, empty, `0`, `no`, `false` and `none` in any case. */
export function boolOf(query: Query, name: string): boolean {
  return !['', '0', 'no', 'false', 'none'].includes(textOf(query, name).trim().toLowerCase());
}

/** Undefined if missing or empty; throws code requestInvalid with Go's text. */
export function intOf(query: Query, name: string): number | undefined {
  const value = textOf(query, name);
  if (value === '') return undefined;
  if (!/^[+-]?\d+$/.test(value) || !Number.isSafeInteger(Number(value)))
    throw new LinkspanError(
      'requestInvalid',
      `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
  return Number(value);
}
