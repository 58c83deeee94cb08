/*
 * What flows between a process and those who watch it: streams for attach and exec, records for logs.
 */
import type { Readable, Writable } from 'node:stream';

/** A stream to or from a process: what attach and exec hand out. Non-tty output is framed by the API, not here. */
export interface AttachStreams {
  /** Undefined where the process has no stdin or the caller did not ask. Ending it closes the process's stdin. */
  readonly stdin?: Writable;
  readonly stdout?: Readable;
  readonly stderr?: Readable;
  /** Detaches; the process goes on. */
  close(): void;
}

export interface LogRecord {
  readonly stream: 'stdout' | 'stderr';
  /** RFC 3339 nano. */
  readonly time: string;
  readonly data: Buffer;
  /** What log options have each line carry; absent = nothing. */
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface LogQuery {
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly isFollow: boolean;
  /** Lines from the end; undefined = all. */
  readonly tail?: number;
  readonly sinceMs?: number;
  readonly untilMs?: number;
}
