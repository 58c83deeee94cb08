/*
 * One endpoint: a veth pair, its host end in a bridge, its peer born inside the sandbox. Three groups of system calls:
 *
 *   1. open the sandbox, enter it, open a netlink socket there, come back
 *   2. on the host: RTM_NEWLINK with the peer's namespace inside, then port flags and owner mark (one send)
 *   3. enter the sandbox again for the peer's disable_ipv6; from outside, through the socket in there: addresses, peer up,
 *      default routes (one send; two where kernel parameters that were asked for come between)
 *
 * The peer is never moved: a move between namespaces waits for an rcu_barrier, 25 to 35 ms, the whole of this 1 ms.
 */
import {
  encodeAddress,
  encodeDefaultRoute,
  encodeDelLink,
  encodeNewLink,
  encodeSetLink,
} from '../codec/netlink/route.ts';
import { formatIp } from '../net/ip.ts';
import { hasErrno } from './errno.ts';
import type { AttachSpec, InterfaceSpec } from './kernel.ts';
import { linux } from './libc.ts';
import { getIfindex } from './links.ts';
import { inOpenNamespace, type NamespaceContext, type OpenNamespace, openNamespace } from './namespaces.ts';
import { NetlinkSocket } from './netlinkSocket.ts';
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
export function setIpv6(context: NamespaceContext, sandbox: OpenNamespace, spec: InterfaceSpec): void {
  const isWanted = spec.addresses.some(({ ip }) => ip.family === 6);
  try {
    inOpenNamespace(context, sandbox, () =>
      setSysctl(context.seam, `net/ipv6/conf/${spec.peerName}/disable_ipv6`, isWanted ? '0' : '1'),
    );
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
  }
}

/** Step 3, over a socket inside the sandbox. */
export function configurePeer(
  context: NamespaceContext,
  sandbox: OpenNamespace,
  inside: NetlinkSocket,
  spec: InterfaceSpec,
): void {
  const { peerName, addresses, gateways, sysctls } = spec;
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
  inOpenNamespace(context, sandbox, () => {
    for (const { key, value } of sysctls) setSysctl(context.seam, key, value);
  });
  inside.run(...raised);
}

/** Attaches as `spec` says; when a call fails, deletes the pair again and throws. `host` is a socket of this namespace. */
export function attach(context: NamespaceContext, host: NetlinkSocket, spec: AttachSpec): void {
  const master = getIfindex(host, spec.bridge);
  using sandbox = openNamespace(context.seam, spec.sandbox);
  using inside = inOpenNamespace(
    context,
    sandbox,
    () => new NetlinkSocket(context.sockets, linux.NETLINK_ROUTE),
  );
  using undo = new DisposableStack();
  createPair(host, spec, master, sandbox.fd);
  undo.defer(() => delPair(host, spec.hostName));
  setIpv6(context, sandbox, spec);
  configurePeer(context, sandbox, inside, spec);
  undo.move();
}
