/*
 * rtnetlink: links and addresses as messages; routes are routing.ts's. Pure. Only what our networks need: bridges, veth
 * pairs, bridge ports, links on a parent (macvlan, ipvlan, 802.1q), dummies, VXLAN devices, addresses. Contract:
 * linux/rtnetlink.h, if_link.h, if_addr.h, if_bridge.h.
 *
 *   ifinfomsg  0 u8 family | 2 u16 type | 4 i32 index | 8 u32 flags | 12 u32 mask of flags to change
 *   ifaddrmsg  0 u8 family | 1 u8 prefix length | 2 u8 flags | 3 u8 scope | 4 u32 index
 * Addresses are in network byte order, all other integers in the machine's.
 */
import { type IpFamily, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import { type Mac, macFromBytes, macToBytes } from '../../net/mac.ts';
import { type IpWithLength, lastOf, prefixOf } from '../../net/prefix.ts';
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

export const change: number = messageFlag.request | messageFlag.ack;
export const create: number = change | messageFlag.create | messageFlag.excl;

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

export const familyNumber = (family: IpFamily): number => (family === 4 ? 2 : 10);
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
