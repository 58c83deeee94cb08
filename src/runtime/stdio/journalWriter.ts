/*
 * The log driver `journald`: each line of a process becomes an entry of systemd's journal, with Docker's fields. The
 * journal is asked never to be waited for: a queue that is full holds the process up for a while, then lines are lost.
 */
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { encodeJournalField, journalFieldName } from './journalFormat.ts';
import { LogQueue, type QueuedRecord } from './logQueue.ts';
import type { LogSink, LogSinkEvents } from './logSink.ts';

/** Where journald takes entries. */
export const journalSocketPath = '/run/systemd/journal/socket';

/** Between two looks at a queue that is full. */
const retryMs = 5;
/** A journal that takes nothing for so long hangs: the process goes on without it. */
const stallLimitMs = 10_000;
/** How long the end of a run, or who reads, waits for the journal to take what was sent. */
const takeLimitMs = 2000;
/** Entries in one turn of the event loop: each is a system call. */
const turnEntries = 50;

/** Connected datagrams; no call waits. */
export interface DatagramSocket extends Disposable {
  /** False where the receiver's queue is full; throws where there is no receiver. */
  send(message: Uint8Array): boolean;
  /** True while the receiver has not taken all that was sent. */
  hasUntaken(): boolean;
}

interface JournalEvents extends LogSinkEvents {
  /** The journal has all that there will be. */
  readonly closed: null;
}

/** Throws where nobody receives at `path`. The kernel layer has the calls. */
export type OpenDatagrams = (path: string) => DatagramSocket;

export interface JournalSubject {
  readonly id: string;
  readonly name: string;
  readonly imageName: string;
  readonly tag: string;
  /** Labels and variables that the log options ask for. */
  readonly extras: Readonly<Record<string, string>>;
}

export interface JournalWriterOptions {
  readonly subject: JournalSubject;
  readonly open: () => DatagramSocket;
  readonly clock: Clock;
  /** As in `LogQueueOptions`. */
  readonly bufferBytes: number | undefined;
  /** Told when lines begin to be lost: there is no journal, or it takes nothing. */
  readonly onFailure: (error: unknown) => void;
}

function fixedFields({ id, name, imageName, tag, extras }: JournalSubject, epoch: string): Buffer {
  const fields: readonly (readonly [string, string])[] = [
    ['CONTAINER_ID', id.slice(0, 12)],
    ['CONTAINER_ID_FULL', id],
    ['CONTAINER_NAME', name],
    ['CONTAINER_TAG', tag],
    ['IMAGE_NAME', imageName],
    ['SYSLOG_IDENTIFIER', tag],
    ['CONTAINER_LOG_EPOCH', epoch],
    ...Object.entries(extras).map(([key, value]) => [journalFieldName(key), value] as const),
  ];
  return Buffer.concat(
    fields.filter(([key]) => key !== '').map(([key, value]) => encodeJournalField(key, value)),
  );
}

/** A line that came in parts, as its records have it. */
interface Parts {
  readonly id: string;
  count: number;
}

export class JournalWriter implements LogSink {
  readonly events: Events<JournalEvents> = new Events();
  /** Tells the runs of a container apart. */
  readonly epoch: string = randomBytes(32).toString('hex');
  readonly #options: JournalWriterOptions;
  readonly #fixed: Buffer;
  readonly #queue: LogQueue;
  readonly #parts: { stdout: Parts | undefined; stderr: Parts | undefined } = {
    stdout: undefined,
    stderr: undefined,
  };
  readonly #closed = Promise.withResolvers<void>();
  #socket: DatagramSocket | undefined;
  #ordinal = 0;
  #isClosing = false;
  #isOpen = true;
  /** The last entry was lost. */
  #isLosing = false;

  constructor(options: JournalWriterOptions) {
    this.#options = options;
    this.#fixed = fixedFields(options.subject, this.epoch);
    this.#queue = new LogQueue({
      clock: options.clock,
      frameBytes: this.#fixed.length,
      bufferBytes: options.bufferBytes,
      write: (records) => this.#write(records),
      onWritten: (hasRoom) => {
        if (hasRoom) this.events.emit('drain', null);
      },
    });
  }

  /** Of the last entry of this run, from 1 on; 0 = none yet. */
  get ordinal(): number {
    return this.#ordinal;
  }

  /** Of the last entry that what was appended so far makes. */
  get queuedOrdinal(): number {
    return this.#queue.queuedRecords;
  }

  /** False when the journal has all that there will be. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean {
    return this.#queue.append(stream, chunk);
  }

  async flush(): Promise<void> {
    await this.#queue.flush();
    await this.#taken();
  }

  async close(): Promise<void> {
    if (this.#isClosing) return this.#closed.promise;
    this.#isClosing = true;
    await this.#queue.end();
    await this.#taken();
    this.#drop();
    this.#isOpen = false;
    this.#closed.resolve();
    this.events.emit('closed', null);
  }

  /** Settles when the journal has read what was sent, or does not for a while. */
  async #taken(): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.upMs() + takeLimitMs;
    while (!this.#isLosing && this.#socket?.hasUntaken() === true && clock.upMs() < endMs)
      await clock.sleep(retryMs);
  }

  async #write(records: readonly QueuedRecord[]): Promise<void> {
    for (const [i, record] of records.entries()) {
      await this.#send(this.#encode(record));
      if (i % turnEntries === turnEntries - 1) await nextTurn();
    }
  }

  #encode({ stream, time, data }: QueuedRecord): Buffer {
    const isLast = data.at(-1) === 0x0a;
    const parts =
      this.#parts[stream] ?? (isLast ? undefined : { id: randomBytes(32).toString('hex'), count: 0 });
    this.#parts[stream] = isLast ? undefined : parts;
    this.#ordinal += 1;
    const fields: readonly (readonly [string, Buffer | string])[] = [
      ['PRIORITY', stream === 'stderr' ? '3' : '6'],
      ['SYSLOG_TIMESTAMP', time],
      ['CONTAINER_LOG_ORDINAL', String(this.#ordinal)],
      ...(parts === undefined
        ? []
        : ([
            ['CONTAINER_PARTIAL_ID', parts.id],
            ['CONTAINER_PARTIAL_ORDINAL', String((parts.count += 1))],
            ['CONTAINER_PARTIAL_LAST', String(isLast)],
            ...(isLast ? [] : [['CONTAINER_PARTIAL_MESSAGE', 'true'] as const]),
          ] as const)),
      ['MESSAGE', isLast ? data.subarray(0, -1) : data],
    ];
    return Buffer.concat([this.#fixed, ...fields.map(([name, value]) => encodeJournalField(name, value))]);
  }

  async #send(message: Buffer): Promise<void> {
    const { clock } = this.#options;
    const endMs = this.#isLosing ? 0 : clock.upMs() + stallLimitMs;
    while (!this.#try(message)) {
      if (clock.upMs() >= endMs) return this.#lose(new Error('the journal takes nothing'));
      await clock.sleep(retryMs);
    }
  }

  /** False where the queue is full. */
  #try(message: Buffer): boolean {
    // A journal that was started anew has another socket at the same place.
    for (const isKnown of this.#socket === undefined ? [false] : [true, false]) {
      try {
        this.#socket ??= this.#options.open();
        const isSent = this.#socket.send(message);
        if (isSent) this.#isLosing = false;
        return isSent;
      } catch (error) {
        this.#drop();
        if (!isKnown) this.#lose(error);
      }
    }
    return true;
  }

  #lose(error: unknown): void {
    if (!this.#isLosing) this.#options.onFailure(error);
    this.#isLosing = true;
  }

  #drop(): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}
