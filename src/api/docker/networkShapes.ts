/*
 * Networks at the edge: Docker's create, connect and inspect bodies (Engine API 1.50) and the engine's records.
 */
import type { HeldBlock, PeerNode, PlacedEndpoint, PoolStatus } from '../../engine/engine.ts';
import type { Endpoint, Network, NetworkRequest, Pool, PoolRequest } from '../../engine/model.ts';
import { endpointNameOf } from '../../engine/networks/gateway.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { macOf } from './endpointShapes.ts';
import { bool, type Decoder, list, map, pointer, struct, text } from './goJson.ts';

interface IpamConfig {
  readonly Subnet: string;
  readonly IPRange: string;
  readonly Gateway: string;
  readonly AuxiliaryAddresses: Readonly<Record<string, string>>;
}

/** The body of `POST /networks/create`. */
export interface NetworkCreateBody {
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Internal: boolean;
  readonly Attachable: boolean;
  readonly Ingress: boolean;
  readonly ConfigOnly: boolean;
  readonly ConfigFrom: { readonly Network: string };
  readonly EnableIPv4: boolean | undefined;
  readonly EnableIPv6: boolean | undefined;
  readonly IPAM: {
    readonly Driver: string;
    readonly Options: Readonly<Record<string, string>>;
    readonly Config: readonly IpamConfig[] | undefined;
  };
  readonly Options: Readonly<Record<string, string>>;
  readonly Labels: Readonly<Record<string, string>>;
}

const ipamConfig = struct<IpamConfig>('IPAMConfig', {
  Subnet: text,
  IPRange: text,
  Gateway: text,
  AuxiliaryAddresses: map(text),
});

export const networkCreateBody: Decoder<NetworkCreateBody> = struct<NetworkCreateBody>('CreateRequest', {
  Name: text,
  Driver: text,
  Scope: text,
  Internal: bool,
  Attachable: bool,
  Ingress: bool,
  ConfigOnly: bool,
  ConfigFrom: struct('ConfigReference', { Network: text }),
  EnableIPv4: pointer(bool),
  EnableIPv6: pointer(bool),
  IPAM: struct('IPAM', { Driver: text, Options: map(text), Config: list(ipamConfig) }),
  Options: map(text),
  Labels: map(text),
});

function toPoolRequest(config: IpamConfig): PoolRequest {
  return {
    ...(config.Subnet !== '' && { subnet: config.Subnet }),
    ...(config.IPRange !== '' && { ipRange: config.IPRange }),
    ...(config.Gateway !== '' && { gateway: config.Gateway }),
    ...(Object.keys(config.AuxiliaryAddresses).length > 0 && { auxAddresses: config.AuxiliaryAddresses }),
  };
}

/** Defaults as Docker's: bridge driver, default IPAM. */
export function toNetworkRequest(body: NetworkCreateBody): NetworkRequest {
  return {
    name: body.Name,
    driver: body.Driver === '' ? 'bridge' : body.Driver,
    ...(body.Scope !== '' && { scope: body.Scope }),
    isInternal: body.Internal,
    isAttachable: body.Attachable,
    isIngress: body.Ingress,
    isConfigOnly: body.ConfigOnly,
    ...(body.ConfigFrom.Network !== '' && { configFrom: body.ConfigFrom.Network }),
    ...(body.EnableIPv4 !== undefined && { ipv4: body.EnableIPv4 }),
    ...(body.EnableIPv6 !== undefined && { ipv6: body.EnableIPv6 }),
    ipamDriver: body.IPAM.Driver === '' ? 'default' : body.IPAM.Driver,
    ipamOptions: body.IPAM.Options,
    pools: (body.IPAM.Config ?? []).map(toPoolRequest),
    options: body.Options,
    labels: body.Labels,
  };
}

/** Docker says `swarm` where we say that a network spans the cluster. */
export function scopeWord(network: Network): string {
  return network.scope === 'global' ? 'swarm' : 'local';
}

function poolShape(pool: Pool | PoolRequest): Record<string, unknown> {
  return {
    ...(pool.subnet !== undefined && { Subnet: pool.subnet }),
    ...(pool.ipRange !== undefined && { IPRange: pool.ipRange }),
    ...(pool.gateway !== undefined && { Gateway: pool.gateway }),
    ...(Object.keys(pool.auxAddresses ?? {}).length > 0 && { AuxiliaryAddresses: pool.auxAddresses }),
  };
}

/** The largest number that both sides of the JSON read alike; an IPv6 subnet has more addresses. */
function countShape(count: bigint): number {
  return Number(count < BigInt(Number.MAX_SAFE_INTEGER) ? count : BigInt(Number.MAX_SAFE_INTEGER));
}

/** `Status` of a network (API 1.52); which node has which block is ours, by a name that Docker will not give. */
export function statusShape(
  pools: readonly PoolStatus[],
  blocks: readonly HeldBlock[],
): Record<string, unknown> {
  const subnets = pools.map(({ subnet, inUse, available }) => [
    subnet,
    { IPsInUse: countShape(inUse), DynamicIPsAvailable: countShape(available) },
  ]);
  const held = Object.fromEntries(blocks.map(({ block, node }) => [block, node]));
  return {
    IPAM: { Subnets: Object.fromEntries(subnets) },
    ...(blocks.length === 0 ? {} : { 'linkspan.blocks': held }),
  };
}

/** `Services` of verbose inspection: there are none, and endpoints of containers are under no name, as Docker has them. */
export function servicesShape(endpoints: readonly PlacedEndpoint[]): Record<string, unknown> {
  if (endpoints.length === 0) return {};
  const tasks = endpoints.map(({ containerName, endpointId, address, hostAddress }) => ({
    ...{ Name: containerName, EndpointID: endpointId, EndpointIP: address },
    Info: { 'Host IP': hostAddress },
  }));
  return { Services: { '': { VIP: '<nil>', Ports: [], LocalLBIndex: 0, Tasks: tasks } } };
}

function attachedShape(endpoint: Endpoint): Record<string, unknown> {
  return {
    Name: endpointNameOf(endpoint),
    EndpointID: endpoint.id,
    MacAddress: macOf(endpoint),
    IPv4Address: endpoint.ipv4 ?? '',
    IPv6Address: endpoint.ipv6 ?? '',
  };
}

/** Of an overlay network what is so, whatever was asked for; of others, which any container may be on, Docker's flag. */
function isAttachable(network: Network): boolean {
  return network.scope === 'global' ? network.refusesContainers !== true : network.isAttachable;
}

/** `endpoints` are those of running containers; a list leaves them out, as Docker's does. */
export function networkShape(
  network: Network,
  endpoints: readonly Endpoint[],
  peers: readonly PeerNode[] = [],
): Record<string, unknown> {
  return {
    Name: network.name,
    Id: network.id,
    Created: network.createdAt,
    Scope: scopeWord(network),
    Driver: network.driver,
    EnableIPv4: network.hasIpv4,
    EnableIPv6: network.hasIpv6,
    IPAM: {
      Driver: network.ipamDriver,
      Options: network.isPredefined ? null : network.ipamOptions,
      Config: (network.configuration ?? network.pools).map(poolShape),
    },
    Internal: network.isInternal,
    Attachable: isAttachable(network),
    Ingress: network.isIngress === true,
    ConfigFrom: { Network: network.configFrom ?? '' },
    ConfigOnly: network.configuration !== undefined,
    Containers: Object.fromEntries(
      endpoints.map((endpoint) => [endpoint.containerId, attachedShape(endpoint)]),
    ),
    Options: network.options,
    Labels: network.labels,
    ...(peers.length > 0 && { Peers: peers.map(({ name, address }) => ({ Name: name, IP: address })) }),
  };
}

/** Docker refuses to guess what an unknown type of network is. */
export function isOfType(network: Network, type: string): boolean {
  if (type === 'builtin') return network.isPredefined;
  if (type === 'custom') return !network.isPredefined;
  throw new LinkspanError('requestInvalid', `invalid filter: 'type'='${type}'`);
}
