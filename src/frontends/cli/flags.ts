/*
 * Command-line flags as Docker's CLI reads them (the rules of Go's pflag): `--name value`, `--name=value`, `-n value`,
 * `-nvalue`, `-itd`, booleans with an optional `=value`, repeatable lists, and `--` to end them. Own code, because
 * commander can neither express `--rm=false` beside a bare `--rm` nor give these error texts.
 * One addition: a single dash before a long name (`-net NAME`) is taken where the short letters make no sense.
 */
import { CliError } from './cliError.ts';
import { checkFlagValue, type FlagType } from './flagTypes.ts';

export interface FlagSpec {
  /** Long name, without dashes. */
  readonly name: string;
  /** One letter, or '' for none. */
  readonly short: string;
  readonly type: FlagType;
  readonly usage: string;
  /** Shown in help after the usage; also the value when the flag is not given. */
  readonly fallback: string;
  /** What is wrong with a value, beyond what the type says; undefined if nothing. */
  readonly check?: (value: string) => string | undefined;
  /** Accepted but not shown in help. */
  readonly isHidden?: boolean;
  /** Another name for this flag: values given under `name` are stored under this one. */
  readonly aliasOf?: string;
}

/** Describes one flag. `names` is `-n, --name` or `--name`. */
export function flag(names: string, type: FlagType, usage: string, fallback = ''): FlagSpec {
  const match = /^(?:-(\w), )?--([\w-]+)$/.exec(names);
  if (match === null) throw new Error(`not a flag: ${names}`);
  return { name: match[2] ?? '', short: match[1] ?? '', type, usage, fallback };
}

/** The flag `spec`, whose values must pass `parse`; the message of the CliError that it throws is shown. */
export function checkedBy(spec: FlagSpec, parse: (value: string) => unknown): FlagSpec {
  const check = (value: string): string | undefined => {
    try {
      parse(value);
      return undefined;
    } catch (error) {
      if (error instanceof CliError) return error.message;
      throw error;
    }
  };
  return { ...spec, check };
}

/** A second name for the flag `of`, not shown in help. */
export function flagAlias(name: string, of: FlagSpec): FlagSpec {
  return { ...of, name, short: '', isHidden: true, aliasOf: of.name };
}

const listTypes: ReadonlySet<FlagType> = new Set([
  'list',
  'strings',
  'map',
  'filter',
  'network',
  'mount',
  'ipNetSlice',
  'external-ca',
  'ulimit',
]);

/** The flags of one invocation, by long name. */
export class Flags {
  readonly #values = new Map<string, string[]>();
  readonly #specs: ReadonlyMap<string, FlagSpec>;

  constructor(specs: ReadonlyMap<string, FlagSpec>) {
    this.#specs = specs;
  }

  /** Stores a value: lists grow, others are replaced. */
  add(spec: FlagSpec, value: string): void {
    const name = spec.aliasOf ?? spec.name;
    const parts = spec.type === 'strings' ? value.split(',') : [value];
    const before = listTypes.has(spec.type) ? (this.#values.get(name) ?? []) : [];
    this.#values.set(name, [...before, ...parts]);
  }

  /** True if the user gave the flag. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The last value given, or the default. */
  text(name: string): string {
    return this.#values.get(name)?.at(-1) ?? this.#specs.get(name)?.fallback ?? '';
  }

  bool(name: string): boolean {
    return isTrue(this.text(name));
  }

  /** The number given (already checked to be one), or the default, or 0. */
  number(name: string): number {
    return Number(this.text(name));
  }

  /** All values of a repeatable flag, in order. */
  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** The values of a `map` flag as an object; `k` alone means `k=`. The last one of a key wins. */
  map(name: string): Record<string, string> {
    return Object.fromEntries(this.list(name).map(splitPair));
  }
}

/** Splits at the first `=`; no `=` gives an empty value. */
export function splitPair(text: string): [string, string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function isTrue(value: string): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value);
}

export interface ParsedFlags {
  readonly flags: Flags;
  readonly args: readonly string[];
}

interface Reader {
  readonly byName: ReadonlyMap<string, FlagSpec>;
  readonly byShort: ReadonlyMap<string, FlagSpec>;
  readonly rest: string[];
  readonly flags: Flags;
}

function label(spec: FlagSpec): string {
  return spec.short === '' ? `--${spec.name}` : `-${spec.short}, --${spec.name}`;
}

function store(reader: Reader, spec: FlagSpec, value: string): void {
  const problem = checkFlagValue(spec.type, value) ?? spec.check?.(value);
  if (problem !== undefined)
    throw new CliError(
      `invalid argument ${JSON.stringify(value)} for "${label(spec)}" flag: ${problem}`,
      125,
    );
  reader.flags.add(spec, value);
}

function readLong(reader: Reader, text: string): void {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  const spec = reader.byName.get(name);
  if (spec === undefined) throw new CliError(`unknown flag: --${name}`, 125);
  if (equals >= 0) return store(reader, spec, text.slice(equals + 1));
  if (spec.type === 'bool') return store(reader, spec, 'true');
  const value = reader.rest.shift();
  if (value === undefined) throw new CliError(`flag needs an argument: --${name}`, 125);
  store(reader, spec, value);
}

function readShorts(reader: Reader, letters: string): void {
  for (let i = 0; i < letters.length; i++) {
    const letter = letters[i] ?? '';
    const after = letters.slice(i + 1);
    const spec = reader.byShort.get(letter);
    if (spec === undefined)
      throw new CliError(`unknown shorthand flag: '${letter}' in -${letters.slice(i)}`, 125);
    if (after.startsWith('=')) return store(reader, spec, after.slice(1));
    if (spec.type === 'bool') {
      store(reader, spec, 'true');
      continue;
    }
    if (after !== '') return store(reader, spec, after);
    const value = reader.rest.shift();
    if (value === undefined)
      throw new CliError(`flag needs an argument: '${letter}' in -${letters.slice(i)}`, 125);
    return store(reader, spec, value);
  }
}

/** `-net x` means `--net x` where the letters cannot be read as short flags. */
function isOneDashLong(reader: Reader, letters: string): boolean {
  const name = letters.split('=', 1)[0] ?? '';
  return name.length > 1 && !reader.byShort.has(name[0] ?? '') && reader.byName.has(name);
}

/**
 * Reads flags from `argv`. With `interspersed` false the first non-flag ends them, so that what follows an image
 * belongs to the container. Throws CliError with exit code 125, as Docker does.
 */
export function parseFlags(
  specs: readonly FlagSpec[],
  argv: readonly string[],
  interspersed: boolean,
): ParsedFlags {
  const byName = new Map(specs.map((spec) => [spec.name, spec]));
  const byShort = new Map(specs.filter((spec) => spec.short !== '').map((spec) => [spec.short, spec]));
  const reader: Reader = { byName, byShort, rest: [...argv], flags: new Flags(byName) };
  const args: string[] = [];
  for (let word = reader.rest.shift(); word !== undefined; word = reader.rest.shift()) {
    if (word === '--') return { flags: reader.flags, args: [...args, ...reader.rest] };
    if (!word.startsWith('-') || word === '-') {
      args.push(word);
      if (interspersed) continue;
      // pflag drops one `--` that directly follows the first argument only when it still parses flags; it does not here.
      return { flags: reader.flags, args: [...args, ...reader.rest] };
    }
    if (word.startsWith('--')) readLong(reader, word.slice(2));
    else if (isOneDashLong(reader, word.slice(1))) readLong(reader, word.slice(1));
    else readShorts(reader, word.slice(1));
  }
  return { flags: reader.flags, args };
}
