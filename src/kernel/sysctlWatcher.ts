/*
 * Tells of writes to kernel parameters, as inotify does for files of the same procfs mount. A parameter's file is held
 * open: else the kernel would forget the entry, make another for the next writer, and the watch would hear nothing.
 * Not heard are writes by another mount of procfs, as a container of another engine has, and values that change
 * without a write to their own file. Contract: inotify(7), fs/proc/proc_sysctl.c.
 */
import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs';
import { asKernelError, hasErrno } from './errno.ts';
import type { KernelEvents } from './kernel.ts';
import { sysctlPath } from './sysctl.ts';

/** Of the parameters that anybody watches, which are numbers. */
const valueBytes = 64;

interface Watch extends Disposable {
  readonly inode: number;
  /** Undefined if the parameter went with its link meanwhile. */
  findValue(): string | undefined;
}

type Tell = (event: KernelEvents['sysctl']) => void;

function findValue(fd: number): string | undefined {
  const bytes = Buffer.alloc(valueBytes);
  try {
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, valueBytes, 0)).trim();
  } catch {
    return undefined;
  }
}

function openWatch(key: string, tell: Tell): Watch {
  const path = sysctlPath(key);
  using undo = new DisposableStack();
  const fd = openSync(path, 'r');
  undo.defer(() => closeSync(fd));
  const watcher = watch(path, { persistent: false }, () => {
    const value = findValue(fd);
    if (value !== undefined) tell({ key, value });
  });
  undo.defer(() => watcher.close());
  // What inotify cannot tell any more, a renewal or the compare of who asked finds.
  watcher.on('error', () => {});
  const resources = undo.move();
  return {
    inode: fstatSync(fd).ino,
    findValue: () => findValue(fd),
    [Symbol.dispose]: () => resources.dispose(),
  };
}

function findInode(key: string): number | undefined {
  return statSync(sysctlPath(key), { throwIfNoEntry: false })?.ino;
}

interface Owned {
  readonly keys: readonly string[];
  /** By key; without those that are not there. */
  readonly watches: Map<string, Watch>;
}

export class SysctlWatcher implements Disposable {
  readonly #tell: Tell;
  readonly #owned = new Map<string, Owned>();

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  /** See Kernel.watchSysctls. */
  watch(owner: string, keys: readonly string[]): void {
    const watches = this.#owned.get(owner)?.watches ?? new Map<string, Watch>();
    if (keys.length > 0) this.#owned.set(owner, { keys, watches });
    else this.#owned.delete(owner);
    for (const [key, { inode }] of watches)
      if (!keys.includes(key) || findInode(key) !== inode) this.#end(watches, key);
    for (const key of keys) if (!watches.has(key)) this.#begin(watches, key);
  }

  /** A module was loaded, which may have brought parameters. */
  findMissing(): void {
    for (const { keys, watches } of this.#owned.values())
      for (const key of keys) {
        if (watches.has(key)) continue;
        const value = this.#begin(watches, key)?.findValue();
        if (value !== undefined) this.#tell({ key, value });
      }
  }

  [Symbol.dispose](): void {
    for (const owner of [...this.#owned.keys()]) this.watch(owner, []);
  }

  #begin(watches: Map<string, Watch>, key: string): Watch | undefined {
    try {
      const begun = openWatch(key, this.#tell);
      watches.set(key, begun);
      return begun;
    } catch (error) {
      const kernelError = asKernelError(`watch sysctl ${key}`, error);
      if (!hasErrno(kernelError, 'ENOENT')) throw kernelError;
      return undefined;
    }
  }

  #end(watches: Map<string, Watch>, key: string): void {
    watches.get(key)?.[Symbol.dispose]();
    watches.delete(key);
  }
}
