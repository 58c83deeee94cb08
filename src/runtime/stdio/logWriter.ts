/*
 * Appends a process's output to its log file in order; begins a new file when one is full. Not durable: a power cut may lose the last lines, as with Docker.
 */
import { close, closeSync, fstatSync, openSync, readSync, write } from 'node:fs';
import { promisify } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { compressNewest, rotate } from './logFiles.ts';
import { encodeLogAttributes, encodeLogRecord } from './logFormat.ts';
import type { LogFileRules } from './logOptions.ts';
import { LogQueue, type QueuedRecord } from './logQueue.ts';
import type { LogSink, LogSinkEvents } from './logSink.ts';

const writeAsync = promisify(write);
const closeAsync = promisify(close);

/** What a record has around its output, about. */
const frameBytes = 80;
const newline = 0x0a;

interface LogEvents extends LogSinkEvents {
  /** The file grew, or will grow no more. */
  readonly change: null;
  /** What is at `path` is another file now, and empty: told in the turn in which it came there. */
  readonly rotated: null;
}

export interface LogWriterOptions {
  /** Made with mode 0640. */
  readonly path: string;
  readonly clock: Clock;
  /** Absent = one file that grows. */
  readonly rules?: LogFileRules;
  /** As in `LogQueueOptions`; absent = the process waits. */
  readonly bufferBytes?: number | undefined;
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

export class LogWriter implements LogSink {
  readonly events: Events<LogEvents> = new Events();
  readonly #options: LogWriterOptions;
  readonly #rules: LogFileRules;
  readonly #attributes: string;
  readonly #queue: LogQueue;
  readonly #leave = new AbortController();
  #fd: number;
  #sizeBytes: number;
  /** False after a record was cut short: the next one must not stand on its line. */
  #isWhole: boolean;
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
    this.#queue = new LogQueue({
      clock: options.clock,
      frameBytes: frameBytes + this.#attributes.length,
      bufferBytes: options.bufferBytes,
      write: (records) => this.#record(records),
      onWritten: (hasRoom) => {
        this.events.emit('change', null);
        if (hasRoom) this.events.emit('drain', null);
      },
    });
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

  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    return this.#queue.append(stream, chunk);
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  /** Writes what is left of both streams, and closes the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    await this.#queue.end();
    // Half a compressed file is thrown away; whoever opens the log next begins again.
    this.#leave.abort();
    await this.#compressing;
    this.#isClosed = true;
    await closeAsync(this.#fd);
    this.events.emit('change', null);
  }

  async #record(records: readonly QueuedRecord[]): Promise<void> {
    const { keepsBytes } = this.#rules;
    const lines = records.map((record) => encodeLogRecord(record, this.#attributes, keepsBytes));
    const text = Buffer.from(lines.join(''));
    try {
      await this.#write(this.#isWhole ? text : Buffer.concat([Buffer.from([newline]), text]));
    } catch (error) {
      if (!this.#hasFailed) this.#options.onFailure(error, true);
      this.#hasFailed = true;
    }
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
