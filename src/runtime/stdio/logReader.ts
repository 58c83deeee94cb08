/*
 * Reads a json-file log: all of it or its last lines, within a span of time, and on as it grows.
 * `tail` counts records of both streams before the other conditions hold, as Docker does.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { parseTimestamp } from '../../base/timestamp.ts';
import { decodeLogRecord } from './logFormat.ts';
import type { LogWriter } from './logWriter.ts';
import type { LogQuery, LogRecord } from './stdio.ts';

const blockBytes = 64 * 1024;
const newline = 0x0a;

/** Where the last `lines` lines of the first `sizeBytes` bytes begin. */
async function findTail(file: FileHandle, sizeBytes: number, lines: number): Promise<number> {
  if (lines <= 0) return sizeBytes;
  const block = Buffer.alloc(blockBytes);
  let seen = 0;
  for (let end = sizeBytes; end > 0; ) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i -= 1) {
      if (block[i] !== newline) continue;
      seen += 1;
      if (seen > lines) return start + i + 1;
    }
    end = start;
  }
  return 0;
}

/** Whole lines from `file` from `position` on, until its present end. */
class LineReader {
  readonly #file: FileHandle;
  #position: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: FileHandle, position: number) {
    this.#file = file;
    this.#position = position;
  }

  /** Undefined at the end of the file; the next call looks again. */
  async next(): Promise<readonly string[] | undefined> {
    const block = Buffer.alloc(blockBytes);
    const { bytesRead } = await this.#file.read(block, 0, blockBytes, this.#position);
    if (bytesRead === 0) return undefined;
    this.#position += bytesRead;
    const data = Buffer.concat([this.#rest, block.subarray(0, bytesRead)]);
    const end = data.lastIndexOf(newline) + 1;
    this.#rest = data.subarray(end);
    return data.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
  }
}

/** Counts the changes of a log that is being written, so that none between a look and a wait is missed. */
class ChangeWatch {
  readonly #signal: AbortSignal;
  #count = 0;
  #next = Promise.withResolvers<void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.changed(), { once: true });
  }

  get count(): number {
    return this.#count;
  }

  changed(): void {
    this.#count += 1;
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** Settles when there was a change after `count`, or the signal has fired. */
  async after(count: number): Promise<void> {
    while (this.#count === count && !this.#signal.aborted) await this.#next.promise;
  }
}

async function* linesOf(
  reader: LineReader,
  live: LogWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, undefined> {
  const watch = new ChangeWatch(signal);
  using _listener = live?.events.on('change', () => watch.changed());
  while (!signal.aborted) {
    const seen = watch.count;
    const mayGrow = live?.isOpen === true;
    const lines = await reader.next();
    if (lines !== undefined) yield lines;
    else if (mayGrow) await watch.after(seen);
    else return;
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isWanted(record: LogRecord, timeMs: number, query: LogQuery): boolean {
  if (query.sinceMs !== undefined && timeMs < query.sinceMs) return false;
  return record.stream === 'stdout' ? query.stdout : query.stderr;
}

/**
 * The records of the log at `path` that `query` wants, oldest first. With `isFollow` it goes on while `live`, the
 * writer of a process that runs, is open. Ends when `signal` fires.
 */
export async function* readLog(
  path: string,
  query: LogQuery,
  live: LogWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  await live?.flush();
  const file = await openLog(path);
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    const start = query.tail === undefined ? 0 : await findTail(file, size, query.tail);
    const followed = query.isFollow ? live : undefined;
    for await (const lines of linesOf(new LineReader(file, start), followed, signal)) {
      for (const line of lines) {
        const record = decodeLogRecord(line);
        if (record === undefined) continue;
        const timeMs = parseTimestamp(record.time);
        if (query.untilMs !== undefined && timeMs > query.untilMs) return;
        if (isWanted(record, timeMs, query)) yield record;
      }
    }
  } finally {
    await file.close();
  }
}
