/*
 * What `cp` makes of its paths: rules of moby's pkg/archive (copy.go) and of docker/cli 28. A path keeps a `/` or `/.` at
 * its end, which mean that there is a folder, and that what is in it is copied.
 */
import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { CliError } from '../cliError.ts';

/** A path that something is copied from or to. */
export interface CopyEnd {
  readonly path: string;
  readonly exists: boolean;
  readonly isFolder: boolean;
}

export interface CopySource extends CopyEnd {
  /** What its last part was called before links were followed. */
  readonly name: string;
}

/** `web:/etc` → `web`, `/etc`; a path alone is of this machine. `./a:b` and `/a:b` name no container. */
export function splitCopyArgument(argument: string): {
  readonly container: string;
  readonly path: string;
} {
  const at = argument.indexOf(':');
  if (argument.startsWith('/') || argument.startsWith('.') || at === -1)
    return { container: '', path: argument };
  return { container: argument.slice(0, at), path: argument.slice(at + 1) };
}

/** The path ends with `.` as a part of its own. */
const endsWithDot = (path: string): boolean => /(?:^|\/)\.$/.test(path);
const wantsFolder = (path: string): boolean => path.endsWith('/') || endsWithDot(path);

/** `path` with the end that `original` has. */
function withEndOf(path: string, original: string): string {
  const dotted = endsWithDot(original) && !endsWithDot(path) ? `${path.replace(/\/$/, '')}/.` : path;
  return original.endsWith('/') && !dotted.endsWith('/') ? `${dotted}/` : dotted;
}

/** Absolute and without `..`. */
export function localPath(path: string): string {
  return withEndOf(posix.resolve(path), path);
}

/** The same of a container, whose folder is its root. */
export function containerPath(path: string): string {
  return path === '' ? '' : withEndOf(posix.resolve('/', path), path);
}

/** The folder and the last part: `/a/b/` → `/a`, `b`; `/a/.` → `/a`, `.`. */
export function splitPath(path: string): readonly [folder: string, name: string] {
  // Without the end that means a folder.
  const clean = posix.normalize(path).replace(/(?<=.)\/$/, '');
  if (endsWithDot(path)) return [clean, '.'];
  return [posix.dirname(clean), posix.basename(clean) || '/'];
}

/** Where a link leads from where it is, with the end that the path had. */
export function linkedPath(path: string, target: string): string {
  return withEndOf(posix.resolve(splitPath(path)[0], target), path);
}

function fileError(error: unknown, path: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  const texts: Readonly<Record<string, string>> = {
    ENOENT: 'no such file or directory',
    ENOTDIR: 'not a directory',
    EACCES: 'permission denied',
    ELOOP: 'too many levels of symbolic links',
  };
  const text = texts[code ?? ''];
  return text === undefined ? error : new CliError(`${syscall ?? 'lstat'} ${path}: ${text}`);
}

/** What is copied from this machine. Links on the way are followed; one at the end only if `follows`. */
export function localSource(path: string, follows: boolean): CopySource {
  const [, name] = splitPath(path);
  try {
    // Like the kernel, a path that ends with `/` or `/.` is of what the link leads to.
    const followed = follows || wantsFolder(path);
    const real = followed
      ? realpathSync(path)
      : posix.join(realpathSync(posix.dirname(path)), posix.basename(path));
    const info = lstatSync(real);
    if (wantsFolder(path) && !info.isDirectory()) throw new CliError(`lstat ${path}: not a directory`);
    return { path: real, exists: true, isFolder: info.isDirectory(), name };
  } catch (error) {
    throw fileError(error, path);
  }
}

/** As lstat(2), undefined if there is nothing. */
function findInfo(path: string): ReturnType<typeof lstatSync> | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(error, path);
  }
}

/** Where something is copied to on this machine: links are followed to what they lead to, there or not. */
export function localDestination(original: string): CopyEnd {
  let path = original;
  let info = findInfo(path);
  for (let links = 0; info?.isSymbolicLink() === true; links++) {
    if (links > 10) throw new CliError(`too many symlinks in ${original}`);
    path = posix.resolve(splitPath(path)[0], readlinkSync(path));
    info = findInfo(path);
  }
  if (info !== undefined) return { path, exists: true, isFolder: info.isDirectory() };
  const [folder] = splitPath(path);
  try {
    if (!statSync(folder).isDirectory()) throw new CliError('not a directory');
  } catch (error) {
    throw fileError(error, folder);
  }
  return { path, exists: false, isFolder: false };
}

/**
 * Into which folder a copy of the source is unpacked, and what it is called there. Throws CliError where the two do not
 * fit. Pure.
 */
export function planCopy(
  source: Pick<CopySource, 'isFolder' | 'name'>,
  destination: CopyEnd,
): { readonly folder: string; readonly name: string } {
  if (destination.exists && destination.isFolder) return { folder: destination.path, name: source.name };
  if (destination.exists && source.isFolder) throw new CliError('cannot copy directory');
  if (!destination.exists && !source.isFolder && wantsFolder(destination.path))
    throw new CliError('no such directory');
  const [folder, name] = splitPath(destination.path);
  return { folder, name };
}
