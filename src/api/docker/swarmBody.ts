/*
 * Bodies of `swarm init`, `join` and `update` and of `node update` (Docker Engine API 1.50) in the engine's words, with
 * Docker's defaults. What cannot be had is refused, never dropped. Texts are those of Engine 28 where it has one.
 */
import { isIPv6 } from 'node:net';
import type {
  Availability,
  ClusterSpec,
  InitRequest,
  JoinRequest,
  NodeAddresses,
  NodeRole,
  NodeSpec,
  Rotation,
} from '../../cluster/swarm.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatPrefix, parseIpWithLength, prefixOf } from '../../net/prefix.ts';
import { bool, type Decoder, int, list, map, pointer, raw, struct, text, uint32, uint64 } from './goJson.ts';
import { fixedRaft } from './swarmShapes.ts';

const nsPerMs = 1_000_000;

/** What Docker gives a swarm that does not say. */
const defaults = {
  taskHistoryLimit: 5,
  snapshotInterval: 10_000,
  maxSnapshots: 0,
  heartbeatMs: 5_000,
  certificateLifeMs: 90 * 24 * 3_600_000,
} as const;
const defaultPort = '2377';
const defaultSubnetLength = 24;
/** Longer ones have too few addresses. */
const longestSubnet = 29;
const dataPathPorts = { first: 1024, last: 49_151 } as const;

/** Node certificates live at least this long, so that there is time to renew them. */
const minCertificateLifeMs = 3_600_000;

type Labels = Readonly<Record<string, string>>;

/** Docker's `Spec` of a swarm. Durations in nanoseconds. */
interface SwarmSpecBody {
  readonly Name: string;
  readonly Labels: Labels;
  readonly Orchestration: { readonly TaskHistoryRetentionLimit: number | undefined };
  readonly Raft: {
    readonly SnapshotInterval: number;
    readonly KeepOldSnapshots: number | undefined;
    readonly LogEntriesForSlowFollowers: number;
    readonly ElectionTick: number;
    readonly HeartbeatTick: number;
  };
  readonly Dispatcher: { readonly HeartbeatPeriod: number };
  readonly CAConfig: {
    readonly NodeCertExpiry: number;
    readonly ExternalCAs: readonly unknown[] | undefined;
    readonly SigningCACert: string;
    readonly SigningCAKey: string;
    readonly ForceRotate: number;
  };
  readonly TaskDefaults: { readonly LogDriver: unknown };
  readonly EncryptionConfig: { readonly AutoLockManagers: boolean };
}

export const swarmSpecBody: Decoder<SwarmSpecBody> = struct<SwarmSpecBody>('Spec', {
  Name: text,
  Labels: map(text),
  Orchestration: struct('OrchestrationConfig', { TaskHistoryRetentionLimit: pointer(int) }),
  Raft: struct('RaftConfig', {
    SnapshotInterval: uint64,
    KeepOldSnapshots: pointer(uint64),
    LogEntriesForSlowFollowers: uint64,
    ElectionTick: int,
    HeartbeatTick: int,
  }),
  Dispatcher: struct('DispatcherConfig', { HeartbeatPeriod: int }),
  CAConfig: struct('CAConfig', {
    NodeCertExpiry: int,
    ExternalCAs: list(raw),
    SigningCACert: text,
    SigningCAKey: text,
    ForceRotate: uint64,
  }),
  TaskDefaults: struct('TaskDefaults', { LogDriver: raw }),
  EncryptionConfig: struct('EncryptionConfig', { AutoLockManagers: bool }),
});

interface AddressesBody {
  readonly ListenAddr: string;
  readonly AdvertiseAddr: string;
  readonly DataPathAddr: string;
  readonly Availability: string;
}

const addressFields = { ListenAddr: text, AdvertiseAddr: text, DataPathAddr: text, Availability: text };

interface InitBody extends AddressesBody {
  readonly DataPathPort: number;
  readonly DefaultAddrPool: readonly string[] | undefined;
  readonly SubnetSize: number;
  readonly ForceNewCluster: boolean;
  readonly Spec: SwarmSpecBody;
  readonly AutoLockManagers: boolean;
}

export const initBody: Decoder<InitBody> = struct<InitBody>('InitRequest', {
  ...addressFields,
  DataPathPort: uint32,
  DefaultAddrPool: list(text),
  SubnetSize: uint32,
  ForceNewCluster: bool,
  Spec: swarmSpecBody,
  AutoLockManagers: bool,
});

interface JoinBody extends AddressesBody {
  readonly RemoteAddrs: readonly string[] | undefined;
  readonly JoinToken: string;
}

export const joinBody: Decoder<JoinBody> = struct<JoinBody>('JoinRequest', {
  ...addressFields,
  RemoteAddrs: list(text),
  JoinToken: text,
});

export const unlockBody: Decoder<{ readonly UnlockKey: string }> = struct('UnlockRequest', {
  UnlockKey: text,
});

interface NodeSpecBody {
  readonly Name: string;
  readonly Labels: Labels;
  readonly Role: string;
  readonly Availability: string;
}

export const nodeSpecBody: Decoder<NodeSpecBody> = struct<NodeSpecBody>('NodeSpec', {
  Name: text,
  Labels: map(text),
  Role: text,
  Availability: text,
});

function invalid(message: string): LinkspanError {
  return new LinkspanError('requestInvalid', message);
}

/** A refusal by Docker's control service, whose texts reach its users in this form. */
function invalidArgument(message: string): LinkspanError {
  return invalid(`rpc error: code = InvalidArgument desc = ${message}`);
}

function refuse(isWanted: boolean, what: string): void {
  if (isWanted) throw new LinkspanError('notImplemented', `${what} is not supported yet`);
}

function refuseAbsent(body: SwarmSpecBody): void {
  const { CAConfig, TaskDefaults, Raft } = body;
  refuse((CAConfig.ExternalCAs ?? []).length > 0, 'An external certificate authority');
  refuse((TaskDefaults.LogDriver ?? undefined) !== undefined, 'A default log driver of tasks');
  for (const [name, only] of Object.entries(fixedRaft) as [keyof typeof fixedRaft, number][])
    refuse(Raft[name] !== 0 && Raft[name] !== only, `A Raft.${name} other than ${only}`);
}

/** Throws codes requestInvalid and notImplemented. */
export function toClusterSpec(body: SwarmSpecBody, isAutolocked = false): ClusterSpec {
  if (body.Name !== '' && body.Name !== 'default') throw invalid('swarm spec must be named "default"');
  refuseAbsent(body);
  const { Orchestration, Raft, Dispatcher, CAConfig, EncryptionConfig } = body;
  if (Dispatcher.HeartbeatPeriod < 0)
    throw invalidArgument('heartbeat time period cannot be a negative duration');
  const certificateLifeMs = Math.floor(CAConfig.NodeCertExpiry / nsPerMs) || defaults.certificateLifeMs;
  if (certificateLifeMs < minCertificateLifeMs)
    throw invalidArgument('minimum certificate expiry time is: 1h0m0s');
  return {
    name: 'default',
    labels: body.Labels,
    taskHistoryLimit: Orchestration.TaskHistoryRetentionLimit ?? defaults.taskHistoryLimit,
    snapshotInterval: Raft.SnapshotInterval || defaults.snapshotInterval,
    maxSnapshots: Raft.KeepOldSnapshots ?? defaults.maxSnapshots,
    heartbeatMs: Dispatcher.HeartbeatPeriod / nsPerMs || defaults.heartbeatMs,
    certificateLifeMs,
    ...(CAConfig.ForceRotate > 0 ? { forceRotate: CAConfig.ForceRotate } : {}),
    isAutolocked: isAutolocked || EncryptionConfig.AutoLockManagers,
  };
}

/** The root of the user's own that an update is to change to. */
export function toOwnRoot({ CAConfig }: SwarmSpecBody): Pick<Rotation, 'ownRoot'> {
  const { SigningCACert, SigningCAKey } = CAConfig;
  return SigningCACert === '' && SigningCAKey === ''
    ? {}
    : { ownRoot: { certificatePem: SigningCACert, keyPem: SigningCAKey } };
}

const availabilities: readonly Availability[] = ['active', 'pause', 'drain'];
const roles: readonly NodeRole[] = ['worker', 'manager'];

function toWord<T extends string>(words: readonly T[], given: string, what: string): T {
  const found = words.find((word) => word === given.toLowerCase());
  if (found === undefined) throw invalid(`invalid ${what}: ${JSON.stringify(given)}`);
  return found;
}

/** `host`, `host:port` or an IPv6 address, with 2377 where there is no port. What cannot be read stays as it is. */
function withPort(address: string): string {
  if (isIPv6(address)) return `[${address}]:${defaultPort}`;
  const [, host, port] = /^(\[[^\]]+\]|[^:[\]/]+)(?::(\d*))?$/.exec(address) ?? [];
  return host === undefined ? address : `${host}:${port === undefined || port === '' ? defaultPort : port}`;
}

function toListen(address: string): string {
  if (address === '') throw invalid('invalid ListenAddr "": invalid empty address');
  return withPort(address);
}

function toAddresses(body: AddressesBody): NodeAddresses {
  const { ListenAddr, AdvertiseAddr, DataPathAddr, Availability } = body;
  return {
    listen: toListen(ListenAddr),
    advertise: AdvertiseAddr,
    dataPath: DataPathAddr,
    availability: Availability === '' ? 'active' : toWord(availabilities, Availability, 'Availability'),
  };
}

/** Docker's texts with status 400 where it has 500. */
function toPool(pool: string, subnetLength: number): string {
  const given = parseIpWithLength(pool);
  if (given === undefined) throw invalid(`invalid base pool ${pool}: invalid CIDR address: ${pool}`);
  refuse(given.ip.family === 6, 'An IPv6 pool for overlay networks');
  if (subnetLength < given.length)
    throw invalid(
      `invalid CIDR: ${JSON.stringify(pool)}. Subnet size is too small for pool: ${subnetLength}`,
    );
  return formatPrefix(prefixOf(given.ip, given.length));
}

function checkDataPathPort(port: number): void {
  const { first, last } = dataPathPorts;
  if (port !== 0 && (port < first || port > last))
    throw invalid(`Datapath port number is not in valid range (${first}-${last}) : ${port}`);
}

/** Throws codes requestInvalid and notImplemented. */
export function toInitRequest(body: InitBody): InitRequest {
  const subnetLength = body.SubnetSize === 0 ? defaultSubnetLength : body.SubnetSize;
  if (subnetLength > longestSubnet) throw invalid(`subnet size is out of range: ${subnetLength}`);
  checkDataPathPort(body.DataPathPort);
  refuse(toOwnRoot(body.Spec).ownRoot !== undefined, 'A root certificate of your own from the beginning');
  return {
    ...toAddresses(body),
    spec: toClusterSpec(body.Spec, body.AutoLockManagers),
    isForcedNew: body.ForceNewCluster,
    dataPathPort: body.DataPathPort,
    addressPools: (body.DefaultAddrPool ?? []).map((pool) => toPool(pool, subnetLength)),
    subnetLength,
  };
}

/** Throws code requestInvalid. */
export function toJoinRequest(body: JoinBody): JoinRequest {
  const addresses = toAddresses(body);
  const remotes = body.RemoteAddrs ?? [];
  if (remotes.length === 0) throw invalid('at least 1 RemoteAddr is required to join');
  for (const remote of remotes)
    if (remote === '') throw invalid('invalid remoteAddr "": invalid empty address');
  return { ...addresses, remotes: remotes.map(withPort), token: body.JoinToken };
}

/** Throws code requestInvalid. */
export function toNodeSpec(body: NodeSpecBody): NodeSpec {
  return {
    name: body.Name,
    labels: body.Labels,
    role: toWord(roles, body.Role, 'Role'),
    availability: toWord(availabilities, body.Availability, 'Availability'),
  };
}
