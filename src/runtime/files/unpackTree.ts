/*
 * A tar unpacked into a folder of a container: names, owners, modes, times, links and devices as in the tar. Links that are
 * in the way of a name lead on inside the container's root only, as they would for the container itself. Rules and texts:
 * moby, pkg/archive (Unpack). Extended attributes are not kept, since Node cannot write them.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import {
  type FileHandle,
  chmod,
  lchown,
  link,
  lutimes,
  mkdir,
  open,
  readdir,
  rmdir,
  symlink,
  unlink,
} from 'node:fs/promises';
import { posix } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { type Extract, extract, type Header } from 'tar-stream';
import { findProgram } from '../../base/programs.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { decompress } from '../images/compression.ts';
import {
  type Folder,
  openFolder,
  PathError,
  pathIn,
  type Place,
  peek,
  resolvePath,
  type Tree,
} from './rootTree.ts';

export interface UnpackOptions {
  /** A folder is not replaced by anything else, nor anything else by a folder. */
  readonly keepsKinds: boolean;
  /** Who gets all that is unpacked; absent = whom the tar names. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

function refuse(text: string): never {
  throw new LinkspanError('archiveRefused', text);
}

/** Where an entry goes, relative to the folder that is unpacked into; `''` = that folder. */
function placeOf(name: string, into: string): string {
  const clean = posix.normalize(name.replace(/^\/+/, '')).replace(/\/$/, '');
  if (clean === '..' || clean.startsWith('../'))
    refuse(`${JSON.stringify(name)} is outside of ${JSON.stringify(into)}`);
  return clean === '.' ? '' : clean;
}

/** Removes what is at `name`, with all that is in it. */
async function remove(tree: Tree, folder: Folder, name: string): Promise<void> {
  const inside = await openFolder(tree, folder, name);
  if (inside === undefined) return await unlink(pathIn(tree, folder, name));
  {
    await using handle = inside.handle;
    for (const child of await readdir(`/proc/self/fd/${handle.fd}`)) await remove(tree, inside, child);
  }
  await rmdir(pathIn(tree, folder, name));
}

class TreeUnpacker {
  readonly #tree: Tree;
  readonly #into: string;
  readonly #options: UnpackOptions;
  /** Times of folders are set when nothing more is put in them. */
  readonly #times: { readonly path: string; readonly mtime: Date }[] = [];

  constructor(tree: Tree, into: string, options: UnpackOptions) {
    this.#tree = tree;
    this.#into = into;
    this.#options = options;
  }

  async put(header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const relative = placeOf(header.name, this.#into);
    const path = posix.join(this.#into, relative);
    if (relative === '') {
      // The folder itself: it is there, and what it is like is part of the archive.
      await using place = await resolvePath(this.#tree, path, true);
      await this.#finishFolder(place.folder, header);
      return;
    }
    await using parent = await this.#parentOf(posix.dirname(path));
    const name = posix.basename(path);
    await this.#clear(parent.folder, name, header, path);
    await this.#make(parent.folder, name, header, body);
  }

  async setTimes(): Promise<void> {
    for (const { path, mtime } of this.#times.reverse()) {
      await using place = await resolvePath(this.#tree, path, true);
      if (place.name === '') await place.folder.handle.utimes(mtime, mtime);
    }
  }

  /** Folders that are missing are made, for root. */
  async #parentOf(path: string): Promise<Place> {
    for (const prefix of prefixesOf(path)) {
      await using found = await resolvePath(this.#tree, prefix, true);
      if (found.info === undefined) await mkdir(pathIn(this.#tree, found.folder, found.name), 0o755);
      else if (found.name !== '') refuse(`mkdir ${prefix}: not a directory`);
    }
    return await resolvePath(this.#tree, path, true);
  }

  /** Takes away what is in the way of the entry. */
  async #clear(folder: Folder, name: string, header: Header, path: string): Promise<void> {
    const peeked = await peek(this.#tree, folder, name);
    if (peeked === undefined) return;
    await using _ = peeked;
    const isFolder = (await peeked.stat()).isDirectory();
    const becomesFolder = header.type === 'directory';
    if (this.#options.keepsKinds && isFolder !== becomesFolder)
      refuse(
        isFolder
          ? `cannot overwrite directory ${JSON.stringify(path)} with non-directory ${JSON.stringify(this.#into)}`
          : `cannot overwrite non-directory ${JSON.stringify(path)} with directory ${JSON.stringify(this.#into)}`,
      );
    if (isFolder && becomesFolder) return;
    if (this.#tree.mounts.has(`${folder.path}/${name}`)) refuse(`unlinkat ${path}: device or resource busy`);
    await remove(this.#tree, folder, name);
  }

  async #make(folder: Folder, name: string, header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const path = pathIn(this.#tree, folder, name);
    const mode = header.mode ?? 0o644;
    switch (header.type) {
      case 'directory': {
        await mkdir(path, mode & 0o777).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error;
        });
        const made = await openFolder(this.#tree, folder, name);
        if (made === undefined) return;
        await using _ = made.handle;
        return await this.#finishFolder(made, header);
      }
      case 'symlink':
        await symlink(header.linkname ?? '', path);
        await lchown(path, ...this.#ownerOf(header));
        return await lutimes(path, header.mtime ?? 0, header.mtime ?? 0);
      case 'link':
        return await this.#link(path, header.linkname ?? '');
      case 'character-device':
      case 'block-device':
      case 'fifo':
        await makeNode(path, header);
        await lchown(path, ...this.#ownerOf(header));
        // Ours until this moment: a name that the container has put there instead is not followed.
        return await this.#setMode(folder, name, mode);
      case 'file':
      case 'contiguous-file':
      case null:
      case undefined:
        return await this.#write(path, header, body);
      default:
        refuse(`unhandled tar header type ${String(header.type)}`);
    }
  }

  async #write(path: string, header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await using file = await open(path, flags, 0o600);
    for await (const part of body)
      for (let at = 0; at < part.length; ) at += (await file.write(part, at)).bytesWritten;
    await this.#finish(file, header);
  }

  async #link(path: string, target: string): Promise<void> {
    const relative = placeOf(target, this.#into);
    await using place = await resolvePath(this.#tree, posix.join(this.#into, relative), false);
    if (place.info === undefined || place.name === '') refuse(`link ${target}: no such file or directory`);
    await link(pathIn(this.#tree, place.folder, place.name), path);
  }

  async #setMode(folder: Folder, name: string, mode: number): Promise<void> {
    const peeked = await peek(this.#tree, folder, name);
    if (peeked === undefined) return;
    await using _ = peeked;
    if (!(await peeked.stat()).isSymbolicLink()) await chmod(`/proc/self/fd/${peeked.fd}`, mode & 0o7777);
  }

  async #finishFolder(folder: Folder, header: Header): Promise<void> {
    await this.#finish(folder.handle, header);
    if (header.mtime !== undefined) this.#times.push({ path: folder.path || '/', mtime: header.mtime });
  }

  /** The owner first: a change of owner takes the set-user-id bit away. */
  async #finish(handle: FileHandle, header: Header): Promise<void> {
    await handle.chown(...this.#ownerOf(header));
    if (header.mode !== undefined) await handle.chmod(header.mode & 0o7777);
    if (header.mtime !== undefined) await handle.utimes(header.mtime, header.mtime);
  }

  #ownerOf(header: Header): [uid: number, gid: number] {
    const { owner } = this.#options;
    return owner === undefined ? [header.uid ?? 0, header.gid ?? 0] : [owner.uid, owner.gid];
  }
}

/** `/a/b` → `/`, `/a`, `/a/b`. */
function prefixesOf(path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`)];
}

async function makeNode(path: string, { type, devmajor, devminor }: Header): Promise<void> {
  const program = await findProgram('mknod');
  if (program === undefined) refuse('making devices and FIFOs needs the program mknod');
  const own = path.replace(/^\/proc\/self\//, `/proc/${process.pid}/`);
  const args =
    type === 'fifo'
      ? [own, 'p']
      : [own, type === 'block-device' ? 'b' : 'c', String(devmajor ?? 0), String(devminor ?? 0)];
  await promisify(execFile)(program, args);
}

/** Writes `tar` to the parser as fast as that takes it; what is wrong with the tar ends the parser with that error. */
async function feed(tar: Readable, parser: Extract): Promise<void> {
  // To Node's types a streamx stream is no Writable; it behaves as one.
  const sink = parser as unknown as Writable;
  const closed = once(sink, 'close').catch(() => undefined);
  try {
    for await (const part of (await decompress(tar)) as AsyncIterable<Buffer>) {
      if (sink.destroyed) return;
      if (!sink.write(part)) await Promise.race([once(sink, 'drain'), closed]);
    }
    sink.end();
  } catch (error) {
    sink.destroy(error as Error);
  }
}

/** Unpacks `tar`, compressed or not, into the folder `into`, an absolute path of the tree without links. */
export async function unpackInto(
  tree: Tree,
  into: string,
  tar: Readable,
  options: UnpackOptions,
): Promise<void> {
  const parser = extract();
  const feeding = feed(tar, parser);
  const unpacker = new TreeUnpacker(tree, into, options);
  try {
    for await (const entry of parser) {
      await unpacker.put(entry.header, entry as AsyncIterable<Buffer>);
      entry.resume();
    }
  } catch (error) {
    throw error instanceof PathError
      ? new LinkspanError('archiveRefused', error.message, { cause: error })
      : error;
  } finally {
    parser.destroy();
    // The client may have sent only a part, and send no more.
    tar.destroy();
    await feeding.catch(() => {});
  }
  await unpacker.setTimes();
}
