/*
 * Reads one file of a snapshot through the directories that its overlay mount names, without mounting it. Symbolic
 * links are followed inside the root only, as chroot would. Not for listing or writing.
 * Layer rules are those of overlayfs (kernel Documentation/filesystems/overlayfs.rst): the first directory that has
 * an entry wins, a character device 0/0 is a whiteout. An opaque directory (an extended attribute, which Node cannot
 * read) is taken for a merged one: a file that a lower layer had in a directory that was replaced whole shows through.
 */
import { constants } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from './messages.ts';

/** Largest file that is read, in bytes; /etc/passwd of a big site is some 100 KB. */
const fileMaxBytes = 1 << 20;
/** As the kernel's MAXSYMLINKS. */
const linksMax = 40;

/** Host directories of the root file system from the top down; throws for a mount that is neither bind nor overlay. */
export function layerDirectories(mounts: readonly Mount[]): readonly string[] {
  const mount = mounts.at(-1);
  if (mount === undefined) return [];
  if (mount.type === 'bind') return [mount.source];
  if (mount.type !== 'overlay') throw new Error(`snapshot mount of type ${mount.type} cannot be read`);
  const value = (key: string): string[] =>
    mount.options.flatMap((option) => (option.startsWith(`${key}=`) ? [option.slice(key.length + 1)] : []));
  return [...value('upperdir'), ...value('lowerdir').flatMap((list) => list.split(':'))];
}

type Entry =
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'other'; readonly path: string };

/** The entry at `parts` (no links in all but the last) in the topmost directory that has it. */
async function lookUp(layers: readonly string[], parts: readonly string[]): Promise<Entry | undefined> {
  for (const layer of layers) {
    let path = layer;
    for (const [i, part] of parts.entries()) {
      path = join(path, part);
      const info = await lstat(path).catch(() => undefined);
      if (info === undefined) break;
      // A whiteout, or a file where a directory was: what lies below is hidden.
      if (info.isCharacterDevice() && info.rdev === 0) return undefined;
      if (i < parts.length - 1) {
        if (!info.isDirectory()) return undefined;
        continue;
      }
      return info.isSymbolicLink() ? { kind: 'link', target: await readlink(path) } : { kind: 'other', path };
    }
  }
  return undefined;
}

/** `a/./b//..` as pending components in order. */
function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/**
 * The host path of what is at `path`, every symbolic link followed inside the root; undefined if there is nothing. It
 * holds as long as nobody changes the root file system.
 */
export async function resolveInRoot(layers: readonly string[], path: string): Promise<string | undefined> {
  const pending = components(path);
  const done: string[] = [];
  let found: Entry | undefined;
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() ?? '';
    if (part === '..') {
      done.pop();
      continue;
    }
    found = await lookUp(layers, [...done, part]);
    if (found === undefined) return undefined;
    if (found.kind === 'other') {
      done.push(part);
      continue;
    }
    if (++links > linksMax) return undefined;
    if (found.target.startsWith('/')) done.length = 0;
    pending.unshift(...components(found.target));
  }
  return found?.kind === 'other' ? found.path : undefined;
}

/** The file's bytes; undefined if there is none, if it is not a regular file, or if it is larger than 1 MiB. */
export async function readLayeredFile(layers: readonly string[], path: string): Promise<Buffer | undefined> {
  const hostPath = await resolveInRoot(layers, path);
  if (hostPath === undefined) return undefined;
  // Non-blocking, so that a FIFO planted at this path cannot hold us.
  const file = await open(hostPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    () => undefined,
  );
  if (file === undefined) return undefined;
  await using _ = file;
  const info = await file.stat();
  if (!info.isFile() || info.size > fileMaxBytes) return undefined;
  return await file.readFile();
}
