/*
 * The peers of a VXLAN device: forwarding entries, permanent neighbours and routes, thousands at a time. Synchronous, for a
 * worker, over a socket of the device's namespace.
 */
import {
  decodeForward,
  decodeNeighbour,
  encodeDelForward,
  encodeDelNeighbour,
  encodeForgetForward,
  encodeForwardDump,
  encodeNeighbourDump,
  encodeReplaceForward,
  encodeReplaceNeighbour,
  neighbourType,
} from '../codec/netlink/neighbour.ts';
import { encodeDelRoute, encodeReplaceHopRoute } from '../codec/netlink/routing.ts';
import { formatIp } from '../net/ip.ts';
import type { Mac } from '../net/mac.ts';
import { formatPrefix } from '../net/prefix.ts';
import { hasErrno } from './errno.ts';
import type { PeerChange, Peers, RouteChange } from './kernel.ts';
import { getIfindex } from './links.ts';
import type { NetlinkSocket } from './netlinkSocket.ts';

/** A neighbour after the forward that its frames need, and gone before it. */
export function changePeers(socket: NetlinkSocket, { link, replace, del }: PeerChange): void {
  const ifindex = getIfindex(socket, link);
  const failures = socket.exchangeMany([
    ...replace.forwards.map((forward) => ({
      operation: `RTM_NEWNEIGH forward ${forward.mac}`,
      message: encodeReplaceForward({ ...forward, ifindex }),
    })),
    ...replace.neighbours.map((neighbour) => ({
      operation: `RTM_NEWNEIGH ${formatIp(neighbour.ip)}`,
      message: encodeReplaceNeighbour({ ...neighbour, ifindex }),
    })),
    ...del.ips.map((ip) => ({
      operation: `RTM_DELNEIGH ${formatIp(ip)}`,
      message: encodeDelNeighbour({ ip, ifindex }),
    })),
    ...del.macs.map((mac) => ({
      operation: `RTM_DELNEIGH forward ${mac}`,
      message: encodeDelForward({ mac, ifindex }),
    })),
  ]);
  // Only what is deleted can be missing.
  const failure = failures.find((one) => !hasErrno(one, 'ENOENT'));
  if (failure !== undefined) throw failure;
  forgetLearned(socket, ifindex, del.macs);
}

/** Else the bridge would send what is for them here, and nowhere else, for up to five minutes. */
function forgetLearned(socket: NetlinkSocket, ifindex: number, macs: readonly Mac[]): void {
  const failures = socket.exchangeMany(
    macs.map((mac) => ({
      operation: `RTM_DELNEIGH learned ${mac}`,
      message: encodeForgetForward({ mac, ifindex }),
    })),
  );
  // A router's device is no port.
  const failure = failures.find((one) => !hasErrno(one, 'ENOENT', 'EOPNOTSUPP'));
  if (failure !== undefined) throw failure;
}

export function changeRoutes(socket: NetlinkSocket, { link, replace, del }: RouteChange): void {
  const ifindex = getIfindex(socket, link);
  const gone = socket.exchangeMany(
    del.map((destination) => ({
      operation: `RTM_DELROUTE ${formatPrefix(destination)} ${link}`,
      message: encodeDelRoute(destination, ifindex),
    })),
  );
  const failure = gone.find((one) => !hasErrno(one, 'ESRCH'));
  if (failure !== undefined) throw failure;
  const [refusal] = socket.exchangeMany(
    replace.map((route) => ({
      operation: `RTM_NEWROUTE ${formatPrefix(route.destination)} ${link}`,
      message: encodeReplaceHopRoute({ ...route, ifindex }),
    })),
  );
  if (refusal !== undefined) throw refusal;
}

export function dumpPeers(socket: NetlinkSocket, link: string): Peers {
  const ifindex = getIfindex(socket, link);
  const forwards = socket.dump(
    { operation: `RTM_GETNEIGH forwards ${link}`, message: encodeForwardDump(ifindex) },
    neighbourType.new,
    (payload) => decodeForward(payload, ifindex),
  );
  const neighbours = ([4, 6] as const).flatMap((family) =>
    socket.dump(
      { operation: `RTM_GETNEIGH IPv${family} ${link}`, message: encodeNeighbourDump(family, ifindex) },
      neighbourType.new,
      (payload) => decodeNeighbour(payload, ifindex),
    ),
  );
  return { forwards, neighbours };
}
