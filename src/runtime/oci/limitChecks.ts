/*
 * Limits as Docker Engine 28 takes them: what is refused, with its texts, and what is dropped with a warning because the
 * kernel has no file for it. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Limits } from './limits.ts';
import type { LimitSupport } from './limitSupport.ts';

/** Enough for the runtime's own start inside the limit. */
const minMemoryBytes = 6 * 1024 * 1024;

export interface CheckedLimits {
  readonly limits: Limits;
  readonly warnings: readonly string[];
}

function refuse(message: string): never {
  throw new LinkspanError('containerConfigInvalid', message);
}

interface Lack {
  readonly isLacking: (support: LimitSupport) => boolean;
  readonly keys: readonly (keyof Limits)[];
  readonly warning: string;
}

const noFile = (what: string): string => `Your kernel does not support ${what} or the cgroup is not mounted.`;

const lacks: readonly Lack[] = [
  {
    isLacking: ({ memory }) => !memory,
    keys: ['memoryBytes'],
    warning: `${noFile('memory limit capabilities')} Limitation discarded.`,
  },
  {
    isLacking: ({ swappiness }) => !swappiness,
    keys: ['memorySwappiness'],
    warning: `${noFile('memory swappiness capabilities')} Memory swappiness discarded.`,
  },
  {
    isLacking: ({ memoryReservation }) => !memoryReservation,
    keys: ['memoryReservationBytes'],
    warning: `${noFile('memory soft limit capabilities')} Limitation discarded.`,
  },
  {
    isLacking: ({ oomKillDisable }) => !oomKillDisable,
    keys: ['isOomKillDisabled'],
    warning: 'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
  },
  {
    isLacking: ({ pids }) => !pids,
    keys: ['pidsLimit'],
    warning: `${noFile('PIDs limit capabilities')} PIDs limit discarded.`,
  },
  {
    isLacking: ({ cpuShares }) => !cpuShares,
    keys: ['cpuShares'],
    warning: `${noFile('CPU shares')} Shares discarded.`,
  },
  {
    isLacking: ({ cpuQuota }) => !cpuQuota,
    keys: ['cpuPeriodUs', 'cpuQuotaUs'],
    warning: 'Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.',
  },
  {
    isLacking: ({ cpuset }) => !cpuset,
    keys: ['cpusetCpus', 'cpusetMems'],
    warning: `${noFile('cpuset')} Cpuset discarded.`,
  },
  {
    isLacking: ({ blkioWeight }) => !blkioWeight,
    keys: ['blkioWeight'],
    warning: `${noFile('Block I/O weight')} Weight discarded.`,
  },
  {
    isLacking: ({ blkioWeightDevice }) => !blkioWeightDevice,
    keys: ['blkioWeightDevices'],
    warning: `${noFile('Block I/O weight_device')} Weight-device discarded.`,
  },
  {
    isLacking: ({ blkioThrottle }) => !blkioThrottle,
    keys: ['readBytesPerS'],
    warning: `${noFile('BPS Block I/O read limit')} Block I/O BPS read limit discarded.`,
  },
  {
    isLacking: ({ blkioThrottle }) => !blkioThrottle,
    keys: ['writeBytesPerS'],
    warning: `${noFile('BPS Block I/O write limit')} Block I/O BPS write limit discarded.`,
  },
  {
    isLacking: ({ blkioThrottle }) => !blkioThrottle,
    keys: ['readOperationsPerS'],
    warning: `${noFile('IOPS Block read limit')} Block I/O IOPS read limit discarded.`,
  },
  {
    isLacking: ({ blkioThrottle }) => !blkioThrottle,
    keys: ['writeOperationsPerS'],
    warning: `${noFile('IOPS Block write limit')} Block I/O IOPS write limit discarded.`,
  },
];

/** What the kernel cannot hold is left out, with a warning for each that says more than "none". */
function dropLacking(given: Limits, support: LimitSupport): CheckedLimits {
  const warnings: string[] = [];
  let limits = given;
  for (const { isLacking, keys, warning } of lacks) {
    if (!isLacking(support)) continue;
    const dropped = keys.filter((key) => limits[key] !== undefined);
    if (dropped.some((key) => limits[key] !== 0 && limits[key] !== false)) warnings.push(warning);
    limits = Object.fromEntries(
      Object.entries(limits).filter(([key]) => !dropped.includes(key as keyof Limits)),
    );
  }
  if (limits.memoryBytes !== undefined && limits.memorySwapBytes !== -1 && !support.swap) {
    warnings.push(`${noFile('swap limit capabilities')} Memory limited without swap.`);
    limits = { ...limits, memorySwapBytes: -1 };
  }
  return { limits, warnings };
}

/** The numbers of a list like `0-2,5`; undefined if it is none. */
function parseSet(text: string): ReadonlySet<number> | undefined {
  const found = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (match === null) return undefined;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last < first || last > 65_535) return undefined;
    for (let number = first; number <= last; number++) found.add(number);
  }
  return found;
}

function checkSet(asked: string | undefined, available: string, kind: 'cpus' | 'mems'): void {
  if (asked === undefined) return;
  const wanted =
    parseSet(asked) ?? refuse(`Invalid value ${asked} for cpuset ${kind}: invalid format: ${asked}`);
  const there = parseSet(available) ?? new Set();
  const what = kind === 'cpus' ? 'CPUs' : 'memory nodes';
  if (!wanted.isSubsetOf(there))
    refuse(`Requested ${what} are not available - requested ${asked}, available: ${available}`);
}

function checkMemory(limits: Limits, isUpdate: boolean): void {
  const { memoryBytes = 0, memorySwapBytes = 0, memoryReservationBytes = 0, memorySwappiness } = limits;
  if (memoryBytes !== 0 && memoryBytes < minMemoryBytes) refuse('Minimum memory limit allowed is 6MB');
  if (memoryBytes > 0 && memorySwapBytes > 0 && memorySwapBytes < memoryBytes)
    refuse('Minimum memoryswap limit should be larger than memory limit, see usage');
  if (memoryBytes === 0 && memorySwapBytes > 0 && !isUpdate)
    refuse('You should always set the Memory limit when using Memoryswap limit, see usage');
  if (memorySwappiness !== undefined && (memorySwappiness < 0 || memorySwappiness > 100))
    refuse(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  if (memoryReservationBytes > 0 && memoryReservationBytes < minMemoryBytes)
    refuse('Minimum memory reservation allowed is 6MB');
  if (memoryBytes > 0 && memoryReservationBytes > memoryBytes)
    refuse('Minimum memory limit can not be less than memory reservation limit, see usage');
}

function checkCpu(limits: Limits, { cpuCount, cpuQuota, cpuRealtime, cpus, mems }: LimitSupport): void {
  const { nanoCpus = 0, cpuPeriodUs = 0, cpuQuotaUs = 0, cpuShares = 0 } = limits;
  const { cpuRealtimePeriodUs = 0, cpuRealtimeRuntimeUs = 0 } = limits;
  if ((cpuRealtimePeriodUs !== 0 || cpuRealtimeRuntimeUs !== 0) && !cpuRealtime)
    refuse('kernel does not support CPU real-time scheduler');
  if (cpuRealtimePeriodUs !== 0 && cpuRealtimeRuntimeUs > cpuRealtimePeriodUs)
    refuse('cpu real-time runtime cannot be higher than cpu real-time period');
  if (nanoCpus > 0 && cpuPeriodUs > 0)
    refuse('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (nanoCpus > 0 && cpuQuotaUs > 0)
    refuse('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (nanoCpus > 0 && !cpuQuota)
    refuse(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    );
  if (nanoCpus < 0 || nanoCpus > cpuCount * 1e9)
    refuse(`range of CPUs is from 0.01 to ${cpuCount}.00, as there are only ${cpuCount} CPUs available`);
  if (cpuShares < 0) refuse(`invalid CPU shares (${cpuShares}): value must be a positive integer`);
  if (cpuPeriodUs !== 0 && (cpuPeriodUs < 1000 || cpuPeriodUs > 1_000_000))
    refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  if (cpuQuotaUs > 0 && cpuQuotaUs < 1000) refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  checkSet(limits.cpusetCpus, cpus, 'cpus');
  checkSet(limits.cpusetMems, mems, 'mems');
}

/** Throws containerConfigInvalid. `isUpdate`: limits that are absent may be set already. */
export function checkLimits(given: Limits, support: LimitSupport, isUpdate: boolean): CheckedLimits {
  checkMemory(given, isUpdate);
  const { limits, warnings } = dropLacking(given, support);
  checkCpu(limits, support);
  const { blkioWeight = 0 } = limits;
  if (blkioWeight !== 0 && (blkioWeight < 10 || blkioWeight > 1000))
    refuse('Range of blkio weight is from 10 to 1000');
  const isUnbounded = limits.isOomKillDisabled === true && limits.memoryBytes === undefined;
  return {
    limits,
    warnings: isUnbounded
      ? [
          ...warnings,
          'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
        ]
      : warnings,
  };
}

/** As create keeps them: a limit on memory is one on as much swap, unless told. */
export function withDefaultSwap(limits: Limits): Limits {
  const { memoryBytes, memorySwapBytes } = limits;
  if (memoryBytes === undefined || memorySwapBytes !== undefined) return limits;
  return { ...limits, memorySwapBytes: memoryBytes * 2 };
}
