/*
 * Start-up touches most of Node's code and tables and never needs them again (compilers, module loaders), yet those
 * pages stay mapped and count as resident. This unmaps the read-only pages of mapped files: they stay in the page
 * cache, and what is still needed comes back by minor faults (madvise(2), MADV_DONTNEED).
 */
import { readFileSync } from 'node:fs';
import { linux, loadLibc } from './libc.ts';

interface Mapping {
  readonly start: bigint;
  readonly length: bigint;
}

/**
 * Mappings in the text of /proc/PID/smaps (proc_pid_smaps(5)) that hold nothing but what their file holds: private,
 * not writable, and without anonymous pages. Relocation has written to some read-only ones; those have such pages, and
 * letting go of them would lose what was written.
 */
export function fileMappings(smaps: string): readonly Mapping[] {
  return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).flatMap((entry) => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +\//.exec(entry) ?? [];
    if (from === undefined || !/^Anonymous: +0 kB$/m.test(entry)) return [];
    const start = BigInt(`0x${from}`);
    return { start, length: BigInt(`0x${to}`) - start };
  });
}

/** Lets go of them in this process. Best effort: a kernel that refuses changes nothing. */
export function releaseStartupPages(): void {
  const libc = loadLibc();
  for (const { start, length } of fileMappings(readFileSync('/proc/self/smaps', 'latin1')))
    libc.madvise(start, length, linux.MADV_DONTNEED);
}
