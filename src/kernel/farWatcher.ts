/*
 * Losses in sandboxes: one socket hears rtnetlink's notifications from every namespace that this one has a number for,
 * which are those that one of our veth pairs leads into. So there is nothing per container, neither socket nor thread.
 * Only the namespace's number goes on; what is missing there, a look shows. Contract: netlink(7), NETLINK_LISTEN_ALL_NSID.
 *
 *   msghdr   0 name | 8 u32 name length | 16 iov | 24 iov count | 32 control | 40 control length | 48 i32 flags
 *   iovec    0 base | 8 length
 *   cmsghdr  0 u64 length | 8 i32 level | 12 i32 type | 16 i32 the namespace's number
 */
import { decodeMessages, type Message } from '../codec/netlink/core.ts';
import {
  decodeAddress,
  decodeLinkHeader,
  decodeRoute,
  type LinkHeader,
  type RouteMessage,
  routeGroups,
  routeType,
} from '../codec/netlink/route.ts';
import { containsIp, linkLocal6 } from '../net/prefix.ts';
import { errnoName } from './errno.ts';
import { type Libc, linux } from './libc.ts';
import { notificationBufferBytes, openNetlinkFd, type SocketContext, setOption } from './netlinkSocket.ts';

const messageHeaderBytes = 56;
const vectorBytes = 16;
const controlBytes = 64;
const controlLengthAt = 40;

/** What one look at the socket found. */
export interface FarLosses {
  /** Numbers of the namespaces where something was lost. */
  readonly namespaceIds: readonly number[];
  /** Notifications were lost (ENOBUFS). */
  readonly isOverrun: boolean;
}

/** A receive with control data; its buffers live as long as it does. */
class ControlReader {
  readonly #libc: Libc;
  readonly #data: Buffer;
  readonly #header = Buffer.alloc(messageHeaderBytes);
  readonly #vector = Buffer.alloc(vectorBytes);
  readonly #control = Buffer.alloc(controlBytes);

  constructor({ libc, buffer }: SocketContext) {
    this.#libc = libc;
    this.#data = buffer;
    this.#vector.writeBigUInt64LE(libc.addressOf(buffer), 0);
    this.#vector.writeBigUInt64LE(BigInt(buffer.length), 8);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#control), 32);
  }

  /** The bytes of one datagram, valid until the next receive, or the errno name. */
  receive(fd: number): Uint8Array | string {
    this.#header.writeBigUInt64LE(BigInt(controlBytes), controlLengthAt);
    const n = this.#libc.recvmsg(fd, this.#header, linux.MSG_DONTWAIT);
    return n < 0 ? errnoName(this.#libc.errno()) : this.#data.subarray(0, n);
  }

  /** Where the last datagram came from; undefined = this namespace. */
  get namespaceId(): number | undefined {
    if (this.#header.readBigUInt64LE(controlLengthAt) < 20n) return undefined;
    const isNumber =
      this.#control.readInt32LE(8) === linux.SOL_NETLINK &&
      this.#control.readInt32LE(12) === linux.NETLINK_LISTEN_ALL_NSID;
    return isNumber ? this.#control.readInt32LE(16) : undefined;
  }
}

/**
 * What the datagrams of one look say of one namespace. Of a link the last word counts, since an attach begins with it
 * down. A link that was deleted has lost nothing: it was one end of a pair, and this namespace hears of the other end.
 */
class FarState {
  readonly #down = new Set<number>();
  readonly #robbed = new Set<number>();

  add({ type, payload }: Message): void {
    switch (type) {
      case routeType.delAddress: {
        const address = decodeAddress(payload);
        if (address !== undefined && !containsIp(linkLocal6, address.ip)) this.#robbed.add(address.ifindex);
        break;
      }
      case routeType.delRoute: {
        const ifindex = lostRoute(payload)?.ifindex;
        if (ifindex !== undefined) this.#robbed.add(ifindex);
        break;
      }
      case routeType.newLink:
      case routeType.delLink:
        this.#addLink(type === routeType.newLink, decodeLinkHeader(payload));
        break;
    }
  }

  #addLink(isThere: boolean, { family, ifindex, isUp }: LinkHeader): void {
    if (family !== 0) return;
    if (isThere && !isUp) this.#down.add(ifindex);
    else this.#down.delete(ifindex);
    if (!isThere) this.#robbed.delete(ifindex);
  }

  get isLost(): boolean {
    return this.#down.size > 0 || this.#robbed.size > 0;
  }
}

/** A route as users see them: the kernel's own (local, broadcast, IPv6 link-local) come and go with others. */
function lostRoute(payload: Uint8Array): RouteMessage | undefined {
  const route = decodeRoute(payload);
  const isOwn = route?.destination !== undefined && containsIp(linkLocal6, route.destination.base);
  return isOwn ? undefined : route;
}

export interface FarWatcher {
  readonly fd: number;
  /** Takes in all that has arrived. */
  read(): FarLosses;
}

/** The caller polls and closes `fd`. */
export function openFarWatcher(context: SocketContext): FarWatcher {
  const { libc } = context;
  const fd = openNetlinkFd(libc, linux.NETLINK_ROUTE, routeGroups);
  setOption(libc, fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, notificationBufferBytes);
  setOption(libc, fd, linux.SOL_NETLINK, linux.NETLINK_LISTEN_ALL_NSID, 1);
  const reader = new ControlReader(context);
  return {
    fd,
    read: () => {
      const states = new Map<number, FarState>();
      let isOverrun = false;
      for (;;) {
        const received = reader.receive(fd);
        if (received === 'ENOBUFS') isOverrun = true;
        if (typeof received === 'string' && received !== 'ENOBUFS') break;
        const id = typeof received === 'string' ? undefined : reader.namespaceId;
        if (id === undefined || typeof received === 'string') continue;
        const state = states.get(id) ?? new FarState();
        states.set(id, state);
        for (const message of decodeMessages(received)) state.add(message);
      }
      return { namespaceIds: [...states].flatMap(([id, state]) => (state.isLost ? id : [])), isOverrun };
    },
  };
}
