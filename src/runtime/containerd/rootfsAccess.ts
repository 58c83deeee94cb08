/*
 * The files of a container for whoever copies to and from them (src/files): of a running one as it sees them, its
 * mounts included, by /proc/PID/root; of any other its snapshot, mounted where nobody else sees it.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Tree, withMounts } from '../../files/rootTree.ts';
import type { StoppedAccess } from '../runtime.ts';
import type { Mount } from './messages.ts';
import { withOverlays, withWritableOverlay } from './overlayHolder.ts';
import { layerDirectories } from './rootfs.ts';

const need = 'copying files of a container that does not run';

async function openRoot(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
}

/** Throws containerState if the process is gone, and perhaps another one by its number; at the end of a copy too. */
export async function withRunningRootfs<T>(
  id: string,
  pid: number,
  work: (tree: Tree) => Promise<T>,
): Promise<T> {
  const ended = (): LinkspanError => new LinkspanError('containerState', `container ${id} is not running`);
  await using folder = await openRoot(`/proc/${pid}/root`).catch(() => Promise.reject(ended()));
  const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  if (!cgroups.includes(id)) throw ended();
  // With its last process all that it had mounted is gone from the folders that are open here.
  const checkWhole = async (): Promise<void> => {
    const now = await stat(`/proc/${pid}/root/.`).catch(() => undefined);
    const then = await folder.stat();
    if (now?.ino !== then.ino || now.dev !== then.dev)
      throw new LinkspanError('containerState', `container ${id} ended while its files were copied`);
  };
  return await work({ folder, isReadOnly: false, mounts: new Map(), checkWhole });
}

/**
 * `mounts` are those of its snapshot. Where it is written to, the container must not be started meanwhile; where it is read,
 * it is seen as it becomes.
 */
export async function withStoppedRootfs<T>(
  mounts: readonly Mount[],
  { write, mounts: inside }: StoppedAccess,
  work: (tree: Tree) => Promise<T>,
): Promise<T> {
  const look = async (root: string): Promise<T> => {
    await using folder = await openRoot(root);
    const base = { folder, isReadOnly: write !== 'all', mounts: new Map() };
    return await work(await withMounts(base, inside));
  };
  const [mount] = mounts;
  return write !== 'none' && mount?.type === 'overlay'
    ? await withWritableOverlay(mount.options, need, look)
    : await withOverlays([layerDirectories(mounts)], need, ([root = '']) => look(root));
}
