/*
 * What `build` sends of a folder: its files as a tar, owned by root as Docker's client sends them, without those that
 * .dockerignore names, and the Dockerfile where it does not lie in the folder.
 */
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { blockBytes, encodeHeader, paddingBytes, type TarEntry } from '../../../files/tarHeader.ts';
import { CliError } from '../cliError.ts';
import { type IgnoreFile, parseIgnoreFile } from './ignoreFile.ts';

export interface BuildContext {
  /** The Dockerfile's name in the tar. */
  readonly dockerfile: string;
  readonly tar: AsyncIterable<Buffer>;
}

function readIgnoreFile(folder: string, dockerfile: string): IgnoreFile {
  const kept = [dockerfile, '.dockerignore'];
  for (const name of [`${dockerfile}.dockerignore`, '.dockerignore']) {
    let text: string;
    try {
      text = readFileSync(join(folder, name), 'utf8');
    } catch {
      continue;
    }
    try {
      return parseIgnoreFile(text, kept);
    } catch (error) {
      throw new CliError(`error reading ${name}: ${(error as Error).message}`);
    }
  }
  return parseIgnoreFile('');
}

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 20);

/** Names in a tar are bytes. */
const toBytes = (text: string): string => Buffer.from(text).toString('latin1');

function headerOf(name: string, info: Stats): Omit<TarEntry, 'type'> {
  const { mode, mtimeMs: modifiedMs } = info;
  return { name: toBytes(name), mode: mode & 0o7777, uid: 0, gid: 0, sizeBytes: 0, modifiedMs };
}

async function* packFile(path: string, name: string, info: Stats): AsyncGenerator<Buffer> {
  yield encodeHeader({ ...headerOf(name, info), type: 'file', sizeBytes: info.size });
  let left = info.size;
  if (left > 0)
    for await (const chunk of createReadStream(path, { end: left - 1 }) as AsyncIterable<Buffer>) {
      left -= chunk.length;
      yield chunk;
    }
  if (left > 0) throw new CliError(`${path} became shorter while it was read`);
  yield Buffer.alloc(paddingBytes(info.size));
}

async function* packFolder(root: string, inside: string, ignore: IgnoreFile): AsyncGenerator<Buffer> {
  for (const entry of readdirSync(join(root, inside)).sort()) {
    const name = inside === '' ? entry : `${inside}/${entry}`;
    const isIgnored = ignore.ignores(name);
    const path = join(root, name);
    const info = lstatSync(path, { throwIfNoEntry: false });
    if (info === undefined) continue;
    if (info.isDirectory()) {
      if (!isIgnored) yield encodeHeader({ ...headerOf(`${name}/`, info), type: 'directory' });
      if (!isIgnored || ignore.hasExceptions) yield* packFolder(root, name, ignore);
    } else if (isIgnored) continue;
    else if (info.isSymbolicLink())
      yield encodeHeader({
        ...headerOf(name, info),
        ...{ type: 'symlink', linkName: toBytes(readlinkSync(path)) },
      });
    else if (info.isFile()) yield* packFile(path, name, info);
  }
}

async function* pack(
  folder: string,
  ignore: IgnoreFile,
  extra: { readonly name: string; readonly bytes: Buffer } | undefined,
): AsyncGenerator<Buffer> {
  yield* packFolder(folder, '', ignore);
  if (extra !== undefined) {
    const { name, bytes } = extra;
    const [type, mode, sizeBytes] = ['file', 0o600, bytes.length] as const;
    yield encodeHeader({ name, type, mode, uid: 0, gid: 0, sizeBytes, modifiedMs: 0 });
    yield bytes;
    yield Buffer.alloc(paddingBytes(sizeBytes));
  }
  yield Buffer.alloc(2 * blockBytes);
}

/**
 * `dockerfile`: a path, '' = `Dockerfile` in the folder; `given`: its text where it came from stdin. Throws CliError in
 * Docker's words for what is not there.
 */
export function openBuildContext(folder: string, dockerfile: string, given?: Buffer): BuildContext {
  const root = lstatSync(`${folder}/.`, { throwIfNoEntry: false });
  if (root === undefined)
    throw new CliError(`unable to prepare context: path ${JSON.stringify(folder)} not found`);
  const path = dockerfile === '' ? join(folder, 'Dockerfile') : resolve(dockerfile);
  const name = relative(resolve(folder), resolve(path));
  if (given === undefined && !name.startsWith('..')) {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined)
      throw new CliError(
        `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${path}: no such file or directory`,
      );
    return { dockerfile: name, tar: pack(folder, readIgnoreFile(folder, name), undefined) };
  }
  let bytes: Buffer;
  try {
    bytes = given ?? readFileSync(path);
  } catch {
    throw new CliError(
      `unable to prepare context: unable to open Dockerfile: open ${path}: no such file or directory`,
    );
  }
  // By its content: a name of its own for each build would make a COPY of the folder another one each time.
  const extra = { name: `.dockerfile.${digestOf(bytes)}`, bytes };
  return { dockerfile: extra.name, tar: pack(folder, readIgnoreFile(folder, extra.name), extra) };
}
