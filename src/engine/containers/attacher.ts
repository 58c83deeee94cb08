/*
 * Attaching to a container's first process, before or during a run, with or without what it said before.
 */
import { Readable } from 'node:stream';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { defaultDetachKeys } from '../../runtime/stdio/detachKeys.ts';
import type { AttachStreams } from '../../runtime/stdio/stdio.ts';
import type { Containers } from '../engine.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { checkLogReadable, openContainerIo, readContainerLog } from './containerIo.ts';
import { checkDetachKeys } from './createChecks.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';

export type AttachWant = Parameters<Containers['attach']>[1];

/** One stream of the log so far, then what comes. */
async function* logThenLive(
  live: LiveContainer,
  stream: 'stdout' | 'stderr',
  tap: Readable | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  const query = { stdout: stream === 'stdout', stderr: stream === 'stderr', isFollow: false };
  const { signal } = new AbortController();
  for await (const record of readContainerLog(live.record, query, live.io?.log, signal)) {
    yield record.data;
  }
  if (tap !== undefined) for await (const chunk of tap) yield chunk as Buffer;
}

function withLogs(live: LiveContainer, want: AttachWant, streams: AttachStreams): AttachStreams {
  const replay = (name: 'stdout' | 'stderr'): { [key in typeof name]?: Readable } =>
    want[name] ? { [name]: Readable.from(logThenLive(live, name, streams[name])) } : {};
  return { ...streams, ...replay('stdout'), ...(live.record.spec.isTty ? {} : replay('stderr')) };
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
