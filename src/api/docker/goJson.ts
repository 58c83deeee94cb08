/*
 * Request bodies as Docker's clients may write them: what Go's encoding/json accepts. Missing and null mean the zero
 * value, keys match in any case, unknown keys are ignored, and errors carry Go's texts, which tools match on.
 * A general schema library would give other semantics and texts, and costs 14 MB of resident memory unbundled.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** Turns a JSON value (or undefined, if missing) into `T`; `where` is the Go path for messages: `HostConfig.Memory`. */
export type Decoder<T> = (value: unknown, where: string) => T;

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
}

function mismatch(value: unknown, where: string, goType: string): LinkspanError {
  const what = /^u?int/.test(goType) && typeof value === 'number' ? `number ${value}` : kindOf(value);
  return new LinkspanError(
    'requestInvalid',
    `invalid JSON: json: cannot unmarshal ${what} into Go struct field ${where} of type ${goType}`,
  );
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const text: Decoder<string> = (value, where) => {
  if (isAbsent(value)) return '';
  if (typeof value !== 'string') throw mismatch(value, where, 'string');
  return value;
};

export const bool: Decoder<boolean> = (value, where) => {
  if (isAbsent(value)) return false;
  if (typeof value !== 'boolean') throw mismatch(value, where, 'bool');
  return value;
};

export const int: Decoder<number> = (value, where) => {
  if (isAbsent(value)) return 0;
  if (!Number.isInteger(value)) throw mismatch(value, where, 'int64');
  return value as number;
};

function unsigned(goType: string, max: number): Decoder<number> {
  return (value, where) => {
    if (isAbsent(value)) return 0;
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > max)
      throw mismatch(value, where, goType);
    return value as number;
  };
}

export const uint16: Decoder<number> = unsigned('uint16', 2 ** 16 - 1);

export const uint32: Decoder<number> = unsigned('uint32', 2 ** 32 - 1);

/** Beyond 2^53 a number of JSON has lost digits before it gets here. */
export const uint64: Decoder<number> = unsigned('uint64', 2 ** 64);

/** Anything, as it is. */
export const raw: Decoder<unknown> = (value) => value;

/** A Go pointer: missing and null are undefined, not zero. */
export function pointer<T>(decode: Decoder<T>): Decoder<T | undefined> {
  return (value, where) => (isAbsent(value) ? undefined : decode(value, where));
}

/** A Go slice; a nil slice is undefined, which differs from an empty one. */
export function list<T>(decode: Decoder<T>): Decoder<readonly T[] | undefined> {
  return (value, where) => {
    if (isAbsent(value)) return undefined;
    if (!Array.isArray(value)) throw mismatch(value, where, '[]string');
    return value.map((item: unknown) => decode(item, where));
  };
}

/** Docker's command type: one string counts as a list of one. */
export const words: Decoder<readonly string[] | undefined> = (value, where) =>
  typeof value === 'string' ? [value] : list(text)(value, where);

export function map<T>(decode: Decoder<T>): Decoder<Readonly<Record<string, T>>> {
  return (value, where) => {
    if (isAbsent(value)) return {};
    if (!isObject(value)) throw mismatch(value, where, 'map[string]string');
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item, where)]));
  };
}

/** A Go struct called `name` in messages; missing and null give its zero value. */
export function struct<T extends object>(
  name: string,
  fields: { readonly [K in keyof T]: Decoder<T[K]> },
): Decoder<T> {
  const decoders = Object.entries(fields) as readonly (readonly [string, Decoder<unknown>])[];
  return (value, where) => {
    if (!isAbsent(value) && !isObject(value)) throw mismatch(value, where, name);
    const given = new Map(Object.entries(value ?? {}));
    const folded = new Map([...given].map(([key, item]) => [key.toLowerCase(), item]));
    const decoded = decoders.map(([key, decode]) => {
      const item = given.has(key) ? given.get(key) : folded.get(key.toLowerCase());
      return [key, decode(item, `${name}.${key}`)];
    });
    return Object.fromEntries(decoded) as T;
  };
}

/** Where V8 says that it stopped, and where Go does. */
const places: readonly (readonly [RegExp, string])[] = [
  [/':' after/, 'after object key'],
  [/'}' after/, 'after object key:value pair'],
  [/']' after/, 'after array element'],
  [/property name/, 'looking for beginning of object key string'],
];

/** V8's complaint about a text in Go's words. */
function syntaxText(source: string, message: string): string {
  if (/end of JSON|Unterminated/.test(message)) return 'invalid JSON: unexpected EOF';
  if (/non-whitespace character after/.test(message)) return 'unexpected content after JSON';
  const position = /at position (\d+)/.exec(message)?.[1];
  const character =
    position === undefined ? /token '(.)'/u.exec(message)?.[1] : source.slice(Number(position))[0];
  if (character === undefined) return 'invalid JSON: unexpected EOF';
  const place = places.find(([words]) => words.test(message))?.[1] ?? 'looking for beginning of value';
  return `invalid JSON: invalid character '${character}' ${place}`;
}

/** Parses `source`; throws code requestInvalid with Go's text. */
export function parseJson(source: string): unknown {
  try {
    return JSON.parse(source) as unknown;
  } catch (error) {
    throw new LinkspanError('requestInvalid', syntaxText(source, (error as Error).message));
  }
}
