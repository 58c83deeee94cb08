/*
 * Start-up touches most of Node's code and never runs it again (compilers, module loaders), yet those pages stay mapped
 * and count as resident. This unmaps the executable pages of mapped files: they stay in the page cache, and what
 * is still needed comes back by minor faults (madvise(2), MADV_DONTNEED).
 */
import { readFileSync } from 'node:fs';
import { linux, loadLibc } from './libc.ts';

interface Mapping {
  readonly start: bigint;
  readonly length: bigint;
}

/** Executable mappings of files (not merely read-only ones: relocation has written to some of those) in the text of /proc/PID/maps (proc_pid_maps(5)). */
export function codeMappings(maps: string): readonly Mapping[] {
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ [1-9]\d* +\//gm)].map(([, from, to]) => {
    const start = BigInt(`0x${from}`);
    return { start, length: BigInt(`0x${to}`) - start };
  });
}

/** Lets go of them in this process. Best effort: a kernel that refuses changes nothing. */
export function releaseStartupPages(): void {
  const libc = loadLibc();
  for (const { start, length } of codeMappings(readFileSync('/proc/self/maps', 'latin1')))
    libc.madvise(start, length, linux.MADV_DONTNEED);
}
