/*
 * The peers of a VXLAN device: forwarding entries and permanent neighbours, thousands at a time. Synchronous, for a
 * worker, over a socket of the device's namespace.
 */
import {
  decodeForward,
  decodeNeighbour,
  encodeDelForward,
  encodeDelNeighbour,
  encodeForwardDump,
  encodeNeighbourDump,
  encodeReplaceForward,
  encodeReplaceNeighbour,
  neighbourType,
} from '../codec/netlink/neighbour.ts';
import { formatIp } from '../net/ip.ts';
import { hasErrno } from './errno.ts';
import type { PeerChange, Peers } from './kernel.ts';
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
