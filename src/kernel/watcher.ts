/*
 * Kernel notifications of the worker's own namespace: links, addresses, routes, forwarding (rtnetlink) and ruleset
 * generations (nf_tables); and what is lost in sandboxes (farWatcher.ts). Lost ones (ENOBUFS) become one `overrun`, after which everything has to be compared again.
 */
import { closeSync, readFileSync } from 'node:fs';
import { controlType, decodeMessages, type Message } from '../codec/netlink/core.ts';
import { decodeGeneration, netfilterGroup, netfilterType } from '../codec/netlink/netfilter.ts';
import {
  decodeAddress,
  decodeForwarding,
  decodeLink,
  decodeLinkHeader,
  decodeRoute,
  netconfGroups,
  routeGroups,
  routeType,
} from '../codec/netlink/route.ts';
import { errnoName } from './errno.ts';
import { type FarWatcher, openFarWatcher } from './farWatcher.ts';
import { type Libc, linux } from './libc.ts';
import { linkOf } from './links.ts';
import { notificationBufferBytes, openNetlinkFd, type SocketContext, setOption } from './netlinkSocket.ts';
import type { KernelEvent } from './protocol.ts';

function decodeLinkEvent(action: 'new' | 'del', payload: Uint8Array): KernelEvent {
  return { name: 'link', value: { action, link: linkOf(decodeLink(payload)) } };
}

function decodeAddressEvent(action: 'new' | 'del', payload: Uint8Array): KernelEvent | undefined {
  const address = decodeAddress(payload);
  return address === undefined ? undefined : { name: 'address', value: { action, address } };
}

function decodeRouteEvent(action: 'new' | 'del', payload: Uint8Array): KernelEvent | undefined {
  const route = decodeRoute(payload);
  return route === undefined ? undefined : { name: 'route', value: { action, route } };
}

function decodeForwardingEvent(payload: Uint8Array): KernelEvent | undefined {
  const value = decodeForwarding(payload);
  return value === undefined ? undefined : { name: 'forwarding', value };
}

function decodeRouteMessage({ type, payload }: Message): KernelEvent | undefined {
  switch (type) {
    case routeType.newLink:
      return decodeLinkEvent('new', payload);
    case routeType.delLink:
      return decodeLinkEvent('del', payload);
    case routeType.newAddress:
      return decodeAddressEvent('new', payload);
    case routeType.delAddress:
      return decodeAddressEvent('del', payload);
    case routeType.newRoute:
      return decodeRouteEvent('new', payload);
    case routeType.delRoute:
      return decodeRouteEvent('del', payload);
    case routeType.newNetconf:
      return decodeForwardingEvent(payload);
    case controlType.overrun:
      return { name: 'overrun', value: null };
    default:
      return undefined;
  }
}

/** The name of the calling thread, which the kernel puts into its notices of ruleset changes. */
function ownThreadName(): string {
  return readFileSync('/proc/thread-self/comm', 'utf8').trimEnd();
}

function decodeNetfilterMessage(ownName: string, message: Message): KernelEvent | undefined {
  if (message.type !== netfilterType.newGeneration) return undefined;
  const { generation, processName } = decodeGeneration(message.payload);
  return { name: 'ruleset', value: { generation, processName, isOwn: processName === ownName } };
}

export interface Watcher extends Disposable {
  /** Takes in what has arrived without waiting for the event loop to say so. */
  drain(): void;
}

interface Source {
  readonly fd: number;
  readonly decode: (message: Message) => KernelEvent | undefined;
}

/** Messages in order, where the state of a link replaces an earlier one that nobody has seen: an attach causes ten. */
class Arrivals {
  readonly #messages: (Message | undefined)[] = [];
  readonly #latest = new Map<number, number>();

  add(message: Message): void {
    if (message.type === routeType.newLink || message.type === routeType.delLink) {
      const { family, ifindex } = decodeLinkHeader(message.payload);
      // Family PF_BRIDGE tells of a bridge port, also with RTM_DELLINK when a link only leaves its bridge.
      if (family !== 0) return;
      const earlier = this.#latest.get(ifindex);
      if (message.type === routeType.newLink && earlier !== undefined) this.#messages[earlier] = undefined;
      if (message.type === routeType.newLink) this.#latest.set(ifindex, this.#messages.length);
      else this.#latest.delete(ifindex);
    }
    // A copy: the next receive overwrites the buffer.
    this.#messages.push({ ...message, payload: new Uint8Array(message.payload) });
  }

  decode(source: Source): KernelEvent[] {
    return this.#messages
      .map((message) => (message === undefined ? undefined : source.decode(message)))
      .filter((event) => event !== undefined);
  }
}

function readSource({ libc, buffer }: SocketContext, source: Source): KernelEvent[] {
  const arrivals = new Arrivals();
  let isOverrun = false;
  for (;;) {
    const n = libc.recv(source.fd, buffer, buffer.length, linux.MSG_DONTWAIT);
    if (n >= 0) for (const message of decodeMessages(buffer.subarray(0, n))) arrivals.add(message);
    else if (errnoName(libc.errno()) === 'ENOBUFS') isOverrun = true;
    else break;
  }
  const events = arrivals.decode(source);
  return isOverrun ? [...events, { name: 'overrun', value: null }] : events;
}

function openSources(libc: Libc): readonly Source[] {
  const route = openNetlinkFd(libc, linux.NETLINK_ROUTE, routeGroups | netconfGroups);
  const netfilter = openNetlinkFd(libc, linux.NETLINK_NETFILTER);
  for (const fd of [route, netfilter])
    setOption(libc, fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, notificationBufferBytes);
  setOption(libc, netfilter, linux.SOL_NETLINK, linux.NETLINK_ADD_MEMBERSHIP, netfilterGroup);
  const ownName = ownThreadName();
  return [
    { fd: route, decode: decodeRouteMessage },
    { fd: netfilter, decode: (message) => decodeNetfilterMessage(ownName, message) },
  ];
}

function readFar(far: FarWatcher): readonly KernelEvent[] {
  const { namespaceIds, isOverrun } = far.read();
  const losses = namespaceIds.map((namespaceId) => ({ name: 'farLoss' as const, value: { namespaceId } }));
  return isOverrun ? [...losses, { name: 'overrun', value: null }] : losses;
}

/** Calls `onEvents` with what arrived, in order per source, never with an empty list. */
export function openWatcher(
  context: SocketContext,
  onEvents: (events: readonly KernelEvent[]) => void,
): Watcher {
  const sources = openSources(context.libc);
  const far = openFarWatcher(context);
  const tell = (events: readonly KernelEvent[]): void => {
    if (events.length > 0) onEvents(events);
  };
  const drain = (): void => tell(sources.flatMap((source) => readSource(context, source)));
  const polls = [
    ...sources.map(({ fd }) => context.libc.poll(fd, drain)),
    context.libc.poll(far.fd, () => tell(readFar(far))),
  ];
  return {
    drain,
    [Symbol.dispose]: () => {
      for (const poll of polls) poll[Symbol.dispose]();
      for (const { fd } of [...sources, far]) closeSync(fd);
    },
  };
}
