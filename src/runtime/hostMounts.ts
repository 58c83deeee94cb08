/*
 * File systems that the daemon mounts on the host for containers: /dev/shm that several share, volumes with options. By
 * mount(8) and umount(8) in a child each, since a server that does not answer (NFS) would hold a thread of this process.
 * Whoever mounts unmounts: they outlive the daemon, and `list` tells the next one what is there.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { findProgram } from '../base/programs.ts';
import type { Seam } from '../base/seam.ts';
import { LinkspanError } from '../errors/linkspanError.ts';

/** A server of NFS may be on its way back; a mount that takes longer is given up. */
const limitMs = 60_000;

export interface HostMount {
  /** Of the file system, `none` for a bind; empty = mount(8) finds out. */
  readonly type: string;
  readonly source: string;
  /** As in fstab(5). */
  readonly options: readonly string[];
  /** The source is what a process holds open (`/proc/PID/fd/N`), whatever it is called meanwhile. */
  readonly isHandle?: true;
}

export interface HostMounts {
  /** On the folder `target`. Throws code runtimeFailed with what mount(8) said. */
  mount(target: string, what: HostMount): Promise<void>;
  /** Also where it is busy: it is gone from here at once, and goes away with its last user. Success if nothing is mounted. */
  unmount(target: string): Promise<void>;
  /** Where something is mounted below `folder`, the latest first. */
  list(folder: string): Promise<readonly string[]>;
}

/** The mount points in a /proc/PID/mountinfo text that are below `folder`, the latest first. Pure. */
export function mountPointsBelow(mountinfo: string, folder: string): readonly string[] {
  const decode = (path: string): string =>
    path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return mountinfo
    .split('\n')
    .map((line) => decode(line.split(' ')[4] ?? ''))
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}

async function run(name: string, args: readonly string[]): Promise<void> {
  const path = await findProgram(name);
  if (path === undefined) throw new LinkspanError('runtimeUnavailable', `mounting needs the program ${name}`);
  try {
    await promisify(execFile)(path, args, { timeout: limitMs, killSignal: 'SIGKILL' });
  } catch (error) {
    const { stderr, killed } = error as { readonly stderr?: string; readonly killed?: boolean };
    const said = (stderr ?? '').trim().split('\n', 1)[0] ?? '';
    const text = killed === true ? 'connection timed out' : said || String(error);
    throw new LinkspanError('runtimeFailed', text, { cause: error });
  }
}

export function openHostMounts(seam: Seam): HostMounts {
  const list = async (folder: string): Promise<readonly string[]> =>
    mountPointsBelow(await readFile('/proc/self/mountinfo', 'utf8'), folder);
  return {
    mount: async (target, { type, source, options, isHandle }) => {
      seam.step(`mount ${target}`);
      const words = [
        ...(type === '' ? [] : ['-t', type]),
        ...(options.length > 0 ? ['-o', options.join(',')] : []),
      ];
      // No helpers, whose options are their own; no table of its own that a killed daemon would leave wrong.
      await run('mount', ['-i', '-n', ...(isHandle === true ? ['-c'] : []), ...words, '--', source, target]);
    },
    unmount: async (target) => {
      const parent = target.slice(0, target.lastIndexOf('/'));
      for (const path of await list(parent)) {
        if (path !== target) continue;
        seam.step(`umount ${target}`);
        await run('umount', ['-i', '-n', '-l', '--', target]);
      }
    },
    list,
  };
}
