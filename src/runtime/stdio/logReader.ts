/*
 * Reads a json-file log, the rotated and compressed files before the present one too: all of it or its last lines,
 * within a span of time, and on as it grows and is rotated. `tail` counts records of both streams before the other
 * conditions hold, as Docker does.
 */
import { closeSync, fstatSync, openSync, read } from 'node:fs';
import { pipeline } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import { parseTimestamp } from '../../base/timestamp.ts';
import { rotatedFiles } from './logFiles.ts';
import { decodeLogRecord } from './logFormat.ts';
import type { LogWriter } from './logWriter.ts';
import type { LogQuery, LogRecord } from './stdio.ts';

const readAsync = promisify(read);

const blockBytes = 64 * 1024;
/** Records have 16 KiB of output, escaped; more is no record, as the hole of a file that somebody cut. */
const lineMaxBytes = 4 << 20;
const newline = 0x0a;

/** Files that a follower may be behind where fewer are kept anyway. Each is disk space that only it holds; beyond them it misses lines. */
const behindMax = 16;

/** The kernel's clock of file times runs this much behind, at most. */
const fileTimeSlackMs = 1000;

interface OpenFile {
  readonly fd: number;
  readonly isCompressed: boolean;
  /** When it was opened. */
  readonly sizeBytes: number;
  readonly changedMs: number;
}

/** Undefined if there is none. */
function openFile(path: string, isCompressed: boolean): OpenFile | undefined {
  try {
    const fd = openSync(path, 'r');
    const { size, mtimeMs } = fstatSync(fd);
    return { fd, isCompressed, sizeBytes: size, changedMs: mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The files of the log, oldest first, and those that come after while it is followed. Closes all that it opened. */
class LogFiles implements Disposable {
  readonly #path: string;
  readonly #files: OpenFile[] = [];
  readonly #later: OpenFile[] = [];
  readonly #listener: Disposable | undefined;
  readonly #behindMax: number;
  #failure: unknown;

  /** All in one turn, so that no rotation comes between. */
  constructor(path: string, followed: LogWriter | undefined) {
    this.#path = path;
    this.#behindMax = Math.max(behindMax, followed?.maxFiles ?? 0);
    try {
      for (const rotated of rotatedFiles(path)) this.#open(rotated.path, rotated.isCompressed, this.#files);
      this.#open(path, false, this.#files);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.#listener = followed?.events.on('rotated', () => this.#addNewest());
  }

  /** From the one that is being read on, without those that came later. */
  get list(): readonly OpenFile[] {
    return this.#files;
  }

  /** The first is the newest there is. Throws why a newer one could not be opened. */
  get isAtNewest(): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#files.length + this.#later.length === 1;
  }

  /** The first has been read. */
  shift(): void {
    const file = this.#files.shift();
    if (file !== undefined) closeSync(file.fd);
    if (this.#files.length === 0) this.#files.push(...this.#later.splice(0, 1));
  }

  [Symbol.dispose](): void {
    this.#listener?.[Symbol.dispose]();
    while (this.#files.length > 0) this.shift();
  }

  #open(path: string, isCompressed: boolean, list: OpenFile[]): void {
    const file = openFile(path, isCompressed);
    if (file !== undefined) list.push(file);
  }

  #addNewest(): void {
    try {
      this.#open(this.#path, false, this.#later);
    } catch (error) {
      this.#failure = error;
    }
    if (this.#later.length > this.#behindMax) for (const { fd } of this.#later.splice(0, 1)) closeSync(fd);
  }
}

async function* blocksOf(fd: number): AsyncGenerator<Buffer, void, undefined> {
  for (let position = 0; ; ) {
    const block = Buffer.alloc(blockBytes);
    const { bytesRead } = await readAsync(fd, block, 0, blockBytes, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield block.subarray(0, bytesRead);
  }
}

/** The bytes that a compressed file stands for. */
async function* plainBytes({ fd }: OpenFile): AsyncGenerator<Buffer, void, undefined> {
  const gunzip = createGunzip();
  // What fails is thrown where `gunzip` is read.
  pipeline(blocksOf(fd), gunzip, () => {});
  for await (const block of gunzip) yield block as Buffer;
}

function countNewlines(block: Buffer): number {
  let count = 0;
  for (let at = block.indexOf(newline); at !== -1; at = block.indexOf(newline, at + 1)) count += 1;
  return count;
}

/** Where to begin in a file: bytes of a plain one, lines of a compressed one. `missing`: lines that it lacks. */
interface TailStart {
  readonly skip: number;
  readonly missing: number;
}

async function tailOfCompressed(file: OpenFile, lines: number): Promise<TailStart> {
  let count = 0;
  for await (const block of plainBytes(file)) count += countNewlines(block);
  return { skip: Math.max(0, count - lines), missing: Math.max(0, lines - count) };
}

async function tailOfPlain({ fd, sizeBytes }: OpenFile, lines: number): Promise<TailStart> {
  const block = Buffer.alloc(blockBytes);
  let seen = 0;
  for (let end = sizeBytes; end > 0; ) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await readAsync(fd, block, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i -= 1) {
      if (block[i] !== newline) continue;
      seen += 1;
      if (seen > lines) return { skip: start + i + 1, missing: 0 };
    }
    end = start;
  }
  return { skip: 0, missing: lines - seen };
}

/** Closes the files that are before the last `lines` lines; resolves with where to begin in the first that is left. */
async function skipToTail(files: LogFiles, lines: number): Promise<number> {
  let wanted = lines;
  for (const file of files.list.toReversed()) {
    const { skip, missing } =
      wanted === 0
        ? { skip: file.sizeBytes, missing: 0 }
        : await (file.isCompressed ? tailOfCompressed : tailOfPlain)(file, wanted);
    wanted = missing;
    if (wanted > 0) continue;
    while (files.list[0] !== file) files.shift();
    return skip;
  }
  return 0;
}

/** Joins blocks to lines. */
class LineJoiner {
  /** The beginning of a line, at most `lineMaxBytes` of it. */
  #rest: Buffer[] = [];
  #restBytes = 0;

  feed(block: Buffer): readonly string[] {
    const end = block.lastIndexOf(newline) + 1;
    if (end === 0) {
      this.#keep(block);
      return [];
    }
    // What is too long to be a record has its place among the lines, as an empty one.
    const first =
      this.#restBytes > lineMaxBytes ? block.subarray(block.indexOf(newline), end) : block.subarray(0, end);
    const whole = this.#restBytes > lineMaxBytes ? first : Buffer.concat([...this.#rest, first]);
    this.#rest = [];
    this.#restBytes = 0;
    this.#keep(block.subarray(end));
    return whole.toString('utf8').split('\n').slice(0, -1);
  }

  #keep(part: Buffer): void {
    this.#restBytes += part.length;
    if (this.#restBytes > lineMaxBytes) this.#rest = [];
    else if (part.length > 0) this.#rest.push(part);
  }
}

async function* compressedLines(
  file: OpenFile,
  skipped: number,
): AsyncGenerator<readonly string[], void, undefined> {
  const joiner = new LineJoiner();
  let left = skipped;
  for await (const block of plainBytes(file)) {
    const lines = joiner.feed(block);
    if (lines.length > left) yield lines.slice(left);
    left = Math.max(0, left - lines.length);
  }
}

/** Whole lines of a plain file from `position` on, until its present end or `endBytes`. */
class LineReader {
  readonly #fd: number;
  readonly #endBytes: number;
  readonly #joiner = new LineJoiner();
  #position: number;

  constructor(fd: number, position: number, endBytes: number) {
    this.#fd = fd;
    this.#position = position;
    this.#endBytes = endBytes;
  }

  /** Undefined at the end of the file; the next call looks again. */
  async next(): Promise<readonly string[] | undefined> {
    const length = Math.min(blockBytes, this.#endBytes - this.#position);
    if (length <= 0) return undefined;
    const block = Buffer.alloc(length);
    const { bytesRead } = await readAsync(this.#fd, block, 0, length, this.#position);
    if (bytesRead === 0) return undefined;
    this.#position += bytesRead;
    return this.#joiner.feed(block.subarray(0, bytesRead));
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

/** The first of `files`, on while it is the one that `live` writes. */
async function* plainLines(
  files: LogFiles,
  start: number,
  live: LogWriter | undefined,
  watch: ChangeWatch,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, undefined> {
  const [file] = files.list;
  if (file === undefined) return;
  const end = live === undefined ? file.sizeBytes : Number.POSITIVE_INFINITY;
  const reader = new LineReader(file.fd, start, end);
  while (!signal.aborted) {
    const seen = watch.count;
    // Asked before the file is read: what was written until then is found.
    const mayGrow = live?.isOpen === true && files.isAtNewest;
    const lines = await reader.next();
    if (lines !== undefined) yield lines;
    else if (mayGrow) await watch.after(seen);
    else return;
  }
}

async function* linesOf(
  files: LogFiles,
  query: LogQuery,
  live: LogWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<readonly string[], void, undefined> {
  const watch = new ChangeWatch(signal);
  using _listener = live?.events.on('change', () => watch.changed());
  let start = query.tail === undefined ? 0 : await skipToTail(files, query.tail);
  for (let [file] = files.list; file !== undefined && !signal.aborted; [file] = files.list) {
    const isTooOld =
      query.sinceMs !== undefined &&
      file.changedMs + fileTimeSlackMs < query.sinceMs &&
      (live === undefined || !files.isAtNewest);
    if (file.isCompressed && !isTooOld) yield* compressedLines(file, start);
    else if (!isTooOld) yield* plainLines(files, start, live, watch, signal);
    files.shift();
    start = 0;
  }
}

function isWanted(record: LogRecord, timeMs: number, query: LogQuery): boolean {
  if (query.sinceMs !== undefined && timeMs < query.sinceMs) return false;
  return record.stream === 'stdout' ? query.stdout : query.stderr;
}

/**
 * The records of the log at `path` that `query` wants, oldest first. With `isFollow` it goes on while `live`, the
 * writer of a process that runs, is open; without, it has what was written until now. Ends when `signal` fires.
 */
export async function* readLog(
  path: string,
  query: LogQuery,
  live: LogWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  await live?.flush();
  const followed = query.isFollow ? live : undefined;
  using files = new LogFiles(path, followed);
  for await (const lines of linesOf(files, query, followed, signal)) {
    for (const line of lines) {
      const record = decodeLogRecord(line);
      if (record === undefined) continue;
      const timeMs = parseTimestamp(record.time);
      if (query.untilMs !== undefined && timeMs > query.untilMs) return;
      if (isWanted(record, timeMs, query)) yield record;
    }
  }
}
