/*
 * What a cgroup has used, from its files (Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst), in one shape for
 * both versions. Files that the kernel lacks are left out; a container that has ended has none. Values are bigints: some
 * are the greatest that 64 bits hold.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface CpuUsage {
  readonly totalNs: bigint;
  readonly kernelNs: bigint;
  readonly userNs: bigint;
  /** By processor; cgroup v1 only. */
  readonly perCpuNs?: readonly bigint[];
  readonly periods: bigint;
  readonly throttledPeriods: bigint;
  readonly throttledNs: bigint;
}

export interface MemoryUsage {
  readonly bytes: bigint;
  /** cgroup v1 only. */
  readonly maxBytes?: bigint;
  /** 2^64 - 1 and the like where there is none. */
  readonly limitBytes: bigint;
  /** How often the limit was hit (v1), or a process was killed for it (v2). */
  readonly failures: bigint;
  /** The lines of memory.stat. */
  readonly stat: Readonly<Record<string, bigint>>;
}

export interface BlockUsage {
  readonly major: number;
  readonly minor: number;
  /** `Read`, `Write`, …, in the kernel's spelling. */
  readonly operation: string;
  readonly value: bigint;
}

export interface CgroupUsage {
  readonly version: 1 | 2;
  readonly cpu?: CpuUsage;
  readonly memory?: MemoryUsage;
  readonly pids?: { readonly current: bigint; readonly limit?: bigint };
  readonly blockBytes: readonly BlockUsage[];
  /** cgroup v1 only. */
  readonly blockOperations: readonly BlockUsage[];
}

/** USER_HZ, in which the kernel counts for user programs: 100 on all architectures that we run on. */
const tickNs = 10_000_000n;
const usNs = 1000n;
const noLimit = 2n ** 64n - 1n;

/** Lines of `name number`. */
export function parseTable(text: string): Readonly<Record<string, bigint>> {
  return Object.fromEntries(
    [...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name, value]) => [name, BigInt(value ?? 0)]),
  );
}

function parseNumber(text: string | undefined): bigint {
  const trimmed = (text ?? '').trim();
  return trimmed === 'max' ? noLimit : /^\d+$/.test(trimmed) ? BigInt(trimmed) : 0n;
}

/** Lines of `8:0 Read 512` (blkio, v1); the sums at the end have no device. */
export function parseBlkio(text: string): readonly BlockUsage[] {
  return [...text.matchAll(/^(\d+):(\d+) (\w+) (\d+)$/gm)].map(
    ([, major, minor, operation = '', value = '0']) => ({
      ...{ major: Number(major), minor: Number(minor), operation, value: BigInt(value) },
    }),
  );
}

/** Lines of `8:0 rbytes=1 wbytes=2 …` (io.stat, v2). */
export function parseIoStat(text: string): readonly BlockUsage[] {
  return [...text.matchAll(/^(\d+):(\d+) (.*)$/gm)].flatMap(([, major, minor, rest = '']) =>
    (['read', 'write'] as const).map((operation) => ({
      ...{ major: Number(major), minor: Number(minor), operation },
      value: BigInt(new RegExp(`\\b${operation.charAt(0)}bytes=(\\d+)`).exec(rest)?.[1] ?? 0),
    })),
  );
}

/** Texts by name; undefined for a file that is not there. */
type Files = Readonly<Record<string, string | undefined>>;

async function readFiles(paths: Readonly<Record<string, string>>): Promise<Files> {
  const entries = Object.entries(paths).map(async ([name, path]) => {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    return [name, text] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

const filesV1: Readonly<Record<string, string>> = {
  cpuUsage: 'cpuacct/cpuacct.usage',
  perCpu: 'cpuacct/cpuacct.usage_percpu',
  cpuTicks: 'cpuacct/cpuacct.stat',
  cpuStat: 'cpu/cpu.stat',
  memory: 'memory/memory.usage_in_bytes',
  memoryMax: 'memory/memory.max_usage_in_bytes',
  memoryLimit: 'memory/memory.limit_in_bytes',
  memoryFailures: 'memory/memory.failcnt',
  memoryStat: 'memory/memory.stat',
  pids: 'pids/pids.current',
  pidsLimit: 'pids/pids.max',
  blockBytes: 'blkio/blkio.throttle.io_service_bytes_recursive',
  blockOperations: 'blkio/blkio.throttle.io_serviced_recursive',
};

const filesV2: Readonly<Record<string, string>> = {
  cpuStat: 'cpu.stat',
  memory: 'memory.current',
  memoryLimit: 'memory.max',
  memoryEvents: 'memory.events',
  memoryStat: 'memory.stat',
  pids: 'pids.current',
  pidsLimit: 'pids.max',
  ioStat: 'io.stat',
};

function pidsOf(
  { pids, pidsLimit }: Files,
  shownLimit: bigint | undefined,
): NonNullable<CgroupUsage['pids']> {
  const limit = parseNumber(pidsLimit);
  const shown = limit === noLimit ? shownLimit : limit;
  return { current: parseNumber(pids), ...(shown !== undefined && { limit: shown }) };
}

function cpuOfV1({ cpuUsage, perCpu = '', cpuTicks = '', cpuStat = '' }: Files): CpuUsage {
  const [ticks, stat] = [parseTable(cpuTicks), parseTable(cpuStat)];
  return {
    totalNs: parseNumber(cpuUsage),
    kernelNs: (ticks['system'] ?? 0n) * tickNs,
    userNs: (ticks['user'] ?? 0n) * tickNs,
    perCpuNs: perCpu
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '')
      .map(parseNumber),
    periods: stat['nr_periods'] ?? 0n,
    throttledPeriods: stat['nr_throttled'] ?? 0n,
    throttledNs: stat['throttled_time'] ?? 0n,
  };
}

/** From the texts of `filesV1`. Pure. */
export function usageOfV1(files: Files): CgroupUsage {
  return {
    version: 1,
    ...(files['cpuUsage'] !== undefined && { cpu: cpuOfV1(files) }),
    ...(files['memory'] !== undefined && {
      memory: {
        bytes: parseNumber(files['memory']),
        maxBytes: parseNumber(files['memoryMax']),
        limitBytes: parseNumber(files['memoryLimit']),
        failures: parseNumber(files['memoryFailures']),
        stat: parseTable(files['memoryStat'] ?? ''),
      },
    }),
    ...(files['pids'] !== undefined && { pids: pidsOf(files, undefined) }),
    blockBytes: parseBlkio(files['blockBytes'] ?? ''),
    blockOperations: parseBlkio(files['blockOperations'] ?? ''),
  };
}

/** From the texts of `filesV2`. Pure. */
export function usageOfV2(files: Files): CgroupUsage {
  const cpu = parseTable(files['cpuStat'] ?? '');
  return {
    version: 2,
    ...(files['cpuStat'] !== undefined && {
      cpu: {
        totalNs: (cpu['usage_usec'] ?? 0n) * usNs,
        kernelNs: (cpu['system_usec'] ?? 0n) * usNs,
        userNs: (cpu['user_usec'] ?? 0n) * usNs,
        periods: cpu['nr_periods'] ?? 0n,
        throttledPeriods: cpu['nr_throttled'] ?? 0n,
        throttledNs: (cpu['throttled_usec'] ?? 0n) * usNs,
      },
    }),
    ...(files['memory'] !== undefined && {
      memory: {
        bytes: parseNumber(files['memory']),
        limitBytes: parseNumber(files['memoryLimit']),
        failures: parseTable(files['memoryEvents'] ?? '')['oom'] ?? 0n,
        stat: parseTable(files['memoryStat'] ?? ''),
      },
    }),
    ...(files['pids'] !== undefined && { pids: pidsOf(files, noLimit) }),
    blockBytes: parseIoStat(files['ioStat'] ?? ''),
    blockOperations: [],
  };
}

/** Of the cgroup at `path`, absolute below the root. Does not throw. */
export async function readUsage(version: 1 | 2, path: string, root = '/sys/fs/cgroup'): Promise<CgroupUsage> {
  const located = (files: Readonly<Record<string, string>>, at: (file: string) => string): typeof files =>
    Object.fromEntries(Object.entries(files).map(([name, file]) => [name, at(file)]));
  if (version === 2) return usageOfV2(await readFiles(located(filesV2, (file) => join(root, path, file))));
  const paths = located(filesV1, (file) => {
    const [controller = '', name = ''] = file.split('/');
    return join(root, controller, path, name);
  });
  return usageOfV1(await readFiles(paths));
}

/** Time of all processors since the machine's start, and how many there are: from /proc/stat (proc_stat(5)). */
export interface SystemCpu {
  readonly totalNs: bigint;
  readonly onlineCpus: number;
}

/** From the text of /proc/stat. Guest time is in that of users already. Pure. */
export function parseSystemCpu(text: string): SystemCpu {
  const ticks = /^cpu +(.*)$/m.exec(text)?.[1]?.split(' ').slice(0, 8) ?? [];
  return {
    totalNs: ticks.reduce((sum, tick) => sum + BigInt(tick), 0n) * tickNs,
    onlineCpus: [...text.matchAll(/^cpu\d+ /gm)].length,
  };
}

export async function readSystemCpu(): Promise<SystemCpu> {
  return parseSystemCpu(await readFile('/proc/stat', 'utf8'));
}
