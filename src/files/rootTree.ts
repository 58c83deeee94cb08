/*
 * Paths below a root looked up by us, for a container that may change them meanwhile: one name at a time, below folders
 * that are held open. No link is left to the kernel, which would take it for the host's, so that nothing leads out of the
 * root; nothing but a folder or a regular file is ever opened. Names and paths are byte strings (a character for each byte),
 * since names need not be UTF-8. Kernel: path_resolution(7), proc(5) on /proc/PID/root.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';

/** As the kernel's MAXSYMLINKS. */
const linksMax = 40;
/** Of folders in folders, each of which is held open: a container must not use up the daemon's file descriptors. */
export const depthMax = 256;
/** Linux's O_PATH, which Node does not name: a handle that opens nothing. */
const pathOnly = 0o10000000;

export function toBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** What is not UTF-8 in it becomes U+FFFD: to be shown only. */
export function toText(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** Where something of the host's is to be seen in the tree, as a mount would show it. In text, not bytes. */
export interface TreeMount {
  readonly target: string;
  readonly source: string;
  readonly isReadOnly: boolean;
}

/** A root file system, or any folder with all that is in it. Whoever made it closes it. */
export interface Tree {
  /** May be open as a path only (O_PATH), where nothing lists it or changes what it is like. */
  readonly folder: FileHandle;
  /** Outside of the mounts. */
  readonly isReadOnly: boolean;
  /** By their places in it, which have no links left. */
  readonly mounts: ReadonlyMap<string, TreeMount>;
  /** Asked at the end of a copy; throws where the tree came apart meanwhile. */
  readonly checkWhole?: () => Promise<void>;
}

/** A folder that is held open. `path` is absolute and without links; `''` is the root. */
export interface Folder {
  readonly handle: FileHandle;
  readonly path: string;
  readonly isReadOnly: boolean;
}

export type PathProblem = 'missing' | 'notFolder' | 'loop' | 'tooDeep';

/** What a path leads to. `info` undefined = there is nothing at its end, but a folder where it could be. */
export interface Place extends AsyncDisposable {
  /** Open until this is disposed. */
  readonly folder: Folder;
  /** In that folder; `''` = the folder itself. */
  readonly name: string;
  /** Absolute, without links, but for the last part where that was not to be followed. */
  readonly path: string;
  readonly info: Stats | undefined;
}

export class PathError extends Error {
  readonly problem: PathProblem;
  /** As far as it leads: absolute, without links. */
  readonly path: string;
  constructor(problem: PathProblem, path: string) {
    super(`${path}: ${problem}`);
    this.name = 'PathError';
    this.problem = problem;
    this.path = path;
  }
}

/** There is nothing of that name, nor can there be. */
const isMissing = (error: unknown): boolean =>
  ['ENOENT', 'ENAMETOOLONG', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

/** A path that system calls take for `name` in `folder`, as long as that is open. */
export function pathIn(tree: Tree, folder: Folder, name: string): string | Buffer {
  const own = (): Buffer => Buffer.from(`/proc/self/fd/${folder.handle.fd}/${name}`, 'latin1');
  return tree.mounts.get(`${folder.path}/${name}`)?.source ?? own();
}

/** The text of a link, in bytes; undefined if it is none any more. */
export async function readLink(tree: Tree, folder: Folder, name: string): Promise<string | undefined> {
  try {
    return await readlink(pathIn(tree, folder, name), 'latin1');
  } catch (error) {
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'EINVAL') return undefined;
    throw error;
  }
}

/** Without opening it; undefined if there is nothing. The caller closes it. */
export async function peek(tree: Tree, folder: Folder, name: string): Promise<FileHandle | undefined> {
  const isMount = tree.mounts.has(`${folder.path}/${name}`);
  // What is mounted was named by whoever made the container, and may be a link of the host's.
  const flags = pathOnly | (isMount ? 0 : constants.O_NOFOLLOW);
  try {
    return await open(pathIn(tree, folder, name), flags);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** What was peeked at, opened: a folder or a regular file. */
export async function openPeeked(peeked: FileHandle, isFolder: boolean): Promise<FileHandle> {
  return await open(
    `/proc/self/fd/${peeked.fd}`,
    constants.O_RDONLY | constants.O_NONBLOCK | (isFolder ? constants.O_DIRECTORY : 0),
  );
}

/** The folder `name`, opened; undefined if it is none any more. The caller closes its handle. */
export async function openFolder(tree: Tree, parent: Folder, name: string): Promise<Folder | undefined> {
  const peeked = await peek(tree, parent, name);
  if (peeked === undefined) return undefined;
  await using _ = peeked;
  if (!(await peeked.stat()).isDirectory()) return undefined;
  const path = `${parent.path}/${name}`;
  const mount = tree.mounts.get(path);
  return {
    handle: await openPeeked(peeked, true),
    path,
    isReadOnly: mount?.isReadOnly ?? parent.isReadOnly,
  };
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** The folders from the root to where a walk is. */
class Trail {
  readonly folders: Folder[];
  readonly #root: Folder;

  constructor(root: Folder) {
    this.#root = root;
    this.folders = [root];
  }

  get last(): Folder {
    return this.folders.at(-1) ?? this.#root;
  }

  async up(): Promise<void> {
    if (this.folders.length > 1) await this.folders.pop()?.handle.close();
  }

  async toRoot(): Promise<void> {
    while (this.folders.length > 1) await this.up();
  }

  /** The last folder stays open, for whoever takes it. */
  async keepLast(): Promise<Folder> {
    for (const folder of this.folders.splice(1, this.folders.length - 2)) await folder.handle.close();
    return this.last;
  }
}

async function walk(
  tree: Tree,
  trail: Trail,
  path: string,
  followsLast: boolean,
): Promise<Omit<Place, keyof AsyncDisposable>> {
  const pending = components(path);
  for (let links = 0; ; ) {
    const name = pending.shift();
    const { last } = trail;
    if (name === undefined)
      return {
        folder: last,
        name: '',
        path: last.path === '' ? '/' : last.path,
        info: await last.handle.stat(),
      };
    if (name === '..') {
      await trail.up();
      continue;
    }
    const here = `${last.path}/${name}`;
    const peeked = await peek(tree, last, name);
    if (peeked === undefined) {
      if (pending.length > 0) throw new PathError('missing', [here, ...pending].join('/'));
      return { folder: last, name, path: here, info: undefined };
    }
    await using _ = peeked;
    const info = await peeked.stat();
    const isLast = pending.length === 0;
    if (info.isSymbolicLink() && (followsLast || !isLast)) {
      if (++links > linksMax) throw new PathError('loop', here);
      const target = await readLink(tree, last, name);
      if (target === undefined) throw new PathError('missing', here);
      if (target.startsWith('/')) await trail.toRoot();
      pending.unshift(...components(target));
    } else if (info.isDirectory()) {
      if (trail.folders.length > depthMax) throw new PathError('tooDeep', here);
      const handle = await openPeeked(peeked, true);
      const isReadOnly = tree.mounts.get(here)?.isReadOnly ?? last.isReadOnly;
      trail.folders.push({ handle, path: here, isReadOnly });
    } else if (!isLast) throw new PathError('notFolder', here);
    else return { folder: last, name, path: here, info };
  }
}

/**
 * Follows `path` inside the tree; `..` stays below the root. Throws PathError, or the system's error. With `followsLast` a
 * link at the end is followed too.
 */
export async function resolvePath(tree: Tree, path: string, followsLast: boolean): Promise<Place> {
  const trail = new Trail({ handle: tree.folder, path: '', isReadOnly: tree.isReadOnly });
  try {
    const found = await walk(tree, trail, path, followsLast);
    await trail.keepLast();
    return { ...found, [Symbol.asyncDispose]: () => trail.toRoot() };
  } catch (error) {
    await trail.toRoot();
    throw error;
  }
}

/** `base` with these mounted in it, each at what its target leads to. Those whose target cannot be reached are left out. */
export async function withMounts(base: Tree, mounts: readonly TreeMount[]): Promise<Tree> {
  const placed = new Map<string, TreeMount>();
  const tree = { ...base, mounts: placed };
  const depth = ({ target }: TreeMount): number => components(target).length;
  for (const mount of mounts.toSorted((a, b) => depth(a) - depth(b))) {
    try {
      await using place = await resolvePath(tree, toBytes(mount.target), true);
      placed.set(place.path, mount);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
    }
  }
  return tree;
}
