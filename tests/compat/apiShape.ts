/*
 * What a JSON answer is made of: the kinds of value at each place. Two engines' answers to the same requests compare by
 * it, whatever their ids, times and figures are.
 */

/** Kinds (`null`, `boolean`, `number`, `string`, `array`, `object`) by place: `.State.Pid`, `.Mounts[].Source`, `.Labels.*`. */
export type Shape = Readonly<Record<string, readonly string[]>>;

/** Objects whose keys are the user's or the machine's: all of their values are one place. */
const maps = [
  /\.(Labels|Ports|Networks|Options|Containers|ExposedPorts|Volumes|Sysctls|DriverOpts|Annotations|LogConfig\.Config|GraphDriver\.Data|Runtimes|IndexConfigs|Attributes|PortBindings|networks|status|AuxiliaryAddresses|StorageOpt|Tmpfs)$/,
  /\.memory_stats\.stats$/,
];

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function collect(value: unknown, place: string, kinds: Map<string, Set<string>>): void {
  const known = kinds.get(place) ?? new Set();
  kinds.set(place, known.add(kindOf(value)));
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) collect(item, `${place}[]`, kinds);
    return;
  }
  const isMap = maps.some((map) => map.test(place));
  for (const [key, item] of Object.entries(value)) collect(item, `${place}.${isMap ? '*' : key}`, kinds);
}

/** Of one answer, or of several of the same kind together. */
export function shapeOf(...values: readonly unknown[]): Shape {
  const kinds = new Map<string, Set<string>>();
  for (const value of values) collect(value, '', kinds);
  const rows = [...kinds].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(rows.map(([place, found]) => [place, [...found].toSorted()]));
}

function isBelow(place: string, above: string): boolean {
  return place.startsWith(above) && /^[.[]/.test(place.slice(above.length));
}

/** Go writes a list or map that was never made as null: whoever reads it takes one for the other, as far as it is empty. */
function allows(expected: readonly string[], kind: string): boolean {
  return expected.includes(kind) || (expected.includes('null') && (kind === 'array' || kind === 'object'));
}

/** The rest of `expected` is what is null at times. */
function hasAll(found: readonly string[], expected: readonly string[]): boolean {
  return expected.every((kind) => kind === 'null' || found.includes(kind));
}

/**
 * What `found` has otherwise than `expected`, a line each: places that are missing, that are there and should not be, and
 * of another kind. Below a place that differs nothing more is told.
 */
export function shapeDifferences(found: Shape, expected: Shape): readonly string[] {
  const told: string[] = [];
  const lines: string[] = [];
  const places = [...new Set([...Object.keys(expected), ...Object.keys(found)])].toSorted();
  for (const place of places) {
    if (told.some((above) => isBelow(place, above))) continue;
    const [ours, theirs] = [found[place], expected[place]];
    if (ours !== undefined && theirs !== undefined) {
      if (ours.every((kind) => allows(theirs, kind)) && hasAll(ours, theirs)) continue;
    }
    told.push(place);
    const both = `${ours?.join('|')}, not ${theirs?.join('|')}`;
    const what = ours === undefined ? 'is missing' : theirs === undefined ? 'is not known' : both;
    lines.push(`${place}: ${what}`);
  }
  return lines;
}
