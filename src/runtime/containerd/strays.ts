/*
 * Shims that containerd has lost. When the client of a Tasks.Create dies before the answer, containerd gives the task
 * up but may leave its shim and the created process behind (1.6, seen with a daemon killed during many starts): no
 * list shows them, and their bundle folder makes the next Tasks.Create of that id fail. Here they are found by their
 * command line and ended with the shim's own clean-up command, as containerd itself does for dead shims.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from '../../base/logger.ts';

/** A running shim of ours. */
export interface Shim {
  readonly pid: number;
  readonly binary: string;
  /** Container id. */
  readonly id: string;
}

/** runc needs to kill and reap; a loaded machine may need long. */
const cleanUpLimitMs = 10_000;

/**
 * The shim that a NUL-separated command line describes, if it serves this namespace and containerd socket:
 * `containerd-shim-runc-v2 -namespace NS -id ID -address SOCKET`. Its short-lived helpers have a verb at the end.
 */
export function parseShim(
  commandLine: string,
  pid: number,
  namespace: string,
  address: string,
): Shim | undefined {
  const [binary = '', ...args] = commandLine.split('\0').filter((arg) => arg !== '');
  if (!/(^|\/)containerd-shim-runc-v2$/.test(binary) || args.length % 2 !== 0) return undefined;
  const valueOf = (flag: string): string | undefined => {
    const at = args.indexOf(flag);
    return at === -1 ? undefined : args[at + 1];
  };
  const id = valueOf('-id');
  if (id === undefined || valueOf('-namespace') !== namespace || valueOf('-address') !== address)
    return undefined;
  return { pid, binary, id };
}

async function listShims(namespace: string, address: string): Promise<readonly Shim[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const shims = await Promise.all(
    pids.map(async (pid) => {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return parseShim(commandLine, pid, namespace, address);
    }),
  );
  return shims.filter((shim) => shim !== undefined);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/** Removes the bundle, but for a root file system that is still mounted: that would empty the snapshot. */
async function removeBundle(bundle: string): Promise<void> {
  try {
    await rmdir(join(bundle, 'rootfs'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
  }
  await rm(bundle, { recursive: true, force: true });
}

async function endShim(shim: Shim, namespace: string, address: string, logger: Logger): Promise<void> {
  logger.warn({ id: shim.id, pid: shim.pid }, 'ending a shim that containerd has lost');
  // A shim's working directory is its bundle; a removed one reads as `… (deleted)` and cannot be entered.
  const bundle = await readlink(`/proc/${shim.pid}/cwd`).catch(() => '');
  const args = ['-namespace', namespace, '-id', shim.id, '-address', address, '-bundle', bundle, 'delete'];
  try {
    await promisify(execFile)(shim.binary, args, {
      cwd: bundle,
      timeout: cleanUpLimitMs,
      encoding: 'buffer',
    });
  } catch (error) {
    logger.warn({ id: shim.id, err: error }, 'the clean-up command of a lost shim failed');
  }
  for (const child of await childrenOf(shim.pid)) kill(child);
  kill(shim.pid);
  await removeBundle(bundle);
}

/** Needs CONFIG_PROC_CHILDREN, which Debian, Ubuntu and Fedora have; without it the clean-up command did it alone. */
async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text
    .split(' ')
    .filter((child) => child !== '')
    .map(Number);
}

/** Ends every shim of ours whose container `isKnown` denies; resolves with their ids. Does not throw for one of them. */
export async function endStrays(options: {
  readonly namespace: string;
  readonly address: string;
  readonly isKnown: (id: string) => boolean;
  readonly logger: Logger;
}): Promise<readonly string[]> {
  const { namespace, address, isKnown, logger } = options;
  const strays = (await listShims(namespace, address)).filter(({ id }) => !isKnown(id));
  await Promise.all(strays.map((shim) => endShim(shim, namespace, address, logger)));
  return strays.map(({ id }) => id);
}
