/*
 * Parts of volumes as mounts of containers (`volume-subpath`). Containers may change the volume meanwhile, so that the path is
 * looked up below the volume's folder by us (files/rootTree.ts), and what it leads to is held open and bound to
 * `<folder>/CONTAINER/N`, which the runtime then binds in. That place is needed until the container's process is there.
 */
import { constants } from 'node:fs';
import { mkdir, open, readdir, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { PathError, peek, resolvePath, toBytes, type Tree } from '../../files/rootTree.ts';
import type { HostMounts } from '../../runtime/hostMounts.ts';

/** What one start has bound; disposing unbinds it. */
export interface BoundParts extends AsyncDisposable {
  /** A path of the host for what `subpath`, which is relative, leads to in the folder `base`. Code runtimeFailed. */
  bind(base: string, subpath: string): Promise<string>;
}

export class Subpaths {
  readonly #folder: string;
  readonly #mounts: HostMounts;

  constructor(folder: string, mounts: HostMounts) {
    this.#folder = folder;
    this.#mounts = mounts;
  }

  /** For a start of the container `id`. */
  open(id: string): BoundParts {
    const folder = join(this.#folder, id);
    let count = 0;
    return {
      bind: async (base, subpath) => {
        // What an earlier start could not take away.
        if (count === 0) await this.#remove(folder).catch(() => {});
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const target = join(folder, String((count += 1)));
        await bindPart(this.#mounts, base, subpath, target);
        return target;
      },
      [Symbol.asyncDispose]: async () => {
        const bound = count;
        count = 0;
        if (bound > 0) await this.#remove(folder);
      },
    };
  }

  /** At the daemon's start: what starts that were cut short have left. */
  async sweep(): Promise<void> {
    for (const id of await readdir(this.#folder).catch(() => [])) await this.#remove(join(this.#folder, id));
  }

  /** Nothing but what is empty is removed: below a mount are a user's files. */
  async #remove(folder: string): Promise<void> {
    for (const path of await this.#mounts.list(folder)) await this.#mounts.unmount(path);
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      await unlink(path).catch(() => rmdir(path));
    }
    await rmdir(folder);
  }
}

async function bindPart(mounts: HostMounts, base: string, subpath: string, target: string): Promise<void> {
  await using folder = await open(base, constants.O_RDONLY | constants.O_DIRECTORY);
  const tree: Tree = { folder, isReadOnly: false, mounts: new Map() };
  const missing = (why: string): LinkspanError => {
    const path = join(base, subpath);
    return new LinkspanError('runtimeFailed', `cannot access path ${path}: lstat ${path}: ${why}`);
  };
  try {
    await using place = await resolvePath(tree, toBytes(subpath), true);
    const found = place.name === '' ? undefined : await peek(tree, place.folder, place.name);
    if (place.name !== '' && found === undefined) throw missing('no such file or directory');
    await using _ = found ?? nothing;
    const handle = found ?? place.folder.handle;
    const info = await handle.stat();
    if (info.isSymbolicLink()) throw missing('too many levels of symbolic links');
    if (info.isDirectory()) await mkdir(target);
    else await writeFile(target, '');
    const source = `/proc/${process.pid}/fd/${handle.fd}`;
    await mounts.mount(target, { type: 'none', source, options: ['bind', 'rslave'], isHandle: true });
  } catch (error) {
    throw error instanceof PathError ? missing('no such file or directory') : error;
  }
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };
