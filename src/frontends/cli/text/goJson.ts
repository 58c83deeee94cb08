/*
 * JSON as the docker CLI prints it. `indentJson` re-indents a text without touching its numbers and escapes, so that
 * `inspect` shows what the daemon sent; `parseJson` keeps integers that a double cannot hold. Pure.
 */
import { GoStruct, type GoValue, NilSlice } from '../template/values.ts';

/** Parses JSON; integers beyond 2^53 (nanosecond stamps) become bigint. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const revive = (_key: string, value: unknown, context: { readonly source?: string }): unknown =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? '')
      ? BigInt(context.source ?? '0')
      : value;
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

/** Re-indents JSON text by four spaces a level, as Go's json.Indent does: tokens stay as they are. */
export function indentJson(text: string): string {
  let out = '';
  let depth = 0;
  const newline = (): string => `\n${'    '.repeat(depth)}`;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? '';
    if (c === '"') {
      const end = endOfString(text, i);
      out += text.slice(i, end);
      i = end - 1;
    } else if (c === '{' || c === '[') {
      const close = /^\s*[}\]]/.exec(text.slice(i + 1, i + 64));
      if (close !== null) {
        out += c + (c === '{' ? '}' : ']');
        i += close[0].length;
        continue;
      }
      depth++;
      out += c + newline();
    } else if (c === '}' || c === ']') {
      depth--;
      out += newline() + c;
    } else if (c === ',') out += c + newline();
    else if (c === ':') out += ': ';
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}

function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}

/** As `encodeGoJson`, with `<`, `>` and `&` escaped, as Go does by default. */
export function encodeGoJsonForHtml(value: GoValue): string {
  return encodeGoJson(value).replaceAll('<', '\\u003c').replaceAll('>', '\\u003e').replaceAll('&', '\\u0026');
}

/** A Go value as compact JSON: map keys sorted, HTML characters kept. */
export function encodeGoJson(value: GoValue): string {
  if (value === undefined || value === null || value instanceof NilSlice) return 'null';
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return `${value}`;
  if (typeof value === 'function') return encodeGoJson(value());
  if (Array.isArray(value)) return `[${value.map(encodeGoJson).join(',')}]`;
  if (value instanceof GoStruct) return encodePairs(value.fieldsForJson());
  const pairs = [...(value as ReadonlyMap<string, GoValue>)];
  return encodePairs(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function encodePairs(pairs: readonly (readonly [string, GoValue])[]): string {
  return `{${pairs.map(([key, value]) => `${quoteJson(key)}:${encodeGoJson(value)}`).join(',')}}`;
}

function quoteJson(text: string): string {
  return JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}
