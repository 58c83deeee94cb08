/*
 * Overlay networks of which each node has blocks of its own (`linkspan.host-prefix`): between hosts they are routed. In
 * the namespace of such a network the VXLAN device stands beside the bridge; a block of another node is a route by it to
 * that node's router, and the bridge answers ARP for what lies behind. Pure.
 */
import { createHash } from 'node:crypto';
import type { HopRoute } from '../../codec/netlink/routing.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Sysctl } from '../../kernel/kernel.ts';
import { formatIp, type Ip, widthOf } from '../../net/ip.ts';
import { type Mac, macFromBytes } from '../../net/mac.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import type { DriverNetwork } from '../interface.ts';
import { overlayLabels, parseOverlayOptions } from './options.ts';
import type { OverlayPeer } from './peerTable.ts';
import type { Segment } from './segments.ts';

/** A block of a network, and where the node is that has it. */
export interface OverlayBlock extends Pick<OverlayPeer, 'vtep' | 'isDetour'> {
  readonly block: Prefix;
}

export const isRouted = (network: DriverNetwork): boolean =>
  parseOverlayOptions(network).blockBits !== undefined;

/** Throws code networkConfigInvalid where blocks do not fit into the network's subnets. */
export function checkBlocks(network: DriverNetwork, ranges: readonly Prefix[]): void {
  const { blockBits } = parseOverlayOptions(network);
  if (blockBits === undefined) return;
  const refuse = (why: string): never => {
    const text = `invalid value for option ${overlayLabels.hostPrefix}: ${why}`;
    throw new LinkspanError('networkConfigInvalid', text);
  };
  if (network.hasIpv6)
    refuse('a network with IPv6 cannot be given to nodes by blocks: leave one of the two out');
  for (const { subnet, gateway } of network.pools) {
    if (subnet.length >= widthOf(subnet.base.family) - blockBits)
      refuse(
        `a block of ${1 << blockBits} addresses must be smaller than the subnet ${formatPrefix(subnet)}`,
      );
    if (gateway !== undefined && gateway.bits % (1n << BigInt(blockBits)) === 0n)
      refuse(
        `the gateway ${formatIp(gateway)} cannot be the first address of a block, which is its router's`,
      );
  }
  for (const range of ranges)
    if (range.length > widthOf(range.base.family) - blockBits)
      refuse(`the ip-range ${formatPrefix(range)} has no room for a block of ${1 << blockBits} addresses`);
}

/** Of the VXLAN device of the host at `vtep`: all hosts say the same. Locally administered. */
export function routerMac(networkId: string, vtep: Ip): Mac {
  const text = `${networkId}/${formatIp(vtep)}`;
  const bytes = createHash('sha256').update(text).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}

/** A block's router has its first address, which no endpoint gets, and is what the tunnel knows of it. */
export function toRouter(networkId: string, { block, ...way }: OverlayBlock): OverlayPeer {
  return { endpointId: formatPrefix(block), ip: block.base, mac: routerMac(networkId, way.vtep), ...way };
}

export function toRoute({ block }: OverlayBlock): HopRoute {
  return { destination: block, gateway: block.base };
}

/** Of a segment's links and the namespace, in the order in which they are to be set. */
export function routerSysctls({ bridge, vxlan }: Segment): readonly Sysctl[] {
  const at = (link: string, name: string, value: string): Sysctl => ({
    key: `net/ipv4/conf/${link}/${name}`,
    value,
  });
  return [
    { key: 'net/ipv4/ip_forward', value: '1' },
    // Either of the two makes one send them.
    at('all', 'send_redirects', '0'),
    at(bridge, 'send_redirects', '0'),
    at(vxlan, 'send_redirects', '0'),
    // The larger counts. What comes by the tunnel must be of a block that is behind it.
    at('all', 'rp_filter', '0'),
    at(bridge, 'rp_filter', '0'),
    at(vxlan, 'rp_filter', '1'),
    at(bridge, 'proxy_arp', '1'),
    // Else it waits for up to 0.8 s before it answers.
    { key: `net/ipv4/neigh/${bridge}/proxy_delay`, value: '0' },
  ];
}

/** What makes `wanted` out of `actual`; undefined if they are the same. */
export function routeDifference(
  actual: readonly HopRoute[],
  wanted: readonly HopRoute[],
): { readonly replace: readonly HopRoute[]; readonly del: readonly Prefix[] } | undefined {
  const gatewayOf = new Map(
    actual.map((route) => [formatPrefix(route.destination), formatIp(route.gateway)]),
  );
  const kept = new Set(wanted.map(({ destination }) => formatPrefix(destination)));
  const replace = wanted.filter(
    ({ destination, gateway }) => gatewayOf.get(formatPrefix(destination)) !== formatIp(gateway),
  );
  const del = actual.map(({ destination }) => destination).filter((one) => !kept.has(formatPrefix(one)));
  return replace.length + del.length === 0 ? undefined : { replace, del };
}
