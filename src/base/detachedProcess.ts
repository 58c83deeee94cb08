/*
 * A program that is started in a session of its own, so that it outlives the daemon, and is found again by the next one:
 * by its pid file, else by a look through /proc. Its output goes to a file that does not grow without end.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { copyFile, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from './logger.ts';
import { systemPath } from './programs.ts';
import type { Seam } from './seam.ts';

const logMaxBytes = 4 << 20;
const stopTimeoutMs = 10_000;
/** How soon the end of one that another daemon started is noticed. */
const lookMs = 500;

export interface DetachedProcessOptions {
  /** Its name in logs and steps. */
  readonly name: string;
  /** In folders that exist when it is started. */
  readonly pidPath: string;
  /** What was in it before the last cut is beside it, in `.1`. */
  readonly logPath: string;
  /** True for the arguments, without the program's name, that only ours has. */
  readonly isOurs: (args: readonly string[]) => boolean;
  /** Variables of the daemon's environment that it is not to see; default all are passed on. */
  readonly hidden?: RegExp;
  /** Variables that it is to see besides. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly logger: Logger;
  readonly seam: Seam;
}

export interface RunningProcess {
  readonly pid: number;
  /** With the pid an identity that pid reuse cannot forge: field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

/** Undefined if it is dead or a zombie. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces and parentheses itself: count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** Touches nothing until it is told to. */
export class DetachedProcess {
  readonly #options: DetachedProcessOptions;
  /** Found once, then checked against /proc each time. */
  #known: RunningProcess | undefined;

  constructor(options: DetachedProcessOptions) {
    this.#options = options;
  }

  /** The one that runs now, also where the daemon that started it died before it wrote the pid file. */
  async find(): Promise<RunningProcess | undefined> {
    if (this.#known !== undefined && (await this.isAlive(this.#known))) return this.#known;
    this.#known = await this.#check(Number(await readFile(this.#options.pidPath, 'utf8').catch(() => '')));
    if (this.#known !== undefined) return this.#known;
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      this.#known = await this.#check(Number(name));
      if (this.#known !== undefined) return this.#known;
    }
    return undefined;
  }

  async isAlive(running: RunningProcess): Promise<boolean> {
    return (await startTimeOf(running.pid)) === running.startTime;
  }

  /** Resolves when it is gone. Rejects with an AbortError when `signal` fires first. */
  async gone(running: RunningProcess, signal?: AbortSignal): Promise<void> {
    while (await this.isAlive(running))
      await sleep(lookMs, undefined, signal === undefined ? {} : { signal });
  }

  /** Starts it, whether or not one runs. Resolves when the system has taken it, not when it answers. */
  async start(program: string, args: readonly string[]): Promise<void> {
    const { name, logPath, pidPath, logger, seam, hidden, variables } = this.#options;
    const passed = Object.entries(process.env).filter(([variable]) => hidden?.test(variable) !== true);
    await this.trimLog();
    seam.step(`start ${name}`);
    const log = openSync(logPath, 'a', 0o600);
    try {
      const child = spawn(program, args, {
        detached: true,
        stdio: ['ignore', log, log],
        cwd: '/',
        env: {
          ...Object.fromEntries(passed),
          PATH: systemPath(),
          NOTIFY_SOCKET: undefined,
          NODE_COMPILE_CACHE: undefined,
          LISTEN_FDS: undefined,
          ...variables,
        },
      });
      // Rejects with what the system says where it cannot be started.
      await once(child, 'spawn');
      child.unref();
      // Known by this from now on: for a moment yet its arguments may read as none.
      const startTime = child.pid === undefined ? undefined : await startTimeOf(child.pid);
      if (child.pid !== undefined && startTime !== undefined) this.#known = { pid: child.pid, startTime };
      await writeFile(`${pidPath}.new`, `${child.pid}\n`);
      await rename(`${pidPath}.new`, pidPath);
      logger.info({ pid: child.pid }, `${name} started`);
    } finally {
      closeSync(log);
    }
  }

  /** Ends it with SIGTERM, after 10 s with SIGKILL; success if it does not run. */
  async stop(): Promise<void> {
    const running = await this.find();
    if (running !== undefined)
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        if (!(await this.isAlive(running))) break;
        process.kill(running.pid, signal);
        if (await this.#isGoneIn(running, stopTimeoutMs)) break;
      }
    this.#known = undefined;
    await rm(this.#options.pidPath, { force: true });
  }

  /** Begins the log anew where it is larger than 4 MiB; it may be written meanwhile. */
  async trimLog(): Promise<void> {
    const { logPath } = this.#options;
    const size = await stat(logPath).then(
      (info) => info.size,
      () => 0,
    );
    if (size <= logMaxBytes) return;
    await copyFile(logPath, `${logPath}.1`);
    // Whoever writes appends: its next line is the first.
    await truncate(logPath);
  }

  /** The last lines it logged, for error messages. */
  async lastWords(): Promise<string> {
    const text = await readFile(this.#options.logPath, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-3).join('\n');
  }

  async #check(pid: number): Promise<RunningProcess | undefined> {
    // 0 and negative numbers would name process groups.
    if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
    const startTime = await startTimeOf(pid);
    if (startTime === undefined) return undefined;
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return this.#options.isOurs(text.split('\0').slice(1, -1)) ? { pid, startTime } : undefined;
  }

  async #isGoneIn(running: RunningProcess, timeoutMs: number): Promise<boolean> {
    for (const endMs = performance.now() + timeoutMs; performance.now() < endMs; await sleep(20))
      if (!(await this.isAlive(running))) return true;
    return false;
  }
}
