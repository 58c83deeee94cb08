/*
 * The face of the kernel to the layers above: verbs on kernel objects, asynchronous because they run in the kernel
 * and reaper workers. Nothing above this folder knows netlink, file descriptors or threads.
 * A namespace is named by its path (a bind-mounted nsfs file); `undefined` means the daemon's own namespace.
 * Every call rejects with a KernelError that carries the errno name, and passes base/seam before it acts.
 * Calls are done in the order in which they are made, so that what builds on another need not wait for its answer.
 */
import type { LinkCounters } from '../codec/netlink/linkCounters.ts';
import type { Events } from '../base/events.ts';
import type { Forward, Neighbour } from '../codec/netlink/neighbour.ts';
import type { NewKind } from '../codec/netlink/route.ts';
import type { HopRoute } from '../codec/netlink/routing.ts';
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import type { Ip, IpFamily } from '../net/ip.ts';
import type { Mac } from '../net/mac.ts';
import type { IpWithLength, Prefix } from '../net/prefix.ts';
import type { Proto } from '../net/proto.ts';

/** Path of a bind-mounted network namespace; undefined = the daemon's own. */
export type NamespacePath = string | undefined;

/** A failed kernel operation. `code` is the errno name (`EEXIST`, `ENODEV`, …). */
export class KernelError extends Error {
  readonly code: string;
  constructor(operation: string, code: string, detail = '') {
    super(`${operation}: ${code}${detail === '' ? '' : ` (${detail})`}`);
    this.name = 'KernelError';
    this.code = code;
  }
}

/** What sends to one unix datagram socket. */
export interface UnixDatagrams extends Disposable {
  /**
   * False where the receiver's queue is full. Throws KernelError where there is no receiver (ECONNREFUSED, ENOTCONN), or
   * no memory. `message` is sent whole or not at all.
   */
  send(message: Uint8Array): boolean;
  /** True while the receiver has not taken all that was sent. */
  hasUntaken(): boolean;
}

export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** IFLA_INFO_KIND: `bridge`, `veth`, …; undefined for hardware and loopback. */
  readonly kind: string | undefined;
  readonly isUp: boolean;
  readonly mtuBytes: number;
  readonly mac: Mac | undefined;
  /** ifindex of the bridge it is enslaved to. */
  readonly master: number | undefined;
  /** IFLA_IFALIAS: our owner mark. */
  readonly alias: string | undefined;
  /** How this namespace numbers the one that a veth's other end is in; undefined if it is in this one too. */
  readonly peerNamespaceId: number | undefined;
  /** As a bridge port, forbidden to talk to other such ports; undefined if it is no port. */
  readonly isIsolated: boolean | undefined;
}

export interface Address extends IpWithLength {
  readonly ifindex: number;
}

export interface Route {
  /** undefined = default route. */
  readonly destination: Prefix | undefined;
  readonly gateway: Ip | undefined;
  readonly ifindex: number | undefined;
  /** rtm_scope: `link` routes are on-link. */
  readonly isOnLink: boolean;
  /** True: it came by a router advertisement, from the kernel's own hand or that of a network manager. */
  readonly isAdvertised: boolean;
}

/** Of the names of links that are about to vanish. */
export const discardedPrefix = 'lsdel';

/** A question of how large packets may be on the way to another host and back. */
export interface PathProbe {
  /** IPv4, of this host; `to` too. */
  readonly from: Ip;
  readonly to: Ip;
  readonly namespace?: NamespacePath;
  /** Of IP packets with their header; 36 to 65535, each once. */
  readonly sizes: readonly number[];
  /**
   * True: sent with DF, whatever was learned of the way, so that nobody splits them. False: routers may, as they may split
   * the packets of tunnels.
   */
  readonly isWhole: boolean;
  readonly timeoutMs: number;
}

/** A bridge device as it should be. */
export interface BridgeSpec {
  readonly name: string;
  readonly mtuBytes: number;
  /** Owner mark, at most 255 bytes. */
  readonly alias: string;
  /** Given at creation so that the bridge's address does not change with its ports. */
  readonly mac: Mac;
}

/** A bridge with all that a network has on it. */
export interface BridgeSetup extends BridgeSpec {
  /** Of the bridge itself. */
  readonly addresses: readonly IpWithLength[];
  /** Set before it has addresses. One that this kernel lacks is passed over, unless the network cannot do without. */
  readonly sysctls: readonly (Sysctl & { readonly isNeeded: boolean })[];
  /** As `ensureLoopbackRoute`. */
  readonly takesLoopback6: boolean;
}

/** What is set up inside a sandbox, however the interface gets there. */
export interface InterfaceSpec {
  readonly sandbox: string;
  /** The container's end: `eth0`. */
  readonly peerName: string;
  /** Without an IPv6 address among them, IPv6 is switched off on the container's end. */
  readonly addresses: readonly IpWithLength[];
  /** Default gateways by family, at most one each; none = no default route; unspecified = by the device alone. */
  readonly gateways: readonly Ip[];
  /** Kernel parameters of the container's end, set when it has its addresses and before it is up. */
  readonly sysctls: readonly Sysctl[];
}

/** A link on a parent (macvlan, ipvlan), born inside a sandbox; its MTU is the parent's. */
export interface ChildSpec extends InterfaceSpec {
  /** A link of the daemon's namespace. */
  readonly parent: string;
  readonly child: Extract<NewKind, { readonly kind: 'macvlan' | 'ipvlan' }>;
  /** Owner mark, at most 255 bytes; inside the sandbox. */
  readonly alias: string;
  /** ipvlan has its parent's. */
  readonly peerMac?: Mac;
}

/** A link for others to be made on: an 802.1q sub-interface of `parent`, or a dummy that leads nowhere. */
export interface ParentSpec {
  readonly name: string;
  readonly alias: string;
  readonly kind:
    | { readonly kind: 'vlan'; readonly parent: string; readonly id: number }
    | { readonly kind: 'dummy' };
}

/** One veth pair: its host end in a bridge, its peer born inside a sandbox, addressed and routed. */
export interface AttachSpec extends InterfaceSpec {
  /** At most 15 bytes. */
  readonly hostName: string;
  readonly bridge: string;
  /** Where the bridge is, and the host end is to be. */
  readonly bridgeNamespace?: NamespacePath;
  readonly alias: string;
  readonly mtuBytes: number;
  /** Bridge port flags: hairpin lets a container reach itself through the bridge; isolated forbids port to port. */
  readonly isHairpin: boolean;
  readonly isIsolated: boolean;
  readonly peerMac: Mac;
  /**
   * True: the bridge knows `peerMac` to be here from the start, also where it saw it behind another port (a container that
   * came from another host), and believes no other port.
   */
  readonly fixesMac?: boolean;
  /** True: with `fixesMac`, the container can send as no other MAC. Linux before 5.18 does not know it. */
  readonly isLocked?: boolean;
}

/** A bridge and the tunnel to other hosts, in a namespace of their own. */
export interface OverlaySpec {
  readonly namespace: string;
  readonly bridge: BridgeSpec & { readonly addresses: readonly IpWithLength[] };
  /** False: IPv6 is switched off on both. */
  readonly hasIpv6: boolean;
  readonly vxlan: {
    readonly name: string;
    /** 1 to 2^24 - 1. */
    readonly vni: number;
    /** Path of the namespace that the UDP socket is in; absent: the daemon's. */
    readonly socketNamespace?: string;
    /** An address of that namespace. */
    readonly local: Ip;
    readonly port: number;
    /** Default: as the bridge. */
    readonly mtuBytes?: number;
    /** Set: it is no port of the bridge, and has this link address. */
    readonly routerMac?: Mac;
  };
  /** Of the namespace and the two links: written where they are not so. */
  readonly sysctls: readonly Sysctl[];
}

/** Which host has a link address, and which link address an IP address, on the other side of a VXLAN device. */
export interface Peers {
  readonly forwards: readonly Forward[];
  readonly neighbours: readonly Neighbour[];
}

/** A change of the peers of the VXLAN device `link`; what is replaced need not be there, what is deleted neither. */
export interface PeerChange {
  readonly namespace: string;
  readonly link: string;
  readonly replace: Peers;
  readonly del: { readonly macs: readonly Mac[]; readonly ips: readonly Ip[] };
}

/** A WireGuard device, made from the daemon's namespace, where its UDP socket is, inside another. */
export interface WireguardSpec {
  /** At most 15 bytes. */
  readonly name: string;
  readonly namespace: string;
  readonly mtuBytes: number;
  readonly alias: string;
}

/** A change of the routes by the link that go by a next hop; what is deleted need not be there. */
export interface RouteChange {
  readonly namespace: string;
  readonly link: string;
  readonly replace: readonly HopRoute[];
  readonly del: readonly Prefix[];
}

/** A kernel parameter and its value; `key` as `setSysctl` takes it. */
export interface Sysctl {
  readonly key: string;
  readonly value: string;
}

export interface KernelEvents extends Record<string, unknown> {
  /** A link was added, changed or deleted in the daemon's namespace (RTM_NEWLINK, RTM_DELLINK). */
  readonly link: { readonly action: 'new' | 'del'; readonly link: Link };
  readonly address: { readonly action: 'new' | 'del'; readonly address: Address };
  /** Of the main table; of the table local those by which ::1 is received (`ensureLoopbackRoute`). */
  readonly route: { readonly action: 'new' | 'del'; readonly route: Route };
  /** Forwarding of the daemon's namespace as a whole was switched (RTM_NEWNETCONF). */
  readonly forwarding: { readonly family: IpFamily; readonly isOn: boolean };
  /**
   * In another namespace that this one has a number for (`Link.peerNamespaceId`, `numberNamespace`) a link is down now,
   * or an address or a route of a link that stays was deleted, or a link on a parent, a bridge or a tunnel's device
   * was, or one went elsewhere. `isPairOnly`: nothing but ends of pairs went, of which their other ends may tell more.
   */
  readonly farLoss: { readonly namespaceId: number; readonly isPairOnly: boolean };
  /** In such a namespace somebody else than this Kernel committed a change of nf_tables. */
  readonly farRuleset: { readonly namespaceId: number; readonly processName: string };
  /** Somebody wrote to a parameter that `watchSysctls` names: its value now, which may be what it was. */
  readonly sysctl: Sysctl;
  /** The nf_tables generation changed (NFT_MSG_NEWGEN): this Kernel (`isOwn`) or somebody else committed a change. */
  readonly ruleset: {
    readonly generation: number;
    readonly isOwn: boolean;
    /** Name of the thread that did it: `nft`, `dockerd`, … */
    readonly processName: string;
  };
  /** Events were lost (ENOBUFS): everything must be compared again. */
  readonly overrun: null;
}

/** One element of an nftables set or map, as raw key and data fields in table order. */
export interface SetElement {
  readonly set: string;
  readonly key: readonly ElementField[];
  /**
   * First value beyond the interval, for sets with flag interval over one field. Leave it out where the interval
   * ends with the last address that there is.
   */
  readonly keyEnd?: readonly ElementField[];
  /** Last key of the interval, for sets with flag interval over concatenated fields; fields without range repeat. */
  readonly keyLast?: readonly ElementField[];
  readonly data?: readonly ElementField[];
}

/** A field of a key or of map data; encoded in its nftables data type and padded to 4 bytes. */
export type ElementField =
  | { readonly type: 'ip'; readonly ip: Ip }
  | { readonly type: 'ifname'; readonly name: string }
  | { readonly type: 'mac'; readonly mac: Mac }
  | { readonly type: 'proto'; readonly proto: number }
  | { readonly type: 'port'; readonly port: number };

/** An atomic change of set elements of one table: all or nothing, in order. */
export interface ElementBatch {
  readonly family: 'inet' | 'bridge';
  readonly table: string;
  /** Where the table is. */
  readonly namespace?: NamespacePath;
  readonly changes: readonly { readonly op: 'add' | 'destroy'; readonly element: SetElement }[];
}

/** A port of the host on one of its addresses; the unspecified address stands for all of the family. */
export interface HostPort {
  readonly proto: Proto;
  readonly ip: Ip;
  readonly port: number;
}

export interface RefusedPort {
  readonly port: HostPort;
  /** errno name: EADDRINUSE, EADDRNOTAVAIL, EMFILE, … */
  readonly code: string;
}

/** Flows by the destination that their first packet had. */
export interface FlowFilter {
  readonly family: IpFamily;
  readonly proto: Proto;
  readonly firstPort: number;
  readonly count: number;
  /** undefined = any address of the host. */
  readonly hostIp: Ip | undefined;
}

/** Something that a kernel has or lacks: a kind of link, a kind of table, a module. */
export interface KernelFeature {
  /** `vxlan`, `nf_tables inet nat`, `br_netfilter`. */
  readonly name: string;
  readonly isPresent: boolean;
  /** Why it is taken for absent, where the kernel did not just say that it has no such thing. */
  readonly detail: string;
}

export interface Kernel extends AsyncDisposable {
  readonly events: Events<KernelEvents>;

  /** Creates a network namespace bind-mounted at `path` (the file is created), with lo up. EEXIST if the path is mounted. */
  createNamespace(path: string): Promise<void>;
  /** Unmounts and unlinks; success if already gone. The links inside die with its last user. */
  removeNamespace(path: string): Promise<void>;
  /** True if `path` is a mounted nsfs. */
  hasNamespace(path: string): Promise<boolean>;

  /**
   * How the daemon's namespace numbers the one at `path`, which gets a number if it has none, and keeps it while it
   * lives. ENOENT if there is none.
   */
  numberNamespace(path: string): Promise<number>;

  /** Creates the bridge, up, forward delay 0, STP off, multicast snooping as by default; success if an identical one is there. Resolves with its ifindex. */
  ensureBridge(spec: BridgeSpec): Promise<number>;
  /**
   * As `ensureBridge`, with what the network has on it; what is there already is left. `elements` go first, in the same
   * call, so that the bridge never carries a packet without them; false if the kernel refuses those, and then nothing
   * was done. ENOENT where a needed kernel parameter does not exist. What it made before it fails stays.
   */
  setUpBridge(setup: BridgeSetup, elements?: ElementBatch): Promise<boolean>;
  /** Adds unless present; true if it was not. */
  ensureAddress(link: string, address: IpWithLength, namespace?: NamespacePath): Promise<boolean>;
  /**
   * The route to an address's own subnet, which the kernel adds with the address, unless that subnet has one already;
   * true if it had none.
   */
  ensureConnectedRoute(link: string, address: IpWithLength, namespace?: NamespacePath): Promise<boolean>;
  /**
   * What goes to one of these subnets is refused (EHOSTUNREACH) where the namespace has no route of its own there, in
   * place of going the default route. True if that was not so.
   */
  ensureUnreachable(subnets: readonly Prefix[], namespace: string): Promise<boolean>;
  /** Undoes that; success if it is undone or the namespace is gone. */
  delUnreachable(subnets: readonly Prefix[], namespace: string): Promise<void>;
  /** Lets packets for ::1 be received from the link, as `route_localnet` does for 127.0.0.0/8; true if they were not. */
  ensureLoopbackRoute(link: string): Promise<boolean>;
  /** A default route of the gateway's family unless there is one; true if there was none. */
  ensureDefaultRoute(link: string, gateway: Ip, namespace?: NamespacePath): Promise<boolean>;
  delAddress(link: string, address: IpWithLength, namespace?: NamespacePath): Promise<void>;
  setLink(
    link: string,
    change: { readonly isUp?: boolean; readonly mtuBytes?: number; readonly alias?: string },
    namespace?: NamespacePath,
  ): Promise<void>;
  /** Puts the link into the bridge, whatever it was in; hairpin is as it was, off on a new port. ENODEV without one of them. */
  setPort(link: string, bridge: string, isIsolated: boolean, namespace?: NamespacePath): Promise<void>;
  /**
   * Deletes by name; resolves when the RTM_DELLINK event came (not the ACK, which waits for rcu_barrier, but in another
   * namespace, where nobody listens); success if it or the namespace is gone.
   */
  delLink(name: string, namespace?: NamespacePath): Promise<void>;
  /**
   * Takes a bridge out of the way: down, its name free, its deletion under way; success if already gone. A bridge waits
   * for an rcu_barrier (some 20 ms) before even its RTM_DELLINK event, so that nobody should wait for that. Until then
   * it is there as `discardedName`, which begins with `discardedPrefix`, with its owner mark.
   */
  discardBridge(name: string, discardedName: string): Promise<void>;
  /**
   * Creates and configures one endpoint in three groups of system calls. `elements` go first, in the same call, so that
   * the link never is without them; false if the kernel refuses those, and then nothing was done. Undoes what it did
   * when a call fails, the elements apart.
   */
  attach(spec: AttachSpec, elements?: ElementBatch): Promise<boolean>;
  /**
   * Makes bridge and VXLAN device inside a namespace that is there, or brings ours to what `spec` says; a device whose
   * VNI, own address or port is another is made again. True if the device was made, and so has no peers. EEXIST where
   * another device of this host has the VNI, EADDRINUSE where the port is another program's. Undoes what it made when
   * it fails.
   */
  ensureOverlay(spec: OverlaySpec): Promise<boolean>;
  /**
   * In order: new forwards, new neighbours, old neighbours, old forwards, and what the bridge learned of those on this
   * device. What was done before it fails stays.
   */
  changePeers(change: PeerChange): Promise<void>;
  /** ENODEV without the link. */
  peers(link: string, namespace: string): Promise<Peers>;
  /** Whether the kernel has WireGuard; it may load a module to find out. */
  hasWireguard(): Promise<boolean>;
  /**
   * Makes a WireGuard device inside a namespace that is there, down, or gives MTU and mark to the one of that name; true
   * if it was made. EOPNOTSUPP where the kernel lacks the kind, EEXIST where a link of another kind has the name.
   * Undoes what it made when it fails.
   */
  ensureWireguard(spec: WireguardSpec): Promise<boolean>;
  /** ENODEV without the link, EOPNOTSUPP where it is of another kind, EADDRINUSE where the port is another program's. */
  setWireguard(link: string, change: WireguardChange, namespace: string): Promise<void>;
  /** As `setWireguard`. */
  wireguard(link: string, namespace: string): Promise<WireguardState>;
  /**
   * Moves a link of the daemon's namespace into another, where it is down. It waits for an rcu_barrier (some 30 ms), so
   * that what can be born there should be. ENODEV without the link, EEXIST where one of that name is there.
   */
  moveLink(name: string, namespace: string): Promise<void>;
  /**
   * Gives each UDP socket of a process that has a smaller receive buffer one of `bytes`, whatever net.core.rmem_max says,
   * and answers how many had. EPERM where we may not reach into the process, ENOSYS before Linux 5.6, ESRCH if it ended.
   */
  growReceiveBuffers(pid: number, bytes: number): Promise<number>;
  /** Old ones first. What was done before it fails stays. */
  changeRoutes(change: RouteChange): Promise<void>;
  /** False where the kernel cannot make links of the kind, and has no module for it. Changes nothing. */
  hasLinkKind(kind: 'macvlan' | 'ipvlan' | 'vlan'): Promise<boolean>;
  /**
   * Creates it, up; success if one with the same owner mark is there, which is set up. EEXIST if another has the name,
   * EOPNOTSUPP if the kernel lacks the kind, ENODEV without its parent.
   */
  ensureParent(spec: ParentSpec): Promise<void>;
  /** ENODEV without the parent, EBUSY where it serves another kind or a passthru. Undoes what it did when it fails. */
  attachChild(spec: ChildSpec): Promise<void>;
  /** Deletes what attachChild made, whatever it is called now; success if it or the sandbox is gone. */
  detachChild(spec: Pick<ChildSpec, 'sandbox' | 'peerName' | 'alias'>): Promise<void>;
  /** The default route of the gateway's family goes through `link` from now on, whatever went before. */
  setDefaultRoute(link: string, gateway: Ip, namespace: NamespacePath): Promise<void>;
  /** Sends one gratuitous ARP (IPv4) or unsolicited neighbour advertisement (IPv6) from `link`. Best effort: changes nothing, and does not pass the seam. */
  announce(link: string, mac: Mac, ip: Ip, namespace?: NamespacePath): Promise<void>;
  /**
   * Which lengths of packets come back from another host (ICMP echo), in the order in which they are given. Resolves once
   * all have, or after `timeoutMs`. Rejects where the namespace or the own address is not there. Changes nothing, and like
   * `announce` does not pass the seam.
   */
  probePath(probe: PathProbe): Promise<readonly number[]>;

  links(namespace?: NamespacePath): Promise<readonly Link[]>;
  /** What each link there has carried. */
  linkCounters(namespace?: NamespacePath): Promise<readonly LinkCounters[]>;
  /** The link of that name, whatever the number of others. */
  findLink(name: string, namespace?: NamespacePath): Promise<Link | undefined>;
  addresses(namespace?: NamespacePath): Promise<readonly Address[]>;
  routes(namespace?: NamespacePath): Promise<readonly Route[]>;

  /** `key` with slashes or dots after /proc/sys, e.g. `net/ipv4/ip_forward`. ENOENT if the kernel lacks it. */
  getSysctl(key: string, namespace?: NamespacePath): Promise<string>;
  setSysctl(key: string, value: string, namespace?: NamespacePath): Promise<void>;
  /**
   * Tells of writes to these parameters of the daemon's namespace (event `sysctl`) instead of those that were watched
   * for `owner` before; none = of no more. One that is another than before, as its link was made again, is watched anew;
   * one that is not there, when this is called again, or a module brings it, which counts as a write. Rejects with ENOSPC or EMFILE where the machine's limits of
   * inotify are reached. Changes nothing, and like `announce` does not pass the seam.
   */
  watchSysctls(owner: string, keys: readonly string[]): Promise<void>;

  /** Runs nftables commands (nft syntax) as one transaction through libnftables; resolves with its output. */
  nft(
    commands: string,
    options?: { readonly isJson?: boolean; readonly namespace?: NamespacePath },
  ): Promise<string>;
  /**
   * Makes a named pipe, mode 0600. Synchronous, because it is one call on a tmpfs that takes microseconds. EEXIST if
   * something is at `path`.
   */
  makeFifo(path: string): void;

  /**
   * What sends to the unix socket at `path`. Synchronous, because none of its calls waits. ENOENT and ECONNREFUSED where
   * nobody receives there.
   */
  openDatagrams(path: string): UnixDatagrams;

  /**
   * Binds a socket to each port in the daemon's namespace, so that nobody else can; all or none. Resolves with the
   * first that the kernel refuses, undefined if it refuses none. Ports held already are held on. They are free again
   * after `releasePorts`, and when the process ends.
   */
  holdPorts(ports: readonly HostPort[]): Promise<RefusedPort | undefined>;
  /** Success if not held. */
  releasePorts(ports: readonly HostPort[]): Promise<void>;
  /** Makes connection tracking forget flows to these ports of the host; a sender's next packet is looked at anew. */
  forgetFlows(filters: readonly FlowFilter[]): Promise<void>;
  /** Lets a bridge send a frame back through the port that it came from. ENODEV if there is no such link. */
  setHairpin(link: string, isHairpin: boolean): Promise<void>;

  /** Applies set element changes through raw nfnetlink. */
  changeElements(batch: ElementBatch): Promise<void>;
  /** Tries out what this kernel has, in a namespace of its own that is gone afterwards. */
  probeFeatures(): Promise<readonly KernelFeature[]>;
}
