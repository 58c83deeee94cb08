/*
 * Keeps some descriptors below 1024 for libraries that wait by select(2): libnftables does, and glibc ends the process
 * when FD_SET meets a larger one. A daemon with a few hundred containers, or a thousand published ports, has no small
 * ones left. Every thread of the process takes the smallest that is free, so that whoever frees one here has to look
 * whether somebody else was faster. For one thread. Contract: select(2), open(2).
 */
import { closeSync, fstatSync, openSync } from 'node:fs';

/** FD_SETSIZE. */
const limit = 1024;
/**
 * While many containers start at once, about one is lost to another thread at each use, and is kept again when that
 * thread's container ends: this many, with what else fits below the limit, are enough for some 700 containers.
 */
const kept = 600;

function isFree(fd: number): boolean {
  try {
    fstatSync(fd);
    return false;
  } catch {
    return true;
  }
}

export class LowDescriptors implements Disposable {
  readonly #kept: number[] = [];

  constructor() {
    this.#fill();
  }

  /**
   * Frees a small descriptor and runs `open`, which opens one thing: it has that descriptor or a smaller one, unless
   * another thread took it meanwhile; then `undo`, and once more. `isIts` says whether a descriptor is what `open`
   * opens. Undefined when there is none left.
   */
  take<T>(open: () => T, isIts: (fd: number) => boolean, undo: (opened: T) => void): T | undefined {
    this.#fill();
    for (let fd = this.#kept.pop(); fd !== undefined; fd = this.#kept.pop()) {
      closeSync(fd);
      const opened = open();
      if (isFree(fd) || isIts(fd)) return opened;
      undo(opened);
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#kept.splice(0)) closeSync(fd);
  }

  /** What others took is replaced as soon as there are small ones again. */
  #fill(): void {
    while (this.#kept.length < kept) {
      let fd: number;
      try {
        fd = openSync('/dev/null', 'r');
      } catch {
        // EMFILE: what is kept has to do.
        return;
      }
      if (fd < limit) this.#kept.push(fd);
      else {
        closeSync(fd);
        return;
      }
    }
  }
}
