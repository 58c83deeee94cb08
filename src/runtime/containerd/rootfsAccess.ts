/*
 * The files of a container for whoever copies to and from them (files/rootTree.ts): of a running one as it sees them, its
 * mounts included, by /proc/PID/root; of any other its snapshot, mounted where nobody else sees it.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Tree, type TreeMount, withMounts } from '../files/rootTree.ts';
import type { Mount } from './messages.ts';
import { withOverlays, withWritableOverlay } from './overlayHolder.ts';
import { layerDirectories } from './rootfs.ts';

const need = 'copying files of a container that does not run';

async function openRoot(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

/** Throws containerState if the process is gone, and perhaps another one by its number. */
export async function withRunningRootfs<T>(
  id: string,
  pid: number,
  work: (tree: Tree) => Promise<T>,
): Promise<T> {
  const ended = (): LinkspanError => new LinkspanError('containerState', `container ${id} is not running`);
  await using folder = await openRoot(`/proc/${pid}/root`).catch(() => Promise.reject(ended()));
  const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  if (!cgroups.includes(id)) throw ended();
  return await work({ folder, mounts: new Map() });
}

/** `mounts` are those of its snapshot. The container must not be started meanwhile. */
export async function withStoppedRootfs<T>(
  mounts: readonly Mount[],
  options: { readonly isWritten: boolean; readonly mounts: readonly TreeMount[] },
  work: (tree: Tree) => Promise<T>,
): Promise<T> {
  const look = async (root: string): Promise<T> => {
    await using folder = await openRoot(root);
    return await work(await withMounts(folder, options.mounts));
  };
  const [mount] = mounts;
  return options.isWritten && mount?.type === 'overlay'
    ? await withWritableOverlay(mount.options, need, look)
    : await withOverlays([layerDirectories(mounts)], need, ([root = '']) => look(root));
}
