/*
 * Root file systems put together by overlay mounts, in a mount namespace of a child's own, which ends with the child:
 * nothing is left of them in the host's, whatever ends the daemon.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { dirname, relative } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { programPath } from '../programPath.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';

/** Lives while its stdin is open. Arguments: of each mount its options and where it goes. */
const mountScript =
  'while [ $# -gt 0 ]; do mount -t overlay -o "$1" overlay "$2" || exit; shift 2; done; echo mounted; read -r _';
/** Over folders that are there on every system; mount(8) needs /proc until the last. */
const mountPoints = ['/sys', '/proc'] as const;

type Holder = ChildProcessByStdio<Writable, Readable, Readable>;

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

/** Runs `work` while a child holds these mounts: options, with paths relative to `cwd`, and places. */
async function withHolder<T>(
  mounts: readonly (readonly [options: string, place: string])[],
  cwd: string,
  need: string,
  work: (roots: readonly string[]) => Promise<T>,
): Promise<T> {
  const args = ['--mount', '--propagation', 'private', '--', 'sh', '-c', mountScript, 'sh', ...mounts.flat()];
  const holder = spawn(await programPath('unshare', need), args, {
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
    return await work(mounts.map(([, place]) => `/proc/${holder.pid}/root${place}`));
  } finally {
    holder.stdin.end();
    await closed;
  }
}

/** Layers as one option's value, relative to `cwd`: a mount's options have to fit a page. */
function layerList(layers: readonly string[], cwd: string): string {
  return layers.map((layer) => relative(cwd, layer).replace(/[\\:,]/g, '\\$&')).join(':');
}

/**
 * Runs `work` with a folder for each of at most two lists of layers, in which these, from the top down, are one, read-only.
 * Lists of one are given as they are.
 */
export async function withOverlays<T>(
  lists: readonly (readonly string[])[],
  need: string,
  work: (roots: readonly string[]) => Promise<T>,
): Promise<T> {
  const merged = lists.filter((layers) => layers.length > 1);
  if (merged.length === 0) return await work(lists.map(([only = '']) => only));
  const cwd = commonFolder(merged.flat());
  const places = mountPoints.slice(-merged.length);
  const mounts = merged.map((layers, i) => [`lowerdir=${layerList(layers, cwd)}`, places[i] ?? ''] as const);
  return await withHolder(mounts, cwd, need, async (roots) => {
    const left = [...roots];
    return await work(lists.map((layers) => (layers.length > 1 ? (left.shift() ?? '') : (layers[0] ?? ''))));
  });
}

/** Runs `work` with the folder of a writable overlay with these options, which nobody else may have mounted. */
export async function withWritableOverlay<T>(
  options: readonly string[],
  need: string,
  work: (root: string) => Promise<T>,
): Promise<T> {
  const isFolder = (option: string): boolean => /^(?:upperdir|workdir|lowerdir)=/.test(option);
  const folders = options.filter(isFolder).map((option) => {
    const at = option.indexOf('=');
    return { key: option.slice(0, at), paths: option.slice(at + 1).split(':') };
  });
  const cwd = commonFolder(folders.flatMap(({ paths }) => paths));
  const all = [
    ...options.filter((option) => !isFolder(option)),
    ...folders.map(({ key, paths }) => `${key}=${layerList(paths, cwd)}`),
  ];
  return await withHolder([[all.join(','), '/proc']], cwd, need, ([root = '']) => work(root));
}
