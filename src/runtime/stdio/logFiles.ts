/*
 * The files of one log: `PATH` is written, `PATH.1` came before it, `PATH.2` before that; a compressed one has `.gz`
 * behind. Changes of names are synchronous, so that who opens the files in one turn of the event loop has them whole and
 * in order. What a crash leaves (a gap in the numbers, a file twice, half a compressed one) is read past, and mended by
 * the next rotation. Docker's names.
 */
import {
  close,
  closeSync,
  createReadStream,
  createWriteStream,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

interface RotatedFile {
  readonly number: number;
  readonly path: string;
  readonly isCompressed: boolean;
}

/** Oldest first, without the one that is written. */
export function rotatedFiles(path: string): readonly RotatedFile[] {
  const start = `${basename(path)}.`;
  const found = new Map<number, RotatedFile>();
  let names: readonly string[] = [];
  try {
    names = readdirSync(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  for (const name of names) {
    const match = name.startsWith(start) ? /^([1-9]\d*)(\.gz)?$/.exec(name.slice(start.length)) : null;
    if (match === null) continue;
    const number = Number(match[1]);
    const isCompressed = match[2] !== undefined;
    // Both of one number are the same lines.
    if (isCompressed && found.has(number)) continue;
    found.set(number, { number, path: `${dirname(path)}/${name}`, isCompressed });
  }
  return [...found.values()].toSorted((a, b) => b.number - a.number);
}

function nameOf(path: string, { number, isCompressed }: Omit<RotatedFile, 'path'>): string {
  return `${path}.${number}${isCompressed ? '.gz' : ''}`;
}

/** A large file takes the kernel a while to free: that happens with the last descriptor, beside the event loop. */
function drop(path: string): void {
  const fd = openSync(path, 'r');
  rmSync(path);
  close(fd);
}

/** Makes room for one more file of `maxFiles`: the numbers up to the first free one go up by one. */
function shift(path: string, maxFiles: number): void {
  const last = maxFiles - 1;
  const files = rotatedFiles(path).toReversed();
  const isInRow = ({ number }: RotatedFile, i: number): boolean => number === i + 1;
  for (const [i, file] of files.entries())
    if (file.number > last || (file.number === last && isInRow(file, i))) drop(file.path);
  const moved = files.filter((file, i) => isInRow(file, i) && file.number < last);
  for (const file of moved.toReversed()) {
    const to = { ...file, number: file.number + 1 };
    // Half a pair that a crash has left must not come before the file that takes its number.
    rmSync(nameOf(path, { ...to, isCompressed: !to.isCompressed }), { force: true });
    renameSync(file.path, nameOf(path, to));
  }
  for (const isCompressed of [true, false])
    rmSync(nameOf(path, { number: 1, isCompressed }), { force: true });
}

/** False where there is nothing at `from`: an admin may have removed it. */
function renameIfThere(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return false;
  }
}

/**
 * Begins a new, empty file at `path`; what was there becomes `.1`, or goes where `maxFiles` is 1. Returns a descriptor
 * for appending. Throws when the disk refuses, and then `path` is still the old file.
 */
export function rotate(path: string, maxFiles: number): number {
  const next = `${path}.next`;
  rmSync(next, { force: true });
  const fd = openSync(next, 'ax', 0o640);
  let isMoved = false;
  try {
    if (maxFiles > 1) {
      shift(path, maxFiles);
      isMoved = renameIfThere(path, `${path}.1`);
    }
    renameSync(next, path);
  } catch (error) {
    closeSync(fd);
    if (isMoved) renameIfThere(`${path}.1`, path);
    rmSync(next, { force: true });
    throw error;
  }
  return fd;
}

/** Compresses `.1` if it is not yet. Nothing has changed when it rejects. */
export async function compressNewest(path: string, signal: AbortSignal): Promise<void> {
  const newest = rotatedFiles(path).at(-1);
  if (newest === undefined || newest.number !== 1 || newest.isCompressed) return;
  const unfinished = `${path}.gz.tmp`;
  try {
    await pipeline(
      createReadStream(newest.path),
      createGzip(),
      createWriteStream(unfinished, { mode: 0o640 }),
      {
        signal,
      },
    );
    const file = await open(unfinished, 'r+');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    signal.throwIfAborted();
    renameSync(unfinished, `${newest.path}.gz`);
    drop(newest.path);
  } finally {
    rmSync(unfinished, { force: true });
  }
}
