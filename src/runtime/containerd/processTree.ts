/*
 * What a process of a container has started, by /proc: its descendants, and whoever is in its session although the
 * process between is gone. containerd ends an exec's first process only.
 */
import { readFile } from 'node:fs/promises';

export interface ProcessStat {
  readonly parent: number;
  readonly session: number;
}

/** Of a /proc/PID/stat text (proc_pid_stat(5)): the fields after the name, which may hold anything. */
export function parseStat(text: string): ProcessStat | undefined {
  const [, parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (parent === undefined || session === undefined) return undefined;
  return { parent: Number(parent), session: Number(session) };
}

/** Those of `stats` that `root` started; `root` itself is not among them. Pure. */
export function startedBy(root: number, stats: ReadonlyMap<number, ProcessStat>): ReadonlySet<number> {
  const found = new Set<number>();
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [pid, { parent, session }] of stats)
      if (pid !== root && (parent === root || session === root || found.has(parent))) found.add(pid);
  }
  return found;
}

async function readStat(pid: number): Promise<readonly (readonly [number, ProcessStat])[]> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const stat = parseStat(text);
  return stat === undefined ? [] : [[pid, stat]];
}

/** Of the container's processes `pids`. */
export async function readStartedBy(root: number, pids: readonly number[]): Promise<ReadonlySet<number>> {
  return startedBy(root, new Map((await Promise.all(pids.map(readStat))).flat()));
}
