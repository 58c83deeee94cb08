/*
 * One endpoint: a veth pair, its host end in a bridge, its peer born inside the sandbox. Three groups of system calls,
 * all from inside the sandbox, which is entered once; a socket works in the namespace that it was opened in:
 *
 *   1. enter the sandbox, open a netlink socket there
 *   2. through the host's socket: RTM_NEWLINK with the peer's namespace inside, then port flags and owner mark (one send)
 *   3. the peer's disable_ipv6; through the sandbox's socket: addresses, peer up, default routes (one send; two where
 *      kernel parameters that were asked for come between)
 *
 * The peer is never moved: a move between namespaces waits for an rcu_barrier, 25 to 35 ms, the whole of this 1 ms.
 */
import type { Seam } from '../base/seam.ts';
import { encodeFixForward } from '../codec/netlink/neighbour.ts';
import { encodeAddress, encodeDelLink, encodeNewLink, encodeSetLink } from '../codec/netlink/route.ts';
import { encodeDefaultRoute } from '../codec/netlink/routing.ts';
import { formatIp } from '../net/ip.ts';
import { hasErrno } from './errno.ts';
import type { AttachSpec, InterfaceSpec } from './kernel.ts';
import { getIfindex } from './links.ts';
import { inSandbox, type NamespaceContext } from './namespaces.ts';
import type { NetlinkSocket } from './netlinkSocket.ts';
import { setSysctl } from './sysctl.ts';

function createPair(host: NetlinkSocket, spec: AttachSpec, master: number, netnsFd: number): void {
  const { hostName: name, mtuBytes, alias, isHairpin, isIsolated } = spec;
  const vethPeer = { name: spec.peerName, mac: spec.peerMac, mtuBytes, netnsFd };
  const [created, marked] = host.exchange([
    {
      operation: `RTM_NEWLINK veth ${name}`,
      message: encodeNewLink({ name, mtuBytes, master, isUp: true, vethPeer }),
    },
    // The kernel takes neither of these while it creates a link.
    {
      operation: `RTM_NEWLINK port ${name}`,
      message: encodeSetLink({ name, alias, bridgePort: { isHairpin, isIsolated } }),
    },
  ]);
  if (created !== undefined) throw created;
  if (marked === undefined) return;
  delPair(host, name);
  throw marked;
}

/** Waits for the rcu_barrier: for undoing only. */
function delPair(host: NetlinkSocket, name: string): void {
  host.exchange([{ operation: `RTM_DELLINK ${name}`, message: encodeDelLink({ name }) }]);
}

/**
 * IPv6 on the peer if and only if it gets an IPv6 address, as Docker 26 and newer: else it would join IPv6's multicast
 * groups and take a neighbour's advertisements on a network that has no IPv6. Per interface, so that lo keeps ::1.
 * Before the peer is up. Nothing to do where the kernel has no IPv6.
 */
function setIpv6(seam: Seam, { peerName, addresses }: InterfaceSpec): void {
  const isWanted = addresses.some(({ ip }) => ip.family === 6);
  try {
    setSysctl(seam, `net/ipv6/conf/${peerName}/disable_ipv6`, isWanted ? '0' : '1');
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

/** Step 3, by a thread that is inside the sandbox. */
export function configurePeer(seam: Seam, inside: NetlinkSocket, spec: InterfaceSpec): void {
  const { peerName, addresses, gateways, sysctls } = spec;
  setIpv6(seam, spec);
  const ifindex = getIfindex(inside, peerName);
  const addressed = addresses.map((address) => ({
    operation: `RTM_NEWADDR ${formatIp(address.ip)}`,
    message: encodeAddress('new', { ...address, ifindex }),
  }));
  const raised = [
    { operation: `RTM_NEWLINK up ${peerName}`, message: encodeSetLink({ ifindex, isUp: true }) },
    ...gateways.map((gateway) => ({
      operation: `RTM_NEWROUTE default via ${formatIp(gateway)}`,
      message: encodeDefaultRoute(gateway, ifindex),
    })),
  ];
  if (sysctls.length === 0) {
    inside.run(...addressed, ...raised);
    return;
  }
  inside.run(...addressed);
  for (const { key, value } of sysctls) setSysctl(seam, key, value);
  inside.run(...raised);
}

function fixMac(host: NetlinkSocket, { hostName, peerMac: mac, isLocked }: AttachSpec): void {
  const ifindex = getIfindex(host, hostName);
  host.run(
    { operation: `RTM_NEWNEIGH fixed ${mac}`, message: encodeFixForward({ ifindex, mac }) },
    ...(isLocked === true
      ? [
          {
            operation: `RTM_NEWLINK lock ${hostName}`,
            message: encodeSetLink({ ifindex, bridgePort: { isLocked } }),
          },
        ]
      : []),
  );
}

/** Attaches as `spec` says; when a call fails, deletes the pair again and throws. `host` is a socket of the bridge's namespace. */
export function attach(context: NamespaceContext, host: NetlinkSocket, spec: AttachSpec): void {
  const master = getIfindex(host, spec.bridge);
  inSandbox(context, spec.sandbox, ({ netnsFd, socket }) => {
    createPair(host, spec, master, netnsFd);
    using undo = new DisposableStack();
    undo.defer(() => delPair(host, spec.hostName));
    if (spec.fixesMac === true) fixMac(host, spec);
    configurePeer(context.seam, socket, spec);
    undo.move();
  });
}
