/*
 * Processes of a lab, by id and start time: a number alone may name somebody else's process by the time it is used. The
 * processes write their records themselves (namespaces.ts), so that none is ever without one.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError } from '../cli/cliError.ts';

export interface ProcessRecord {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since the machine booted. */
  readonly startTime: string;
}

const endTimeoutMs = 10_000;

/** Fields of /proc/PID/stat from the third (state) on; undefined once the process is reaped. */
function readStat(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold spaces and parentheses itself.
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** This program's own. */
export function ownRecord(): ProcessRecord {
  return { pid: process.pid, startTime: readStat(process.pid)?.[19] ?? '' };
}

/** What a process wrote of itself: `PID START`. Undefined where there is no such file. */
export function readRecord(path: string): ProcessRecord | undefined {
  try {
    const match = /^(\d+) (\d+)\n$/.exec(readFileSync(path, 'latin1'));
    return match === null ? undefined : { pid: Number(match[1]), startTime: match[2] ?? '' };
  } catch {
    return undefined;
  }
}

/** Whether this very process is there and no zombie. */
export function isAlive({ pid, startTime }: ProcessRecord): boolean {
  const fields = readStat(pid);
  return fields?.[19] === startTime && fields[0] !== 'Z' && fields[0] !== 'X';
}

/** Whether it is there at all, if only as a zombie. */
function isLeft({ pid, startTime }: ProcessRecord): boolean {
  return readStat(pid)?.[19] === startTime;
}

/** Sends the signal and waits until the process is gone and reaped; already gone is success. */
export async function endProcess(record: ProcessRecord, signal: NodeJS.Signals): Promise<void> {
  try {
    if (isAlive(record)) process.kill(record.pid, signal);
  } catch (error) {
    // It ended in between.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  for (const endMs = performance.now() + endTimeoutMs; isLeft(record); await sleep(3))
    if (performance.now() > endMs)
      throw new CliError(`lab: process ${record.pid} did not end within ${endTimeoutMs / 1000} s`);
}
