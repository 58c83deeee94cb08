/*
 * HostConfig of `GET /containers/{id}/json` (Docker Engine API 1.50), rebuilt from what the engine keeps. Options that
 * are refused at create are shown with the value that dockerd shows when they are not set.
 */
import type { ContainerSpec, MountSpec } from '../../engine/model.ts';
import { systemPathsOpen } from '../../runtime/oci/security.ts';
import { defaultLogConfig } from '../../runtime/stdio/logOptions.ts';
import { resourcesShape } from './limitBody.ts';
import { portBindingsShape } from './portShapes.ts';

const defaultShmBytes = 64 * 1024 * 1024;

/** What dockerd 28 hides from a container that is not privileged (OCI maskedPaths). */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

function hiddenPaths(spec: ContainerSpec, paths: readonly string[]): readonly string[] | null {
  if (spec.isPrivileged) return null;
  return spec.securityOptions.includes(systemPathsOpen) ? [] : paths;
}

function orNull<T>(items: readonly T[]): readonly T[] | null {
  return items.length === 0 ? null : items;
}

/** A mount that `-v` and `--mount` can both ask for. */
type Mount = Exclude<MountSpec, { readonly type: 'tmpfs' }>;

/** What `-v` can ask for. */
type ShortMount = Exclude<Mount, { readonly type: 'image' }>;

function isShort(mount: Mount): mount is ShortMount {
  if (mount.type === 'image') return false;
  return mount.type === 'bind' ? mount.createSource : mount.mode !== undefined;
}

function bindText(mount: ShortMount): string {
  if (mount.type === 'volume')
    return [mount.source, mount.target, mount.mode ?? ''].filter((word) => word !== '').join(':');
  const options = [mount.isReadOnly ? 'ro' : '', mount.propagation ?? ''].filter((word) => word !== '');
  return [mount.source, mount.target, ...(options.length > 0 ? [options.join(',')] : [])].join(':');
}

function volumeMountShape(mount: Mount & { readonly type: 'volume' }): Record<string, unknown> {
  const { source, target, isReadOnly, copies, subpath, driver, options, labels } = mount;
  const driverConfig = { ...(driver !== '' && { Name: driver }), ...(options && { Options: options }) };
  const volumeOptions = {
    ...(!copies && { NoCopy: true }),
    ...(labels && { Labels: labels }),
    ...(subpath !== undefined && { Subpath: subpath }),
    ...(Object.keys(driverConfig).length > 0 && { DriverConfig: driverConfig }),
  };
  return {
    Type: 'volume',
    ...(source !== '' && { Source: source }),
    Target: target,
    ...(isReadOnly && { ReadOnly: true }),
    ...(Object.keys(volumeOptions).length > 0 && { VolumeOptions: volumeOptions }),
  };
}

const belowFields = {
  none: { NonRecursive: true },
  writable: { ReadOnlyNonRecursive: true },
  readonly: { ReadOnlyForceRecursive: true },
} as const;

function bindOptionsShape({ propagation, below }: Mount & { readonly type: 'bind' }): object {
  if (propagation === undefined && below === undefined) return {};
  return {
    BindOptions: {
      ...(propagation !== undefined && { Propagation: propagation }),
      ...(below !== undefined && belowFields[below]),
    },
  };
}

/** `--mount` as given; `-v` and `--tmpfs` have fields of their own. */
function mountShape(mount: Mount): Record<string, unknown> {
  if (mount.type === 'volume') return volumeMountShape(mount);
  if (mount.type === 'image') return { Type: 'image', Source: mount.source, Target: mount.target };
  return {
    Type: 'bind',
    Source: mount.source,
    Target: mount.target,
    ...(mount.isReadOnly && { ReadOnly: true }),
    ...bindOptionsShape(mount),
  };
}

function mountFields(mounts: readonly MountSpec[]): Record<string, unknown> {
  const others = mounts.filter((mount) => mount.type !== 'tmpfs');
  const tmpfs = mounts.filter((mount) => mount.type === 'tmpfs');
  const long = others.filter((mount) => !isShort(mount)).map(mountShape);
  return {
    Binds: orNull(others.filter(isShort).map(bindText)),
    ...(long.length > 0 && { Mounts: long }),
    ...(tmpfs.length > 0 && {
      Tmpfs: Object.fromEntries(tmpfs.map(({ target, options }) => [target, options])),
    }),
  };
}

/** As Docker shows them: what shares so much with the host has no labels of its own. */
function securityOptions(spec: ContainerSpec): readonly string[] {
  const given = spec.securityOptions.filter((option) => option !== systemPathsOpen);
  const hasLabel = given.some((option) => option.startsWith('label'));
  const isOpen = spec.isPrivileged || spec.ipcMode === 'host' || spec.pidMode === 'host';
  return isOpen && !hasLabel ? [...given, 'label=disable'] : given;
}

/** `links` are those of the default network. `cgroupVersion` decides what an unset cgroup namespace means: the host's on v1, a private one on v2. */
export function hostConfigShape(
  spec: ContainerSpec,
  cgroupVersion: 1 | 2,
  links: readonly string[],
): Record<string, unknown> {
  const log = spec.log ?? defaultLogConfig;
  const cgroupNamespace = cgroupVersion === 1 ? 'host' : 'private';
  return {
    ...mountFields(spec.mounts),
    ContainerIDFile: '',
    LogConfig: { Type: log.driver, Config: log.options },
    NetworkMode: spec.networkModeText === 'default' ? 'bridge' : spec.networkModeText,
    PortBindings: portBindingsShape(spec.ports),
    RestartPolicy: {
      Name: spec.restartPolicy?.name ?? 'no',
      MaximumRetryCount: spec.restartPolicy?.maxRetries ?? 0,
    },
    AutoRemove: spec.isAutoRemove,
    VolumeDriver: '',
    VolumesFrom: orNull(spec.volumesFrom ?? []),
    ConsoleSize: spec.consoleSize ?? [0, 0],
    ...(Object.keys(spec.annotations).length > 0 && { Annotations: spec.annotations }),
    CapAdd: orNull(spec.capAdd),
    CapDrop: orNull(spec.capDrop),
    CgroupnsMode: spec.cgroupNamespace === '' ? cgroupNamespace : spec.cgroupNamespace,
    Dns: spec.dns,
    DnsOptions: spec.dnsOptions,
    DnsSearch: spec.dnsSearch,
    ExtraHosts: orNull(spec.extraHosts),
    GroupAdd: orNull(spec.groupAdd),
    IpcMode: spec.ipcMode === '' ? 'private' : spec.ipcMode,
    Cgroup: '',
    Links: orNull(links),
    OomScoreAdj: spec.oomScoreAdj ?? 0,
    PidMode: spec.pidMode,
    Privileged: spec.isPrivileged,
    PublishAllPorts: spec.publishesAllPorts,
    ReadonlyRootfs: spec.isReadOnlyRootfs,
    SecurityOpt: orNull(securityOptions(spec)),
    UTSMode: spec.utsMode,
    UsernsMode: spec.userMode ?? '',
    ShmSize: spec.shmSizeBytes ?? defaultShmBytes,
    ...(Object.keys(spec.sysctls).length > 0 && { Sysctls: spec.sysctls }),
    Runtime: spec.runtime ?? 'runc',
    Isolation: '',
    ...resourcesShape(spec, cgroupVersion),
    MaskedPaths: hiddenPaths(spec, maskedPaths),
    ReadonlyPaths: hiddenPaths(spec, readonlyPaths),
    ...(spec.hasInit && { Init: true }),
  };
}
