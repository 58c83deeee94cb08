/*
 * rtnetlink: routes, and whether a namespace forwards, as messages. Pure. Only what our networks need. Contract:
 * linux/rtnetlink.h, netconf.h.
 *
 *   rtmsg      0 u8 family | 1 u8 dst length | 2 u8 src length | 3 u8 tos | 4 u8 table | 5 u8 protocol
 *              6 u8 scope | 7 u8 type | 8 u32 flags
 * Addresses are in network byte order, all other integers in the machine's.
 */
import { type Ip, type IpFamily, ipFromBytes, ipToBytes, widthOf } from '../../net/ip.ts';
import { type Prefix, prefixOf } from '../../net/prefix.ts';
import { decodeAttributes, messageFlag, u32Of, view, Writer } from './core.ts';
import { type AddressMessage, change, create, familyNumber, routeType } from './route.ts';

const rta = {
  destination: 1,
  oif: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  table: 15,
} as const;
/** RTAX_MTU. */
const metric = { mtu: 2 } as const;
const mainTable = 254;
const localTable = 255;
const kernelProtocol = 2;
const bootProtocol = 3;
const advertisedProtocol = 9;
const unicast = 1;
const localRoute = 2;
/** RTN_UNREACHABLE. */
const unreachable = 7;
const linkScope = 253;
/** RT_SCOPE_NOWHERE: of a route to delete. */
const anyScope = 255;
/** RTNH_F_ONLINK. */
const onLinkFlag = 4;
const clonedFlag = 0x200;
/** Of the routes that the kernel adds with an IPv6 address (IP6_RT_PRIO_ADDRCONF). */
const ipv6ConnectedMetric = 256;

export interface RouteMessage {
  /** undefined = default route. */
  readonly destination: Prefix | undefined;
  readonly gateway: Ip | undefined;
  readonly ifindex: number | undefined;
  /** No hop between: IPv4 scope `link`; IPv6, which has no scopes, without gateway. */
  readonly isOnLink: boolean;
  /** A router advertised it (RTPROT_RA). */
  readonly isAdvertised: boolean;
}

/**
 * RTM_NEWROUTE of a default route in the main table; EEXIST if there is one, unless it may be `replace`d. The
 * unspecified address as gateway means none, as in route(8): everything is on the link.
 */
export function encodeDefaultRoute(gateway: Ip, ifindex: number, op: 'new' | 'replace' = 'new'): Uint8Array {
  const w = new Writer();
  const flags = op === 'new' ? create : change | messageFlag.create | messageFlag.replace;
  w.message(routeType.newRoute, flags, () => {
    w.u8(familyNumber(gateway.family));
    const isOnLink = gateway.bits === 0n;
    const scope = isOnLink && gateway.family === 4 ? linkScope : 0;
    for (const byte of [0, 0, 0, mainTable, bootProtocol, scope, unicast]) w.u8(byte);
    w.u32(0);
    if (!isOnLink) w.bytesAttribute(rta.gateway, ipToBytes(gateway));
    w.u32Attribute(rta.oif, ifindex);
  });
  return w.finish();
}

/** A route of the main table whose next hop is taken for being on the link, whatever its addresses are. */
export interface HopRoute {
  readonly destination: Prefix;
  readonly gateway: Ip;
  /** Of what goes there; default the link's. */
  readonly mtuBytes?: number;
}

/** RTM_NEWROUTE: what goes to `destination` goes there from now on. */
export function encodeReplaceHopRoute({
  destination,
  gateway,
  ifindex,
  mtuBytes,
}: HopRoute & { readonly ifindex: number }): Uint8Array {
  const w = new Writer();
  w.message(routeType.newRoute, change | messageFlag.create | messageFlag.replace, () => {
    w.u8(familyNumber(gateway.family));
    for (const byte of [destination.length, 0, 0, mainTable, bootProtocol, 0, unicast]) w.u8(byte);
    w.u32(onLinkFlag);
    w.bytesAttribute(rta.destination, ipToBytes(destination.base));
    w.bytesAttribute(rta.gateway, ipToBytes(gateway));
    w.u32Attribute(rta.oif, ifindex);
    if (mtuBytes !== undefined) w.attribute(rta.metrics, () => w.u32Attribute(metric.mtu, mtuBytes));
  });
  return w.finish();
}

/** RTM_DELROUTE of the route to `destination` by the link; ESRCH if there is none. */
export function encodeDelRoute(destination: Prefix, ifindex: number): Uint8Array {
  const w = new Writer();
  w.message(routeType.delRoute, change, () => {
    w.u8(familyNumber(destination.base.family));
    for (const byte of [destination.length, 0, 0, mainTable, 0, anyScope, 0]) w.u8(byte);
    w.u32(0);
    w.bytesAttribute(rta.destination, ipToBytes(destination.base));
    w.u32Attribute(rta.oif, ifindex);
  });
  return w.finish();
}

/**
 * A route of the main table, of the highest metric there is, by which what goes to `destination` is refused with
 * EHOSTUNREACH where no other route leads there. RTM_NEWROUTE: EEXIST if it is there; RTM_DELROUTE: ESRCH if not.
 */
export function encodeUnreachable(op: 'new' | 'del', destination: Prefix): Uint8Array {
  const w = new Writer();
  const [type, flags] = op === 'new' ? [routeType.newRoute, create] : [routeType.delRoute, change];
  w.message(type, flags, () => {
    w.u8(familyNumber(destination.base.family));
    for (const byte of [destination.length, 0, 0, mainTable, bootProtocol, 0, unreachable]) w.u8(byte);
    w.u32(0);
    w.bytesAttribute(rta.destination, ipToBytes(destination.base));
    w.u32Attribute(rta.priority, 0xffffffff);
  });
  return w.finish();
}

/** RTM_NEWROUTE of the route that the kernel adds by itself with `address`; EEXIST if that subnet has one. */
export function encodeConnectedRoute(address: AddressMessage): Uint8Array {
  const { ip, length, ifindex } = address;
  const isIpv4 = ip.family === 4;
  const w = new Writer();
  w.message(routeType.newRoute, create, () => {
    w.u8(familyNumber(ip.family));
    for (const byte of [length, 0, 0, mainTable, kernelProtocol, isIpv4 ? linkScope : 0, unicast]) w.u8(byte);
    w.u32(0);
    w.bytesAttribute(rta.destination, ipToBytes(prefixOf(ip, length).base));
    w.u32Attribute(rta.oif, ifindex);
    if (isIpv4) w.bytesAttribute(rta.preferredSource, ipToBytes(ip));
    else w.u32Attribute(rta.priority, ipv6ConnectedMetric);
  });
  return w.finish();
}

/**
 * RTM_NEWROUTE that lets `::1` be received from the link, in the table `local`. Without NLM_F_EXCL, since the kernel
 * takes routes of other links for the same one then; EEXIST if this link has it.
 */
export function encodeLoopbackRoute(ifindex: number): Uint8Array {
  const w = new Writer();
  w.message(routeType.newRoute, change | messageFlag.create, () => {
    w.u8(familyNumber(6));
    for (const byte of [128, 0, 0, localTable, bootProtocol, 0, localRoute]) w.u8(byte);
    w.u32(0);
    w.bytesAttribute(rta.destination, ipToBytes({ family: 6, bits: 1n }));
    w.u32Attribute(rta.oif, ifindex);
  });
  return w.finish();
}

/** Decodes RTM_NEWROUTE of what `encodeLoopbackRoute` makes; undefined for all other routes. */
export function decodeLoopbackRoute(payload: Uint8Array): RouteMessage | undefined {
  const data = view(payload);
  const isHost6 = data.getUint8(0) === familyNumber(6) && data.getUint8(1) === 128;
  if (!isHost6 || data.getUint8(4) !== localTable || data.getUint8(7) !== localRoute) return undefined;
  const attributes = decodeAttributes(payload, 12);
  const bytes = attributes.get(rta.destination);
  const base = bytes?.length === 16 ? ipFromBytes(bytes) : undefined;
  if (base?.bits !== 1n) return undefined;
  const ifindex = u32Of(attributes.get(rta.oif));
  return {
    ...{ destination: { base, length: 128 }, gateway: undefined, ifindex },
    ...{ isOnLink: true, isAdvertised: false },
  };
}

/** Decodes RTM_NEWROUTE; undefined for what is not an IP unicast route of the main table. */
export function decodeRoute(payload: Uint8Array): RouteMessage | undefined {
  const data = view(payload);
  const attributes = decodeAttributes(payload, 12);
  const family = data.getUint8(0) === 2 ? 4 : data.getUint8(0) === 10 ? 6 : undefined;
  const table = u32Of(attributes.get(rta.table)) ?? data.getUint8(4);
  const isCloned = (data.getUint32(8, true) & clonedFlag) !== 0;
  if (family === undefined || table !== mainTable || data.getUint8(7) !== unicast || isCloned)
    return undefined;
  const length = data.getUint8(1);
  const base = ipFromBytes(attributes.get(rta.destination) ?? new Uint8Array(widthOf(family) / 8));
  const gateway = attributes.get(rta.gateway);
  return {
    destination: length === 0 ? undefined : { base, length },
    gateway: gateway === undefined ? undefined : ipFromBytes(gateway),
    ifindex: u32Of(attributes.get(rta.oif)),
    isOnLink: family === 4 ? data.getUint8(6) === linkScope : gateway === undefined,
    isAdvertised: data.getUint8(5) === advertisedProtocol,
  };
}

const netconfa = { ifindex: 1, forwarding: 2 } as const;
/** NETCONFA_IFINDEX_ALL, -1: the namespace as a whole. */
const allInterfaces = 0xffffffff;

export interface ForwardingMessage {
  readonly family: IpFamily;
  readonly isOn: boolean;
}

/** Decodes RTM_NEWNETCONF (netconfmsg: 0 u8 family, 3 bytes unused) where it tells a namespace's forwarding; else undefined. */
export function decodeForwarding(payload: Uint8Array): ForwardingMessage | undefined {
  const family = payload[0] === 2 ? 4 : payload[0] === 10 ? 6 : undefined;
  const attributes = decodeAttributes(payload, 4);
  const forwarding = u32Of(attributes.get(netconfa.forwarding));
  if (family === undefined || forwarding === undefined) return undefined;
  return u32Of(attributes.get(netconfa.ifindex)) === allInterfaces
    ? { family, isOn: forwarding !== 0 }
    : undefined;
}
