/*
 * What managers store of a swarm's networks, below `cluster/`:
 *
 *   cluster/epoch                   names this history of revisions; another where a store was set back
 *   cluster/allocation              no value of its own: a new network compares its revision and writes it
 *   cluster/networks/<id>           one network
 *   cluster/network-names/<name>    its id
 *   cluster/vnis/<n>                its id
 *   cluster/ips/<network>/<ip>      who holds the address
 *   cluster/endpoints/<network>/<endpoint>
 *   cluster/freed/<network>/<ip>    until when the address rests
 *   cluster/tunnels/<node>          its encrypted tunnel
 *   cluster/tunnel-numbers/<n>      its node
 *   cluster/tunnel-keys/<key>       its node; in base64url
 *
 * An address and its endpoint are written in one transaction and go in one, so that each has the other at all times.
 */
import type { Clock } from '../../base/clock.ts';
import { timestamp } from '../../base/timestamp.ts';
import { choosePool } from '../../ipam/pools.ts';
import { formatIp } from '../../net/ip.ts';
import { formatPrefix, parsePrefix } from '../../net/prefix.ts';
import type { Write } from '../../store/store.ts';
import { newSecret } from '../identity/joinToken.ts';
import { nodeIdOf, type SwarmRecord } from '../membership/records.ts';
import type { EndpointClaim, SwarmNetwork, SwarmNetworkSpec } from '../swarmNetworks.ts';

export interface NetworkRecord {
  readonly network: SwarmNetwork;
  /** It goes, unless an endpoint has come meanwhile; nobody may claim an address. */
  readonly isRemoving: boolean;
}

export interface EndpointRecord extends EndpointClaim {
  readonly nodeId: string;
}

/** Of an address. */
export interface Holder {
  readonly endpointId: string;
  readonly nodeId: string;
}

export interface Rest {
  readonly notBeforeMs: number;
}

export const epochKey = 'cluster/epoch';
export const allocationKey = 'cluster/allocation';
export const networksPrefix = 'cluster/networks/';
export const networkKey = (id: string): string => `${networksPrefix}${id}`;
export const networkNameKey = (name: string): string => `cluster/network-names/${name}`;
export const vniKey = (vni: number): string => `cluster/vnis/${vni}`;
export const holdersPrefix = (networkId: string): string => `cluster/ips/${networkId}/`;
export const holderKey = (networkId: string, ip: string): string => `${holdersPrefix(networkId)}${ip}`;
export const endpointsPrefix = (networkId: string): string => `cluster/endpoints/${networkId}/`;
export const endpointKey = (networkId: string, id: string): string => `${endpointsPrefix(networkId)}${id}`;
export const freedPrefix = (networkId: string): string => `cluster/freed/${networkId}/`;
export const freedKey = (networkId: string, ip: string): string => `${freedPrefix(networkId)}${ip}`;

export const tunnelsPrefix = 'cluster/tunnels/';
export const tunnelKey = (nodeId: string): string => `${tunnelsPrefix}${nodeId}`;
export const tunnelNumberHolder = (number: number): string => `cluster/tunnel-numbers/${number}`;
/** Of a public key in base64. */
export const tunnelKeyHolder = (publicKey: string): string =>
  `cluster/tunnel-keys/${Buffer.from(publicKey, 'base64').toString('base64url')}`;

export const addressesOf = ({ ipv4, ipv6 }: Pick<EndpointRecord, 'ipv4' | 'ipv6'>): readonly string[] =>
  [ipv4, ipv6].filter((text) => text !== undefined);

/** Docker's, of the network that every swarm has. */
const ingressVni = 4096;

export function toNetwork(spec: SwarmNetworkSpec, clock: Clock): SwarmNetwork {
  return { ...spec, id: nodeIdOf(Buffer.from(newSecret())), createdAt: timestamp(clock) };
}

/** What makes a network: its record, name and VNIs, and the guard. */
export function writesOf(network: SwarmNetwork): readonly Write[] {
  const { id, name, vnis } = network;
  const record: NetworkRecord = { network, isRemoving: false };
  return [
    { key: networkKey(id), put: record },
    { key: networkNameKey(name), put: { id } },
    ...vnis.map((vni) => ({ key: vniKey(vni), put: { id } })),
    { key: allocationKey, put: {} },
  ];
}

/** What a swarm begins with: the name of its history, and the network `ingress`, first of the swarm's subnets. */
export function firstWrites(
  { addressPools, subnetLength }: Pick<SwarmRecord, 'addressPools' | 'subnetLength'>,
  clock: Clock,
): readonly Write[] {
  const epoch: Write = { key: epochKey, put: { id: newSecret() } };
  const sources = addressPools.flatMap((text) => {
    const base = parsePrefix(text);
    return base === undefined ? [] : { base, subnetLength: Math.max(subnetLength, base.length) };
  });
  const family = sources[0]?.base.base.family ?? 4;
  const subnet = choosePool(sources, [], family);
  if (subnet === undefined) return [epoch, { key: allocationKey, put: {} }];
  const gateway = formatIp({ family, bits: subnet.base.bits + 1n });
  const ingress = toNetwork(
    {
      ...{ name: 'ingress', isInternal: false, isAttachable: false, isIngress: true },
      ...{ hasIpv4: family === 4, hasIpv6: family === 6, vnis: [ingressVni], options: {}, labels: {} },
      pools: [{ subnet: formatPrefix(subnet), gateway, auxAddresses: {} }],
    },
    clock,
  );
  return [epoch, ...writesOf(ingress)];
}
