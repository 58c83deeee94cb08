/*
 * Docker's json-file log format: one JSON object a line, `{"log":"text\n","stream":"stdout","time":"…"}`. A line of
 * output longer than 16 KiB becomes several records, of which only the last ends with a newline. Pure.
 */
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

/** One line of the file, with its newline. Bytes that are not UTF-8 become U+FFFD, as in Docker's. */
export function encodeLogRecord(record: LogRecord): string {
  const text = JSON.stringify(record.data.toString('utf8')).replace(escaped, escapeAsGo);
  return `{"log":${text},"stream":"${record.stream}","time":"${record.time}"}\n`;
}

/** The record in one line of the file; undefined for a line that is none (cut short by a crash). */
export function decodeLogRecord(line: string): LogRecord | undefined {
  try {
    const value = JSON.parse(line) as { log?: unknown; stream?: unknown; time?: unknown };
    if (typeof value.log !== 'string' || typeof value.time !== 'string') return undefined;
    return {
      stream: value.stream === 'stderr' ? 'stderr' : 'stdout',
      time: value.time,
      data: Buffer.from(value.log),
    };
  } catch {
    return undefined;
  }
}
