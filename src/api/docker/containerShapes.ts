/*
 * Containers at the edge: the shapes of `inspect` and `ps` (Docker Engine API 1.50) from the engine's records.
 */
import { hostname } from 'node:os';
import { shortId } from '../../base/ids.ts';
import type { Health } from '../../engine/containers/healthState.ts';
import { parseLink } from '../../engine/containers/links.ts';
import type { Engine } from '../../engine/engine.ts';
import { mountsOf } from '../../engine/containers/mountPlan.ts';
import type { AttachmentRequest, Binding, Container, MountPoint, Network } from '../../engine/model.ts';
import { defaultLogConfig } from '../../runtime/stdio/logOptions.ts';
import { hasCode } from '../../errors/linkspanError.ts';
import { formatStatus, stateWord } from './durations.ts';
import { type Attachment, addressFields, attachmentShape } from './endpointShapes.ts';
import { healthcheckShape, healthShape } from './healthShapes.ts';
import { hostConfigShape } from './hostConfigShape.ts';
import { portListShape, portMapShape } from './portShapes.ts';

type Shape = Record<string, unknown>;

/** True while there is a process. */
export function isUp(container: Container): boolean {
  return container.state === 'running' || container.state === 'paused';
}

/** Docker's notion: also between two runs of a restart policy. */
export function isRunning(container: Container): boolean {
  return isUp(container) || stateWord(container) === 'restarting';
}

function findNetwork(engine: Pick<Engine, 'networks'>, ref: string): Network | undefined {
  try {
    return engine.networks.get(ref);
  } catch (error) {
    if (hasCode(error, 'networkNotFound') || hasCode(error, 'networkAmbiguous')) return undefined;
    throw error;
  }
}

function plainRequest(network: string): AttachmentRequest {
  return { network, aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
}

/**
 * What the container is attached to, by network name: first what was asked for, in that order, then what endpoints add
 * (networks connected later). Addresses only while it runs.
 */
export function attachmentsOf(
  engine: Pick<Engine, 'networks' | 'containers'>,
  container: Container,
): ReadonlyMap<string, Attachment> {
  const endpoints = engine.containers.endpoints(container);
  const attached = endpoints.filter(({ state }) => state === 'attached' && isUp(container));
  const requests =
    container.spec.networkMode.type === 'container'
      ? []
      : [...container.spec.attachments, ...endpoints.map(({ networkId }) => plainRequest(networkId))];
  const found = new Map<string, Attachment>();
  for (const request of requests) {
    const network = findNetwork(engine, request.network);
    const name = network?.name ?? request.network;
    if (found.has(name) || (network === undefined && endpoints.some((e) => e.networkId === request.network)))
      continue;
    const endpoint = attached.find(({ networkId }) => networkId === network?.id);
    found.set(name, { request, network, endpoint });
  }
  return found;
}

/** Links of the default network as Docker shows them: `/db:/web/store`. */
function linkTexts(engine: Pick<Engine, 'containers'>, container: Container): readonly string[] {
  const links = container.spec.attachments.find(({ network }) => network === 'bridge')?.links ?? [];
  return links.map(parseLink).map(({ target, alias }) => {
    const other = engine.containers.list().find(({ id }) => id === target);
    return `/${other?.name ?? target}:/${container.name}/${alias}`;
  });
}

function networksShape(container: Container, attachments: ReadonlyMap<string, Attachment>): Shape {
  return Object.fromEntries(
    [...attachments].map(([name, attachment]) => [name, attachmentShape(container, attachment)]),
  );
}

function networkSettings(
  container: Container,
  attachments: ReadonlyMap<string, Attachment>,
  bindings: readonly Binding[],
): Shape {
  const main = attachments.get('bridge')?.endpoint;
  return {
    Bridge: '',
    SandboxID: isUp(container) ? (container.sandbox?.id ?? '') : '',
    SandboxKey: isUp(container) ? (container.sandbox?.path ?? '') : '',
    Ports: portMapShape(container, bindings),
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    ...addressFields(main),
    MacAddress: main?.mac ?? '',
    Networks: networksShape(container, attachments),
  };
}

function mountPoint(mount: MountPoint, { volumes }: Pick<Engine, 'volumes'>): readonly Shape[] {
  switch (mount.type) {
    // `--tmpfs` is no mount point to Docker.
    case 'tmpfs':
      return [];
    case 'image':
      return [
        {
          Type: 'image',
          Name: mount.source,
          Source: '',
          Destination: mount.target,
          Mode: '',
          RW: false,
          Propagation: 'rprivate',
        },
      ];
    case 'bind':
      return [
        {
          Type: 'bind',
          Source: mount.source,
          Destination: mount.target,
          Mode: mount.isReadOnly && mount.createSource ? 'ro' : '',
          RW: !mount.isReadOnly,
          Propagation: mount.propagation ?? 'rprivate',
        },
      ];
    case 'volume':
      return [
        {
          Type: 'volume',
          Name: mount.name,
          Source: volumes.pathOf(mount.name),
          Destination: mount.target,
          Driver: 'local',
          Mode: mount.mode,
          RW: !mount.isReadOnly,
          Propagation: '',
        },
      ];
  }
}

function mountPoints(container: Container, engine: Pick<Engine, 'volumes'>): readonly Shape[] {
  return mountsOf(container).flatMap((mount) => mountPoint(mount, engine));
}

function stateShape(container: Container, health: Health | undefined): Shape {
  const word = stateWord(container);
  return {
    Status: word,
    Running: isRunning(container),
    Paused: word === 'paused',
    Restarting: word === 'restarting',
    OOMKilled: container.wasOomKilled ?? false,
    Dead: word === 'dead',
    Pid: isUp(container) ? container.pid : 0,
    ExitCode: container.exitCode,
    Error: container.error,
    StartedAt: container.startedAt,
    FinishedAt: container.finishedAt,
    ...(health !== undefined && { Health: healthShape(health) }),
  };
}

/** In another container's or the host's UTS namespace the name is not the container's own. */
function hostnameOf({ id, spec }: Container): string {
  if (spec.hostname !== undefined && spec.hostname !== '') return spec.hostname;
  return spec.networkMode.type === 'host' || spec.utsMode === 'host' ? hostname() : shortId(id);
}

function configShape(container: Container): Shape {
  const { spec, process } = container;
  const { volumes = [] } = process;
  const ports = Object.fromEntries(process.exposedPorts.map((port) => [port, {}]));
  return {
    Hostname: hostnameOf(container),
    Domainname: spec.domainname ?? '',
    User: process.user,
    AttachStdin: spec.attach.stdin,
    AttachStdout: spec.attach.stdout,
    AttachStderr: spec.attach.stderr,
    ...(process.exposedPorts.length > 0 && { ExposedPorts: ports }),
    Tty: spec.isTty,
    OpenStdin: spec.isStdinOpen,
    StdinOnce: spec.isStdinOnce,
    Env: process.env,
    Cmd: process.command.length === 0 ? null : process.command,
    Image: spec.image,
    Volumes: volumes.length > 0 ? Object.fromEntries(volumes.map((path) => [path, {}])) : null,
    WorkingDir: process.workingDir,
    Entrypoint: process.entrypoint.length === 0 ? null : process.entrypoint,
    OnBuild: null,
    Labels: process.labels,
    ...(spec.stopSignal !== undefined && { StopSignal: spec.stopSignal }),
    ...(process.shell !== undefined && { Shell: process.shell }),
    ...(process.healthcheck !== undefined && { Healthcheck: healthcheckShape(process.healthcheck) }),
    ...(spec.stopTimeoutS !== undefined && { StopTimeout: spec.stopTimeoutS }),
  };
}

export interface ContainerSizes {
  readonly writableBytes: number;
  readonly rootfsBytes: number;
}

/** `GET /containers/{id}/json`; `sizes` where the client asked for them. */
export function inspectShape(
  engine: Pick<Engine, 'networks' | 'containers' | 'volumes'>,
  container: Container,
  cgroupVersion: 1 | 2,
  sizes: ContainerSizes | undefined,
): Shape {
  const [path = '', ...args] = container.process.args;
  const execIds = engine.containers.execIds(container);
  return {
    Id: container.id,
    Created: container.createdAt,
    Path: path,
    Args: args,
    State: stateShape(container, engine.containers.health(container)),
    Image: container.imageId,
    ResolvConfPath: container.resolvConfPath,
    HostnamePath: container.hostnamePath,
    HostsPath: container.hostsPath,
    LogPath: (container.spec.log ?? defaultLogConfig).driver === 'json-file' ? container.logPath : '',
    Name: `/${container.name}`,
    RestartCount: container.restartCount,
    Driver: 'overlayfs',
    Platform: 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: engine.containers.appArmorProfile(container),
    ExecIDs: execIds.length === 0 ? null : execIds,
    HostConfig: hostConfigShape(container.spec, cgroupVersion, linkTexts(engine, container)),
    GraphDriver: { Data: null, Name: 'overlayfs' },
    ...(sizes !== undefined && { SizeRw: sizes.writableBytes, SizeRootFs: sizes.rootfsBytes }),
    Mounts: mountPoints(container, engine),
    Config: configShape(container),
    NetworkSettings: networkSettings(
      container,
      attachmentsOf(engine, container),
      engine.containers.bindings(container),
    ),
  };
}

/** The COMMAND column: words with a space are quoted. */
function commandText(args: readonly string[]): string {
  const [path = '', ...rest] = args;
  return [path, ...rest.map((word) => (word.includes(' ') ? `'${word}'` : word))].join(' ');
}

/** One element of `GET /containers/json`. */
export function listShape(
  engine: Pick<Engine, 'networks' | 'containers' | 'volumes'>,
  container: Container,
  nowMs: number,
  sizes: ContainerSizes | undefined,
): Shape {
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.spec.image,
    ImageID: container.imageId,
    Command: commandText(container.process.args),
    Created: Math.trunc(Date.parse(container.createdAt) / 1000),
    Ports: portListShape(container, engine.containers.bindings(container)),
    // Docker leaves out what is zero, in lists only.
    ...(sizes !== undefined && sizes.writableBytes > 0 && { SizeRw: sizes.writableBytes }),
    ...(sizes !== undefined && { SizeRootFs: sizes.rootfsBytes }),
    Labels: container.process.labels,
    State: stateWord(container),
    Status: formatStatus(container, nowMs),
    HostConfig: {
      NetworkMode: container.spec.networkModeText === 'default' ? 'bridge' : container.spec.networkModeText,
      ...(Object.keys(container.spec.annotations).length > 0 && { Annotations: container.spec.annotations }),
    },
    NetworkSettings: { Networks: networksShape(container, attachmentsOf(engine, container)) },
    Mounts: mountPoints(container, engine),
  };
}
