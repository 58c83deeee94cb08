/*
 * What `version` and `info` say: this build, the machine and the engine, in Docker's shapes (Engine API 1.50).
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, machine, release, totalmem } from 'node:os';
import { goArchitecture } from '../../base/architecture.ts';
import type { Engine, EngineInfo } from '../../engine/engine.ts';
import { type ApiDeps, apiVersion, type BuildInfo, minApiVersion } from './apiServer.ts';
import type { RegistrySettings } from '../../runtime/images/images.ts';
import { isRunning } from './containerShapes.ts';
import { swarmInfoShape, swarmWarnings } from './swarmShapes.ts';
import { pluginsByType } from './plugins.ts';
import { isAtLeast } from './versions.ts';

type Shape = Record<string, unknown>;

/** `GET /version`; also with the fields that Docker repeats at the top. */
export function versionShape(build: BuildInfo, info: EngineInfo): Shape {
  const details = {
    ApiVersion: apiVersion,
    MinAPIVersion: minApiVersion,
    GitCommit: build.gitCommit,
    Os: 'linux',
    Arch: goArchitecture,
    KernelVersion: release(),
    BuildTime: build.buildTime,
  };
  return {
    Platform: { Name: 'Linkspan' },
    Components: [
      {
        Name: 'Engine',
        Version: build.version,
        Details: { ...details, Experimental: 'false', GoVersion: process.version },
      },
      { Name: 'containerd', Version: info.containerdVersion, Details: { GitCommit: '' } },
      { Name: 'runc', Version: info.runcVersion, Details: { GitCommit: '' } },
    ],
    Version: build.version,
    ...details,
    GoVersion: process.version,
  };
}

/** `PRETTY_NAME` and `VERSION_ID` of os-release(5). */
function parseOsRelease(text: string): { readonly name: string; readonly version: string } {
  const valueOf = (key: string): string =>
    (new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '').replace(/^(["'])(.*)\1$/, '$2');
  return { name: valueOf('PRETTY_NAME') || 'Linux', version: valueOf('VERSION_ID') };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function countStates({ containers }: Pick<Engine, 'containers'>): Shape {
  const all = containers.list();
  const paused = all.filter(({ state }) => state === 'paused').length;
  const running = all.filter(isRunning).length - paused;
  return {
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
  };
}

/** Which limits `run` can set here. */
function limitsShape(support: EngineInfo['limitSupport']): Shape {
  return {
    MemoryLimit: support.memory,
    SwapLimit: support.swap,
    CpuCfsPeriod: support.cpuQuota,
    CpuCfsQuota: support.cpuQuota,
    CPUShares: support.cpuShares,
    CPUSet: support.cpuset,
    PidsLimit: support.pids,
    OomKillDisable: support.oomKillDisable,
  };
}

/** Until API 1.48 with two lists that say nothing any more. */
function registryShape({ insecure, mirrors }: RegistrySettings, version: string): Shape {
  const urls = mirrors.map((mirror) => `${mirror}/`);
  const isNetwork = (entry: string): boolean => entry.includes('/');
  const hosts = insecure.filter((entry) => !isNetwork(entry));
  return {
    ...(!isAtLeast(version, '1.49') && {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
    }),
    InsecureRegistryCIDRs: [...insecure.filter(isNetwork), '::1/128', '127.0.0.0/8'],
    IndexConfigs: {
      'docker.io': { Name: 'docker.io', Mirrors: urls, Secure: true, Official: true },
      ...Object.fromEntries(
        hosts.map((host) => [host, { Name: host, Mirrors: [], Secure: false, Official: false }]),
      ),
    },
    Mirrors: urls.length === 0 ? null : urls,
  };
}

function machineShape(): Shape {
  const os = parseOsRelease(readText('/etc/os-release') || readText('/usr/lib/os-release'));
  return {
    KernelVersion: release(),
    OperatingSystem: os.name,
    OSVersion: os.version,
    OSType: 'linux',
    Architecture: machine(),
    NCPU: availableParallelism(),
    MemTotal: totalmem(),
  };
}

/** `GET /info` for a client of this API version. Conditions are listed among the warnings. */
export async function infoShape(deps: ApiDeps, version: string): Promise<Shape> {
  const { engine, build } = deps;
  const [info, images] = await Promise.all([engine.info(), engine.images.list()]);
  const swarm = engine.swarm.status();
  const warnings = [
    ...info.warnings,
    ...swarmWarnings(swarm),
    ...deps.conditions().map(({ text }) => `WARNING: ${text}`),
  ];
  return {
    ID: info.id,
    ...countStates(engine),
    Images: images.length,
    Driver: 'overlayfs',
    DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']],
    Plugins: pluginsByType,
    ...limitsShape(info.limitSupport),
    IPv4Forwarding: readText('/proc/sys/net/ipv4/ip_forward').trim() === '1',
    Debug: info.isDebug,
    NFd: 0,
    NGoroutines: 0,
    SystemTime: new Date(deps.clock.nowMs()).toISOString(),
    LoggingDriver: info.loggingDriver,
    CgroupDriver: info.cgroupDriver,
    CgroupVersion: String(info.cgroupVersion),
    NEventsListener: 0,
    ...machineShape(),
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: registryShape(engine.images.registries, version),
    GenericResources: null,
    DockerRootDir: info.dataRoot,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Name: info.name,
    Labels: info.labels,
    ExperimentalBuild: false,
    ServerVersion: build.version,
    Runtimes: { runc: { path: 'runc' }, 'io.containerd.runc.v2': { path: 'runc' } },
    DefaultRuntime: 'runc',
    Swarm: swarmInfoShape(swarm),
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    Containerd: {
      Address: info.containerd.address,
      Namespaces: { Containers: info.containerd.namespace, Plugins: info.containerd.namespace },
    },
    ContainerdCommit: { ID: info.containerdVersion },
    RuncCommit: { ID: info.runcVersion },
    InitCommit: { ID: '' },
    SecurityOptions: [
      ...(info.hasAppArmor ? ['name=apparmor'] : []),
      'name=seccomp,profile=builtin',
      ...(info.cgroupVersion === 2 ? ['name=cgroupns'] : []),
    ],
    FirewallBackend: { Driver: 'nftables' },
    CDISpecDirs: [],
    Warnings: warnings.length === 0 ? null : warnings,
  };
}
