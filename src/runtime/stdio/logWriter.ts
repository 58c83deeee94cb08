/*
 * Appends a process's output to its log file in order, one write under way at a time and everything that came
 * meanwhile in the next one. Not durable: a power cut may lose the last lines, as with Docker.
 */
import { close, openSync, write } from 'node:fs';
import { promisify } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { timestamp } from '../../base/timestamp.ts';
import { encodeLogRecord, LineSplitter } from './logFormat.ts';

const writeAsync = promisify(write);
const closeAsync = promisify(close);

/** Beyond this much unwritten text the process has to wait. */
const highWaterChars = 1024 * 1024;

interface LogEvents extends Record<string, unknown> {
  /** The file grew, or will grow no more. */
  readonly change: null;
  /** Room again after `append` said false. */
  readonly drain: null;
}

export class LogWriter {
  readonly events: Events<LogEvents> = new Events();
  readonly path: string;
  readonly #fd: number;
  readonly #clock: Clock;
  readonly #splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  #pending = '';
  #writing: Promise<void> | undefined;
  #isClosing = false;
  #isClosed = false;
  readonly #onFailure: (error: unknown) => void;
  #hasFailed = false;

  /**
   * Opens (and makes, mode 0640) the file at `path` for appending. `onFailure` is told once when the disk refuses
   * (ENOSPC): what cannot be written is dropped, so that the process goes on.
   */
  constructor(path: string, clock: Clock, onFailure: (error: unknown) => void) {
    this.path = path;
    this.#onFailure = onFailure;
    this.#clock = clock;
    this.#fd = openSync(path, 'a', 0o640);
  }

  /** True until `close` has written the last line: the file may still grow. */
  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** Takes output; false when the disk is behind, until the `drain` event. */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    const records = this.#splitters[stream].feed(chunk);
    if (records.length > 0) this.#queue(stream, records);
    return this.#pending.length < highWaterChars;
  }

  /** Settles when everything appended so far is in the file. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** Writes what is left of both streams, and closes the file. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    for (const stream of ['stdout', 'stderr'] as const) {
      const rest = this.#splitters[stream].end();
      if (rest !== undefined) this.#queue(stream, [rest]);
    }
    await this.flush();
    this.#isClosed = true;
    await closeAsync(this.#fd);
    this.events.emit('change', null);
  }

  #queue(stream: 'stdout' | 'stderr', records: readonly Buffer[]): void {
    const time = timestamp(this.#clock);
    for (const data of records) this.#pending += encodeLogRecord({ stream, time, data });
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    while (this.#pending !== '') {
      const text = Buffer.from(this.#pending);
      this.#pending = '';
      try {
        for (let at = 0; at < text.length; ) {
          at += (await writeAsync(this.#fd, text, at, text.length - at, null)).bytesWritten;
        }
      } catch (error) {
        if (!this.#hasFailed) this.#onFailure(error);
        this.#hasFailed = true;
      }
      this.events.emit('change', null);
      this.events.emit('drain', null);
    }
    this.#writing = undefined;
  }
}
