/*
 * Named pipes between a container's shim and the daemon (fifo(7)). Only opening and making; who reads and writes
 * them is processIo.ts. All calls are on a tmpfs and take microseconds, so they are synchronous.
 */
import { constants, openSync, rmSync } from 'node:fs';

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

/** Why a FIFO cannot be opened for writing just now: no reader, no FIFO (any more), no descriptors left. */
const passing: readonly (string | undefined)[] = ['ENXIO', 'ENOENT', 'EMFILE', 'ENFILE'];

/** Opens for writing without waiting for a reader; undefined while there is none or it cannot be opened. */
export function openForWriting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (passing.includes(code)) return undefined;
    throw error;
  }
}
