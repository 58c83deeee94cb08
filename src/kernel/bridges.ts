/*
 * Bridges: made with all that a network has on them, and taken out of the way. Synchronous, for a worker, over a socket
 * of the daemon's namespace.
 */
import type { Seam } from '../base/seam.ts';
import { encodeAddress, encodeDelLink, encodeNewLink, encodeSetLink } from '../codec/netlink/route.ts';
import { encodeLoopbackRoute } from '../codec/netlink/routing.ts';
import { formatIp } from '../net/ip.ts';
import { hasErrno } from './errno.ts';
import { type BridgeSetup, type BridgeSpec, KernelError, type Link } from './kernel.ts';
import { findLink, getIfindex } from './links.ts';
import type { NetlinkSocket } from './netlinkSocket.ts';
import { setSysctl } from './sysctl.ts';

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

/** As `Kernel.setUpBridge`, the elements apart. */
export function setUpBridge(seam: Seam, socket: NetlinkSocket, setup: BridgeSetup): void {
  const ifindex = ensureBridge(socket, setup);
  for (const { key, value, isNeeded } of setup.sysctls) {
    try {
      setSysctl(seam, key, value);
    } catch (error) {
      if (isNeeded || !hasErrno(error, 'ENOENT')) throw error;
    }
  }
  const outcomes = socket.exchange([
    ...setup.addresses.map((address) => ({
      operation: `RTM_NEWADDR ${formatIp(address.ip)} ${setup.name}`,
      message: encodeAddress('new', { ...address, ifindex }),
    })),
    ...(setup.takesLoopback6
      ? [{ operation: `RTM_NEWROUTE ::1 ${setup.name}`, message: encodeLoopbackRoute(ifindex) }]
      : []),
  ]);
  const failure = outcomes.find((outcome) => outcome !== undefined && outcome.code !== 'EEXIST');
  if (failure !== undefined) throw failure;
}
