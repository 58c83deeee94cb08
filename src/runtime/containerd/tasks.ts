/*
 * Waiting for and ending processes, across containerd's own deaths: a wait that breaks with the connection goes on
 * when it is back, and settles for what has ended meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExitStatus } from '../runtime.ts';
import type { ContainerdClient } from './client.ts';
import { type Timestamp, taskStatus } from './messages.ts';
import { hasStatus, unless } from './status.ts';
import { formatTimestamp } from './timestamp.ts';

/** A task (no exec id) or an exec. */
export interface ProcessRef {
  readonly container_id: string;
  readonly exec_id: string;
}

/** What Docker reports for a process whose exit nobody saw, since its shim died with it. */
const unseenExitCode = 255;
const retryDelayMs = 100;
const sigkill = 9;

function toExit(exit: { readonly exit_status: number; readonly exited_at: Timestamp | null }): ExitStatus {
  return { exitCode: exit.exit_status, exitedAt: formatTimestamp(exit.exited_at) };
}

/** Settles when the process ends, or at once if it has. Throws ContainerdError notFound if there never was one. */
export async function waitProcess(client: ContainerdClient, ref: ProcessRef): Promise<ExitStatus> {
  for (let wasSeen = false; ; ) {
    try {
      const waiting = client.call('Tasks.Wait', ref, { deadlineMs: Infinity });
      // A task that does not exist fails the wait at once; one that vanishes later has lost its shim.
      const timer = setTimeout(() => {
        wasSeen = true;
      }, retryDelayMs);
      try {
        return toExit(await waiting);
      } finally {
        clearTimeout(timer);
      }
    } catch (error) {
      if (hasStatus(error, 'cancelled')) throw error;
      if (hasStatus(error, 'notFound')) {
        if (!wasSeen) throw error;
        return { exitCode: unseenExitCode, exitedAt: new Date().toISOString() };
      }
      const seen = await unless(client.call('Tasks.Get', ref), 'notFound', 'unavailable', 'deadlineExceeded');
      if (seen?.process.status === taskStatus.stopped) return toExit(seen.process);
      wasSeen ||= seen !== undefined;
      await sleep(retryDelayMs);
    }
  }
}

/** Removes the task: an ended one at once, a living one after SIGKILL to all of it. Success if there is none. */
export async function deleteTask(client: ContainerdClient, id: string): Promise<void> {
  try {
    await unless(client.call('Tasks.Delete', { container_id: id }), 'notFound');
    return;
  } catch (error) {
    // A running task is refused with failedPrecondition, a paused one (runc's text) with unknown.
    if (!hasStatus(error, 'failedPrecondition', 'unknown')) throw error;
  }
  const ref: ProcessRef = { container_id: id, exec_id: '' };
  const waiting = waitProcess(client, ref);
  waiting.catch(() => {});
  const state = await unless(client.call('Tasks.Get', ref), 'notFound');
  if (state?.process.status === taskStatus.paused) {
    // A frozen process dies only once thawed; until then runc's kill of all processes would wait for ever.
    await unless(client.call('Tasks.Kill', { ...ref, signal: sigkill }), 'notFound');
    await unless(client.call('Tasks.Resume', ref), 'notFound', 'failedPrecondition', 'unknown');
  }
  await unless(client.call('Tasks.Kill', { ...ref, signal: sigkill, all: true }), 'notFound', 'unknown');
  await unless(waiting, 'notFound');
  await unless(client.call('Tasks.Delete', { container_id: id }), 'notFound');
}
