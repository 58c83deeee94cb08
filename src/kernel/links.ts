/*
 * Links, addresses and routes of one namespace, over a netlink socket that is in it. Synchronous, for a worker.
 */
import {
  decodeAddress,
  decodeLink,
  decodeLinkHeader,
  decodeRoute,
  encodeAddress,
  encodeConnectedRoute,
  encodeDefaultRoute,
  encodeDelLink,
  encodeDump,
  encodeGetLink,
  encodeLinkDump,
  encodeLoopbackRoute,
  encodeNewLink,
  encodeSetLink,
  type LinkMessage,
  routeType,
} from '../codec/netlink/route.ts';
import { formatIp, type Ip, type IpFamily } from '../net/ip.ts';
import type { IpWithLength } from '../net/prefix.ts';
import { hasErrno } from './errno.ts';
import { type Address, type BridgeSpec, KernelError, type Link, type Route } from './kernel.ts';
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

/** Creates the bridge up, or brings one with the same owner mark to what `spec` says. EEXIST if another has the name. */
export function ensureBridge(socket: NetlinkSocket, spec: BridgeSpec): number {
  const found = findLink(socket, spec.name);
  if (found !== undefined) return adoptBridge(socket, found, spec);
  const { name, mtuBytes, mac, alias } = spec;
  const [created, marked] = socket.exchange([
    {
      operation: `RTM_NEWLINK bridge ${name}`,
      message: encodeNewLink({ name, mtuBytes, mac, isUp: true, isNewBridge: true }),
    },
    { operation: `RTM_NEWLINK alias ${name}`, message: encodeSetLink({ name, alias }) },
  ]);
  if (created !== undefined) throw created;
  try {
    if (marked !== undefined) throw marked;
    return getIfindex(socket, name);
  } catch (error) {
    socket.run({ operation: `RTM_DELLINK ${name}`, message: encodeDelLink({ name }) });
    throw error;
  }
}

function adoptBridge(socket: NetlinkSocket, found: Link, spec: BridgeSpec): number {
  const { name, mtuBytes, mac, alias } = spec;
  if (found.kind !== 'bridge' || found.alias !== alias)
    throw new KernelError(`ensure bridge ${name}`, 'EEXIST', 'a link of that name is there');
  const { ifindex } = found;
  const isSame = found.isUp && found.mtuBytes === mtuBytes && found.mac === mac;
  if (!isSame)
    socket.run({
      operation: `RTM_NEWLINK repair ${name}`,
      message: encodeSetLink({ ifindex, isUp: true, mtuBytes, mac }),
    });
  return ifindex;
}

/** Down and renamed; false if there was no such link. */
export function setAside(socket: NetlinkSocket, name: string, discardedName: string): boolean {
  const ifindex = findLink(socket, name)?.ifindex;
  if (ifindex === undefined) return false;
  socket.run(
    // Before Linux 6.3 a link that is up keeps its name.
    { operation: `RTM_NEWLINK down ${name}`, message: encodeSetLink({ ifindex, isUp: false }) },
    { operation: `RTM_NEWLINK rename ${name}`, message: encodeSetLink({ ifindex, name: discardedName }) },
  );
  return true;
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
  change: { readonly isUp?: boolean; readonly mtuBytes?: number },
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
