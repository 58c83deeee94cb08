/*
 * rtnetlink: links, addresses and routes as messages. Pure. Only what our networks need: bridges, veth pairs, bridge
 * ports, links on a parent (macvlan, ipvlan, 802.1q), dummies, VXLAN devices, addresses, unicast routes. Contract: linux/rtnetlink.h, if_link.h, if_addr.h, if_bridge.h.
 *
 *   ifinfomsg  0 u8 family | 2 u16 type | 4 i32 index | 8 u32 flags | 12 u32 mask of flags to change
 *   ifaddrmsg  0 u8 family | 1 u8 prefix length | 2 u8 flags | 3 u8 scope | 4 u32 index
 *   rtmsg      0 u8 family | 1 u8 dst length | 2 u8 src length | 3 u8 tos | 4 u8 table | 5 u8 protocol
 *              6 u8 scope | 7 u8 type | 8 u32 flags
 * Addresses are in network byte order, all other integers in the machine's.
 */
import { type Ip, type IpFamily, ipFromBytes, ipToBytes, widthOf } from '../../net/ip.ts';
import { type Mac, macFromBytes, macToBytes } from '../../net/mac.ts';
import { type IpWithLength, lastOf, type Prefix, prefixOf } from '../../net/prefix.ts';
import {
  type Attributes,
  decodeAttributes,
  decodeNested,
  messageFlag,
  stringOf,
  u8Of,
  u32Of,
  view,
  Writer,
} from './core.ts';
import { readVxlan, type VxlanFields, writeVxlan } from './vxlan.ts';

export const routeType = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNetconf: 80,
} as const;

/** Multicast groups as bits of sockaddr_nl.nl_groups: LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE. */
export const routeGroups: number = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/** IPV4_NETCONF and IPV6_NETCONF: some kernel parameters of interfaces, forwarding among them. */
export const netconfGroups: number = 0x800000 | 0x1000000;

const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  linkInfo: 18,
  alias: 20,
  group: 27,
  netnsFd: 28,
  extMask: 29,
  txQueues: 31,
  rxQueues: 32,
  linkNetnsId: 37,
  newNetnsId: 45,
} as const;
const linkInfo = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
const vethPeer = 1;
const bridge = { forwardDelay: 1, stpState: 5, switches: 46 } as const;
/** BR_BOOLOPT_NO_LL_LEARN of struct br_boolopt_multi: 0 u32 values | 4 u32 mask (linux/if_bridge.h, Linux 5.0). */
const noLinkLocalLearn = 1;
const bridgePort = { mode: 4, isolated: 33, locked: 39 } as const;
/** IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE and _FLAGS, IFLA_VLAN_ID with their values (linux/if_link.h). */
const macvlan = { mode: 1 } as const;
const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const ipvlan = { mode: 1, flags: 2 } as const;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const ipvlanFlags = { bridge: 0, private: 1, vepa: 2 } as const;
const vlan = { id: 1 } as const;
const up = 1;
/** RTEXT_FILTER_SKIP_STATS: halves the size of an answer about links. */
const skipStats = 8;

/** A veth's other end, made together with it. */
export interface VethPeer {
  readonly name: string;
  readonly mac: Mac;
  readonly mtuBytes: number;
  /** Descriptor of the namespace to be born in. */
  readonly netnsFd: number;
}

/** A link that is made on another one (`parent`), or alone (`dummy`, `wireguard`). */
export type NewKind =
  | { readonly kind: 'macvlan'; readonly mode: keyof typeof macvlanModes }
  | {
      readonly kind: 'ipvlan';
      readonly mode: keyof typeof ipvlanModes;
      readonly flag: keyof typeof ipvlanFlags;
    }
  /** 802.1q; `id` 1 to 4094. */
  | { readonly kind: 'vlan'; readonly id: number }
  | { readonly kind: 'dummy' }
  /** Its UDP socket stays in the namespace of the netlink socket, wherever the device is born. */
  | { readonly kind: 'wireguard' };

/** What a message says of a link; absent fields are not sent. */
export interface LinkFields {
  /** The link itself: by index, or by name when the index is absent. */
  readonly ifindex?: number;
  readonly name?: string;
  readonly isUp?: boolean;
  readonly mtuBytes?: number;
  readonly mac?: Mac;
  /** ifindex of a bridge. */
  readonly master?: number;
  readonly alias?: string;
  readonly group?: number;
  /**
   * Makes a bridge with forward delay 0 and STP off. It learns no MAC from frames to 01:80:c2:00:00:0x, which no
   * nftables hook sees before it does.
   */
  readonly isNewBridge?: boolean;
  /**
   * Makes a veth pair. The peer is born down: IFF_UP on it fails with ENOTCONN, because veth opens it before the
   * two ends are tied, and rolling that back costs an rcu_barrier (some 25 ms).
   */
  readonly vethPeer?: VethPeer;
  readonly bridgePort?: {
    readonly isHairpin?: boolean;
    readonly isIsolated?: boolean;
    /** True: takes frames only from MACs that the bridge has a fixed entry for on this port (Linux 5.18). */
    readonly isLocked?: boolean;
  };
  readonly newKind?: NewKind;
  /** Makes a VXLAN device, whose UDP socket stays in the namespace of the netlink socket, wherever the device is born. */
  readonly newVxlan?: VxlanFields;
  /** ifindex of the link below a new one; in the namespace of the socket, wherever the new one is born. */
  readonly parent?: number;
  /** Descriptor of the namespace that a new link is born in, or one that is there moves to. */
  readonly netnsFd?: number;
}

function writeKindData(w: Writer, data: NewKind): void {
  switch (data.kind) {
    case 'macvlan':
      w.u32Attribute(macvlan.mode, macvlanModes[data.mode]);
      break;
    case 'ipvlan':
      w.u16Attribute(ipvlan.mode, ipvlanModes[data.mode]);
      w.u16Attribute(ipvlan.flags, ipvlanFlags[data.flag]);
      break;
    case 'vlan':
      w.u16Attribute(vlan.id, data.id);
      break;
    case 'dummy':
    case 'wireguard':
      break;
    default:
      data satisfies never;
  }
}

function writeLinkHeader(w: Writer, fields: LinkFields): void {
  w.u32(0);
  w.u32(fields.ifindex ?? 0);
  w.u32(fields.isUp === true ? up : 0);
  w.u32(fields.isUp === undefined ? 0 : up);
}

function writeLinkInfo(w: Writer, fields: LinkFields): void {
  const { vethPeer: peer, bridgePort: port, newKind, newVxlan } = fields;
  if (newVxlan !== undefined) {
    w.stringAttribute(linkInfo.kind, 'vxlan');
    w.attribute(linkInfo.data, () => writeVxlan(w, newVxlan));
  }
  if (newKind !== undefined) {
    w.stringAttribute(linkInfo.kind, newKind.kind);
    if (newKind.kind !== 'dummy' && newKind.kind !== 'wireguard')
      w.attribute(linkInfo.data, () => writeKindData(w, newKind));
  }
  if (fields.isNewBridge === true) {
    w.stringAttribute(linkInfo.kind, 'bridge');
    w.attribute(linkInfo.data, () => {
      w.u32Attribute(bridge.forwardDelay, 0);
      w.u32Attribute(bridge.stpState, 0);
      w.attribute(bridge.switches, () => {
        w.u32(noLinkLocalLearn);
        w.u32(noLinkLocalLearn);
      });
    });
  }
  if (peer !== undefined) {
    w.stringAttribute(linkInfo.kind, 'veth');
    w.attribute(linkInfo.data, () =>
      w.attribute(vethPeer, () => {
        writeLinkHeader(w, {});
        writeLinkAttributes(w, peer);
        writeSingleQueue(w);
      }),
    );
  }
  if (port !== undefined) {
    w.stringAttribute(linkInfo.slaveKind, 'bridge');
    w.attribute(linkInfo.slaveData, () => {
      if (port.isHairpin !== undefined) w.u8Attribute(bridgePort.mode, port.isHairpin ? 1 : 0);
      if (port.isIsolated !== undefined) w.u8Attribute(bridgePort.isolated, port.isIsolated ? 1 : 0);
      if (port.isLocked !== undefined) w.u8Attribute(bridgePort.locked, port.isLocked ? 1 : 0);
    });
  }
}

function writeLinkAttributes(w: Writer, fields: LinkFields): void {
  if (fields.name !== undefined) w.stringAttribute(ifla.name, fields.name);
  if (fields.mac !== undefined) w.bytesAttribute(ifla.address, macToBytes(fields.mac));
  if (fields.mtuBytes !== undefined) w.u32Attribute(ifla.mtu, fields.mtuBytes);
  if (fields.parent !== undefined) w.u32Attribute(ifla.link, fields.parent);
  if (fields.netnsFd !== undefined) w.u32Attribute(ifla.netnsFd, fields.netnsFd);
  if (fields.master !== undefined) w.u32Attribute(ifla.master, fields.master);
  // Without a terminating zero: the kernel keeps the bytes as they are.
  if (fields.alias !== undefined) w.bytesAttribute(ifla.alias, Buffer.from(fields.alias));
  if (fields.group !== undefined) w.u32Attribute(ifla.group, fields.group);
  const { isNewBridge, vethPeer: peer, bridgePort: port, newKind, newVxlan } = fields;
  if (isNewBridge === true || [peer, port, newKind, newVxlan].some((info) => info !== undefined))
    w.attribute(ifla.linkInfo, () => writeLinkInfo(w, fields));
  if (fields.vethPeer !== undefined) writeSingleQueue(w);
}

/**
 * One queue in each direction. veth uses one anyway, but unless told it makes one per processor and gives the others
 * up, waiting for an RCU grace period at each end (0.2 ms).
 */
function writeSingleQueue(w: Writer): void {
  w.u32Attribute(ifla.txQueues, 1);
  w.u32Attribute(ifla.rxQueues, 1);
}

function encodeLink(type: number, flags: number, fields: LinkFields): Uint8Array {
  const w = new Writer();
  w.message(type, flags, () => {
    writeLinkHeader(w, fields);
    writeLinkAttributes(w, fields);
    if (type === routeType.getLink) w.u32Attribute(ifla.extMask, skipStats);
  });
  return w.finish();
}

const change = messageFlag.request | messageFlag.ack;
const create = change | messageFlag.create | messageFlag.excl;

/** RTM_NEWLINK that makes a link; EEXIST if the name is taken. The kernel ignores `alias` here: set it afterwards. */
export function encodeNewLink(fields: LinkFields): Uint8Array {
  return encodeLink(routeType.newLink, create, fields);
}

/** Link kinds that need more than their name, with the least that the kernel takes. */
const probeData: Readonly<Record<string, (w: Writer) => void>> = {
  vxlan: (w) => w.u32Attribute(1, 1), // IFLA_VXLAN_ID
  vlan: (w) => w.bytesAttribute(1, Uint8Array.of(1, 0)), // IFLA_VLAN_ID, u16 in host order
};

/**
 * RTM_NEWLINK of any kind, on top of `parent` where the kind needs one (macvlan, ipvlan, vlan): to learn whether the
 * kernel has it. EOPNOTSUPP if not.
 */
export function encodeProbeLink(kind: string, name: string, parent?: number): Uint8Array {
  const w = new Writer();
  w.message(routeType.newLink, create, () => {
    writeLinkHeader(w, {});
    w.stringAttribute(ifla.name, name);
    if (parent !== undefined) w.u32Attribute(ifla.link, parent);
    w.attribute(ifla.linkInfo, () => {
      w.stringAttribute(linkInfo.kind, kind);
      const data = probeData[kind];
      if (data !== undefined) w.attribute(linkInfo.data, () => data(w));
    });
  });
  return w.finish();
}

/** RTM_NEWLINK that changes an existing link; ENODEV if there is none. */
export function encodeSetLink(fields: LinkFields): Uint8Array {
  return encodeLink(routeType.newLink, change, fields);
}

/** RTM_GETLINK of one link. Answered by RTM_NEWLINK or an error, without acknowledgement. */
export function encodeGetLink(fields: LinkFields): Uint8Array {
  return encodeLink(routeType.getLink, messageFlag.request, fields);
}

/** RTM_DELLINK by name, or of all links of a group when only `group` is given. */
export function encodeDelLink(fields: LinkFields): Uint8Array {
  return encodeLink(routeType.delLink, change, fields);
}

/** RTM_GETLINK of all links. */
export function encodeLinkDump(): Uint8Array {
  return encodeLink(routeType.getLink, messageFlag.request | messageFlag.dump, {});
}

export interface LinkMessage {
  /** 0 for the link itself; PF_BRIDGE (7) where the message is about its being a bridge port. */
  readonly family: number;
  readonly ifindex: number;
  readonly isUp: boolean;
  readonly name: string;
  readonly kind: string | undefined;
  readonly mtuBytes: number;
  readonly mac: Mac | undefined;
  readonly master: number | undefined;
  readonly alias: string | undefined;
  readonly group: number;
  /** How this namespace numbers the one that a veth's other end is in; undefined if it is in this one too. */
  readonly peerNamespaceId: number | undefined;
  /** Of RTM_DELLINK: it left this namespace for another (IFLA_NEW_NETNSID). */
  readonly isMoved: boolean;
  /** Where the link is a bridge port. */
  readonly bridgePort: { readonly isHairpin: boolean; readonly isIsolated: boolean } | undefined;
}

function decodeBridgePort(info: Attributes): LinkMessage['bridgePort'] {
  if (stringOf(info.get(linkInfo.slaveKind)) !== 'bridge') return undefined;
  const port = decodeNested(info, linkInfo.slaveData);
  return {
    isHairpin: u8Of(port.get(bridgePort.mode)) === 1,
    isIsolated: u8Of(port.get(bridgePort.isolated)) === 1,
  };
}

export type LinkHeader = Pick<LinkMessage, 'family' | 'ifindex' | 'isUp'>;

/** What a notification is about, without the cost of its attributes. */
export function decodeLinkHeader(payload: Uint8Array): LinkHeader {
  const data = view(payload);
  return {
    family: data.getUint8(0),
    ifindex: data.getInt32(4, true),
    isUp: (data.getUint32(8, true) & up) !== 0,
  };
}

/** Decodes RTM_NEWLINK or RTM_DELLINK. */
export function decodeLink(payload: Uint8Array): LinkMessage {
  const attributes = decodeAttributes(payload, 16);
  const info = decodeNested(attributes, ifla.linkInfo);
  const mac = attributes.get(ifla.address);
  return {
    ...decodeLinkHeader(payload),
    name: stringOf(attributes.get(ifla.name)) ?? '',
    kind: stringOf(info.get(linkInfo.kind)),
    mtuBytes: u32Of(attributes.get(ifla.mtu)) ?? 0,
    mac: mac?.length === 6 ? macFromBytes(mac) : undefined,
    master: u32Of(attributes.get(ifla.master)),
    alias: stringOf(attributes.get(ifla.alias)),
    group: u32Of(attributes.get(ifla.group)) ?? 0,
    peerNamespaceId: u32Of(attributes.get(ifla.linkNetnsId)),
    isMoved: attributes.has(ifla.newNetnsId),
    bridgePort: decodeBridgePort(info),
  };
}

/** Decodes RTM_NEWLINK of a VXLAN device as `newVxlan` makes it; undefined for all others. */
export function decodeVxlan(payload: Uint8Array): VxlanFields | undefined {
  const info = decodeNested(decodeAttributes(payload, 16), ifla.linkInfo);
  if (stringOf(info.get(linkInfo.kind)) !== 'vxlan') return undefined;
  return readVxlan(decodeNested(info, linkInfo.data));
}

const familyNumber = (family: IpFamily): number => (family === 4 ? 2 : 10);
const ifa = { address: 1, local: 2, broadcast: 4 } as const;
/** IFA_F_NODAD: usable at once; duplicate address detection would hold an IPv6 address back for a second. */
const noDad = 2;

export interface AddressMessage extends IpWithLength {
  readonly ifindex: number;
}

/** RTM_NEWADDR (EEXIST if present) or RTM_DELADDR (EADDRNOTAVAIL if absent). IPv6 addresses skip DAD. */
export function encodeAddress(op: 'new' | 'del', address: AddressMessage): Uint8Array {
  const { ip, length } = address;
  const w = new Writer();
  const [type, flags] = op === 'new' ? [routeType.newAddress, create] : [routeType.delAddress, change];
  w.message(type, flags, () => {
    w.u8(familyNumber(ip.family));
    w.u8(length);
    w.u8(ip.family === 6 ? noDad : 0);
    w.u8(0);
    w.u32(address.ifindex);
    w.bytesAttribute(ifa.local, ipToBytes(ip));
    w.bytesAttribute(ifa.address, ipToBytes(ip));
    if (op === 'new' && ip.family === 4 && length < 31)
      w.bytesAttribute(ifa.broadcast, ipToBytes(lastOf(prefixOf(ip, length))));
  });
  return w.finish();
}

/** Decodes RTM_NEWADDR or RTM_DELADDR; undefined for families other than IP. */
export function decodeAddress(payload: Uint8Array): AddressMessage | undefined {
  const data = view(payload);
  const attributes = decodeAttributes(payload, 8);
  // On a point-to-point link IFA_ADDRESS is the other side's.
  const bytes = attributes.get(ifa.local) ?? attributes.get(ifa.address);
  if (bytes === undefined || (bytes.length !== 4 && bytes.length !== 16)) return undefined;
  return { ip: ipFromBytes(bytes), length: data.getUint8(1), ifindex: data.getUint32(4, true) };
}

const rta = { destination: 1, oif: 4, gateway: 5, priority: 6, preferredSource: 7, table: 15 } as const;
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
}

/** RTM_NEWROUTE: what goes to `destination` goes there from now on. */
export function encodeReplaceHopRoute({
  destination,
  gateway,
  ifindex,
}: HopRoute & { readonly ifindex: number }): Uint8Array {
  const w = new Writer();
  w.message(routeType.newRoute, change | messageFlag.create | messageFlag.replace, () => {
    w.u8(familyNumber(gateway.family));
    for (const byte of [destination.length, 0, 0, mainTable, bootProtocol, 0, unicast]) w.u8(byte);
    w.u32(onLinkFlag);
    w.bytesAttribute(rta.destination, ipToBytes(destination.base));
    w.bytesAttribute(rta.gateway, ipToBytes(gateway));
    w.u32Attribute(rta.oif, ifindex);
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

/**
 * RTM_GETADDR or RTM_GETROUTE of everything of one family: from Linux 6.10 on that takes no lock, where a dump of all
 * families waits until whatever link is being deleted, in any namespace, is gone.
 */
export function encodeDump(what: 'addresses' | 'routes', family: IpFamily): Uint8Array {
  const w = new Writer();
  const header = new Uint8Array(what === 'addresses' ? 8 : 12);
  header[0] = familyNumber(family);
  const type = what === 'addresses' ? routeType.getAddress : routeType.getRoute;
  w.message(type, messageFlag.request | messageFlag.dump, () => w.bytes(header));
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
