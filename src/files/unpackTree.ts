/*
 * A tar unpacked into a folder of a tree: names, owners, modes, times, links and devices as in the tar. Links that are in the
 * way of a name lead on inside the root of the tree only, as they would for a container itself. Nothing is undone where a tar
 * turns out to be broken. Rules and texts: moby, pkg/archive (Unpack). Extended attributes are not kept, since Node cannot
 * write them.
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
  opendir,
  rmdir,
  symlink,
  unlink,
} from 'node:fs/promises';
import { posix } from 'node:path';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { type Extract, extract, type Header as RawHeader } from 'tar-stream';
import { findProgram } from '../base/programs.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { problemAt } from './problem.ts';
import {
  depthMax,
  type Folder,
  openFolder,
  PathError,
  pathIn,
  type Place,
  peek,
  resolvePath,
  toBytes,
  toText,
  type Tree,
} from './rootTree.ts';

export interface UnpackOptions {
  /** A folder is not replaced by anything else, nor anything else by a folder. */
  readonly keepsKinds: boolean;
  /** Who gets all that is unpacked: `tar` = whom the tar names, `caller` = whoever runs this. */
  readonly owner: 'tar' | 'caller' | { readonly uid: number; readonly gid: number };
  /** In front of paths that are told of. */
  readonly shownRoot?: string;
  /** What an entry, or what a hard link leads to, is called instead; in bytes. */
  readonly rename?: (name: string) => string;
}

interface Header {
  /** In bytes, as is `linkName`. */
  readonly name: string;
  readonly linkName: string;
  readonly type: NonNullable<RawHeader['type']>;
  readonly mode: number;
  readonly owner: readonly [uid: number, gid: number];
  readonly modified: Date;
  readonly device: readonly [major: number, minor: number];
}

function refuse(text: string): never {
  throw new LinkspanError('archiveRefused', text);
}

/** What tar-stream leaves to us of a PAX header (pax(1)); a file with holes in a form of its own is refused. */
function readHeader(raw: RawHeader): Header {
  const { type, mode, uid, gid, devmajor, devminor } = raw;
  const pax = raw.pax as Readonly<Record<string, string>> | null | undefined;
  const name = pax?.['path'] === undefined ? raw.name : toBytes(pax['path']);
  const linkName = pax?.['linkpath'] === undefined ? (raw.linkname ?? '') : toBytes(pax['linkpath']);
  // What tar-stream made of bytes that are no UTF-8: files would be taken for each other.
  if (pax?.['path']?.includes('\ufffd') === true)
    refuse(`${toText(name)}: a name in a PAX header must be UTF-8`);
  if (
    type === null ||
    type === undefined ||
    Object.keys(pax ?? {}).some((key) => key.startsWith('GNU.sparse.'))
  )
    refuse(`${toText(name)}: unhandled tar header type`);
  if (`${name}${linkName}`.includes('\0')) refuse('a name has a zero byte in it');
  const number = (text: string | undefined, otherwise: number): number => {
    const value = Number(text ?? otherwise);
    return Number.isFinite(value) ? value : 0;
  };
  const modifiedMs = number(pax?.['mtime'], raw.mtime.getTime() / 1000) * 1000;
  return {
    name,
    linkName,
    type,
    mode: mode & 0o7777,
    owner: [number(pax?.['uid'], uid), number(pax?.['gid'], gid)],
    // Beyond the years that a Date can name there is no way to set it.
    modified: new Date(Number.isNaN(new Date(modifiedMs).getTime()) ? 0 : modifiedMs),
    device: [devmajor, devminor],
  };
}

/** Where an entry goes, relative to the folder that is unpacked into; `''` = that folder. */
function placeOf(name: string, into: string): string {
  const clean = posix.normalize(name.replace(/^\/+/, '')).replace(/\/$/, '');
  if (clean === '..' || clean.startsWith('../'))
    refuse(`${JSON.stringify(toText(name))} is outside of ${JSON.stringify(toText(into))}`);
  return clean === '.' ? '' : clean;
}

/** Removes what is at `name`, with all that is in it. */
async function remove(tree: Tree, folder: Folder, name: string, depth = 0): Promise<void> {
  const inside = await openFolder(tree, folder, name);
  if (inside === undefined) return await unlink(pathIn(tree, folder, name));
  {
    await using handle = inside.handle;
    if (depth >= depthMax) throw new PathError('tooDeep', inside.path);
    // A list of names that is read while names go may leave some out; where they come anew, they win.
    let found = true;
    for (let round = 0; found && round < 3; round++) {
      found = false;
      await using names = await opendir(`/proc/self/fd/${handle.fd}`, { encoding: 'latin1' });
      for (let entry = await names.read(); entry !== null; entry = await names.read()) {
        found = true;
        await remove(tree, inside, entry.name, depth + 1);
      }
    }
  }
  await rmdir(pathIn(tree, folder, name));
}

/** A mount is nothing to take away, nor is what has one in it. */
function hasMount(tree: Tree, path: string): boolean {
  return [...tree.mounts.keys()].some((place) => place === path || place.startsWith(`${path}/`));
}

/** The place of the mount that the path is in; undefined = none. */
function mountOf(tree: Tree, path: string): string | undefined {
  const around = [...tree.mounts.keys()].filter((place) => path === place || path.startsWith(`${place}/`));
  return around.sort((a, b) => b.length - a.length)[0];
}

class TreeUnpacker implements AsyncDisposable {
  readonly #tree: Tree;
  readonly #into: string;
  readonly #options: UnpackOptions;
  /** Times of folders are set when nothing more is put in them. */
  readonly #times: { readonly path: string; readonly modified: Date }[] = [];
  /** The folder that the last entry went to: the next mostly goes there too. */
  #parent: { readonly path: string; readonly place: Place } | undefined;

  constructor(tree: Tree, into: string, options: UnpackOptions) {
    this.#tree = tree;
    this.#into = into;
    this.#options = options;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#letGo();
  }

  async put(raw: RawHeader, body: AsyncIterable<Buffer>): Promise<void> {
    const given = readHeader(raw);
    const rename = this.#options.rename ?? ((name: string) => name);
    const linkName = given.type === 'link' ? rename(given.linkName) : given.linkName;
    const header = { ...given, name: rename(given.name), linkName };
    const relative = placeOf(header.name, this.#into);
    const path = posix.join(this.#into, relative);
    try {
      if (relative === '') {
        // The folder itself: it is there, and what it is like is part of the archive.
        await using place = await resolvePath(this.#tree, path, true);
        this.#checkWritable(place.folder, path);
        await this.#finishFolder(place.folder, header);
        return;
      }
      const { folder } = await this.#parentOf(posix.dirname(path));
      const name = posix.basename(path);
      await this.#clear(folder, name, header, path);
      await this.#make(folder, name, header, body);
    } catch (error) {
      throw problemAt(this.#shown(path), error);
    }
  }

  /** When the last entry was put. */
  async setTimes(): Promise<void> {
    for (const { path, modified } of this.#times.reverse()) {
      try {
        await using place = await resolvePath(this.#tree, path, true);
        if (place.name === '') await place.folder.handle.utimes(modified, modified);
      } catch (error) {
        // The container has taken it away.
        if (!(error instanceof PathError)) throw problemAt(this.#shown(path), error);
      }
    }
  }

  #shown(path: string): string {
    return posix.join(toBytes(this.#options.shownRoot ?? '/'), path);
  }

  async #letGo(): Promise<void> {
    const parent = this.#parent;
    this.#parent = undefined;
    await parent?.place[Symbol.asyncDispose]();
  }

  /** Open until the next call. Folders that are missing are made, for root. */
  async #parentOf(path: string): Promise<Place> {
    if (this.#parent?.path === path) return this.#parent.place;
    await this.#letGo();
    const place = (await this.#findFolder(path)) ?? (await this.#makeFolders(path));
    this.#parent = { path, place };
    this.#checkWritable(place.folder, path);
    return place;
  }

  async #findFolder(path: string): Promise<Place | undefined> {
    try {
      const place = await resolvePath(this.#tree, path, true);
      if (place.name === '') return place;
      await place[Symbol.asyncDispose]();
    } catch (error) {
      if (!(error instanceof PathError) || error.problem === 'tooDeep') throw error;
    }
    return undefined;
  }

  async #makeFolders(path: string): Promise<Place> {
    for (const prefix of prefixesOf(path)) {
      await using found = await resolvePath(this.#tree, prefix, true);
      if (found.name === '') continue;
      if (found.info !== undefined) refuse(`mkdir ${toText(this.#shown(prefix))}: not a directory`);
      this.#checkWritable(found.folder, prefix);
      await mkdir(pathIn(this.#tree, found.folder, found.name), 0o755).catch(unlessThere);
    }
    return await resolvePath(this.#tree, path, true);
  }

  #checkWritable({ isReadOnly }: Folder, path: string): void {
    if (isReadOnly) refuse(`open ${toText(this.#shown(path))}: read-only file system`);
  }

  /** Takes away what is in the way of the entry. */
  async #clear(folder: Folder, name: string, header: Header, path: string): Promise<void> {
    const peeked = await peek(this.#tree, folder, name);
    if (peeked === undefined) return;
    await using _ = peeked;
    const isFolder = (await peeked.stat()).isDirectory();
    const becomesFolder = header.type === 'directory';
    const shown = (at: string): string => JSON.stringify(toText(this.#shown(at)));
    if (this.#options.keepsKinds && isFolder !== becomesFolder)
      refuse(
        isFolder
          ? `cannot overwrite directory ${shown(path)} with non-directory ${shown(this.#into)}`
          : `cannot overwrite non-directory ${shown(path)} with directory ${shown(this.#into)}`,
      );
    if (isFolder && becomesFolder) return;
    if (hasMount(this.#tree, `${folder.path}/${name}`))
      refuse(`unlinkat ${toText(this.#shown(path))}: device or resource busy`);
    await remove(this.#tree, folder, name);
  }

  async #make(folder: Folder, name: string, header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const path = pathIn(this.#tree, folder, name);
    switch (header.type) {
      case 'directory': {
        await mkdir(path, 0o700).catch(unlessThere);
        const made = await openFolder(this.#tree, folder, name);
        if (made === undefined) return;
        await using _ = made.handle;
        // What is mounted there need not be as the folder around it.
        this.#checkWritable(made, made.path);
        return await this.#finishFolder(made, header);
      }
      case 'symlink':
        await symlink(Buffer.from(header.linkName, 'latin1'), path);
        await this.#chownLink(path, header);
        return await lutimes(path, header.modified, header.modified);
      case 'link':
        return await this.#link(path, folder, header.linkName);
      case 'character-device':
      case 'block-device':
      case 'fifo':
        await makeNode(path, header);
        await this.#chownLink(path, header);
        // Ours until this moment: a name that the container has put there instead is not followed.
        await this.#setMode(folder, name, header.mode);
        return await lutimes(path, header.modified, header.modified);
      case 'file':
      case 'contiguous-file':
        return await this.#write(path, header, body);
      default:
        refuse(`${toText(header.name)}: unhandled tar header type`);
    }
  }

  async #write(path: string | Buffer, header: Header, body: AsyncIterable<Buffer>): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await using file = await open(path, flags, 0o600);
    for await (const part of body)
      for (let at = 0; at < part.length; ) at += (await file.write(part, at)).bytesWritten;
    await this.#finish(file, header);
  }

  async #link(path: string | Buffer, folder: Folder, target: string): Promise<void> {
    const relative = placeOf(target, this.#into);
    await using place = await resolvePath(this.#tree, posix.join(this.#into, relative), false);
    if (place.info === undefined || place.name === '')
      refuse(`link ${toText(target)}: no such file or directory`);
    // As the kernel says of another mount.
    if (mountOf(this.#tree, place.path) !== mountOf(this.#tree, folder.path))
      refuse(`link ${toText(target)}: cross-device link not permitted`);
    await link(pathIn(this.#tree, place.folder, place.name), path);
  }

  async #setMode(folder: Folder, name: string, mode: number): Promise<void> {
    const peeked = await peek(this.#tree, folder, name);
    if (peeked === undefined) return;
    await using _ = peeked;
    if (!(await peeked.stat()).isSymbolicLink()) await chmod(`/proc/self/fd/${peeked.fd}`, mode);
  }

  async #finishFolder(folder: Folder, header: Header): Promise<void> {
    await this.#finish(folder.handle, header);
    this.#times.push({ path: folder.path || '/', modified: header.modified });
  }

  /** The owner first: a change of owner takes the set-user-id bit away. */
  async #finish(handle: FileHandle, header: Header): Promise<void> {
    const owner = this.#ownerOf(header);
    if (owner !== undefined) await handle.chown(...owner);
    await handle.chmod(header.mode);
    await handle.utimes(header.modified, header.modified);
  }

  async #chownLink(path: string | Buffer, header: Header): Promise<void> {
    const owner = this.#ownerOf(header);
    if (owner !== undefined) await lchown(path, ...owner);
  }

  #ownerOf(header: Header): readonly [uid: number, gid: number] | undefined {
    const { owner } = this.#options;
    if (owner === 'caller') return undefined;
    return owner === 'tar' ? header.owner : [owner.uid, owner.gid];
  }
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

/** `/a/b` → `/`, `/a`, `/a/b`. */
function prefixesOf(path: string): readonly string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, i) => `/${parts.slice(0, i + 1).join('/')}`)];
}

async function makeNode(path: string | Buffer, { name, type, device }: Header): Promise<void> {
  const program = await findProgram('mknod');
  if (program === undefined) refuse('making devices and FIFOs needs the program mknod');
  const own = toText(path.toString('latin1')).replace(/^\/proc\/self\//, `/proc/${process.pid}/`);
  if (own.includes('\ufffd')) refuse(`mknod ${toText(name)}: the name is not UTF-8`);
  const numbers = type === 'fifo' ? ['p'] : [type === 'block-device' ? 'b' : 'c', ...device.map(String)];
  await promisify(execFile)(program, [own, ...numbers]).catch((error: unknown) => {
    // `mknod: PATH: what is wrong`
    const { stderr = '' } = error as { readonly stderr?: string };
    refuse(`mknod ${toText(name)}: ${stderr.trim().split(': ').at(-1) ?? 'failed'}`);
  });
}

/** Writes `tar` to the parser as fast as that takes it; what is wrong with it ends the parser with that error. */
async function feed(tar: AsyncIterable<Uint8Array>, parser: Extract): Promise<void> {
  // To Node's types a streamx stream is no Writable; it behaves as one.
  const sink = parser as unknown as Writable;
  const closed = new AbortController();
  sink.once('close', () => closed.abort());
  try {
    for await (const part of tar) {
      if (sink.destroyed) return;
      if (!sink.write(part)) await once(sink, 'drain', { signal: closed.signal }).catch(() => undefined);
    }
    sink.end();
  } catch (error) {
    sink.destroy(error as Error);
  }
}

/** What tar-stream says of a tar that it cannot read; what the tar's own stream says stays as it is. */
function asRefusal(error: unknown): unknown {
  const isOthers = error instanceof LinkspanError || (error as NodeJS.ErrnoException).code !== undefined;
  return isOthers || !(error instanceof Error)
    ? error
    : new LinkspanError('archiveRefused', `invalid tar: ${error.message}`, { cause: error });
}

/**
 * Unpacks a tar that is not compressed into the folder `into`, an absolute path of the tree in bytes and without links.
 * Throws code archiveRefused, or as `tar` does; `stop` ends a `tar` that gives nothing more.
 */
export async function unpackInto(
  tree: Tree,
  into: string,
  tar: AsyncIterable<Uint8Array>,
  options: UnpackOptions,
  stop: () => void,
): Promise<void> {
  // Its types do not know what it takes.
  const parser = extract({ filenameEncoding: 'latin1' } as Parameters<typeof extract>[0]);
  // An entry that is cut short says only that there is no more of it.
  let broken: unknown;
  (parser as unknown as Writable).on('error', (error) => {
    broken = error;
  });
  const feeding = feed(tar, parser);
  await using unpacker = new TreeUnpacker(tree, into, options);
  try {
    for await (const entry of parser) {
      await unpacker.put(entry.header, entry as AsyncIterable<Buffer>);
      entry.resume();
    }
  } catch (error) {
    throw asRefusal(broken ?? error);
  } finally {
    parser.destroy();
    stop();
    await feeding;
  }
  await unpacker.setTimes();
  await tree.checkWhole?.();
}
