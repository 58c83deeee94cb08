/*
 * One line in the log for each change of a container: what happened to which, and why. Follows the engine's events, so
 * that nothing can change without a line. Networks and endpoints log their own, with addresses. Only chosen attributes
 * are written: labels and command lines may hold secrets.
 */
import type { Logger } from '../base/logger.ts';
import type { EngineEvent, EventLog } from '../engine/events.ts';

const sentences: Readonly<Record<string, string>> = {
  create: 'created a container',
  start: 'started a container',
  kill: 'sent a signal to a container',
  die: 'a container ended',
  stop: 'stopped a container',
  pause: 'paused a container',
  unpause: 'resumed a container',
  restart: 'restarted a container',
  rename: 'renamed a container',
  oom: 'the kernel killed a process of a container for memory',
  destroy: 'removed a container',
};

/** The line for an event; undefined for those that change nothing or log elsewhere. Pure. */
export function lineOf({
  type,
  action,
  actorId,
  attributes,
}: Omit<EngineEvent, 'timeNs'>):
  | { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }
  | undefined {
  const message = type === 'container' ? sentences[action] : undefined;
  if (message === undefined) return undefined;
  const { name, image, exitCode, signal, oldName } = attributes;
  return {
    fields: {
      container: name,
      id: actorId,
      ...(action === 'create' && { image }),
      ...(action === 'die' && { exitCode: Number(exitCode) }),
      ...(action === 'kill' && { signal: Number(signal) }),
      ...(action === 'rename' && { before: oldName }),
    },
    message,
  };
}

/** Dispose it to stop. */
export function logChanges(events: EventLog, logger: Logger): Disposable {
  return events.follow((event) => {
    const line = lineOf(event);
    if (line !== undefined) logger.info(line.fields, line.message);
  });
}
