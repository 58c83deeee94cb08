/*
 * Where the output of a process is kept, whatever the log driver.
 */
import type { Events } from '../../base/events.ts';

export interface LogSinkEvents extends Record<string, unknown> {
  /** Room again after `append` said false. */
  readonly drain: null;
}

export interface LogSink {
  readonly events: Pick<Events<LogSinkEvents>, 'on'>;
  /** Takes output; false when the log is behind, until the `drain` event. */
  append(stream: 'stdout' | 'stderr', chunk: Buffer): boolean;
  /** Settles when everything appended so far is in the log, whatever comes meanwhile. */
  flush(): Promise<void>;
  /** Settles when all that was appended is in the log, which takes no more then. Idempotent. */
  close(): Promise<void>;
}
