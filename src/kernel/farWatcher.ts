/*
 * Losses in sandboxes: one socket hears rtnetlink's notifications from every namespace that this one has a number for,
 * which are those that one of our veth pairs leads into, and those that we number (numberNamespace). So there is
 * nothing per container, neither socket nor thread. Only the namespace's number goes on, and whether nothing but pairs went;
 * what is missing there, a look shows. Contract: netlink(7), NETLINK_LISTEN_ALL_NSID.
 */
import { decodeMessages, type Message } from '../codec/netlink/core.ts';
import {
  decodeAddress,
  decodeLink,
  decodeLinkHeader,
  routeGroups,
  routeType,
} from '../codec/netlink/route.ts';
import { decodeRoute, type RouteMessage } from '../codec/netlink/routing.ts';
import { containsIp, linkLocal6 } from '../net/prefix.ts';
import { ControlReader } from './controlReader.ts';
import { linux } from './libc.ts';
import { notificationBufferBytes, openNetlinkFd, type SocketContext, setOption } from './netlinkSocket.ts';

/** As `KernelEvents.farLoss`. */
export interface FarLoss {
  readonly namespaceId: number;
  readonly isPairOnly: boolean;
}

/** What one look at the socket found. */
export interface FarLosses {
  readonly losses: readonly FarLoss[];
  /** Notifications were lost (ENOBUFS). */
  readonly isOverrun: boolean;
}

/**
 * What the datagrams of one look say of one namespace. Of a link the last word counts, since an attach begins with it
 * down. One that was deleted is a loss if this namespace hears nothing else of it: it was on a parent here, it was part
 * of an overlay, or it went to another namespace. An end of a pair is told apart: its other end may be here.
 */
class FarState {
  readonly #down = new Set<number>();
  readonly #robbed = new Set<number>();
  #hasGone = false;
  #hasPairGone = false;

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
        this.#addLink(payload);
        break;
      case routeType.delLink:
        this.#delLink(payload);
        break;
    }
  }

  #addLink(payload: Uint8Array): void {
    const { family, ifindex, isUp } = decodeLinkHeader(payload);
    if (family !== 0) return;
    if (isUp) this.#down.delete(ifindex);
    else this.#down.add(ifindex);
  }

  #delLink(payload: Uint8Array): void {
    const { family, ifindex, kind, isMoved } = decodeLink(payload);
    if (family !== 0) return;
    this.#down.delete(ifindex);
    this.#robbed.delete(ifindex);
    if (isMoved || kinds.has(kind ?? '')) this.#hasGone = true;
    else if (kind === 'veth') this.#hasPairGone = true;
  }

  /** Undefined if nothing is lost. */
  get loss(): Omit<FarLoss, 'namespaceId'> | undefined {
    if (this.#hasGone || this.#down.size > 0 || this.#robbed.size > 0) return { isPairOnly: false };
    return this.#hasPairGone ? { isPairOnly: true } : undefined;
  }
}

/** Of links of ours in other namespaces, but for pairs. */
const kinds: ReadonlySet<string> = new Set(['macvlan', 'ipvlan', 'vxlan', 'bridge', 'wireguard', 'tun']);

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
      const losses = [...states].flatMap(([namespaceId, { loss }]) =>
        loss === undefined ? [] : { namespaceId, ...loss },
      );
      return { losses, isOverrun };
    },
  };
}
