/*
 * Copies a folder out of a root file system that is not mounted yet: what fills a new volume. Several layers are put
 * together by an overlay mount, read-only and in a mount namespace of a child's own, which ends with the child: nothing
 * is left of it in the host's, whatever ends the daemon. Files are copied by cp(1), since Node copies neither owners nor
 * extended attributes, and makes no devices.
 */
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { lstat } from 'node:fs/promises';
import { dirname, relative } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { findProgram } from '../../base/programs.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { resolveInRoot } from './rootfs.ts';

/** Lives while its stdin is open. `$1` the layers, `$2` where they are mounted: over a folder that is there on every system. */
const mountScript = 'mount -t overlay -o "lowerdir=$1" overlay "$2" && echo mounted && read -r _';
const mountPoint = '/proc';

type Holder = ChildProcessByStdio<Writable, Readable, Readable>;

async function programPath(name: string): Promise<string> {
  const path = await findProgram(name);
  if (path === undefined)
    throw new LinkspanError('runtimeUnavailable', `filling a volume needs the program ${name}`);
  return path;
}

/** The deepest folder that all of `paths` are in. */
function commonFolder(paths: readonly string[]): string {
  let folder = dirname(paths[0] ?? '/');
  while (folder !== '/' && !paths.every((path) => path.startsWith(`${folder}/`))) folder = dirname(folder);
  return folder;
}

/** Resolves when the child says that it has mounted; throws code runtimeFailed with what it said else. */
async function waitForMount(holder: Holder): Promise<void> {
  let errors = '';
  holder.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const mounted = Promise.withResolvers<void>();
  holder.stdout.once('data', () => mounted.resolve());
  holder.once('error', mounted.reject);
  holder.once('close', () => {
    mounted.reject(new LinkspanError('runtimeFailed', `cannot look into the image: ${errors.trim()}`));
  });
  await mounted.promise;
}

/** Runs `work` with a folder in which `layers`, from the top down, are one. */
async function withMerged<T>(layers: readonly string[], work: (root: string) => Promise<T>): Promise<T> {
  // Relative: a mount's options have to fit a page.
  const cwd = commonFolder(layers);
  const names = layers.map((layer) => relative(cwd, layer).replace(/[\\:,]/g, '\\$&'));
  const args = ['--mount', '--propagation', 'private', '--', 'sh', '-c', mountScript, 'sh', names.join(':')];
  const holder = spawn(await programPath('unshare'), [...args, mountPoint], {
    cwd,
    // The newer way to mount, which libmount takes by itself, refuses options of more than 256 bytes.
    env: { ...process.env, LIBMOUNT_FORCE_MOUNT2: 'always' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  holder.stdin.on('error', () => {});
  const closed = new Promise<void>((resolve) => {
    holder.once('close', () => resolve());
    holder.once('error', () => resolve());
  });
  try {
    await waitForMount(holder);
    return await work(`/proc/${holder.pid}/root${mountPoint}`);
  } finally {
    holder.stdin.end();
    await closed;
  }
}

async function copyFrom(root: string, path: string, target: string): Promise<'copied' | 'none' | 'file'> {
  const source = await resolveInRoot([root], path);
  const info = source === undefined ? undefined : await lstat(source);
  if (source === undefined || info === undefined) return 'none';
  if (!info.isDirectory()) return 'file';
  try {
    await promisify(execFile)(await programPath('cp'), ['-a', '--', `${source}/.`, target]);
  } catch (error) {
    const { stderr } = error as { readonly stderr?: string };
    const text = (stderr ?? String(error)).trim().split('\n', 1)[0] ?? '';
    throw new LinkspanError('runtimeFailed', `cannot copy the image's ${path} into the volume: ${text}`, {
      cause: error,
    });
  }
  return 'copied';
}

/** `layers` are the folders of a root file system from the top down; see Runtime.copyRootfsFolder. */
export async function copyFolder(
  layers: readonly string[],
  path: string,
  target: string,
): Promise<'copied' | 'none' | 'file'> {
  const [only, ...others] = layers;
  if (only === undefined) return 'none';
  if (others.length === 0) return await copyFrom(only, path, target);
  // What is in no layer needs no mount, and that is what most volumes are for.
  if ((await resolveInRoot(layers, path)) === undefined) return 'none';
  return await withMerged(layers, (root) => copyFrom(root, path, target));
}
