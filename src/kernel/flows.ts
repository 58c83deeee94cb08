/*
 * Forgets what connection tracking knows of published ports. A flow keeps the translation that its first packet met:
 * one that began before the port was published never reaches the container, and one of a port that is gone goes on
 * into nowhere as long as the sender keeps sending. Synchronous, for a worker. Contract: codec/netlink/conntrack.ts.
 */
import { conntrackType, decodeFlow, encodeFlowDelete, encodeFlowDump } from '../codec/netlink/conntrack.ts';
import { equalIp, formatIp, type Ip, isLoopback } from '../net/ip.ts';
import { protoNumbers } from '../net/proto.ts';
import { hasErrno } from './errno.ts';
import type { FlowFilter } from './kernel.ts';
import type { NetlinkSocket } from './netlinkSocket.ts';

/** Deletes in one send: each is acknowledged, and the receive buffer holds only so many. */
const deletesAtOnce = 100;

/** `ownAddresses`: what the host has, for filters without an address. */
export function forgetFlows(
  netfilter: NetlinkSocket,
  filters: readonly FlowFilter[],
  ownAddresses: () => readonly Ip[],
): void {
  const groups = Map.groupBy(filters, ({ family, proto }) => `${family} ${proto}`);
  const own = new Set(filters.some(({ hostIp }) => hostIp === undefined) ? ownAddresses().map(formatIp) : []);
  for (const group of groups.values()) forgetGroup(netfilter, group, own);
}

/** All of one family and protocol: one dump, whatever the number of ports. */
function forgetGroup(netfilter: NetlinkSocket, group: readonly FlowFilter[], own: ReadonlySet<string>): void {
  const [first] = group;
  if (first === undefined) return;
  const { family, proto } = first;
  const isMeant = (port: number, to: Ip): boolean =>
    group.some(
      ({ firstPort, count, hostIp }) =>
        port >= firstPort &&
        port < firstPort + count &&
        (hostIp === undefined ? own.has(formatIp(to)) || isLoopback(to) : equalIp(hostIp, to)),
    );
  const onlyPort = group.length === 1 && first.count === 1 ? first.firstPort : undefined;
  const flows = netfilter
    .dump(
      {
        operation: `conntrack dump ${proto}`,
        message: encodeFlowDump(family, protoNumbers[proto], onlyPort),
      },
      conntrackType.flow,
      decodeFlow,
    )
    .filter(
      ({ original }) =>
        original.proto === protoNumbers[proto] && isMeant(original.destinationPort, original.destination),
    );
  for (let i = 0; i < flows.length; i += deletesAtOnce) {
    const outcomes = netfilter.exchange(
      flows.slice(i, i + deletesAtOnce).map((flow) => ({
        operation: `conntrack delete ${formatIp(flow.original.destination)} ${flow.original.destinationPort}/${proto}`,
        message: encodeFlowDelete(flow),
      })),
    );
    const failure = outcomes.find((outcome) => outcome !== undefined && !hasErrno(outcome, 'ENOENT'));
    if (failure !== undefined) throw failure;
  }
}
