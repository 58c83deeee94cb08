/*
 * What a container may use of the machine, and its OCI form (runtime spec 1.0.2, config-linux.md, `resources`). The
 * runtime translates that to cgroup v1 or v2. Pure.
 */
import type { OciSpec } from '../runtime.ts';

/** A block device and how many bytes or operations a second it may carry for the container. */
export interface DeviceRate {
  /** On the host: `/dev/sda`. */
  readonly path: string;
  readonly rate: number;
}

/** A block device and the container's share of it, 10 to 1000. */
export interface DeviceWeight {
  readonly path: string;
  readonly weight: number;
}

/** What is absent is not limited. */
export interface Limits {
  readonly memoryBytes?: number;
  /** Memory and swap together; -1 = swap has no limit. */
  readonly memorySwapBytes?: number;
  /** What the kernel tries to push the container back to when memory is short. */
  readonly memoryReservationBytes?: number;
  /** 0 to 100. cgroup v1 only. */
  readonly memorySwappiness?: number;
  /** At the limit processes wait for memory. cgroup v1 only. */
  readonly isOomKillDisabled?: boolean;
  /** Weight, 1024 unless told. */
  readonly cpuShares?: number;
  /** Billionths of a processor; another way to say quota. */
  readonly nanoCpus?: number;
  readonly cpuPeriodUs?: number;
  /** In each period; negative = none. */
  readonly cpuQuotaUs?: number;
  readonly cpuRealtimePeriodUs?: number;
  readonly cpuRealtimeRuntimeUs?: number;
  /** `0-2,5` */
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  /** Processes and threads; 0 = none, which takes one back. */
  readonly pidsLimit?: number;
  /** 10 to 1000. */
  readonly blkioWeight?: number;
  readonly blkioWeightDevices?: readonly DeviceWeight[];
  readonly readBytesPerS?: readonly DeviceRate[];
  readonly writeBytesPerS?: readonly DeviceRate[];
  readonly readOperationsPerS?: readonly DeviceRate[];
  readonly writeOperationsPerS?: readonly DeviceRate[];
}

export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

/** In which the quota of `nanoCpus` is given. */
const nanoCpuPeriodUs = 100_000;

/** The entries of `fields` that are there; undefined if there are none. */
function section(fields: Readonly<Record<string, unknown>>): OciSpec | undefined {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

function memorySection(limits: Limits): OciSpec | undefined {
  const { memoryBytes, memorySwapBytes = 0 } = limits;
  return section({
    limit: memoryBytes,
    reservation: limits.memoryReservationBytes,
    // Unlimited is what a new cgroup has; saying so would write to a file that a kernel without swap accounting lacks.
    swap: memorySwapBytes > 0 ? memorySwapBytes : undefined,
    swappiness: limits.memorySwappiness,
    disableOOMKiller: limits.isOomKillDisabled,
  });
}

function cpuSection(limits: Limits): OciSpec | undefined {
  const { nanoCpus, cpuPeriodUs, cpuQuotaUs } = limits;
  const isByNanoCpus = nanoCpus !== undefined;
  return section({
    shares: limits.cpuShares,
    period: isByNanoCpus ? nanoCpuPeriodUs : cpuPeriodUs,
    quota: isByNanoCpus ? Math.trunc((nanoCpus * nanoCpuPeriodUs) / 1e9) : cpuQuotaUs,
    realtimePeriod: limits.cpuRealtimePeriodUs,
    realtimeRuntime: limits.cpuRealtimeRuntimeUs,
    cpus: limits.cpusetCpus,
    mems: limits.cpusetMems,
  });
}

function blockSection(limits: Limits, numberOf: (path: string) => DeviceNumber): OciSpec | undefined {
  const rates = (devices: readonly DeviceRate[] = []): readonly object[] | undefined =>
    devices.length === 0 ? undefined : devices.map(({ path, rate }) => ({ ...numberOf(path), rate }));
  const weights = limits.blkioWeightDevices ?? [];
  return section({
    weight: limits.blkioWeight,
    weightDevice:
      weights.length === 0 ? undefined : weights.map(({ path, weight }) => ({ ...numberOf(path), weight })),
    throttleReadBpsDevice: rates(limits.readBytesPerS),
    throttleWriteBpsDevice: rates(limits.writeBytesPerS),
    throttleReadIOPSDevice: rates(limits.readOperationsPerS),
    throttleWriteIOPSDevice: rates(limits.writeOperationsPerS),
  });
}

/** `linux.resources` without devices. `numberOf` looks up a block device and may throw. */
export function resourcesOf(limits: Limits, numberOf: (path: string) => DeviceNumber): OciSpec {
  const { pidsLimit } = limits;
  return (
    section({
      memory: memorySection(limits),
      cpu: cpuSection(limits),
      pids: pidsLimit === undefined ? undefined : { limit: pidsLimit <= 0 ? -1 : pidsLimit },
      blockIO: blockSection(limits, numberOf),
    }) ?? {}
  );
}

/**
 * The same for a cgroup that has limits already, of which `limits` names those that change. `takesSwapBack`: -1 for swap
 * has to be said, and there is a file that takes it.
 */
export function updatedResourcesOf(
  limits: Limits,
  numberOf: (path: string) => DeviceNumber,
  takesSwapBack: boolean,
): OciSpec {
  const resources = resourcesOf(limits, numberOf);
  if (limits.memorySwapBytes !== -1 || !takesSwapBack) return resources;
  return { ...resources, memory: { ...memorySection(limits), swap: -1 } };
}
