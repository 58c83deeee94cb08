/*
 * Appends a process's output to its log in order, one write under way at a time and everything that came meanwhile in
 * the next one; begins a new file when one is full. Not durable: a power cut may lose the last lines, as with Docker.
 */
import { close, closeSync, fstatSync, openSync, readSync, write } from 'node:fs';
import { promisify } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { timestamp } from '../../base/timestamp.ts';
import { compressNewest, rotate } from './logFiles.ts';
import { encodeLogAttributes, encodeLogRecord, LineSplitter } from './logFormat.ts';
import type { LogFileRules } from './logOptions.ts';

const writeAsync = promisify(write);
const closeAsync = promisify(close);

/** Beyond this much unwritten text, about, the process has to wait. */
const highWaterChars = 1024 * 1024;
/** What a record has around its output, about. */
const frameChars = 80;
/** Encoded at a time: short lines with long attributes are many times what came from the process. */
const batchChars = 1024 * 1024;
const newline = 0x0a;

interface Waiting {
  readonly stream: 'stdout' | 'stderr';
  readonly time: string;
  readonly data: Buffer;
}

interface LogEvents extends Record<string, unknown> {
  /** The file grew, or will grow no more. */
  readonly change: null;
  /** Room again after `append` said false. */
  readonly drain: null;
  /** What is at `path` is another file now, and empty: told in the turn in which it came there. */
  readonly rotated: null;
}

export interface LogWriterOptions {
  /** Made with mode 0640. */
  readonly path: string;
  readonly clock: Clock;
  /** Absent = one file that grows. */
  readonly rules?: LogFileRules;
  /** What each record has besides; absent = nothing. */
  readonly attributes?: Readonly<Record<string, string>>;
  /**
   * Told once when the disk refuses to be written (ENOSPC): what cannot be written is dropped, so that the process goes
   * on. And when a file cannot be rotated or compressed, which loses nothing: once until that works again.
   */
  readonly onFailure: (error: unknown, isLost: boolean) => void;
}

/** Bytes of an open file, and whether they end a line. */
function endOf(fd: number): { readonly sizeBytes: number; readonly isWhole: boolean } {
  const { size } = fstatSync(fd);
  const last = Buffer.from([newline]);
  if (size > 0) readSync(fd, last, 0, 1, size - 1);
  return { sizeBytes: size, isWhole: last[0] === newline };
}

export class LogWriter {
  readonly events: Events<LogEvents> = new Events();
  readonly #options: LogWriterOptions;
  readonly #rules: LogFileRules;
  readonly #attributes: string;
  readonly #splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  readonly #leave = new AbortController();
  #fd: number;
  #sizeBytes: number;
  /** False after a record was cut short: the next one must not stand on its line. */
  #isWhole: boolean;
  #pending: Waiting[] = [];
  #pendingChars = 0;
  #queuedRecords = 0;
  #writtenRecords = 0;
  #batch = Promise.withResolvers<void>();
  #writing: Promise<void> | undefined;
  #compressing: Promise<void> | undefined;
  #isClosing = false;
  #isClosed = false;
  #hasFailed = false;
  #isStuck = false;

  /** Opens the file for appending. Throws what the file system says. */
  constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#rules = options.rules ?? { maxFiles: 1, compresses: false, keepsBytes: false };
    this.#attributes = encodeLogAttributes(options.attributes ?? {});
    this.#fd = openSync(options.path, 'a+', 0o640);
    try {
      ({ sizeBytes: this.#sizeBytes, isWhole: this.#isWhole } = endOf(this.#fd));
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
    if (this.#rules.compresses) this.#compress();
  }

  get path(): string {
    return this.#options.path;
  }

  /** Files of the log that are kept. */
  get maxFiles(): number {
    return this.#rules.maxFiles;
  }

  /** True until `close` has written the last line: the log may still grow. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** Takes output; false when the disk is behind, until the `drain` event. */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    const records = this.#splitters[stream].feed(chunk);
    if (records.length > 0) this.#queue(stream, records);
    return this.#pendingChars < highWaterChars;
  }

  /** Settles when everything appended so far is in the file, whatever comes meanwhile. */
  async flush(): Promise<void> {
    const wanted = this.#queuedRecords;
    while (this.#writtenRecords < wanted) await this.#batch.promise;
  }

  /** Writes what is left of both streams, and closes the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    for (const stream of ['stdout', 'stderr'] as const) {
      const rest = this.#splitters[stream].end();
      if (rest !== undefined) this.#queue(stream, [rest]);
    }
    await this.#writing;
    // Half a compressed file is thrown away; whoever opens the log next begins again.
    this.#leave.abort();
    await this.#compressing;
    this.#isClosed = true;
    await closeAsync(this.#fd);
    this.events.emit('change', null);
  }

  #queue(stream: 'stdout' | 'stderr', records: readonly Buffer[]): void {
    const time = timestamp(this.#options.clock);
    for (const data of records) {
      this.#pending.push({ stream, time, data });
      this.#pendingChars += this.#charsOf(data);
    }
    this.#queuedRecords += records.length;
    this.#writing ??= this.#drain();
  }

  #charsOf(data: Buffer): number {
    return data.length + this.#attributes.length + frameChars;
  }

  /** The next records, encoded, and how many they are. */
  #takeBatch(): { readonly text: Buffer; readonly count: number } {
    let text = '';
    let count = 0;
    for (const record of this.#pending) {
      if (text.length >= batchChars) break;
      text += encodeLogRecord(record, this.#attributes, this.#rules.keepsBytes);
      this.#pendingChars -= this.#charsOf(record.data);
      count += 1;
    }
    this.#pending = this.#pending.slice(count);
    return { text: Buffer.from(text), count };
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const { text, count } = this.#takeBatch();
      try {
        await this.#write(this.#isWhole ? text : Buffer.concat([Buffer.from([newline]), text]));
      } catch (error) {
        if (!this.#hasFailed) this.#options.onFailure(error, true);
        this.#hasFailed = true;
      }
      this.#writtenRecords += count;
      this.#batch.resolve();
      this.#batch = Promise.withResolvers();
      this.events.emit('change', null);
      this.events.emit('drain', null);
    }
    this.#writing = undefined;
  }

  /** `text` is whole records. One that reaches the limit is still of the old file, as in Docker. */
  async #write(text: Buffer): Promise<void> {
    const limit = this.#rules.maxBytes ?? Number.POSITIVE_INFINITY;
    let mayRotate = true;
    for (let at = 0; at < text.length; ) {
      if (mayRotate && this.#sizeBytes >= limit) mayRotate = await this.#rotate();
      const room = mayRotate ? limit - this.#sizeBytes : Number.POSITIVE_INFINITY;
      const end = at + room < text.length ? text.indexOf(newline, at + room - 1) + 1 : text.length;
      while (at < end) {
        const { bytesWritten } = await writeAsync(this.#fd, text, at, end - at, null);
        at += bytesWritten;
        this.#sizeBytes += bytesWritten;
        this.#isWhole = text[at - 1] === newline;
      }
    }
  }

  /** False where the disk refuses: then the old file goes on, and the next batch tries again. */
  async #rotate(): Promise<boolean> {
    await this.#compressing;
    const { path } = this.#options;
    const old = this.#fd;
    try {
      this.#fd = rotate(path, this.#rules.maxFiles);
    } catch (error) {
      this.#tellStuck(error);
      return false;
    }
    if (!this.#rules.compresses) this.#isStuck = false;
    this.#sizeBytes = 0;
    this.events.emit('rotated', null);
    await closeAsync(old);
    if (this.#rules.compresses) this.#compress();
    return true;
  }

  #compress(): void {
    const { signal } = this.#leave;
    this.#compressing = compressNewest(this.#options.path, signal).then(
      () => {
        this.#isStuck = false;
      },
      (error: unknown) => {
        if (!signal.aborted) this.#tellStuck(error);
      },
    );
  }

  #tellStuck(error: unknown): void {
    if (!this.#isStuck) this.#options.onFailure(error, false);
    this.#isStuck = true;
  }
}
