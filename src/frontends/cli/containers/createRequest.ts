/*
 * The body of POST /containers/create from the flags of `run` and `create`: the fields that the docker CLI 28 sends,
 * nulls included, so that the daemon cannot tell the two apart. No I/O but the files that flags name.
 */
import { CliError } from '../cliError.ts';
import { type Flags, splitPair } from '../flags.ts';
import { durationToNs } from '../flagTypes.ts';
import { nullIfEmpty } from '../text/nullIfEmpty.ts';
import { parseMemoryBytes } from '../text/units.ts';
import {
  parseAddHost,
  parseDevice,
  parseDeviceBytes,
  parseDeviceOperations,
  parseDeviceWeight,
  parseStreamName,
  parseUlimit,
} from './flagValues.ts';
import { parseMountFlag, planTmpfs, planVolumes } from './mountFlags.ts';
import { planNetworks } from './networkFlag.ts';
import { planPorts, planSources } from './portFlags.ts';
import { securityFields } from './securityFlags.ts';
import { readEnvironment, readLabels } from './variableFiles.ts';

export interface ConsoleSize {
  readonly rows: number;
  readonly columns: number;
}

interface Attach {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** Which streams `run` attaches: those of `-a`, or by default both outputs (and stdin with -i). */
function planAttach(flags: Flags, isDetached: boolean): Attach {
  const names = flags.list('attach').map(parseStreamName);
  if (isDetached) return { stdin: false, stdout: false, stderr: false };
  if (names.length > 0)
    return {
      stdin: names.includes('stdin'),
      stdout: names.includes('stdout'),
      stderr: names.includes('stderr'),
    };
  return { stdin: flags.bool('interactive'), stdout: true, stderr: true };
}

/** The value of a `bytes` flag; 0 if it is not given. */
export function bytes(flags: Flags, name: string): number {
  const text = flags.text(name);
  return text === '' ? 0 : text === '-1' ? -1 : (parseMemoryBytes(text) ?? 0);
}

/** `on-failure:3`. Throws CliError with `exitCode`. */
export function parseRestart(text: string, exitCode = 125): { Name: string; MaximumRetryCount: number } {
  const [name = '', count] = text.split(':');
  if (count !== undefined && !/^\d+$/.test(count))
    throw new CliError('invalid restart policy format: maximum retry count must be an integer', exitCode);
  return { Name: name, MaximumRetryCount: Number(count ?? 0) };
}

function capabilities(names: readonly string[]): readonly string[] | null {
  const upper = names.map((name) => name.toUpperCase());
  return nullIfEmpty(
    [
      ...new Set(upper.map((name) => (name === 'ALL' || name.startsWith('CAP_') ? name : `CAP_${name}`))),
    ].sort(),
  );
}

function healthcheck(flags: Flags): object | undefined {
  const names = ['cmd', 'interval', 'timeout', 'start-period', 'start-interval', 'retries'];
  const isGiven = names.some((name) => flags.has(`health-${name}`));
  if (flags.bool('no-healthcheck')) {
    if (isGiven) throw new CliError('--no-healthcheck conflicts with --health-* options', 125);
    return { Test: ['NONE'] };
  }
  if (!isGiven) return undefined;
  const ns = (key: string, name: string): Record<string, number> => {
    const value = durationToNs(flags.text(`health-${name}`));
    if (value < 0) throw new CliError(`--health-${name} cannot be negative`, 125);
    return value === 0 ? {} : { [key]: value };
  };
  return {
    ...(flags.has('health-cmd') ? { Test: ['CMD-SHELL', flags.text('health-cmd')] } : {}),
    ...ns('Interval', 'interval'),
    ...ns('Timeout', 'timeout'),
    ...ns('StartPeriod', 'start-period'),
    ...ns('StartInterval', 'start-interval'),
    ...(flags.number('health-retries') === 0 ? {} : { Retries: flags.number('health-retries') }),
  };
}

function hostResources(flags: Flags): object {
  return {
    CpuShares: flags.number('cpu-shares'),
    Memory: bytes(flags, 'memory'),
    NanoCpus: Math.round(flags.number('cpus') * 1e9),
    CgroupParent: flags.text('cgroup-parent'),
    BlkioWeight: flags.number('blkio-weight'),
    BlkioWeightDevice: flags.list('blkio-weight-device').map(parseDeviceWeight),
    BlkioDeviceReadBps: flags.list('device-read-bps').map(parseDeviceBytes),
    BlkioDeviceWriteBps: flags.list('device-write-bps').map(parseDeviceBytes),
    BlkioDeviceReadIOps: flags.list('device-read-iops').map(parseDeviceOperations),
    BlkioDeviceWriteIOps: flags.list('device-write-iops').map(parseDeviceOperations),
    CpuPeriod: flags.number('cpu-period'),
    CpuQuota: flags.number('cpu-quota'),
    CpuRealtimePeriod: flags.number('cpu-rt-period'),
    CpuRealtimeRuntime: flags.number('cpu-rt-runtime'),
    CpusetCpus: flags.text('cpuset-cpus'),
    CpusetMems: flags.text('cpuset-mems'),
    Devices: flags.list('device').map(parseDevice),
    DeviceCgroupRules: nullIfEmpty(flags.list('device-cgroup-rule')),
    DeviceRequests: null,
    MemoryReservation: bytes(flags, 'memory-reservation'),
    MemorySwap: bytes(flags, 'memory-swap'),
    MemorySwappiness: flags.number('memory-swappiness'),
    OomKillDisable: flags.bool('oom-kill-disable'),
    PidsLimit: flags.number('pids-limit'),
    Ulimits: flags.list('ulimit').map(parseUlimit),
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

function optionalMap(name: string, values: Readonly<Record<string, string>>): object {
  return Object.keys(values).length === 0 ? {} : { [name]: values };
}

/** Modes that docker itself looks at; others the daemon refuses. */
const modeChecks = [
  ['pid', 'PID', /^(?:|host|container:.+)$/s],
  ['uts', 'UTS', /^(?:|host)$/],
  ['userns', 'USER', /^(?:|host)$/],
  ['cgroupns', 'CGROUP', /^(?:|host|private)$/],
] as const;

function hostNamespaces(flags: Flags, networkMode: string): object {
  for (const [flag, name, mode] of modeChecks)
    if (!mode.test(flags.text(flag))) throw new CliError(`--${flag}: invalid ${name} mode`, 125);
  return {
    NetworkMode: networkMode,
    CgroupnsMode: flags.text('cgroupns'),
    IpcMode: flags.text('ipc'),
    PidMode: flags.text('pid'),
    UTSMode: flags.text('uts'),
    UsernsMode: flags.text('userns'),
    Dns: flags.list('dns'),
    DnsOptions: flags.list('dns-option').filter((option) => option !== ''),
    DnsSearch: flags.list('dns-search'),
    ExtraHosts: nullIfEmpty(flags.list('add-host').map(parseAddHost)),
    Links: nullIfEmpty(flags.list('link')),
    ...optionalMap('Sysctls', flags.map('sysctl')),
  };
}

function hostSecurity(flags: Flags): object {
  return {
    CapAdd: capabilities(flags.list('cap-add')),
    CapDrop: capabilities(flags.list('cap-drop')),
    GroupAdd: nullIfEmpty(flags.list('group-add')),
    Cgroup: '',
    OomScoreAdj: flags.number('oom-score-adj'),
    Privileged: flags.bool('privileged'),
    ReadonlyRootfs: flags.bool('read-only'),
    ...securityFields(flags.list('security-opt')),
    Isolation: '',
  };
}

function hostFiles(flags: Flags, binds: readonly string[] | null): object {
  const mounts = flags.list('mount').map(parseMountFlag);
  return {
    Binds: binds,
    ContainerIDFile: flags.text('cidfile'),
    VolumeDriver: flags.text('volume-driver'),
    VolumesFrom: nullIfEmpty(flags.list('volumes-from')),
    ShmSize: bytes(flags, 'shm-size'),
    ...optionalMap('StorageOpt', Object.fromEntries(flags.list('storage-opt').map(splitPair))),
    ...optionalMap('Tmpfs', planTmpfs(flags.list('tmpfs'))),
    ...(mounts.length === 0 ? {} : { Mounts: mounts }),
  };
}

/**
 * The body for `args` = image, then command. `console` is the terminal's size with a tty, else undefined.
 * Throws CliError with exit code 125 for flags that do not fit.
 */
export function containerCreateBody(
  flags: Flags,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  isDetached: boolean,
  console?: ConsoleSize,
): Record<string, unknown> & { readonly Env: readonly string[] | null } {
  const [image = '', ...command] = args;
  const attach = planAttach(flags, isDetached);
  const isInteractive = flags.bool('interactive');
  const { binds, volumes } = planVolumes(flags.list('volume'));
  const { bindings, exposed } = planPorts(flags.list('publish'), flags.list('expose'));
  const { mode, endpoints } = planNetworks(flags.list('network'), {
    aliases: flags.list('network-alias'),
    links: flags.list('link'),
    ipv4: flags.text('ip'),
    ipv6: flags.text('ip6'),
    linkLocal: flags.list('link-local-ip'),
    macAddress: flags.text('mac-address'),
    driverOpts: {},
    gwPriority: 0,
  });
  const health = healthcheck(flags);
  if (flags.bool('rm') && !['', 'no'].includes(parseRestart(flags.text('restart')).Name))
    throw new CliError('conflicting options: cannot specify both --restart and --rm', 125);
  return {
    Hostname: flags.text('hostname'),
    Domainname: flags.text('domainname'),
    User: flags.text('user'),
    AttachStdin: attach.stdin,
    AttachStdout: attach.stdout,
    AttachStderr: attach.stderr,
    ...(exposed === undefined ? {} : { ExposedPorts: exposed }),
    Tty: flags.bool('tty'),
    OpenStdin: isInteractive,
    StdinOnce: isInteractive && attach.stdin,
    Env: readEnvironment(flags.list('env-file'), flags.list('env'), env),
    Cmd: nullIfEmpty(command),
    ...(health === undefined ? {} : { Healthcheck: health }),
    Image: image,
    Volumes: volumes,
    WorkingDir: flags.text('workdir'),
    // An empty --entrypoint resets the image's; the API spells that [""].
    Entrypoint: flags.has('entrypoint') ? [flags.text('entrypoint')] : null,
    OnBuild: null,
    Labels: {
      ...readLabels(flags.list('label-file'), flags.list('label')),
      ...planSources(flags.list('publish')),
    },
    ...(flags.has('stop-signal') ? { StopSignal: flags.text('stop-signal') } : {}),
    ...(flags.has('stop-timeout') ? { StopTimeout: flags.number('stop-timeout') } : {}),
    HostConfig: {
      ...hostFiles(flags, binds),
      LogConfig: {
        Type: flags.text('log-driver'),
        Config: Object.fromEntries(flags.list('log-opt').map(splitPair)),
      },
      PortBindings: bindings,
      PublishAllPorts: flags.bool('publish-all'),
      RestartPolicy: parseRestart(flags.text('restart')),
      AutoRemove: flags.bool('rm'),
      ConsoleSize: console === undefined ? [0, 0] : [console.rows, console.columns],
      ...optionalMap('Annotations', flags.map('annotation')),
      ...hostNamespaces(flags, mode),
      ...hostSecurity(flags),
      ...hostResources(flags),
      ...(flags.has('init') ? { Init: flags.bool('init') } : {}),
      ...(flags.has('runtime') ? { Runtime: flags.text('runtime') } : {}),
    },
    NetworkingConfig: { EndpointsConfig: endpoints },
  };
}
