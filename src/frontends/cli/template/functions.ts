/*
 * The functions that templates may call: Go's own (index, len, printf, eq …) and Docker's (json, join, upper …). Pure.
 */
import { encodeGoJson } from '../text/goJson.ts';
import { significant } from '../text/units.ts';
import { formatValue, type GoMap, GoStruct, type GoValue, isTruthy } from './values.ts';

export type TemplateFunction = (...args: readonly GoValue[]) => GoValue;

function textOf(value: GoValue): string {
  return typeof value === 'string' ? value : formatValue(value);
}

function titleCase(text: string): string {
  return text.replace(
    /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
    (_all, before: string, letter: string) => before + letter.toUpperCase(),
  );
}

function indexOf(container: GoValue, key: GoValue): GoValue {
  if (container instanceof Map) {
    const map: GoMap = container;
    const isOfText = [...map.values()].every((value) => typeof value === 'string');
    // Go gives the zero value of the map's type: for a map of strings that is the empty one.
    return map.get(textOf(key)) ?? (isOfText ? '' : undefined);
  }
  if (Array.isArray(container) || typeof container === 'string') {
    const at = Number(key);
    if (at < 0 || at >= container.length) throw new Error(`error calling index: index out of range: ${at}`);
    const item = container[at] as GoValue;
    return typeof container === 'string' ? container.charCodeAt(at) : item;
  }
  if (container === undefined || container === null)
    throw new Error('error calling index: index of untyped nil');
  throw new Error(`error calling index: can't index item of type ${typeNameOf(container)}`);
}

/** Go's name for the type of a value, for error texts. */
export function typeNameOf(value: GoValue): string {
  if (value instanceof GoStruct) return value.typeName;
  if (value instanceof Map) return 'map[string]interface {}';
  if (Array.isArray(value)) return '[]interface {}';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number' || typeof value === 'bigint') return 'int';
  return value === undefined || value === null ? 'nil' : typeof value;
}

function lengthOf(value: GoValue): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new Error(
    `error calling len: len of ${value === undefined || value === null ? 'nil pointer' : `type ${typeNameOf(value)}`}`,
  );
}

function sliceOf(value: GoValue, from: GoValue = 0, to?: GoValue): GoValue {
  if (typeof value !== 'string' && !Array.isArray(value))
    throw new Error(`error calling slice: can't slice item of type ${typeNameOf(value)}`);
  const end = to === undefined ? value.length : Number(to);
  if (Number(from) > end || end > value.length)
    throw new Error(`error calling slice: index out of range: ${end}`);
  return value.slice(Number(from), end) as GoValue;
}

function compare(name: string, a: GoValue, b: GoValue): number {
  const isNumber = (v: GoValue): v is number | bigint => typeof v === 'number' || typeof v === 'bigint';
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  if (name === 'eq' && typeof a === 'boolean' && typeof b === 'boolean') return a === b ? 0 : 1;
  if (name === 'eq' && (a === null || a === undefined || b === null || b === undefined))
    return (a ?? null) === (b ?? null) ? 0 : 1;
  throw new Error(`error calling ${name}: incompatible types for comparison`);
}

function printfVerb(spec: RegExpExecArray, value: GoValue): string {
  const [, flags = '', width = '', precision, verb = 'v'] = spec;
  const text = verbText(verb, value, precision === undefined ? undefined : Number(precision || '0'));
  if (flags.includes('-')) return text.padEnd(Number(width));
  return text.padStart(Number(width), flags.includes('0') ? '0' : ' ');
}

function verbText(verb: string, value: GoValue, precision: number | undefined): string {
  switch (verb) {
    case 'q':
      return JSON.stringify(textOf(value));
    case 'x':
      return typeof value === 'string' ? Buffer.from(value).toString('hex') : Number(value).toString(16);
    case 'f':
      return Number(value).toFixed(precision ?? 6);
    case 'g':
      return significant(Number(value), precision ?? 17);
    case 'c':
      return String.fromCodePoint(Number(value));
    case 't':
    case 'd':
      return formatValue(value);
    default:
      return precision === undefined ? textOf(value) : textOf(value).slice(0, precision);
  }
}

function sprintf(format: GoValue, ...args: readonly GoValue[]): string {
  let next = 0;
  const text = textOf(format).replace(/%([-+# 0]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/g, (...parts: string[]) => {
    if (parts[4] === '%') return '%';
    if (next >= args.length) return `%!${parts[4] ?? ''}(MISSING)`;
    return printfVerb(parts as unknown as RegExpExecArray, args[next++]);
  });
  if (next >= args.length) return text;
  const extra = args.slice(next).map((arg) => `${typeNameOf(arg)}=${formatValue(arg)}`);
  return `${text}%!(EXTRA ${extra.join(', ')})`;
}

/** Go's Sprint puts spaces only between operands that are both not strings. */
function sprint(...args: readonly GoValue[]): string {
  return args
    .map((arg, i) => {
      const before = args[i - 1];
      return (i > 0 && typeof arg !== 'string' && typeof before !== 'string' ? ' ' : '') + formatValue(arg);
    })
    .join('');
}

function join(list: GoValue, separator: GoValue): string {
  if (list === undefined || list === null) return '';
  if (!Array.isArray(list)) throw new Error(`error calling join: expected slice of strings`);
  return list.map(textOf).join(textOf(separator));
}

function truncate(text: GoValue, length: GoValue): string {
  return textOf(text).slice(0, Number(length));
}

function pad(text: GoValue, before: GoValue, after: GoValue): string {
  const inner = textOf(text);
  return inner === '' ? inner : ' '.repeat(Number(before)) + inner + ' '.repeat(Number(after));
}

const htmlEscapes: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&#34;',
  "'": '&#39;',
};

/** Every function but `and` and `or`, which the evaluator itself does because they stop early. */
export const templateFunctions: Readonly<Record<string, TemplateFunction>> = {
  json: (value) => encodeGoJson(value),
  join,
  split: (text, separator) => textOf(text).split(textOf(separator)),
  title: (text) => titleCase(textOf(text)),
  lower: (text) => textOf(text).toLowerCase(),
  upper: (text) => textOf(text).toUpperCase(),
  pad,
  truncate,
  len: lengthOf,
  index: (container, ...keys) => keys.reduce(indexOf, container),
  slice: sliceOf,
  not: (value) => !isTruthy(value),
  eq: (a, ...others) => others.some((b) => compare('eq', a, b) === 0),
  ne: (a, b) => compare('eq', a, b) !== 0,
  lt: (a, b) => compare('lt', a, b) < 0,
  le: (a, b) => compare('le', a, b) <= 0,
  gt: (a, b) => compare('gt', a, b) > 0,
  ge: (a, b) => compare('ge', a, b) >= 0,
  print: sprint,
  printf: sprintf,
  println: (...args) => `${args.map(formatValue).join(' ')}\n`,
  html: (value) => textOf(value).replace(/[<>&"']/g, (c) => htmlEscapes[c] ?? c),
  urlquery: (value) => encodeURIComponent(textOf(value)).replaceAll('%20', '+'),
};
