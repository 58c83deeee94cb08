/*
 * What is at a place of a tree, as a tar: names, owners, modes, times, links and devices as they are, in no order but that a
 * folder is before what is in it. Extended attributes are not in it, since Node cannot read them; sockets cannot be in a tar.
 * Holds two descriptors for each level of folders, and no more of a folder's names or a file's bytes than one read gives.
 */
import type { Dir, Stats } from 'node:fs';
import { type FileHandle, opendir } from 'node:fs/promises';
import { problemAt } from './problem.ts';
import {
  depthMax,
  type Folder,
  openFolder,
  openPeeked,
  PathError,
  peek,
  type Place,
  readLink,
  toText,
  type Tree,
} from './rootTree.ts';
import { blockBytes, encodeHeader, paddingBytes, type TarEntry } from './tarHeader.ts';

const chunkBytes = 64 << 10;
/** Files with several names beyond so many are packed as a file for each name. */
const linkedMax = 100_000;

function typeOf(info: Stats): TarEntry['type'] | undefined {
  if (info.isDirectory()) return 'directory';
  if (info.isFile()) return 'file';
  if (info.isSymbolicLink()) return 'symlink';
  if (info.isCharacterDevice()) return 'characterDevice';
  if (info.isBlockDevice()) return 'blockDevice';
  return info.isFIFO() ? 'fifo' : undefined;
}

/** Linux's 64 bits of a device number (glibc's gnu_dev_major and gnu_dev_minor). */
function deviceOf(rdev: number): NonNullable<TarEntry['device']> {
  const all = BigInt(rdev);
  return {
    major: Number(((all >> 8n) & 0xfffn) | ((all >> 32n) & 0xfffff000n)),
    minor: Number((all & 0xffn) | ((all >> 12n) & 0xffffff00n)),
  };
}

function headerOf(info: Stats): Omit<TarEntry, 'name' | 'type'> {
  const { uid, gid, mtimeMs: modifiedMs } = info;
  return { mode: info.mode & 0o7777, uid, gid, modifiedMs, sizeBytes: 0 };
}

/** A folder that is being read. */
interface Level {
  readonly folder: Folder;
  readonly names: Dir;
  /** What names in the tar begin with, `/` included. */
  readonly prefix: string;
}

class TreePacker implements AsyncDisposable {
  readonly #tree: Tree;
  readonly #levels: Level[] = [];
  /** Where a file with several names was put, by device and inode. */
  readonly #linked = new Map<string, string>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#levels.length > 0) await this.#leave();
  }

  /** What is in the folders that were entered, and in folders in these. */
  async *rest(): AsyncGenerator<Buffer> {
    for (let level = this.#levels.at(-1); level !== undefined; level = this.#levels.at(-1)) {
      const entry = await level.names.read();
      if (entry === null) await this.#leave();
      else yield* this.add(level.folder, entry.name, `${level.prefix}${entry.name}`);
    }
  }

  /** A folder is entered, and no more. */
  async *add(folder: Folder, name: string, as: string): AsyncGenerator<Buffer> {
    try {
      yield* this.#add(folder, name, as);
    } catch (error) {
      throw problemAt(as, error);
    }
  }

  async *#add(folder: Folder, name: string, as: string): AsyncGenerator<Buffer> {
    const peeked = await peek(this.#tree, folder, name);
    // It went while we were at it.
    if (peeked === undefined) return;
    await using _ = peeked;
    const info = await peeked.stat();
    const type = typeOf(info);
    if (type === undefined) return;
    const header = { name: as, type, ...headerOf(info) };
    if (type === 'directory') {
      const inside = await openFolder(this.#tree, folder, name);
      if (inside !== undefined) yield await this.enter(inside, as, info);
    } else if (type === 'file') yield* this.#file(peeked, info, header);
    else if (type === 'symlink') {
      const linkName = await readLink(this.#tree, folder, name);
      if (linkName !== undefined) yield encodeHeader({ ...header, linkName });
    } else yield encodeHeader({ ...header, ...(type !== 'fifo' && { device: deviceOf(info.rdev) }) });
  }

  /** The folder is closed when this is disposed of, or has been read. Resolves with its header. */
  async enter(folder: Folder, as: string, info: Stats): Promise<Buffer> {
    const prefix = as.endsWith('/') ? as : `${as}/`;
    try {
      if (this.#levels.length >= depthMax) throw new PathError('tooDeep', folder.path);
      const names = await opendir(`/proc/self/fd/${folder.handle.fd}`, {
        encoding: 'latin1',
        bufferSize: 256,
      });
      this.#levels.push({ folder, names, prefix });
    } catch (error) {
      await folder.handle.close();
      throw error;
    }
    return encodeHeader({ name: prefix, type: 'directory', ...headerOf(info) });
  }

  async #leave(): Promise<void> {
    const level = this.#levels.pop();
    await level?.names.close();
    await level?.folder.handle.close();
  }

  async *#file(peeked: FileHandle, info: Stats, header: TarEntry): AsyncGenerator<Buffer> {
    if (info.nlink > 1) {
      // Overlayfs uses the upper bits of inode numbers, which a number of Node's has not.
      const { dev, ino } = await peeked.stat({ bigint: true });
      const first = this.#linked.get(`${dev}:${ino}`);
      if (first !== undefined) return yield encodeHeader({ ...header, type: 'link', linkName: first });
      if (this.#linked.size < linkedMax) this.#linked.set(`${dev}:${ino}`, header.name);
    }
    await using file = await openPeeked(peeked, false);
    const { size } = await file.stat();
    yield encodeHeader({ ...header, sizeBytes: size });
    for (let at = 0; at < size; ) {
      const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, size - at));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new Error(`${toText(header.name)} became shorter while it was read`);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
    yield Buffer.alloc(paddingBytes(size));
  }
}

/** The same bytes in pieces of at least `chunkBytes`, but for the last. */
async function* inChunks(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let [waiting, length]: [Buffer[], number] = [[], 0];
  for await (const part of parts) {
    waiting.push(part);
    length += part.length;
    if (length < chunkBytes) continue;
    yield Buffer.concat(waiting);
    [waiting, length] = [[], 0];
  }
  if (length > 0) yield Buffer.concat(waiting);
}

async function* packAll(tree: Tree, place: Place, as: string): AsyncGenerator<Buffer> {
  await using packer = new TreePacker(tree);
  if (place.name !== '') yield* packer.add(place.folder, place.name, as);
  else {
    const info = await place.folder.handle.stat();
    const handle = await openPeeked(place.folder.handle, true);
    yield await packer.enter({ ...place.folder, handle }, as, info);
  }
  yield* packer.rest();
  await tree.checkWhole?.();
  yield Buffer.alloc(2 * blockBytes);
}

/**
 * The entry at `place` is called `as` (in bytes) in the tar, and what is in it below that. Reads no faster than it is read.
 * Throws code archiveRefused where one of them cannot be read, or folders are too deep in each other.
 */
export function packPlace(tree: Tree, place: Place, as: string): AsyncGenerator<Buffer> {
  return inChunks(packAll(tree, place, as));
}
