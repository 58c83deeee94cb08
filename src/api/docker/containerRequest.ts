/*
 * POST /containers/create in our words: Docker's Config, HostConfig and NetworkingConfig into a ContainerSpec.
 * Checks what Docker checks before it looks at images and networks; texts are those of Engine 28.
 */
import { isAbsolute } from 'node:path';
import { parseLink } from '../../engine/containers/links.ts';
import type { AttachmentRequest, ContainerSpec, NetworkMode, RestartPolicy } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { systemPathsOpen } from '../../runtime/oci/security.ts';
import { apiVersion } from './apiServer.ts';
import { consoleSizeField } from './consoleSize.ts';
import { type ContainerBody, containerBody, type HostConfigBody } from './containerBody.ts';
import { checkRefusals } from './containerRefusals.ts';
import { endpointSettings, toAttachment } from './endpointShapes.ts';
import { toHealthcheck } from './healthShapes.ts';
import { toDeviceMappings, toLimits, toUlimits } from './limitBody.ts';
import { toMounts, toVolumes } from './mountRequest.ts';
import { toPortRequests } from './portShapes.ts';
import { expandPorts } from './ports.ts';

function invalid(message: string): LinkspanError {
  return new LinkspanError('containerConfigInvalid', message);
}

function hasPublished(config: HostConfigBody): boolean {
  return config.PublishAllPorts || Object.keys(config.PortBindings).length > 0;
}

function conflictsOfContainerMode(body: ContainerBody): readonly (readonly [boolean, string])[] {
  const host = body.HostConfig;
  return [
    [body.Hostname !== '', 'hostname and the network mode'],
    [
      (host.Links ?? []).length > 0,
      "container type network can't be used with links. This would result in undefined behavior",
    ],
    [(host.Dns ?? []).length > 0, 'dns and the network mode'],
    [(host.ExtraHosts ?? []).length > 0, 'custom host-to-IP mapping and the network mode'],
    [body.MacAddress !== '', 'mac-address and the network mode'],
    [hasPublished(host), 'port publishing and the container type network mode'],
    [Object.keys(body.ExposedPorts).length > 0, 'port exposing and the container type network mode'],
  ];
}

function toNetworkMode(body: ContainerBody): NetworkMode {
  const mode = body.HostConfig.NetworkMode;
  if (mode === 'host' && (body.HostConfig.Links ?? []).length > 0)
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  if (mode === 'host' || mode === 'none') return { type: mode };
  if (mode !== 'container' && !mode.startsWith('container:')) return { type: 'networks' };
  const container = mode.slice('container:'.length);
  if (container === '') throw invalid('invalid network mode: invalid container format container:<name|id>');
  const conflict = conflictsOfContainerMode(body).find(([isSet]) => isSet);
  if (conflict !== undefined) throw invalid(`conflicting options: ${conflict[1]}`);
  return { type: 'container', container };
}

function attachmentFor(network: string, settings: Parameters<typeof toAttachment>[1]): AttachmentRequest {
  try {
    return toAttachment(network, settings);
  } catch (error) {
    if (!(error instanceof LinkspanError) || error.kind !== 'invalid') throw error;
    throw new LinkspanError(error.code, `invalid config for network ${network}: ${error.message}`, {
      cause: error,
    });
  }
}

/** The legacy container-wide MAC address belongs to the network that NetworkMode names. */
function withMac(attachment: AttachmentRequest, mac: string): AttachmentRequest {
  if (mac === '') return attachment;
  if (attachment.mac !== undefined && attachment.mac.toLowerCase() !== mac.toLowerCase())
    throw invalid(
      'the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty',
    );
  return attachmentFor(attachment.network, {
    ...endpointSettings({ MacAddress: mac }, ''),
    ...{ Aliases: attachment.aliases, DriverOpts: attachment.driverOptions },
    GwPriority: attachment.gatewayPriority,
    IPAMConfig: {
      IPv4Address: attachment.ipv4 ?? '',
      IPv6Address: attachment.ipv6 ?? '',
      LinkLocalIPs: attachment.linkLocalIps,
    },
  });
}

/** The default network is called `default` by clients and `bridge` by the engine. */
function networkName(mode: string): string {
  return mode === '' || mode === 'default' ? 'bridge' : mode;
}

function toAttachments(body: ContainerBody, mode: NetworkMode): readonly AttachmentRequest[] {
  const given = Object.entries(body.NetworkingConfig.EndpointsConfig);
  if (mode.type === 'container') {
    if (given.length === 0) return [];
    throw invalid('conflicting options: cannot attach to a network in container network mode');
  }
  const first = networkName(body.HostConfig.NetworkMode);
  const all = new Map(given.map(([name, settings]) => [networkName(name), settings]));
  const main = withMac(
    attachmentFor(first, all.get(first) ?? endpointSettings(undefined, '')),
    body.MacAddress,
  );
  all.delete(first);
  const links = body.HostConfig.Links ?? [];
  if (first === 'bridge' && links.length > 0) {
    for (const link of links) parseLink(link);
    return [{ ...main, links }, ...[...all].map(([name, settings]) => attachmentFor(name, settings))];
  }
  return [main, ...[...all].map(([name, settings]) => attachmentFor(name, settings))];
}

function checkEnv(env: readonly string[]): void {
  const bad = env.find((entry) => entry === '' || entry.startsWith('='));
  if (bad !== undefined) throw invalid(`invalid environment variable: ${bad}`);
}

function checkBody(body: ContainerBody): void {
  checkEnv(body.Env ?? []);
  if (body.WorkingDir !== '' && !isAbsolute(body.WorkingDir))
    throw invalid(`the working directory '${body.WorkingDir}' is invalid, it needs to be an absolute path`);
  const host = body.HostConfig;
  if (host.UTSMode === 'host' && body.Hostname !== '')
    throw invalid('conflicting options: hostname and the UTS mode');
  if (host.ShmSize < 0) throw invalid('SHM size can not be less than 0');
  for (const entry of host.ExtraHosts ?? [])
    if (!/^[^:]+:.+$/.test(entry)) throw invalid(`bad format for add-host: "${entry}"`);
}

function processOf(
  body: ContainerBody,
): Pick<ContainerSpec, 'entrypoint' | 'command' | 'env' | 'workingDir' | 'user' | 'hostname' | 'domainname'> {
  return {
    ...(body.Entrypoint !== undefined && { entrypoint: body.Entrypoint }),
    ...(body.Cmd !== undefined && { command: body.Cmd }),
    env: body.Env ?? [],
    ...(body.WorkingDir !== '' && { workingDir: body.WorkingDir }),
    ...(body.User !== '' && { user: body.User }),
    ...(body.Hostname !== '' && { hostname: body.Hostname }),
    ...(body.Domainname !== '' && { domainname: body.Domainname }),
  };
}

/** In host mode ports are discarded, but what is malformed is refused there too. */
function publishing(
  body: ContainerBody,
  mode: NetworkMode,
): Pick<ContainerSpec, 'ports' | 'publishesAllPorts'> {
  const ports = toPortRequests(body.HostConfig.PortBindings, body.Labels);
  return mode.type === 'host'
    ? { ports: [], publishesAllPorts: false }
    : { ports, publishesAllPorts: body.HostConfig.PublishAllPorts };
}

function restartPolicy({
  AutoRemove,
  RestartPolicy: body,
}: HostConfigBody): Pick<ContainerSpec, 'restartPolicy'> {
  const policy = toRestartPolicy(body);
  if (policy === 'no') return {};
  if (AutoRemove) throw invalid("can't create 'AutoRemove' container with restart policy");
  return { restartPolicy: policy };
}

/** Throws code containerConfigInvalid with Docker's texts. */
export function toRestartPolicy({
  Name: name,
  MaximumRetryCount: maxRetries,
}: HostConfigBody['RestartPolicy']): RestartPolicy | 'no' {
  const is = (...names: readonly string[]): boolean => names.includes(name);
  if (!is('', 'no', 'always', 'on-failure', 'unless-stopped'))
    throw invalid(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (maxRetries !== 0 && is('no', 'always', 'unless-stopped'))
    throw invalid(
      `invalid restart policy: maximum retry count can only be used with 'on-failure'${maxRetries < 0 ? ' and cannot be negative' : ''}`,
    );
  if (maxRetries < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
  if (name !== 'always' && name !== 'on-failure' && name !== 'unless-stopped') return 'no';
  return { name, maxRetries };
}

/** Limits and devices; what is not asked for is left out. */
function resourcesOf(host: HostConfigBody): Partial<ContainerSpec> {
  const limits = toLimits(host);
  return {
    ...(Object.keys(limits).length > 0 && { limits }),
    ...((host.Ulimits ?? []).length > 0 && { ulimits: toUlimits(host) }),
    ...((host.Devices ?? []).length > 0 && { devices: toDeviceMappings(host) }),
    ...((host.DeviceCgroupRules ?? []).length > 0 && { deviceRules: host.DeviceCgroupRules ?? [] }),
    ...(host.CgroupParent !== '' && { cgroupParent: host.CgroupParent }),
    ...(host.OomScoreAdj !== 0 && { oomScoreAdj: host.OomScoreAdj }),
  };
}

/** Docker's command line turns `systempaths=unconfined` into two lists of paths, both empty. */
function securityOptionsOf(host: HostConfigBody): readonly string[] {
  const hidesNothing = host.MaskedPaths?.length === 0 && host.ReadonlyPaths?.length === 0;
  return [...(host.SecurityOpt ?? []), ...(hidesNothing ? [systemPathsOpen] : [])];
}

function toSpec(body: ContainerBody, mode: NetworkMode, version: string): ContainerSpec {
  const host = body.HostConfig;
  return {
    ...processOf(body),
    image: body.Image,
    groupAdd: host.GroupAdd ?? [],
    isTty: body.Tty,
    ...consoleSizeField(host.ConsoleSize, version),
    isStdinOpen: body.OpenStdin,
    isStdinOnce: body.StdinOnce,
    attach: { stdin: body.AttachStdin, stdout: body.AttachStdout, stderr: body.AttachStderr },
    labels: body.Labels,
    annotations: host.Annotations,
    ...(body.StopSignal !== '' && { stopSignal: body.StopSignal }),
    ...(body.Healthcheck !== undefined && { healthcheck: toHealthcheck(body.Healthcheck) }),
    ...(body.StopTimeout !== undefined && { stopTimeoutS: body.StopTimeout }),
    exposedPorts: [...new Set(Object.keys(body.ExposedPorts).flatMap(expandPorts))],
    ...publishing(body, mode),
    isAutoRemove: host.AutoRemove,
    ...restartPolicy(host),
    isPrivileged: host.Privileged,
    isReadOnlyRootfs: host.ReadonlyRootfs,
    hasInit: host.Init ?? false,
    capAdd: host.CapAdd ?? [],
    capDrop: host.CapDrop ?? [],
    securityOptions: securityOptionsOf(host),
    mounts: toMounts(host),
    volumes: toVolumes(body),
    volumesFrom: host.VolumesFrom ?? [],
    sysctls: host.Sysctls,
    ...(host.ShmSize > 0 && { shmSizeBytes: host.ShmSize }),
    extraHosts: host.ExtraHosts ?? [],
    dns: host.Dns ?? [],
    dnsSearch: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    networkMode: mode,
    networkModeText: host.NetworkMode === '' ? 'default' : host.NetworkMode,
    attachments: toAttachments(body, mode),
    pidMode: host.PidMode,
    ipcMode: host.IpcMode,
    utsMode: host.UTSMode,
    ...(host.UsernsMode !== '' && { userMode: host.UsernsMode }),
    cgroupNamespace: host.CgroupnsMode,
    ...(host.Runtime !== '' && { runtime: host.Runtime }),
    log: { driver: host.LogConfig.Type, options: host.LogConfig.Config },
    ...resourcesOf(host),
  };
}

/** What a create request asks for, and Docker's warnings about it. */
export interface ContainerRequest {
  readonly spec: ContainerSpec;
  readonly warnings: readonly string[];
}

/**
 * `json` is the parsed body; undefined if there was none. `version` is the client's of the API. Throws kinds invalid and notImplemented.
 */
export function toContainerRequest(json: unknown, version: string = apiVersion): ContainerRequest {
  if (json === undefined || json === null)
    throw new LinkspanError('requestInvalid', 'config cannot be empty in order to create a container');
  const body = containerBody(json, '');
  const mode = toNetworkMode(body);
  checkBody(body);
  checkRefusals(json);
  const warnings: string[] = [];
  if (hasPublished(body.HostConfig) && mode.type === 'host')
    warnings.push('Published ports are discarded when using host network mode');
  return { spec: toSpec(body, mode, version), warnings };
}
