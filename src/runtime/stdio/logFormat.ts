/*
 * Docker's json-file log format: one JSON object a line, `{"log":"text\n","stream":"stdout","time":"…"}`. A line of
 * output longer than 16 KiB becomes several records, of which only the last ends with a newline. `attrs` is what log
 * options add. Output that is no UTF-8 may be kept as `"base64":"…"` in the place of `log`: that is our own. Pure.
 */
import { isUtf8 } from 'node:buffer';
import type { LogRecord } from './stdio.ts';

export const maxRecordBytes: number = 16 * 1024;

const newline = 0x0a;

/** Cuts a stream into log records: at newlines (kept) and after `maxRecordBytes`. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** Whole records that `chunk` completes. */
  feed(chunk: Buffer): readonly Buffer[] {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const records: Buffer[] = [];
    while (data.length > 0) {
      const end = data.subarray(0, maxRecordBytes).indexOf(newline);
      if (end === -1 && data.length < maxRecordBytes) break;
      const length = end === -1 ? maxRecordBytes : end + 1;
      records.push(data.subarray(0, length));
      data = data.subarray(length);
    }
    this.#rest = data;
    return records;
  }

  /** What is left at the end of the stream, if anything. */
  end(): Buffer | undefined {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length === 0 ? undefined : rest;
  }
}

/** Go's encoder writes these as \u escapes, and readers of the files have come to see them so. */
const escaped = /[<>&\u2028\u2029]|\\[tbf]/g;
const escapes: Readonly<Record<string, string>> = { '\\t': '\\u0009', '\\b': '\\u0008', '\\f': '\\u000c' };

function escapeAsGo(found: string, offset: number, whole: string): string {
  const replacement = escapes[found];
  if (replacement === undefined) return `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
  // `\\t` in JSON text is an escaped backslash before a t when an odd number of backslashes precedes it.
  let before = 0;
  while (whole[offset - 1 - before] === '\\') before += 1;
  return before % 2 === 0 ? replacement : found;
}

function goString(text: string): string {
  return JSON.stringify(text).replace(escaped, escapeAsGo);
}

/** `"attrs":{…},` for every record of a log; empty for none. */
export function encodeLogAttributes(attributes: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(attributes).map(([name, value]) => `${goString(name)}:${goString(value)}`);
  return pairs.length === 0 ? '' : `"attrs":{${pairs.join(',')}},`;
}

/**
 * One line of the file, with its newline. Bytes that are not UTF-8 become U+FFFD, as in Docker's, unless `keepsBytes`.
 * `attributes` is of `encodeLogAttributes`.
 */
export function encodeLogRecord(
  { stream, time, data }: Omit<LogRecord, 'attributes'>,
  attributes = '',
  keepsBytes = false,
): string {
  const text =
    keepsBytes && !isUtf8(data)
      ? `"base64":"${data.toString('base64')}"`
      : `"log":${goString(data.toString('utf8'))}`;
  return `{${text},"stream":"${stream}",${attributes}"time":"${time}"}\n`;
}

/** The record in one line of the file; undefined for a line that is none (cut short by a crash). */
export function decodeLogRecord(line: string): LogRecord | undefined {
  try {
    const value = JSON.parse(line) as Partial<
      Record<'log' | 'base64' | 'stream' | 'time' | 'attrs', unknown>
    >;
    const { log, base64, stream, time, attrs } = value;
    const text = base64 ?? log;
    if (typeof text !== 'string' || typeof time !== 'string') return undefined;
    return {
      stream: stream === 'stderr' ? 'stderr' : 'stdout',
      time,
      data: Buffer.from(text, base64 === undefined ? 'utf8' : 'base64'),
      ...(attrs !== undefined && { attributes: attrs as Readonly<Record<string, string>> }),
    };
  } catch {
    return undefined;
  }
}
