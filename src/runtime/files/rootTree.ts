/*
 * Paths of a container looked up by us, for a container that may change them meanwhile: one name at a time, below folders
 * that are held open. No link is left to the kernel, which would take it for the host's, so that nothing leads out of the
 * root; nothing but a folder or a regular file is ever opened. Kernel: path_resolution(7), proc(5) on /proc/PID/root.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';

/** As the kernel's MAXSYMLINKS. */
const linksMax = 40;
/** A folder is held open for each level. */
const depthMax = 500;
/** Linux's O_PATH, which Node does not name: a handle that opens nothing. */
const pathOnly = 0o10000000;

/** Where something of the host's is to be seen in the tree, as a mount would show it. */
export interface TreeMount {
  readonly target: string;
  readonly source: string;
  readonly isReadOnly: boolean;
}

/** A root file system. `mounts` are by their places in it, which have no links left. */
export interface Tree {
  readonly folder: FileHandle;
  readonly mounts: ReadonlyMap<string, TreeMount>;
}

/** A folder that is held open. `path` is absolute and without links; `''` is the root. */
export interface Folder {
  readonly handle: FileHandle;
  readonly path: string;
  readonly isReadOnly: boolean;
}

export type PathProblem = 'missing' | 'notFolder' | 'loop';

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

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** A path that system calls take for `name` in `folder`. */
export function pathIn(tree: Tree, folder: Folder, name: string): string {
  return tree.mounts.get(`${folder.path}/${name}`)?.source ?? `/proc/self/fd/${folder.handle.fd}/${name}`;
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
      const target = await readlink(pathIn(tree, last, name));
      if (target.startsWith('/')) await trail.toRoot();
      pending.unshift(...components(target));
    } else if (info.isDirectory()) {
      if (trail.folders.length > depthMax) throw new PathError('loop', here);
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
export async function resolvePath(
  tree: Tree,
  path: string,
  followsLast: boolean,
  isReadOnly = false,
): Promise<Place> {
  const trail = new Trail({ handle: tree.folder, path: '', isReadOnly });
  try {
    const found = await walk(tree, trail, path, followsLast);
    await trail.keepLast();
    return { ...found, [Symbol.asyncDispose]: () => trail.toRoot() };
  } catch (error) {
    await trail.toRoot();
    throw error;
  }
}

/** The tree with these mounted in it, each at what its target leads to. Those whose target cannot be reached are left out. */
export async function withMounts(folder: FileHandle, mounts: readonly TreeMount[]): Promise<Tree> {
  const placed = new Map<string, TreeMount>();
  const tree = { folder, mounts: placed };
  const depth = ({ target }: TreeMount): number => components(target).length;
  for (const mount of mounts.toSorted((a, b) => depth(a) - depth(b))) {
    try {
      await using place = await resolvePath(tree, mount.target, true);
      placed.set(place.path, mount);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
    }
  }
  return tree;
}
