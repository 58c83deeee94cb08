/*
 * Docker's `filters` parameter: JSON in either of its two forms, and the ways in which a value is compared.
 * Texts are those of Engine 28.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { parseMoment } from './timestamps.ts';

/** Values by key; a key without values filters nothing. */
export type Filters = ReadonlyMap<string, readonly string[]>;

export function invalidFilter(what: string): LinkspanError {
  return new LinkspanError('requestInvalid', what === '' ? 'invalid filter' : `invalid filter '${what}'`);
}

function valuesOf(value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.keys(value);
  throw invalidFilter('');
}

/** Reads `{"key":{"value":true}}` or `{"key":["value"]}`; throws code requestInvalid for a key outside `accepted`. */
export function parseFilters(source: string, accepted: readonly string[]): Filters {
  if (source === '') return new Map();
  let parsed: unknown;
  try {
    parsed = JSON.parse(source);
  } catch {
    throw invalidFilter('');
  }
  if (parsed === null) return new Map();
  if (typeof parsed !== 'object' || Array.isArray(parsed)) throw invalidFilter('');
  const filters = new Map(Object.entries(parsed).map(([key, value]) => [key, valuesOf(value)]));
  for (const key of filters.keys()) if (!accepted.includes(key)) throw invalidFilter(key);
  return filters;
}

/** The values of `key`; undefined if it filters nothing. */
export function filterValues(filters: Filters, key: string): readonly string[] | undefined {
  const values = filters.get(key);
  return values === undefined || values.length === 0 ? undefined : values;
}

/** True if `key` is not filtered on or `test` takes one of its values. */
export function matchesAny(filters: Filters, key: string, test: (value: string) => boolean): boolean {
  return filterValues(filters, key)?.some(test) ?? true;
}

/** As `matchesAny` with equality. */
export function matchesExactly(filters: Filters, key: string, source: string): boolean {
  return matchesAny(filters, key, (value) => value === source);
}

function isMatch(pattern: string, source: string): boolean {
  if (pattern === source) return true;
  try {
    return new RegExp(pattern).test(source);
  } catch {
    return false;
  }
}

/** Equal, or a regular expression that finds something in one of `sources`. */
export function matchesPattern(filters: Filters, key: string, ...sources: readonly string[]): boolean {
  return matchesAny(filters, key, (value) => sources.some((source) => isMatch(value, source)));
}

/** `name` means that there is such a label, `name=value` what it is. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const [name = '', ...rest] = wanted.split('=');
  const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
  return value !== undefined && (rest.length === 0 || value === rest.join('='));
}

/** Every `label` value must be there, and no `label!` value. */
export function matchesLabels(filters: Filters, labels: Readonly<Record<string, string>>): boolean {
  return (
    (filterValues(filters, 'label') ?? []).every((wanted) => hasLabel(labels, wanted)) &&
    !(filterValues(filters, 'label!') ?? []).some((unwanted) => hasLabel(labels, unwanted))
  );
}

/** `true`, `1`, `false` or `0`; undefined if not filtered on; throws for anything else, and for both. */
export function booleanFilter(filters: Filters, key: string): boolean | undefined {
  const values = filterValues(filters, key);
  if (values === undefined) return undefined;
  const isTrue = values.some((value) => value === 'true' || value === '1');
  const isFalse = values.some((value) => value === 'false' || value === '0');
  if (isTrue === isFalse) throw invalidFilter(`${key}=[${values.join(' ')}]`);
  return isTrue;
}

/** The `until` of a prune: nanoseconds since 1970; undefined if not given. */
export function untilFilter(filters: Filters, nowMs: number): bigint | undefined {
  const values = filterValues(filters, 'until') ?? [];
  if (values.length > 1) throw new LinkspanError('requestInvalid', 'more than one until filter specified');
  return parseMoment(values[0] ?? '', 'until', nowMs);
}
