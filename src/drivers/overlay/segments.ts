/*
 * Segments: a bridge and a VXLAN device with a VNI of its own for each subnet of an overlay network, or one for the
 * IPv4 and the IPv6 subnet of a network with both, whose endpoints have both on one interface. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatIp, type Ip } from '../../net/ip.ts';
import { containsIp, type IpWithLength, type Prefix } from '../../net/prefix.ts';
import type { DriverNetwork } from '../interface.ts';
import type { OverlayOptions } from './options.ts';

/** This host's end of the tunnels. */
export interface Underlay {
  readonly address: Ip;
  /** Of the way to the other hosts. */
  readonly mtuBytes: number;
  /** What is put around a VXLAN packet on that way; default nothing. */
  readonly headerBytes?: number;
  /** UDP, of all hosts; 4789 unless the swarm has another. */
  readonly port: number;
}

export interface Segment {
  readonly vni: number;
  readonly bridge: string;
  readonly vxlan: string;
  readonly subnets: readonly Prefix[];
  /** The bridge's own, the same on every host. */
  readonly addresses: readonly IpWithLength[];
}

/** Outer IP (20 or 40) and UDP (8), VXLAN (8), inner Ethernet (14). RFC 7348 section 5. */
const headerBytes = { 4: 50, 6: 70 } as const;
/** Smallest MTU of IPv4 (RFC 791) and of IPv6 (RFC 8200 section 5); below it the kernel takes IPv6 off a link. */
const minimalMtuBytes = { 4: 68, 6: 1280 } as const;

/** Of the way to the other hosts: what is asked for, where the carrier takes it. */
export function outerMtu(
  { underlayMtuBytes }: Pick<OverlayOptions, 'underlayMtuBytes'>,
  { mtuBytes, headerBytes = 0 }: Underlay,
): number {
  // A tunnel drops what it does not take; other ways may split it.
  return headerBytes > 0 ? Math.min(underlayMtuBytes ?? mtuBytes, mtuBytes) : (underlayMtuBytes ?? mtuBytes);
}

/** Throws code driverOptionInvalid where more is asked for than the carrier takes. */
export function checkMtu(options: Pick<OverlayOptions, 'underlayMtuBytes'>, underlay: Underlay): void {
  const asked = options.underlayMtuBytes;
  const taken = outerMtu(options, underlay);
  if (asked === undefined || asked === taken) return;
  throw new LinkspanError(
    'driverOptionInvalid',
    `invalid MTU value: ${asked}: the links that carry the encrypted tunnels between the nodes take ${taken} at most`,
  );
}

/** MTU inside. Throws code driverOptionInvalid where too little is left. */
export function planMtu(
  options: Pick<OverlayOptions, 'underlayMtuBytes'>,
  underlay: Underlay,
  hasIpv6: boolean,
): number {
  const outer = outerMtu(options, underlay);
  const mtuBytes = outer - (underlay.headerBytes ?? 0) - headerBytes[underlay.address.family];
  const least = minimalMtuBytes[hasIpv6 ? 6 : 4];
  if (mtuBytes >= least) return mtuBytes;
  throw new LinkspanError(
    'driverOptionInvalid',
    `invalid MTU value: ${outer}: ${mtuBytes} are left inside the tunnel, IPv${hasIpv6 ? 6 : 4} needs at least ${least}`,
  );
}

/** How many VNIs a network with these subnets takes: one for each, or one for an IPv4 and an IPv6 subnet together. */
export function countSegments(pools: readonly Pick<DriverNetwork['pools'][number], 'subnet'>[]): number {
  const families = new Set(pools.map(({ subnet }) => subnet.base.family));
  return families.size > 1 ? 1 : pools.length;
}

/** Throws code networkConfigInvalid. */
export function planSegments(
  { pools }: Pick<DriverNetwork, 'pools'>,
  { vnis }: Pick<OverlayOptions, 'vnis'>,
): readonly Segment[] {
  const ofFamily = (family: 4 | 6): typeof pools =>
    pools.filter(({ subnet }) => subnet.base.family === family);
  const [pools4, pools6] = [ofFamily(4), ofFamily(6)];
  const hasBoth = pools4.length > 0 && pools6.length > 0;
  const refuse = (text: string): never => {
    throw new LinkspanError('networkConfigInvalid', text);
  };
  if (hasBoth && pools.length > 2)
    refuse('an overlay network with IPv4 and IPv6 has one subnet of each: create one network for each pair');
  const groups = hasBoth ? [[...pools4, ...pools6]] : pools.map((pool) => [pool]);
  if (vnis.length < groups.length) refuse(`insufficient vnis(${vnis.length}) passed to overlay`);
  return groups.map((group, i) => ({
    vni: vnis[i] ?? 0,
    bridge: `br${i}`,
    vxlan: `vxlan${i}`,
    subnets: group.map(({ subnet }) => subnet),
    addresses: group.flatMap(({ subnet, gateway }) =>
      gateway === undefined ? [] : { ip: gateway, length: subnet.length },
    ),
  }));
}

/** Of the names of second devices. */
export const detourSuffix = '-wg';

/** With its second VXLAN device, whose packets go through the encrypted tunnels. */
export function detourOf(segment: Segment): Segment {
  return { ...segment, vxlan: `${segment.vxlan}${detourSuffix}` };
}

/** Undefined where the network has no such subnet. */
export function findSegment(segments: readonly Segment[], ip: Ip): Segment | undefined {
  return segments.find(({ subnets }) => subnets.some((subnet) => containsIp(subnet, ip)));
}

/** The segment of an endpoint. Throws code networkConfigInvalid unless all its addresses are in one. */
export function getSegment(segments: readonly Segment[], addresses: readonly { readonly ip: Ip }[]): Segment {
  const found = new Set(addresses.map(({ ip }) => findSegment(segments, ip)));
  const [segment] = found;
  if (segment !== undefined && found.size === 1) return segment;
  const text = addresses.map(({ ip }) => formatIp(ip)).join(', ');
  throw new LinkspanError('networkConfigInvalid', `no subnet of the network has the addresses ${text}`);
}
