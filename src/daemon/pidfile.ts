/*
 * The file that holds the daemon's process id. Not the guard against a second daemon on one data root (the store's
 * lock is), but the one against two daemons with one pidfile, and what tools read.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LinkspanError } from '../errors/linkspanError.ts';

/** True if the process exists and is not a zombie: `kill 0` succeeds on those, /proc/PID/stat tells. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The state follows the command name, which may hold spaces and brackets itself.
    const state = stat.charAt(stat.lastIndexOf(')') + 2);
    return state !== 'Z' && state !== 'X';
  } catch {
    return false;
  }
}

function read(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'latin1'), 10);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Writes this process's id; disposing removes the file. Code `daemonRunning` if a live process's id is in it. */
export function takePidfile(path: string): Disposable {
  const pid = read(path);
  if (pid !== undefined && pid !== process.pid && isAlive(pid))
    throw new LinkspanError('daemonRunning', `process with PID ${pid} is still running (pidfile ${path})`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${process.pid}\n`);
  return {
    [Symbol.dispose]: () => {
      if (read(path) === process.pid) rmSync(path, { force: true });
    },
  };
}
