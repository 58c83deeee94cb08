/*
 * Links, addresses and routes of one namespace, over a netlink socket that is in it. Synchronous, for a worker.
 */
import { decodeLinkCounters, type LinkCounters } from '../codec/netlink/linkCounters.ts';
import {
  decodeAddress,
  decodeLink,
  decodeLinkHeader,
  encodeAddress,
  encodeDump,
  encodeGetLink,
  encodeLinkDump,
  encodeSetLink,
  type LinkMessage,
  routeType,
} from '../codec/netlink/route.ts';
import {
  decodeRoute,
  encodeConnectedRoute,
  encodeDefaultRoute,
  encodeLoopbackRoute,
  encodeUnreachable,
} from '../codec/netlink/routing.ts';
import { formatIp, type Ip, type IpFamily } from '../net/ip.ts';
import { formatPrefix, type IpWithLength, type Prefix } from '../net/prefix.ts';
import { hasErrno } from './errno.ts';
import type { Address, Link, Route } from './kernel.ts';
import type { NetlinkSocket, Request } from './netlinkSocket.ts';

export function linkOf(message: LinkMessage): Link {
  const { ifindex, name, kind, isUp, mtuBytes, mac, master, alias, peerNamespaceId, bridgePort } = message;
  const isIsolated = bridgePort?.isIsolated;
  return { ifindex, name, kind, isUp, mtuBytes, mac, master, alias, peerNamespaceId, isIsolated };
}

/** As `getLink`, for who needs no more: most of an answer is not decoded. */
export function getIfindex(socket: NetlinkSocket, name: string): number {
  const request = { operation: `RTM_GETLINK ${name}`, message: encodeGetLink({ name }) };
  return socket.get(request, routeType.newLink, ({ payload }) => decodeLinkHeader(payload).ifindex);
}

/** ENODEV if there is none of that name. */
export function getLink(socket: NetlinkSocket, name: string): Link {
  const request = { operation: `RTM_GETLINK ${name}`, message: encodeGetLink({ name }) };
  return socket.get(request, routeType.newLink, ({ payload }) => linkOf(decodeLink(payload)));
}

export function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  try {
    return getLink(socket, name);
  } catch (error) {
    if (hasErrno(error, 'ENODEV')) return undefined;
    throw error;
  }
}

export function dumpLinks(socket: NetlinkSocket): readonly Link[] {
  const request = { operation: 'RTM_GETLINK dump', message: encodeLinkDump() };
  return socket.dump(request, routeType.newLink, (payload) => linkOf(decodeLink(payload)));
}

export function dumpLinkCounters(socket: NetlinkSocket): readonly LinkCounters[] {
  const request = { operation: 'RTM_GETLINK dump', message: encodeLinkDump() };
  return socket.dump(request, routeType.newLink, decodeLinkCounters);
}

export function dumpAddresses(socket: NetlinkSocket): readonly Address[] {
  return dumpFamilies((family) => {
    const request = { operation: 'RTM_GETADDR dump', message: encodeDump('addresses', family) };
    return socket.dump(request, routeType.newAddress, decodeAddress);
  });
}

export function dumpRoutes(socket: NetlinkSocket): readonly Route[] {
  return dumpFamilies((family) => {
    const request = { operation: 'RTM_GETROUTE dump', message: encodeDump('routes', family) };
    return socket.dump(request, routeType.newRoute, decodeRoute);
  });
}

/** A kernel without IPv6 answers the second question with everything that it has, so that some may come twice. */
function dumpFamilies<T>(dump: (family: IpFamily) => readonly T[]): readonly T[] {
  return [...dump(4), ...dump(6)];
}

/** True if the request was done, false if what it makes is there already. */
function ensure(socket: NetlinkSocket, request: Request): boolean {
  const [failure] = socket.exchange([request]);
  if (failure !== undefined && failure.code !== 'EEXIST') throw failure;
  return failure === undefined;
}

export function ensureAddress(socket: NetlinkSocket, link: string, address: IpWithLength): boolean {
  const ifindex = getIfindex(socket, link);
  const message = encodeAddress('new', { ...address, ifindex });
  return ensure(socket, { operation: `RTM_NEWADDR ${link}`, message });
}

export function ensureConnectedRoute(socket: NetlinkSocket, link: string, address: IpWithLength): boolean {
  const ifindex = getIfindex(socket, link);
  const message = encodeConnectedRoute({ ...address, ifindex });
  return ensure(socket, { operation: `RTM_NEWROUTE connected ${link}`, message });
}

/** True if one of them was missing. */
export function ensureUnreachable(socket: NetlinkSocket, subnets: readonly Prefix[]): boolean {
  const added = subnets.map((subnet) => {
    const message = encodeUnreachable('new', subnet);
    return ensure(socket, { operation: `RTM_NEWROUTE unreachable ${formatPrefix(subnet)}`, message });
  });
  return added.includes(true);
}

/** Success if they are gone. */
export function delUnreachable(socket: NetlinkSocket, subnets: readonly Prefix[]): void {
  for (const subnet of subnets) {
    const message = encodeUnreachable('del', subnet);
    const operation = `RTM_DELROUTE unreachable ${formatPrefix(subnet)}`;
    const [failure] = socket.exchange([{ operation, message }]);
    if (failure !== undefined && !hasErrno(failure, 'ESRCH')) throw failure;
  }
}

export function ensureLoopbackRoute(socket: NetlinkSocket, link: string): boolean {
  const message = encodeLoopbackRoute(getIfindex(socket, link));
  return ensure(socket, { operation: `RTM_NEWROUTE ::1 ${link}`, message });
}

export function ensureDefaultRoute(socket: NetlinkSocket, link: string, gateway: Ip): boolean {
  const message = encodeDefaultRoute(gateway, getIfindex(socket, link));
  return ensure(socket, { operation: `RTM_NEWROUTE default via ${formatIp(gateway)}`, message });
}

/** Two messages, because the kernel knows the flags only once the link is a port. */
export function setPort(socket: NetlinkSocket, name: string, bridge: string, isIsolated: boolean): void {
  const master = getIfindex(socket, bridge);
  const bridgePort = { isIsolated };
  socket.run(
    { operation: `RTM_NEWLINK master ${name}`, message: encodeSetLink({ name, master }) },
    { operation: `RTM_NEWLINK port ${name}`, message: encodeSetLink({ name, bridgePort }) },
  );
}

/** Success if the address or the link is gone. */
export function delAddress(socket: NetlinkSocket, link: string, address: IpWithLength): void {
  const ifindex = findLink(socket, link)?.ifindex;
  if (ifindex === undefined) return;
  const [failure] = socket.exchange([
    { operation: `RTM_DELADDR ${link}`, message: encodeAddress('del', { ...address, ifindex }) },
  ]);
  if (failure !== undefined && !hasErrno(failure, 'EADDRNOTAVAIL', 'ENODEV')) throw failure;
}

/** Replaces the default route of the gateway's family. ENODEV without the link, ENETUNREACH if it does not lead there. */
export function setDefaultRoute(socket: NetlinkSocket, link: string, gateway: Ip): void {
  const { ifindex } = getLink(socket, link);
  socket.run({
    operation: `RTM_NEWROUTE default via ${formatIp(gateway)} dev ${link}`,
    message: encodeDefaultRoute(gateway, ifindex, 'replace'),
  });
}

export function setLink(
  socket: NetlinkSocket,
  name: string,
  change: { readonly isUp?: boolean; readonly mtuBytes?: number; readonly alias?: string },
): void {
  socket.run({ operation: `RTM_NEWLINK set ${name}`, message: encodeSetLink({ name, ...change }) });
}

/** Whether a bridge sends frames back through the port `name` that they came from. */
export function setHairpin(socket: NetlinkSocket, name: string, isHairpin: boolean): void {
  socket.run({
    operation: `RTM_NEWLINK hairpin ${name}`,
    message: encodeSetLink({ name, bridgePort: { isHairpin } }),
  });
}
