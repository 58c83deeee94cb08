/*
 * The values that a template sees, with the distinction that Go makes and JSON does not: a struct has fixed fields (an
 * unknown one is an error), a map has keys (a missing one is "no value"). `undefined` is Go's invalid value.
 */

export type GoValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly GoValue[]
  | GoMap
  | GoStruct
  | GoMethod;

export type GoMap = ReadonlyMap<string, GoValue>;
export type GoMethod = (...args: readonly GoValue[]) => GoValue;

/** A slice that is nil: prints `[]`, encodes as `null`. */
export class NilSlice extends Array<never> {}

/** Fields by name; a function among them is a method, called when used. `typeName` is for error texts. */
export class GoStruct {
  readonly typeName: string;
  readonly fields: ReadonlyMap<string, GoValue>;
  readonly #jsonNames: ReadonlySet<string> | undefined;

  /** `jsonNames`: what `json` shows, where that is not every field. */
  constructor(typeName: string, fields: ReadonlyMap<string, GoValue>, jsonNames?: ReadonlySet<string>) {
    this.typeName = typeName;
    this.fields = fields;
    this.#jsonNames = jsonNames;
  }

  fieldsForJson(): [string, GoValue][] {
    return [...this.fields].filter(([name]) => this.#jsonNames?.has(name) ?? true);
  }
}

/** Which JSON objects are maps and which null arrays are slices, told by the name of the field that holds them. */
export interface GoShape {
  readonly maps: ReadonlySet<string>;
  readonly slices: ReadonlySet<string>;
  /** Fields that the daemon leaves out when empty, by the name of the field that holds their object ('' at the root). */
  readonly optional: Readonly<Record<string, Readonly<Record<string, GoValue>>>>;
}

/** JSON as typed values. `name` is the field that holds `json`, '' at the root. */
export function toTyped(json: unknown, shape: GoShape, typeName: string, name = ''): GoValue {
  if (json === null && shape.slices.has(name)) return new NilSlice();
  if (json === null && shape.maps.has(name)) return new Map();
  if (Array.isArray(json)) return json.map((item: unknown) => toTyped(item, shape, typeName, `${name}[]`));
  if (typeof json !== 'object' || json === null) return json as GoValue;
  const entries = Object.entries(json).map(([key, value]): [string, GoValue] => [
    key,
    toTyped(value, shape, typeName, shape.maps.has(name) ? `${name}[]` : key),
  ]);
  if (shape.maps.has(name)) return new Map(entries);
  const given = new Map(entries);
  const jsonNames = new Set(given.keys());
  for (const [key, value] of Object.entries(shape.optional[name] ?? {}))
    if (!given.has(key)) given.set(key, value);
  return new GoStruct(name === '' ? typeName : name, given, jsonNames);
}

/** JSON as Go decodes it without a type: every object a map. */
export function toUntyped(json: unknown): GoValue {
  if (Array.isArray(json)) return json.map(toUntyped);
  if (typeof json !== 'object' || json === null) return json as GoValue;
  return new Map(Object.entries(json).map(([key, value]) => [key, toUntyped(value)]));
}

/** Whether a value counts as true in `if` and `and`: not zero, not empty. A struct always does. */
export function isTruthy(value: GoValue): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  return typeof value === 'bigint' ? value !== 0n : Boolean(value);
}

function formatField(value: GoValue): string {
  return value === undefined ? '<nil>' : formatValue(value);
}

/** Keys in the order in which Go ranges over a map and prints one. */
export function sortedKeys(map: GoMap): string[] {
  return [...map.keys()].sort((a, b) => (a < b ? -1 : 1));
}

/** The text of a value as Go's %v prints it. */
export function formatValue(value: GoValue): string {
  if (value === undefined) return '<no value>';
  if (value === null) return '<nil>';
  if (typeof value === 'function') return formatValue(value());
  if (Array.isArray(value)) return `[${value.map(formatField).join(' ')}]`;
  if (value instanceof Map) {
    const keys = sortedKeys(value);
    return `map[${keys.map((key) => `${key}:${formatField(value.get(key))}`).join(' ')}]`;
  }
  if (value instanceof GoStruct) return `{${[...value.fields.values()].map(formatField).join(' ')}}`;
  return typeof value === 'string' ? value : (value as number | bigint | boolean).toString();
}
