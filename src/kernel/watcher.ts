/*
 * Kernel notifications of the worker's own namespace: links, addresses, routes, forwarding (rtnetlink) and ruleset
 * generations (nf_tables), those also of the namespaces that this one has a number for; and what is lost in sandboxes
 * (farWatcher.ts). Lost ones (ENOBUFS) become one `overrun`, after which everything has to be compared again.
 */
import { closeSync, readFileSync } from 'node:fs';
import { controlType, decodeMessages, type Message } from '../codec/netlink/core.ts';
import { decodeGeneration, netfilterGroup, netfilterType } from '../codec/netlink/netfilter.ts';
import {
  decodeAddress,
  decodeLink,
  decodeLinkHeader,
  netconfGroups,
  routeGroups,
  routeType,
} from '../codec/netlink/route.ts';
import { decodeForwarding, decodeLoopbackRoute, decodeRoute } from '../codec/netlink/routing.ts';
import { ControlReader } from './controlReader.ts';
import { errnoName } from './errno.ts';
import { type FarWatcher, openFarWatcher } from './farWatcher.ts';
import { linux } from './libc.ts';
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
  const route = decodeRoute(payload) ?? decodeLoopbackRoute(payload);
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

/** Changes by this daemon are told for the own namespace only, where desired tables are compared with the actual ones. */
function decodeGenerationEvent(
  payload: Uint8Array,
  namespaceId: number | undefined,
  ownName: string,
): KernelEvent | undefined {
  const { generation, processName } = decodeGeneration(payload);
  const isOwn = processName === ownName;
  if (namespaceId === undefined) return { name: 'ruleset', value: { generation, processName, isOwn } };
  return isOwn ? undefined : { name: 'farRuleset', value: { namespaceId, processName } };
}

export interface Watcher extends Disposable {
  /** Takes in what has arrived without waiting for the event loop to say so. */
  drain(): void;
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

  decode(): KernelEvent[] {
    return this.#messages
      .map((message) => (message === undefined ? undefined : decodeRouteMessage(message)))
      .filter((event) => event !== undefined);
  }
}

/** Takes in what has arrived. */
interface Source {
  readonly fd: number;
  read(): readonly KernelEvent[];
}

const overrun: KernelEvent = { name: 'overrun', value: null };

function readRoutes({ libc, buffer }: SocketContext, fd: number): readonly KernelEvent[] {
  const arrivals = new Arrivals();
  let isOverrun = false;
  for (;;) {
    const n = libc.recv(fd, buffer, buffer.length, linux.MSG_DONTWAIT);
    if (n >= 0) for (const message of decodeMessages(buffer.subarray(0, n))) arrivals.add(message);
    else if (errnoName(libc.errno()) === 'ENOBUFS') isOverrun = true;
    else break;
  }
  return isOverrun ? [...arrivals.decode(), overrun] : arrivals.decode();
}

function openRoutes(context: SocketContext): Source {
  const fd = openNetlinkFd(context.libc, linux.NETLINK_ROUTE, routeGroups | netconfGroups);
  return { fd, read: () => readRoutes(context, fd) };
}

function readRulesets(reader: ControlReader, fd: number, ownName: string): readonly KernelEvent[] {
  const events: KernelEvent[] = [];
  let isOverrun = false;
  for (;;) {
    const received = reader.receive(fd);
    if (received === 'ENOBUFS') isOverrun = true;
    else if (typeof received === 'string') break;
    else
      for (const { type, payload } of decodeMessages(received)) {
        if (type !== netfilterType.newGeneration) continue;
        const event = decodeGenerationEvent(payload, reader.namespaceId, ownName);
        if (event !== undefined) events.push(event);
      }
  }
  return isOverrun ? [...events, overrun] : events;
}

function openRulesets(context: SocketContext): Source {
  const { libc } = context;
  const fd = openNetlinkFd(libc, linux.NETLINK_NETFILTER);
  setOption(libc, fd, linux.SOL_NETLINK, linux.NETLINK_ADD_MEMBERSHIP, netfilterGroup);
  setOption(libc, fd, linux.SOL_NETLINK, linux.NETLINK_LISTEN_ALL_NSID, 1);
  const reader = new ControlReader(context);
  const ownName = ownThreadName();
  return { fd, read: () => readRulesets(reader, fd, ownName) };
}

function readFar(far: FarWatcher): readonly KernelEvent[] {
  const { losses, isOverrun } = far.read();
  const events = losses.map((value) => ({ name: 'farLoss' as const, value }));
  return isOverrun ? [...events, overrun] : events;
}

/** Calls `onEvents` with what arrived, in order per source, never with an empty list. */
export function openWatcher(
  context: SocketContext,
  onEvents: (events: readonly KernelEvent[]) => void,
): Watcher {
  const sources = [openRoutes(context), openRulesets(context)];
  for (const { fd } of sources)
    setOption(context.libc, fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, notificationBufferBytes);
  const far = openFarWatcher(context);
  const tell = (events: readonly KernelEvent[]): void => {
    if (events.length > 0) onEvents(events);
  };
  const drain = (): void => tell(sources.flatMap((source) => source.read()));
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
