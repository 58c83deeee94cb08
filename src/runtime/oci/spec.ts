/*
 * Builds the OCI runtime spec of a container as Docker Engine 28 would by default, from values only: whoever calls
 * has looked up users, paths and devices. Contract: OCI runtime spec 1.0.2 (config.md, config-linux.md).
 * Not here: SELinux (not applied). Without `ulimits` the daemon's own are inherited.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { OciSpec } from '../runtime.ts';
import { type AppArmor, defaultAppArmorProfile } from './appArmor.ts';
import { resolveCapabilities } from './capabilities.ts';
import {
  allDeviceRules,
  type DeviceMapping,
  type DeviceNode,
  type DeviceRule,
  defaultDeviceRules,
  mapDevices,
  parseDeviceRule,
} from './devices.ts';
import { mergeEnvironment, processEnvironment } from './environment.ts';
import { type DeviceNumber, type Limits, resourcesOf } from './limits.ts';
import type { LimitSupport } from './limitSupport.ts';
import {
  type EtcFiles,
  etcMounts,
  kernelMounts,
  type MountRequest,
  mergeMounts,
  type OciMount,
  userMount,
} from './mounts.ts';
import { expandSeccomp } from './seccomp.ts';
import { type MountPoint, rootPropagation } from './propagation.ts';
import { parseSecurityOptions, unconfined } from './security.ts';
import type { ProcessUser } from './users.ts';

/** Hidden from containers (Docker Engine 28). */
const maskedPaths: readonly string[] = [
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

/** Read-only in containers. */
const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

export const defaultShmSizeBytes: number = 64 * 1024 * 1024;

/** What this machine is and what the daemon may do; read once. */
export interface SpecHost {
  /** Go's name: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly kernelRelease: string;
  /** Capabilities that the daemon has itself. */
  readonly capabilities: readonly string[];
  readonly cgroupVersion: 1 | 2;
  /** Parent cgroup of containers, absolute: `/linkspan`. */
  readonly cgroupParent: string;
  readonly limitSupport: LimitSupport;
  /** undefined where this machine has it not: nothing is confined by it then. */
  readonly appArmor: AppArmor | undefined;
  /** Path of the init for `--init`; undefined if there is none. */
  readonly findInit: () => string | undefined;
  /** Device nodes for privileged containers. */
  readonly devices: () => readonly DeviceNode[];
  /** Those at a path or below it; throws runtimeFailed if there is none. */
  readonly devicesAt: (path: string) => readonly DeviceNode[];
  /** The mount that a path lies on. */
  readonly findMount: (path: string) => MountPoint | undefined;
  /** Of a block device; throws runtimeFailed if there is none. */
  readonly deviceNumber: (path: string) => DeviceNumber;
}

/** Of a terminal, in characters. */
export type ConsoleSize = readonly [height: number, width: number];

/** A limit of setrlimit(2). */
export interface Ulimit {
  /** `nofile` */
  readonly name: string;
  /** -1 = unlimited. */
  readonly soft: number;
  readonly hard: number;
}

/** How the process sees the network. */
export type SpecNetwork =
  | { readonly type: 'host' }
  /** `isPrivate` is false where the namespace belongs to another container, whose settings then hold. */
  | { readonly type: 'namespace'; readonly path: string; readonly isPrivate: boolean };

/** Whose namespace of a kind a process is in: one of its own, the host's, or one of another container. */
export type NamespaceOwner = 'own' | 'host' | 'other';

/** The options of a container that do not depend on its start: all of them can be checked at create. */
export interface SpecOptions {
  readonly id: string;
  readonly args: readonly string[];
  /** Image and user merged. */
  readonly env: readonly string[];
  /** Empty = `/`. */
  readonly workingDir: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly isTty: boolean;
  readonly consoleSize: ConsoleSize | undefined;
  readonly isPrivileged: boolean;
  readonly isReadOnlyRootfs: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOptions: readonly string[];
  readonly mounts: readonly MountRequest[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly shmSizeBytes: number;
  readonly hasHostNetwork: boolean;
  readonly pidNamespace: NamespaceOwner;
  /** An init before the command, where the process ids are the container's own. */
  readonly hasInit: boolean;
  readonly ipcNamespace: NamespaceOwner;
  readonly hasShm: boolean;
  readonly hasHostUts: boolean;
  /** `private`, `host`, or empty for the default: private on cgroup v2, host on v1. */
  readonly cgroupNamespace: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly limits: Limits;
  readonly ulimits: readonly Ulimit[];
  readonly devices: readonly DeviceMapping[];
  /** `c 10:200 rwm` */
  readonly deviceRules: readonly string[];
  /** Empty = the daemon's. */
  readonly cgroupParent: string;
  /** -1000 (never the first to be killed for memory) to 1000. */
  readonly oomScoreAdj: number;
}

/** What is known only at start. */
export interface SpecStart {
  readonly network: SpecNetwork;
  readonly user: ProcessUser;
  readonly etc: EtcFiles;
  /** Of other containers: `/proc/PID/ns/pid`. */
  readonly pidPath?: string;
  readonly ipcPath?: string;
  /** The host's folder that is shared as /dev/shm. */
  readonly shmPath?: string;
}

/** Sysctls that live in a namespace, and so may be set for one container (kernel and runc's list). */
const ipcSysctls = new Set(
  'kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced'.split(
    ' ',
  ),
);

function refuse(message: string): never {
  throw new LinkspanError('containerConfigInvalid', message);
}

function checkSysctl(name: string, options: SpecOptions): void {
  if (name.startsWith('net.')) {
    if (options.hasHostNetwork) refuse(`sysctl "${name}" not allowed in host network namespace`);
  } else if (ipcSysctls.has(name) || name.startsWith('fs.mqueue.')) {
    if (options.ipcNamespace === 'host') refuse(`sysctl "${name}" not allowed in host ipc namespace`);
  } else if (name === 'kernel.domainname' || name === 'kernel.hostname') {
    if (options.hasHostUts) refuse(`sysctl "${name}" not allowed in host uts namespace`);
  } else refuse(`sysctl "${name}" is not in a separate kernel namespace`);
}

function capabilitiesOf(options: SpecOptions, host: SpecHost): readonly string[] {
  const { capAdd, capDrop, isPrivileged } = options;
  return resolveCapabilities({ add: capAdd, drop: capDrop, isPrivileged, available: host.capabilities });
}

/**
 * Checks everything that can be known at create. Throws containerConfigInvalid, with Docker's text, for a bad
 * capability, security option, mount target, sysctl, device rule or namespace mode; notImplemented for what is refused for
 * now. Limits are checked by limitChecks.ts.
 */
export function checkSpecOptions(options: SpecOptions, host: SpecHost): void {
  capabilitiesOf(options, host);
  const { appArmor } = parseSecurityOptions(options.securityOptions, options.isPrivileged);
  if (host.appArmor === undefined && appArmor !== undefined && appArmor !== unconfined)
    throw new LinkspanError(
      'notImplemented',
      `security option "apparmor=${appArmor}": this machine has no AppArmor, or not its apparmor_parser`,
    );
  const targets = options.mounts.map((request) => userMount(request).destination);
  const twice = targets.find((target, index) => targets.indexOf(target) !== index);
  if (twice !== undefined) refuse(`Duplicate mount point: ${twice}`);
  for (const name of Object.keys(options.sysctls)) checkSysctl(name, options);
  if (!['', 'host', 'private'].includes(options.cgroupNamespace)) {
    refuse(`invalid cgroup namespace mode: ${options.cgroupNamespace}`);
  }
  for (const rule of options.deviceRules) parseDeviceRule(rule);
  const { oomScoreAdj } = options;
  if (oomScoreAdj < -1000 || oomScoreAdj > 1000)
    refuse(`Invalid value ${oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
}

/** The AppArmor profile of a container with `options`; undefined where there is no AppArmor. */
export function appArmorProfileOf(
  options: Pick<SpecOptions, 'securityOptions' | 'isPrivileged'>,
  host: Pick<SpecHost, 'appArmor'>,
): string | undefined {
  if (host.appArmor === undefined) return undefined;
  const { appArmor } = parseSecurityOptions(options.securityOptions, options.isPrivileged);
  return appArmor ?? defaultAppArmorProfile;
}

/** Loads what containers with `options` need of AppArmor's profiles. Throws runtimeFailed. */
export async function prepareAppArmor(options: SpecOptions, host: SpecHost): Promise<void> {
  if (appArmorProfileOf(options, host) === defaultAppArmorProfile) await host.appArmor?.ensureDefault();
}

function confinement(profile: string | undefined): OciSpec {
  return profile === undefined ? {} : { apparmorProfile: profile };
}

/** Lets ordinary users ping and bind low ports: safe, because the namespace is the container's own. */
const privateNetworkSysctls: Readonly<Record<string, string>> = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

function namespace(type: string, owner: NamespaceOwner, path: string | undefined): readonly object[] {
  if (owner === 'host') return [];
  return [path === undefined ? { type } : { type, path }];
}

function namespaces(options: SpecOptions, start: SpecStart, host: SpecHost): readonly object[] {
  const { network, pidPath, ipcPath } = start;
  const isCgroupPrivate =
    options.cgroupNamespace === 'private' ||
    (options.cgroupNamespace === '' && host.cgroupVersion === 2 && !options.isPrivileged);
  return [
    { type: 'mount' },
    ...(network.type === 'namespace' ? [{ type: 'network', path: network.path }] : []),
    ...(options.hasHostUts ? [] : [{ type: 'uts' }]),
    ...namespace('pid', options.pidNamespace, pidPath),
    ...namespace('ipc', options.ipcNamespace, ipcPath),
    ...(isCgroupPrivate ? [{ type: 'cgroup' }] : []),
  ];
}

/** runc 1.1 knows no `domainname` field; the sysctl does the same in every version. */
function sysctlsOf(options: SpecOptions, network: SpecNetwork): Readonly<Record<string, string>> {
  const isPrivate = network.type === 'namespace' && network.isPrivate;
  return {
    ...(isPrivate ? privateNetworkSysctls : {}),
    ...(options.domainname === '' || options.hasHostUts ? {} : { 'kernel.domainname': options.domainname }),
    ...options.sysctls,
  };
}

function capabilitySets(names: readonly string[], uid: number): OciSpec {
  // An execve by another user than root clears these two; saying so keeps runc from setting them before.
  return uid === 0 ? { bounding: names, effective: names, permitted: names } : { bounding: names };
}

/** Privileged containers have every device anyway, but perhaps not under the wanted name. */
function devicesOf(
  options: SpecOptions,
  host: SpecHost,
): { readonly nodes: readonly DeviceNode[]; readonly rules: readonly DeviceRule[] } {
  const isWanted = ({ hostPath, containerPath }: DeviceMapping): boolean =>
    !options.isPrivileged || hostPath !== containerPath;
  const mapped = options.devices
    .filter(isWanted)
    .map((mapping) => mapDevices(mapping, host.devicesAt(mapping.hostPath)));
  const nodes = mapped.flatMap((one) => one.nodes);
  if (options.isPrivileged) return { nodes: [...host.devices(), ...nodes], rules: allDeviceRules };
  const rules = mapped.flatMap((one) => one.rules);
  return { nodes, rules: [...defaultDeviceRules, ...rules, ...options.deviceRules.map(parseDeviceRule)] };
}

/** Below the container's own wish or the daemon's. */
export function cgroupPathOf(
  options: Pick<SpecOptions, 'id' | 'cgroupParent'>,
  host: Pick<SpecHost, 'cgroupParent'>,
): string {
  const parent = options.cgroupParent === '' ? host.cgroupParent : options.cgroupParent;
  return `${parent.replace(/\/+$/, '')}/${options.id}`;
}

/** The runtime reads uint64, of which -1 is the greatest. */
function rlimitsOf(ulimits: readonly Ulimit[]): readonly OciSpec[] {
  const toUint64 = (value: number): bigint => BigInt.asUintN(64, BigInt(value));
  return ulimits.map(({ name, soft, hard }) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: toUint64(soft),
    hard: toUint64(hard),
  }));
}

function linuxSection(options: SpecOptions, start: SpecStart, host: SpecHost): OciSpec {
  const security = parseSecurityOptions(options.securityOptions, options.isPrivileged);
  const capabilities = capabilitiesOf(options, host);
  const devices = devicesOf(options, host);
  const binds = options.mounts.filter((request) => request.type === 'bind');
  const rootfsPropagation = rootPropagation(binds, host.findMount);
  return {
    ...(rootfsPropagation === undefined ? {} : { rootfsPropagation }),
    cgroupsPath: cgroupPathOf(options, host),
    namespaces: namespaces(options, start, host),
    sysctl: sysctlsOf(options, start.network),
    devices: devices.nodes,
    resources: { devices: devices.rules, ...resourcesOf(options.limits, host.deviceNumber) },
    ...(security.protectsSystemPaths ? { maskedPaths, readonlyPaths } : {}),
    ...(security.seccomp === undefined
      ? {}
      : {
          seccomp: expandSeccomp(security.seccomp, {
            architecture: host.architecture,
            kernelRelease: host.kernelRelease,
            capabilities,
          }),
        }),
  };
}

/** Where the init is in the container, as in Docker. */
const initTarget = '/sbin/docker-init';

/** The command with its init before it, and the init's mount. Throws containerStartFailed with Docker's text. */
function withInit(
  { args, hasInit, pidNamespace }: SpecOptions,
  host: SpecHost,
): { readonly args: readonly string[]; readonly mounts: readonly OciMount[] } {
  if (!hasInit || pidNamespace !== 'own') return { args, mounts: [] };
  const source = host.findInit();
  if (source === undefined)
    throw new LinkspanError(
      'runtimeFailed',
      'exec: "docker-init": executable file not found in $PATH: --init needs docker-init, or tini-static of the package tini',
    );
  return {
    args: [initTarget, '--', ...args],
    mounts: [{ type: 'bind', source, destination: initTarget, options: ['bind', 'ro'] }],
  };
}

function terminalOf(isTty: boolean, size: ConsoleSize | undefined): OciSpec {
  if (!isTty || size === undefined) return { terminal: isTty };
  const [height, width] = size;
  return { terminal: true, consoleSize: { height, width } };
}

/** The whole spec. Pure but for the devices that `host` looks up, whose errors it throws. */
export function buildSpec(options: SpecOptions, start: SpecStart, host: SpecHost): OciSpec {
  const security = parseSecurityOptions(options.securityOptions, options.isPrivileged);
  const { uid, gid, additionalGids, home } = start.user;
  const base = [
    ...kernelMounts({
      isPrivileged: options.isPrivileged,
      shmSizeBytes: options.shmSizeBytes,
      hasShm: options.hasShm,
      shmSource: options.ipcNamespace === 'host' ? '/dev/shm' : start.shmPath,
    }),
    ...etcMounts(start.etc),
  ];
  const { args, mounts } = withInit(options, host);
  return {
    ociVersion: '1.0.2',
    process: {
      ...terminalOf(options.isTty, options.consoleSize),
      user: { uid, gid, additionalGids },
      args,
      env: processEnvironment({ env: options.env, hostname: options.hostname, isTty: options.isTty, home }),
      cwd: options.workingDir === '' ? '/' : options.workingDir,
      capabilities: capabilitySets(capabilitiesOf(options, host), uid),
      ...(options.ulimits.length === 0 ? {} : { rlimits: rlimitsOf(options.ulimits) }),
      noNewPrivileges: security.noNewPrivileges,
      ...confinement(appArmorProfileOf(options, host)),
      oomScoreAdj: options.oomScoreAdj,
    },
    root: { path: 'rootfs', readonly: options.isReadOnlyRootfs },
    ...(options.hasHostUts ? {} : { hostname: options.hostname }),
    mounts: [...mergeMounts(base, options.mounts.map(userMount)), ...mounts],
    annotations: options.annotations,
    linux: linuxSection(options, start, host),
  };
}

/** What an exec changes of its container. */
export interface ExecOptions {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string | undefined;
  readonly user: ProcessUser;
  readonly isTty: boolean;
  readonly isPrivileged: boolean;
  /** undefined = the container's. */
  readonly consoleSize: ConsoleSize | undefined;
}

/** The OCI process object of an exec in a container with `options`. */
export function buildExecProcess(exec: ExecOptions, options: SpecOptions, host: SpecHost): OciSpec {
  const security = parseSecurityOptions(options.securityOptions, options.isPrivileged);
  const { uid, gid, additionalGids, home } = exec.user;
  const { hostname } = options;
  const capabilities = exec.isPrivileged ? host.capabilities : capabilitiesOf(options, host);
  const env = mergeEnvironment(options.env, exec.env);
  return {
    ...terminalOf(exec.isTty, exec.consoleSize ?? options.consoleSize),
    user: { uid, gid, additionalGids },
    args: exec.args,
    env: processEnvironment({ env, hostname, isTty: exec.isTty, home }),
    cwd: exec.workingDir ?? (options.workingDir === '' ? '/' : options.workingDir),
    capabilities: capabilitySets(capabilities, uid),
    ...(options.ulimits.length === 0 ? {} : { rlimits: rlimitsOf(options.ulimits) }),
    noNewPrivileges: security.noNewPrivileges,
    ...confinement(
      exec.isPrivileged && host.appArmor !== undefined ? unconfined : appArmorProfileOf(options, host),
    ),
  };
}
