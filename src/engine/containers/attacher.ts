/*
 * Attaching to a container's first process, before or during a run, with or without what it said before.
 */
import { Readable } from 'node:stream';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { defaultDetachKeys } from '../../runtime/stdio/detachKeys.ts';
import type { AttachStreams, LogRecord } from '../../runtime/stdio/stdio.ts';
import type { Containers } from '../engine.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { checkLogReadable, openContainerIo, readContainerLog } from './containerIo.ts';
import { checkDetachKeys } from './createChecks.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';

export type AttachWant = Parameters<Containers['attach']>[1];

/** The log so far, then what comes. */
async function* logThenLive(
  log: AsyncIterable<LogRecord>,
  tap: Readable | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const record of log) yield record.data;
  if (tap !== undefined) for await (const chunk of tap) yield chunk as Buffer;
}

/** To be called in the turn in which the taps of `streams` were made: the log is read up to there. */
function withLogs(live: LiveContainer, want: AttachWant, streams: AttachStreams): AttachStreams {
  const leave = new AbortController();
  const replay = (name: 'stdout' | 'stderr'): { [key in typeof name]?: Readable } => {
    if (!want[name]) return {};
    const query = { stdout: name === 'stdout', stderr: name === 'stderr', isFollow: false };
    const log = readContainerLog(live.record, query, live.io?.log, leave.signal);
    return { [name]: Readable.from(logThenLive(log, streams[name])) };
  };
  return {
    ...streams,
    ...replay('stdout'),
    ...(live.record.spec.isTty ? {} : replay('stderr')),
    close: () => {
      leave.abort();
      streams.close();
    },
  };
}

/** Throws containerState for a paused container, notImplemented for the log of a driver that keeps none, requestInvalid for detach keys that are none. */
export function attachTo(context: ContainersContext, live: LiveContainer, want: AttachWant): AttachStreams {
  const { record } = live;
  const detachKeys = checkDetachKeys(want.detachKeys, defaultDetachKeys);
  if (record.state === 'paused') {
    throw new LinkspanError(
      'containerState',
      `container ${record.id} is paused, unpause the container before attach`,
    );
  }
  if (record.state === 'removing' || record.state === 'dead') {
    throw new LinkspanError('containerState', `container ${record.id} is marked for removal`);
  }
  if (want.withLogs) checkLogReadable(record);
  emitContainerEvent(context.events, record, 'attach');
  if (!want.isStream) return withLogs(live, want, { close: () => {} });
  const io = (live.io ??= openContainerIo(context, record));
  const streams = io.attach({
    stdin: want.stdin,
    stdout: want.stdout,
    stderr: want.stderr,
    detachKeys,
    onDetach: () => emitContainerEvent(context.events, live.record, 'detach'),
  });
  return want.withLogs ? withLogs(live, want, streams) : streams;
}
