/*
 * The bridge and the VXLAN device of one subnet of an overlay network, in a namespace of their own:
 *
 *   daemon's namespace           overlay's namespace                  a container's
 *   UDP socket, port 4789  <---  vxlan0 ---- br0 ---- endpoint's veth ---- eth0
 *
 * The device is a port of the bridge, or, as a router, stands beside it, and the namespace forwards between the two.
 * There may be two such devices at a bridge: as isolated ports they never pass a frame from one to the other.
 * The device is born in the overlay's namespace by a netlink socket of the daemon's, or of another that is to carry it
 * (IFLA_NET_NS_FD): its UDP socket is in that one then, and its VNI is unique among those made there. It is never moved.
 * Synchronous, for a worker.
 */
import { randomBytes } from 'node:crypto';
import type { Seam } from '../base/seam.ts';
import {
  decodeLink,
  decodeVxlan,
  encodeAddress,
  encodeDelLink,
  encodeGetLink,
  encodeNewLink,
  encodeSetLink,
  routeType,
} from '../codec/netlink/route.ts';
import { equalIp, formatIp } from '../net/ip.ts';
import { ensureBridge } from './bridges.ts';
import { bornPrefix } from './children.ts';
import { hasErrno } from './errno.ts';
import { KernelError, type OverlaySpec } from './kernel.ts';
import { dumpLinks, findLink, getIfindex, linkOf } from './links.ts';
import { inSandbox, type Inside, type NamespaceContext, openSocketIn } from './namespaces.ts';
import type { NetlinkSocket, Request } from './netlinkSocket.ts';
import { getSysctl, setSysctl } from './sysctl.ts';

/** Waits for the rcu_barrier. */
function del(socket: NetlinkSocket, name: string): void {
  socket.run({ operation: `RTM_DELLINK ${name}`, message: encodeDelLink({ name }) });
}

function undoLink(
  socket: NetlinkSocket,
  link: { readonly name: string } | { readonly ifindex: number },
): void {
  socket.exchange([{ operation: 'RTM_DELLINK undo', message: encodeDelLink(link) }]);
}

/** Of links made from now on in the namespace that this thread is in. Nothing to do where the kernel has no IPv6. */
function setIpv6(seam: Seam, isWanted: boolean): void {
  try {
    setSysctl(seam, 'net/ipv6/conf/default/disable_ipv6', isWanted ? '0' : '1');
  } catch (error) {
    if (isWanted || !hasErrno(error, 'ENOENT')) throw error;
  }
}

/**
 * Frames of its bridges are shown to the IP rules of a namespace where br_netfilter is loaded; in one that has no rules
 * that costs each of them some time for nothing.
 */
function skipBridgeFiltering(seam: Seam): void {
  for (const protocol of ['iptables', 'ip6tables', 'arptables'])
    try {
      setSysctl(seam, `net/bridge/bridge-nf-call-${protocol}`, '0');
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) throw error;
    }
}

/** True if it was made. */
function ensureBridgeInside(socket: NetlinkSocket, { bridge }: OverlaySpec): boolean {
  const { name, mac, addresses } = bridge;
  const found = findLink(socket, name);
  // The mark follows the creation by a moment; the MAC comes with it.
  const isHalfMade = found?.kind === 'bridge' && found.alias === undefined && found.mac === mac;
  if (isHalfMade) del(socket, name);
  const ifindex = ensureBridge(socket, bridge);
  const isNew = found === undefined || isHalfMade;
  const outcomes = socket.exchange(
    addresses.map((address) => ({
      operation: `RTM_NEWADDR ${formatIp(address.ip)} ${name}`,
      message: encodeAddress('new', { ...address, ifindex }),
    })),
  );
  const failure = outcomes.find((outcome) => outcome !== undefined && outcome.code !== 'EEXIST');
  if (failure === undefined) return isNew;
  if (isNew) undoLink(socket, { ifindex });
  throw failure;
}

/** True if one that is as it should be was there; one that is not is deleted. */
function adoptVxlan(
  socket: NetlinkSocket,
  { vxlan, bridge }: OverlaySpec,
  master: number | undefined,
): boolean {
  const { name, vni, local, port, routerMac, mtuBytes = bridge.mtuBytes } = vxlan;
  const operation = `ensure vxlan ${name}`;
  // Made, but not named yet.
  for (const link of dumpLinks(socket))
    if (link.kind === 'vxlan' && link.name.startsWith(bornPrefix)) del(socket, link.name);
  if (findLink(socket, name) === undefined) return false;
  const [link, fields] = socket.get(
    { operation: `RTM_GETLINK ${name}`, message: encodeGetLink({ name }) },
    routeType.newLink,
    ({ payload }) => [linkOf(decodeLink(payload)), decodeVxlan(payload)] as const,
  );
  if (link.kind !== 'vxlan') throw new KernelError(operation, 'EEXIST', 'a link of that name is there');
  if (fields?.vni !== vni || fields.port !== port || !equalIp(fields.local, local)) {
    del(socket, name);
    return false;
  }
  const { alias } = bridge;
  const isPlaced = link.master === master && (routerMac === undefined || link.mac === routerMac);
  if (!isPlaced || !link.isUp || link.mtuBytes !== mtuBytes || link.alias !== alias)
    socket.run({
      operation: `RTM_NEWLINK repair ${name}`,
      message: encodeSetLink({
        ...{ ifindex: link.ifindex, isUp: true, mtuBytes, alias },
        ...(isPlaced ? {} : { master: master ?? 0 }),
        ...(isPlaced || routerMac === undefined ? {} : { mac: routerMac }),
      }),
    });
  if (master !== undefined && !(isPlaced && link.isIsolated === true))
    socket.run(isolation(name, link.ifindex));
  return true;
}

/** The kernel knows the flag only once the link is a port. */
function isolation(name: string, ifindex: number): Request {
  const message = encodeSetLink({ ifindex, bridgePort: { isIsolated: true } });
  return { operation: `RTM_NEWLINK isolate ${name}`, message };
}

/** `carrier` is a socket of the namespace where the UDP socket is to be. */
function createVxlan(
  carrier: NetlinkSocket,
  inside: Inside,
  spec: OverlaySpec,
  master: number | undefined,
): void {
  const { socket, netnsFd } = inside;
  const { name, vni, local, port: udpPort, routerMac: mac, mtuBytes = spec.bridge.mtuBytes } = spec.vxlan;
  const { alias } = spec.bridge;
  const bornAs = `${bornPrefix}${randomBytes(4).toString('hex')}`;
  const operation = `RTM_NEWLINK vxlan ${name}`;
  const newVxlan = { vni, local, port: udpPort, ttl: 0 };
  const [failure] = carrier.exchange([
    {
      operation,
      message: encodeNewLink({
        ...{ name: bornAs, mtuBytes, newVxlan, netnsFd },
        ...(mac === undefined ? {} : { mac }),
      }),
    },
  ]);
  if (failure !== undefined && hasErrno(failure, 'EEXIST'))
    throw new KernelError(operation, 'EEXIST', `another VXLAN device of this host has VNI ${vni}`);
  if (failure !== undefined) throw failure;
  using undo = new DisposableStack();
  undo.defer(() => undoLink(socket, { name: bornAs }));
  const ifindex = getIfindex(socket, bornAs);
  undo.defer(() => undoLink(socket, { ifindex }));
  const port = encodeSetLink({
    ifindex,
    name,
    alias,
    isUp: true,
    ...(master === undefined ? {} : { master }),
  });
  socket.run(
    { operation: `RTM_NEWLINK port ${name}`, message: port },
    ...(master === undefined ? [] : [isolation(name, ifindex)]),
  );
  undo.move();
}

/** As `Kernel.ensureOverlay`. `host` is a socket of the daemon's namespace. */
export function ensureOverlay(context: NamespaceContext, host: NetlinkSocket, spec: OverlaySpec): boolean {
  const { socketNamespace } = spec.vxlan;
  using other = socketNamespace === undefined ? undefined : openSocketIn(context, socketNamespace);
  const carrier = other ?? host;
  let isNew = false;
  inSandbox(context, spec.namespace, (inside) => {
    const { socket } = inside;
    setIpv6(context.seam, spec.hasIpv6);
    skipBridgeFiltering(context.seam);
    using undo = new DisposableStack();
    const isNewBridge = ensureBridgeInside(socket, spec);
    if (isNewBridge) undo.defer(() => undoLink(socket, { name: spec.bridge.name }));
    const isPort = spec.vxlan.routerMac === undefined;
    const master = isPort ? getIfindex(socket, spec.bridge.name) : undefined;
    isNew = !adoptVxlan(socket, spec, master);
    if (isNew) createVxlan(carrier, inside, spec, master);
    if (isNew) undo.defer(() => undoLink(socket, { name: spec.vxlan.name }));
    for (const { key, value } of spec.sysctls)
      if (getSysctl(context.seam, key) !== value) setSysctl(context.seam, key, value);
    undo.move();
  });
  return isNew;
}
