/*
 * Docker's `Resources` (Engine API 1.50): the part of HostConfig that says what a container may use, which `update` takes
 * by itself, in our words and back. Zero values mean "not said", as Docker takes them.
 */
import type { ContainerSpec } from '../../engine/model.ts';
import type { DeviceMapping } from '../../runtime/oci/devices.ts';
import type { DeviceRate, DeviceWeight, Limits } from '../../runtime/oci/limits.ts';
import type { Ulimit } from '../../runtime/oci/spec.ts';
import { bool, type Decoder, int, list, pointer, struct, text, uint16, uint64 } from './goJson.ts';

interface ThrottleBody {
  readonly Path: string;
  readonly Rate: number;
}

interface WeightBody {
  readonly Path: string;
  readonly Weight: number;
}

interface DeviceBody {
  readonly PathOnHost: string;
  readonly PathInContainer: string;
  readonly CgroupPermissions: string;
}

interface UlimitBody {
  readonly Name: string;
  readonly Hard: number;
  readonly Soft: number;
}

/** The fields that we act on; KernelMemory and KernelMemoryTCP have had no effect since API 1.42. */
export interface ResourcesBody {
  readonly Memory: number;
  readonly MemorySwap: number;
  readonly MemoryReservation: number;
  readonly MemorySwappiness: number | undefined;
  readonly OomKillDisable: boolean | undefined;
  readonly NanoCpus: number;
  readonly CpuShares: number;
  readonly CpuPeriod: number;
  readonly CpuQuota: number;
  readonly CpuRealtimePeriod: number;
  readonly CpuRealtimeRuntime: number;
  readonly CpusetCpus: string;
  readonly CpusetMems: string;
  readonly PidsLimit: number | undefined;
  readonly BlkioWeight: number;
  readonly BlkioWeightDevice: readonly WeightBody[] | undefined;
  readonly BlkioDeviceReadBps: readonly ThrottleBody[] | undefined;
  readonly BlkioDeviceWriteBps: readonly ThrottleBody[] | undefined;
  readonly BlkioDeviceReadIOps: readonly ThrottleBody[] | undefined;
  readonly BlkioDeviceWriteIOps: readonly ThrottleBody[] | undefined;
  readonly Ulimits: readonly UlimitBody[] | undefined;
  readonly Devices: readonly DeviceBody[] | undefined;
  readonly DeviceCgroupRules: readonly string[] | undefined;
}

const throttles = list(struct<ThrottleBody>('ThrottleDevice', { Path: text, Rate: uint64 }));

export const resourceFields: { readonly [K in keyof ResourcesBody]: Decoder<ResourcesBody[K]> } = {
  Memory: int,
  MemorySwap: int,
  MemoryReservation: int,
  MemorySwappiness: pointer(int),
  OomKillDisable: pointer(bool),
  NanoCpus: int,
  CpuShares: int,
  CpuPeriod: int,
  CpuQuota: int,
  CpuRealtimePeriod: int,
  CpuRealtimeRuntime: int,
  CpusetCpus: text,
  CpusetMems: text,
  PidsLimit: pointer(int),
  BlkioWeight: uint16,
  BlkioWeightDevice: list(struct<WeightBody>('WeightDevice', { Path: text, Weight: uint16 })),
  BlkioDeviceReadBps: throttles,
  BlkioDeviceWriteBps: throttles,
  BlkioDeviceReadIOps: throttles,
  BlkioDeviceWriteIOps: throttles,
  Ulimits: list(struct<UlimitBody>('Ulimit', { Name: text, Hard: int, Soft: int })),
  Devices: list(
    struct<DeviceBody>('DeviceMapping', { PathOnHost: text, PathInContainer: text, CgroupPermissions: text }),
  ),
  DeviceCgroupRules: list(text),
};

type Numbers = { readonly [K in keyof Limits as Limits[K] extends number | undefined ? K : never]: number };

function toNumbers(body: ResourcesBody): Numbers {
  return {
    memoryBytes: body.Memory,
    memorySwapBytes: body.MemorySwap,
    memoryReservationBytes: body.MemoryReservation,
    // -1 is the old word for none, and 0 is a value.
    memorySwappiness: body.MemorySwappiness ?? -1,
    nanoCpus: body.NanoCpus,
    cpuShares: body.CpuShares,
    cpuPeriodUs: body.CpuPeriod,
    cpuQuotaUs: body.CpuQuota,
    cpuRealtimePeriodUs: body.CpuRealtimePeriod,
    cpuRealtimeRuntimeUs: body.CpuRealtimeRuntime,
    pidsLimit: Math.max(0, body.PidsLimit ?? 0),
    blkioWeight: body.BlkioWeight,
  };
}

function toRates(body: readonly ThrottleBody[]): readonly DeviceRate[] {
  return body.map(({ Path, Rate }) => ({ path: Path, rate: Rate }));
}

function toLists(body: ResourcesBody): Limits {
  const weights = body.BlkioWeightDevice ?? [];
  return {
    blkioWeightDevices: weights.map(({ Path, Weight }): DeviceWeight => ({ path: Path, weight: Weight })),
    readBytesPerS: toRates(body.BlkioDeviceReadBps ?? []),
    writeBytesPerS: toRates(body.BlkioDeviceWriteBps ?? []),
    readOperationsPerS: toRates(body.BlkioDeviceReadIOps ?? []),
    writeOperationsPerS: toRates(body.BlkioDeviceWriteIOps ?? []),
  };
}

/** Only what was said; a `PidsLimit` of 0 or less is no limit. */
export function toLimits(body: ResourcesBody): Limits {
  const { memorySwappiness, ...numbers } = toNumbers(body);
  const given = {
    ...Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== 0)),
    ...Object.fromEntries(Object.entries(toLists(body)).filter(([, value]) => value.length > 0)),
  };
  return {
    ...given,
    ...(memorySwappiness !== -1 && { memorySwappiness }),
    ...(body.OomKillDisable === true && { isOomKillDisabled: true }),
    ...(body.CpusetCpus !== '' && { cpusetCpus: body.CpusetCpus }),
    ...(body.CpusetMems !== '' && { cpusetMems: body.CpusetMems }),
  };
}

/** What `update` has no field for in Docker either, and drops there. */
const fixedFields = [
  'MemorySwappiness',
  'OomKillDisable',
  'BlkioWeightDevice',
  'BlkioDeviceReadBps',
  'BlkioDeviceWriteBps',
  'BlkioDeviceReadIOps',
  'BlkioDeviceWriteIOps',
  'Ulimits',
  'Devices',
  'DeviceCgroupRules',
] as const satisfies readonly (keyof ResourcesBody)[];

/** The first set field of `body` that an existing container cannot change. */
export function findFixedField(body: ResourcesBody): string | undefined {
  return fixedFields.find((field) => {
    const value = body[field];
    return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
  });
}

/** Likewise for `update`, where a `PidsLimit` of 0 or less takes one back. */
export function toChangedLimits(body: ResourcesBody): Limits {
  const { PidsLimit } = body;
  return {
    ...toLimits(body),
    ...(PidsLimit !== undefined && { pidsLimit: Math.max(0, PidsLimit) }),
  };
}

export function toUlimits(body: ResourcesBody): readonly Ulimit[] {
  return (body.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name, soft: Soft, hard: Hard }));
}

/** Without a path inside it is that of the host; without permissions all three. */
export function toDeviceMappings(body: ResourcesBody): readonly DeviceMapping[] {
  return (body.Devices ?? []).map(({ PathOnHost, PathInContainer, CgroupPermissions }) => ({
    hostPath: PathOnHost,
    containerPath: PathInContainer === '' ? PathOnHost : PathInContainer,
    access: CgroupPermissions === '' ? 'rwm' : CgroupPermissions,
  }));
}

function ratesShape(rates: readonly DeviceRate[] = []): readonly ThrottleBody[] {
  return rates.map(({ path, rate }) => ({ Path: path, Rate: rate }));
}

function blockShape(limits: Limits): Record<string, unknown> {
  return {
    BlkioWeight: limits.blkioWeight ?? 0,
    BlkioWeightDevice: (limits.blkioWeightDevices ?? []).map(({ path, weight }) => ({
      Path: path,
      Weight: weight,
    })),
    BlkioDeviceReadBps: ratesShape(limits.readBytesPerS),
    BlkioDeviceWriteBps: ratesShape(limits.writeBytesPerS),
    BlkioDeviceReadIOps: ratesShape(limits.readOperationsPerS),
    BlkioDeviceWriteIOps: ratesShape(limits.writeOperationsPerS),
  };
}

function deviceShapes(spec: ContainerSpec): Record<string, unknown> {
  const rules = spec.deviceRules ?? [];
  return {
    Devices: (spec.devices ?? []).map(({ hostPath, containerPath, access }) => ({
      PathOnHost: hostPath,
      PathInContainer: containerPath,
      CgroupPermissions: access,
    })),
    DeviceCgroupRules: rules.length === 0 ? null : rules,
    DeviceRequests: null,
    Ulimits: (spec.ulimits ?? []).map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })),
  };
}

/** `inspect`'s part of HostConfig. cgroup v2 knows no OOM killer that can be switched off. */
export function resourcesShape(spec: ContainerSpec, cgroupVersion: 1 | 2): Record<string, unknown> {
  const limits = spec.limits ?? {};
  return {
    CpuShares: limits.cpuShares ?? 0,
    Memory: limits.memoryBytes ?? 0,
    NanoCpus: limits.nanoCpus ?? 0,
    CgroupParent: spec.cgroupParent ?? '',
    ...blockShape(limits),
    CpuPeriod: limits.cpuPeriodUs ?? 0,
    CpuQuota: limits.cpuQuotaUs ?? 0,
    CpuRealtimePeriod: limits.cpuRealtimePeriodUs ?? 0,
    CpuRealtimeRuntime: limits.cpuRealtimeRuntimeUs ?? 0,
    CpusetCpus: limits.cpusetCpus ?? '',
    CpusetMems: limits.cpusetMems ?? '',
    ...deviceShapes(spec),
    MemoryReservation: limits.memoryReservationBytes ?? 0,
    MemorySwap: limits.memorySwapBytes ?? 0,
    MemorySwappiness: limits.memorySwappiness ?? null,
    OomKillDisable: cgroupVersion === 2 ? null : (limits.isOomKillDisabled ?? false),
    PidsLimit: limits.pidsLimit ?? null,
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}
