/*
 * What a container's root file system has beside its image: `diff`. The folder that overlayfs writes to tells where to
 * look; what is new, changed or gone there is told by comparing what the kernel shows with it and without it, so that no
 * rule of overlayfs (whiteouts, opaque folders) is repeated here. The container may run and change its files meanwhile, so
 * that every step is one name below a folder that is held open, and follows no link.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises';
import type { RootfsChange } from '../runtime.ts';
import { withOverlays } from './overlayHolder.ts';

/** Where the container has mounts from its start on: what the runtime made there to mount on is no change of anybody's. */
const mountTargets = new Set([
  ...['/dev', '/proc', '/sys', '/.dockerenv'],
  ...['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'],
]);
/** Each level holds three folders open. */
const depthMax = 200;

const nameIn = (folder: FileHandle, name: string): string => `/proc/self/fd/${folder.fd}/${name}`;

/** Undefined if there is nothing of that name any more. */
async function infoIn(folder: FileHandle | undefined, name: string): Promise<Stats | undefined> {
  return folder === undefined ? undefined : await lstat(nameIn(folder, name)).catch(() => undefined);
}

/** Undefined if it is no folder any more. */
async function openFolder(path: string): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  return await open(path, flags).catch(() => undefined);
}

async function namesIn(folder: FileHandle | undefined): Promise<readonly string[]> {
  return folder === undefined ? [] : await readdir(`/proc/self/fd/${folder.fd}`);
}

/** The same folder in three views. `before`: without the container's layer; undefined = it is not there. */
interface Views extends AsyncDisposable {
  readonly layer: FileHandle;
  readonly before: FileHandle | undefined;
  readonly now: FileHandle | undefined;
}

async function openViews(layer: string, before: string | undefined, now: string): Promise<Views | undefined> {
  const handle = await openFolder(layer);
  if (handle === undefined) return undefined;
  const views = {
    layer: handle,
    before: before === undefined ? undefined : await openFolder(before),
    now: await openFolder(now),
  };
  return {
    ...views,
    [Symbol.asyncDispose]: async () => {
      for (const view of Object.values(views)) await view?.close();
    },
  };
}

/** Whether a folder itself was changed. Making a mount target in it changed its times alone. */
function isFolderChanged(before: Stats, now: Stats, hasTargets: boolean): boolean {
  return (
    before.mode !== now.mode ||
    before.uid !== now.uid ||
    before.gid !== now.gid ||
    (!hasTargets && before.mtimeMs !== now.mtimeMs)
  );
}

const isWhiteout = (info: Stats): boolean => info.isCharacterDevice() && info.rdev === 0;

async function addEntry(views: Views, path: string, name: string, found: RootfsChange[]): Promise<boolean> {
  const inLayer = await infoIn(views.layer, name);
  const before = await infoIn(views.before, name);
  if (inLayer === undefined || isWhiteout(inLayer)) return false;
  const kind = before === undefined ? 'added' : 'changed';
  const at = found.push({ path, kind });
  if (!inLayer.isDirectory()) return true;
  const hasFolder = before?.isDirectory() === true;
  const nowParent = views.now ?? views.layer;
  const inside = await openViews(
    nameIn(views.layer, name),
    hasFolder && views.before !== undefined ? nameIn(views.before, name) : undefined,
    nameIn(nowParent, name),
  );
  if (inside === undefined) return true;
  await using _ = inside;
  const hasTargets = await addFolder(inside, path, found);
  // Only in the container's layer for what is below it, which was nothing to be told of.
  if (hasFolder && found.length === at && !isFolderChanged(before, inLayer, hasTargets)) found.pop();
  return true;
}

/** Adds what differs in one folder, in the order of names. True if a mount target was made in it. */
async function addFolder(views: Views, path: string, found: RootfsChange[]): Promise<boolean> {
  const inLayer = new Set(await namesIn(views.layer));
  const now = new Set(await namesIn(views.now));
  const gone = (await namesIn(views.before)).filter((name) => !now.has(name));
  let hasTargets = false;
  for (const name of [...new Set([...inLayer, ...gone])].sort()) {
    const child = `${path}/${name}`;
    if (mountTargets.has(child)) hasTargets ||= inLayer.has(name);
    else if (child.split('/').length > depthMax) continue;
    else if (!inLayer.has(name) || !(await addEntry(views, child, name, found)))
      if (gone.includes(name)) found.push({ path: child, kind: 'deleted' });
  }
  return hasTargets;
}

/** `layers` are the folders of the root file system from the top down, the container's own first. In order of path. */
export async function findChanges(layers: readonly string[]): Promise<readonly RootfsChange[]> {
  const [own = '', ...below] = layers;
  const found: RootfsChange[] = [];
  await withOverlays([layers, below], 'telling what a container changed', async ([now = '', before]) => {
    const views = await openViews(own, below.length === 0 ? undefined : before, now);
    if (views === undefined) return;
    await using _ = views;
    await addFolder(views, '', found);
  });
  return found;
}
