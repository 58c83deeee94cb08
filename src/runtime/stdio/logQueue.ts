/*
 * The lines of a process on their way to its log: cut into records, stamped, and handed on in order, one batch under way
 * at a time and everything that came meanwhile in the next one. Bounded: either the process waits, or lines are dropped
 * (`mode=non-blocking`; the newest, as in Docker).
 */
import type { Clock } from '../../base/clock.ts';
import { timestamp } from '../../base/timestamp.ts';
import { LineSplitter } from './logFormat.ts';
import type { LogRecord } from './stdio.ts';

export type QueuedRecord = Omit<LogRecord, 'attributes'>;

/** Beyond this much that is not written, about, the process has to wait. */
const highWaterBytes = 1024 * 1024;
/** What a record that waits takes in memory beside its output, about. */
const recordBytes = 200;
/** Written at a time: short lines with long attributes are many times what came from the process. */
const batchBytes = 1024 * 1024;

export interface LogQueueOptions {
  readonly clock: Clock;
  /** What a record has around its output where it is written, about. */
  readonly frameBytes: number;
  /**
   * Of memory for lines that wait, about, beyond which they are dropped; one line always has room. Absent = the process
   * waits.
   */
  readonly bufferBytes: number | undefined;
  /** Takes records to where they are kept. Never rejects. */
  readonly write: (records: readonly QueuedRecord[]) => Promise<void>;
  /** After each `write`; `hasRoom` where `append` would say true again, as it does after the last. */
  readonly onWritten: (hasRoom: boolean) => void;
}

export class LogQueue {
  readonly #options: LogQueueOptions;
  readonly #splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  #pending: QueuedRecord[] = [];
  #outputBytes = 0;
  #queuedRecords = 0;
  #writtenRecords = 0;
  #batch = Promise.withResolvers<void>();
  #writing: Promise<void> | undefined;

  constructor(options: LogQueueOptions) {
    this.#options = options;
  }

  /** Takes output; false when the writing is behind, until `onWritten` tells of room. */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    this.#add(stream, this.#splitters[stream].feed(chunk));
    return this.#hasRoom;
  }

  /** Records that came so far, written or not. */
  get queuedRecords(): number {
    return this.#queuedRecords;
  }

  /** Settles when everything appended so far is written, whatever comes meanwhile. */
  async flush(): Promise<void> {
    const wanted = this.#queuedRecords;
    while (this.#writtenRecords < wanted) await this.#batch.promise;
  }

  /** Takes what is left of both streams; settles when nothing waits. */
  async end(): Promise<void> {
    for (const stream of ['stdout', 'stderr'] as const) {
      const rest = this.#splitters[stream].end();
      if (rest !== undefined) this.#add(stream, [rest]);
    }
    await this.#writing;
  }

  get #hasRoom(): boolean {
    const { bufferBytes, frameBytes } = this.#options;
    return (
      bufferBytes !== undefined || this.#outputBytes + this.#pending.length * frameBytes < highWaterBytes
    );
  }

  #add(stream: 'stdout' | 'stderr', records: readonly Buffer[]): void {
    const { clock, bufferBytes = Number.POSITIVE_INFINITY } = this.#options;
    const time = timestamp(clock);
    for (const data of records) {
      const heldBytes = this.#outputBytes + this.#pending.length * recordBytes;
      if (this.#pending.length > 0 && heldBytes + data.length + recordBytes > bufferBytes) continue;
      this.#pending.push({ stream, time, data });
      this.#outputBytes += data.length;
      this.#queuedRecords += 1;
    }
    if (this.#pending.length > 0) this.#writing ??= this.#drain();
  }

  #take(): readonly QueuedRecord[] {
    let bytes = 0;
    let count = 0;
    for (const { data } of this.#pending) {
      if (bytes >= batchBytes) break;
      bytes += data.length + this.#options.frameBytes;
      this.#outputBytes -= data.length;
      count += 1;
    }
    return this.#pending.splice(0, count);
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const records = this.#take();
      await this.#options.write(records);
      this.#writtenRecords += records.length;
      this.#batch.resolve();
      this.#batch = Promise.withResolvers();
      this.#options.onWritten(this.#hasRoom);
    }
    this.#writing = undefined;
  }
}
