/*
 * File systems that the daemon mounts on the host for containers: /dev/shm that several share, volumes with options. By
 * mount(8) and umount(8) in a child each, since a server that does not answer (NFS) would hold a thread of this process.
 * Whoever mounts unmounts: they outlive the daemon, and `list` tells the next one what is there.
 */
import { execFile } from 'node:child_process';
import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Seam } from '../base/seam.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { mountPointIn } from './mountinfo.ts';
import { programPath } from './programPath.ts';

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
  /**
   * Also where it is busy: it is gone from here at once, and goes away with its last user. Success if nothing is mounted.
   * `target` may be below symbolic links, and be none itself.
   */
  unmount(target: string): Promise<void>;
  /** Where something is mounted below `folder`, the latest first. Also below symbolic links: the paths begin with `folder`. */
  list(folder: string): Promise<readonly string[]>;
}

/** The mount points in a /proc/PID/mountinfo text that are below `folder`, a path without symbolic links, the latest first. Pure. */
export function mountPointsBelow(mountinfo: string, folder: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => mountPointIn(line.split(' ')) ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .toReversed();
}

async function run(name: string, args: readonly string[]): Promise<void> {
  const path = await programPath(name, 'mounting');
  try {
    // What it says is read by others (volumeOptions.ts), and has to be in one language.
    const env = { ...process.env, LC_ALL: 'C' };
    await promisify(execFile)(path, args, { env, timeout: limitMs, killSignal: 'SIGKILL' });
  } catch (error) {
    const { stderr, killed, code } = error as {
      readonly stderr?: string;
      readonly killed?: boolean;
      readonly code?: number | string;
    };
    const said = (stderr ?? '').trim().split('\n', 1)[0] ?? '';
    const text = killed === true ? 'connection timed out' : said || `${name} failed (${code})`;
    // Without a cause: that one has the whole command line, where a password may be. While the child runs, those who can see
    // this host's processes can read it there, too.
    throw new LinkspanError('runtimeFailed', text);
  }
}

/** `folder` as mountinfo has it; undefined if it is not there, so that nothing is mounted below it. */
async function resolveFolder(folder: string): Promise<string | undefined> {
  try {
    return await realpath(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export function openHostMounts(seam: Seam): HostMounts {
  const listResolved = async (folder: string): Promise<readonly string[]> =>
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
      // Not the target itself: a server that does not answer would hold who asks for it.
      const parent = await resolveFolder(dirname(target));
      if (parent === undefined) return;
      const place = join(parent, basename(target));
      for (const path of await listResolved(parent)) {
        if (path !== place) continue;
        seam.step(`umount ${target}`);
        await run('umount', ['-i', '-n', '-l', '--', place]);
      }
    },
    list: async (folder) => {
      const resolved = await resolveFolder(folder);
      if (resolved === undefined) return [];
      return (await listResolved(resolved)).map((path) => folder + path.slice(resolved.length));
    },
  };
}
