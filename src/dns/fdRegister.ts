/*
 * Which file descriptors the DNS worker has open that nothing closes when its thread dies: those that libc opened and
 * Node does not own. A bitmap in shared memory, so that the main thread can close them then, and the ports are free.
 * A thread may die between two lines: the order below loses a descriptor at worst, and never closes a foreign one.
 */
import { closeSync } from 'node:fs';

/** Descriptors from here on are not noted; a process that has as many has other worries. */
const size = 1 << 20;

export class FdRegister {
  readonly #bits: Uint8Array;

  /** Over the other thread's memory, or memory of its own. */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(size / 8)) {
    this.#bits = new Uint8Array(memory);
  }

  get memory(): SharedArrayBuffer {
    return this.#bits.buffer as SharedArrayBuffer;
  }

  /** Notes an open descriptor. */
  add(fd: number): void {
    if (fd < size) this.#bits[fd >> 3] = (this.#bits[fd >> 3] as number) | (1 << (fd & 7));
  }

  /** Closes it. */
  close(fd: number): void {
    if (fd < size) this.#bits[fd >> 3] = (this.#bits[fd >> 3] as number) & ~(1 << (fd & 7));
    closeSync(fd);
  }

  /** Closes all that are noted: once the thread that noted them is gone. */
  closeAll(): void {
    for (const [i, byte] of this.#bits.entries())
      for (let bit = 0; byte >> bit !== 0; bit++) if ((byte >> bit) & 1) this.close(8 * i + bit);
  }
}
