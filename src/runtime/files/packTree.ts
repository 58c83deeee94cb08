/*
 * What is at a path of a container, as a tar: names, owners, modes, times, links and devices as they are. Extended
 * attributes are not in it, since Node cannot read them; sockets cannot be in a tar.
 */
import { once } from 'node:events';
import type { Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { type Header as WholeHeader, type Pack, pack } from 'tar-stream';
import { type Folder, openFolder, openPeeked, pathIn, peek, type Place, type Tree } from './rootTree.ts';

const chunkBytes = 64 << 10;

type Header = Partial<WholeHeader> & Pick<WholeHeader, 'name'>;

type Type = NonNullable<Header['type']>;

function typeOf(info: Stats): Type | undefined {
  if (info.isDirectory()) return 'directory';
  if (info.isFile()) return 'file';
  if (info.isSymbolicLink()) return 'symlink';
  if (info.isCharacterDevice()) return 'character-device';
  if (info.isBlockDevice()) return 'block-device';
  return info.isFIFO() ? 'fifo' : undefined;
}

/** Linux's 64 bits of a device number (glibc's gnu_dev_major and gnu_dev_minor). */
function deviceOf(rdev: number): Pick<Header, 'devmajor' | 'devminor'> {
  const all = BigInt(rdev);
  return {
    devmajor: Number(((all >> 8n) & 0xfffn) | ((all >> 32n) & 0xfffff000n)),
    devminor: Number((all & 0xffn) | ((all >> 12n) & 0xffffff00n)),
  };
}

class TreePacker {
  readonly #tree: Tree;
  readonly #pack: Pack;
  /** Where a file with several names was put, by device and inode. */
  readonly #linked = new Map<string, string>();

  constructor(tree: Tree, target: Pack) {
    this.#tree = tree;
    this.#pack = target;
  }

  async add(folder: Folder, name: string, as: string): Promise<void> {
    const peeked = await peek(this.#tree, folder, name);
    // It went while we were at it.
    if (peeked === undefined) return;
    await using _ = peeked;
    const info = await peeked.stat();
    const type = typeOf(info);
    if (type === undefined) return;
    const header = { name: as, type, ...ownershipOf(info) };
    if (type === 'directory') {
      const inside = await openFolder(this.#tree, folder, name);
      if (inside !== undefined) await this.addFolder(inside, as, info);
    } else if (type === 'file') await this.#addFile(peeked, info, header);
    else if (type === 'symlink')
      await this.#addHeader({ ...header, linkname: await readlink(pathIn(this.#tree, folder, name)) });
    else await this.#addHeader({ ...header, ...(type === 'fifo' ? {} : deviceOf(info.rdev)) });
  }

  /** Closes the folder. */
  async addFolder(folder: Folder, as: string, info: Stats): Promise<void> {
    await using _ = folder.handle;
    await this.#addHeader({
      name: as.endsWith('/') ? as : `${as}/`,
      type: 'directory',
      ...ownershipOf(info),
    });
    const names = await readdir(`/proc/self/fd/${folder.handle.fd}`);
    for (const name of names.sort())
      await this.add(folder, name, as.endsWith('/') ? `${as}${name}` : `${as}/${name}`);
  }

  async #addFile(peeked: Awaited<ReturnType<typeof openPeeked>>, info: Stats, header: Header): Promise<void> {
    if (info.nlink > 1) {
      const key = `${info.dev}:${info.ino}`;
      const first = this.#linked.get(key);
      if (first !== undefined) return await this.#addHeader({ ...header, type: 'link', linkname: first });
      this.#linked.set(key, header.name);
    }
    await using file = await openPeeked(peeked, false);
    const { size } = await file.stat();
    const done = Promise.withResolvers<void>();
    done.promise.catch(() => {});
    // To Node's types a streamx stream is no Writable; it behaves as one.
    const sink = this.#pack.entry({ ...header, size }, (error) =>
      error === undefined || error === null ? done.resolve() : done.reject(error),
    ) as unknown as Writable;
    for (let at = 0; at < size; ) {
      const { bytesRead, buffer } = await file.read(
        Buffer.allocUnsafe(Math.min(chunkBytes, size - at)),
        0,
        null,
        at,
      );
      if (bytesRead === 0) throw new Error(`${header.name} became shorter while it was read`);
      at += bytesRead;
      if (!sink.write(buffer.subarray(0, bytesRead)))
        await Promise.race([done.promise, once(sink, 'drain').catch(() => undefined)]);
      if (this.#pack.destroyed) throw new Error('nobody reads any more');
    }
    sink.end();
    await done.promise;
  }

  async #addHeader(header: Header): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const sink = this.#pack.entry({ ...header, size: 0 }, (error) =>
      error === undefined || error === null ? resolve() : reject(error),
    ) as unknown as Writable;
    sink.end();
    await promise;
  }
}

function ownershipOf(info: Stats): Pick<Header, 'mode' | 'uid' | 'gid' | 'mtime'> {
  return { mode: info.mode & 0o7777, uid: info.uid, gid: info.gid, mtime: info.mtime };
}

/** The entry at `place` is called `as` in the tar, and what is in it below that. Reads no faster than it is read. */
export async function* packPlace(tree: Tree, place: Place, as: string): AsyncGenerator<Buffer> {
  const packer = pack();
  const adding = (async () => {
    const work = new TreePacker(tree, packer);
    if (place.name !== '') await work.add(place.folder, place.name, as);
    else {
      const path = `/proc/self/fd/${place.folder.handle.fd}/.`;
      const again = await openPeeked(place.folder.handle, true);
      await work.addFolder({ ...place.folder, handle: again }, as, await lstat(path));
    }
    packer.finalize();
  })();
  const settled = adding.catch((error: unknown) => {
    packer.destroy(error as Error);
  });
  try {
    yield* packer as AsyncIterable<Buffer>;
  } finally {
    packer.destroy();
    await settled;
  }
}
