/*
 * Named pipes between a container's shim and the daemon (fifo(7)). Only opening and making; who reads and writes
 * them is processIo.ts. All calls are on a tmpfs and take microseconds, so they are synchronous.
 */
import { closeSync, constants, openSync, rmSync } from 'node:fs';

/** Makes one FIFO with mode 0600; throws an error with an errno name in `code`. The kernel layer has the call. */
export type MakeFifo = (path: string) => void;

/** Replaces what is at `path` by a fresh FIFO, so that nobody who still holds the old one is heard. */
export function renewFifo(path: string, makeFifo: MakeFifo): void {
  rmSync(path, { force: true });
  makeFifo(path);
}

/**
 * Opens for reading without waiting for a writer. Not O_RDWR, because that would count as a writer and end of file
 * would never come. A plain read before any writer has opened would say end of file; an event loop that polls first
 * is safe, because Linux reports hang-up only once there has been a writer (fs/pipe.c, pipe_poll).
 */
export function openForReading(path: string): number {
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
}

/**
 * Opens for writing. While `keeperFd` is open the FIFO has a reader, so that writing before the real reader has
 * opened neither fails nor loses what was written: close it when the real reader is known to be there.
 */
export function openForWriting(path: string): { readonly fd: number; readonly keeperFd: number } {
  const keeperFd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    return { fd: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), keeperFd };
  } catch (error) {
    closeSync(keeperFd);
    throw error;
  }
}

/** Opens for writing a FIFO whose reader was there before; undefined if it has gone (ENXIO) or there is no FIFO. */
export function reopenForWriting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENXIO' || code === 'ENOENT') return undefined;
    throw error;
  }
}
