/*
 * WireGuard devices of the kernel: made in another namespace with their UDP socket in this one, set and read over
 * generic netlink; and the move of a link, which only a device of another program's needs. Synchronous but for the
 * move, for a worker. Contract: linux/wireguard.h; a device sends from the namespace that it was made from.
 */
import { decodeFamily, controlFamily, encodeGetFamily } from '../codec/netlink/generic.ts';
import { encodeDelLink, encodeNewLink, encodeSetLink } from '../codec/netlink/route.ts';
import {
  decodeDevice,
  encodeGetDevice,
  encodeSetDevice,
  mergeDevice,
  wireguardFamilyName,
} from '../codec/netlink/wireguard.ts';
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import { hasErrno } from './errno.ts';
import { KernelError, type WireguardSpec } from './kernel.ts';
import { linux } from './libc.ts';
import { findLink } from './links.ts';
import { inSandbox, type NamespaceContext, openNamespace, openSocketIn } from './namespaces.ts';
import { NetlinkSocket } from './netlinkSocket.ts';

/** Numbers of families are the machine's, and change when a module is loaded again. */
function familyOf(socket: NetlinkSocket): number {
  const request = {
    operation: `CTRL_CMD_GETFAMILY ${wireguardFamilyName}`,
    message: encodeGetFamily(wireguardFamilyName),
  };
  return socket.get(request, controlFamily, ({ payload }) => decodeFamily(payload));
}

export function hasWireguard(context: NamespaceContext): boolean {
  using socket = new NetlinkSocket(context.sockets, linux.NETLINK_GENERIC);
  try {
    familyOf(socket);
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

/** `host` is a socket of the daemon's namespace. True if the device was made. */
export function ensureWireguard(
  context: NamespaceContext,
  host: NetlinkSocket,
  { name, namespace, mtuBytes, alias }: WireguardSpec,
): boolean {
  let isNew = false;
  inSandbox(context, namespace, ({ socket, netnsFd }) => {
    const operation = `RTM_NEWLINK wireguard ${name}`;
    const found = findLink(socket, name);
    if (found !== undefined && found.kind !== 'wireguard')
      throw new KernelError(operation, 'EEXIST', 'a link of that name is there');
    isNew = found === undefined;
    const newKind = { kind: 'wireguard' } as const;
    if (isNew) host.run({ operation, message: encodeNewLink({ name, mtuBytes, newKind, netnsFd }) });
    using undo = new DisposableStack();
    if (isNew)
      undo.defer(
        () => void socket.exchange([{ operation: 'RTM_DELLINK undo', message: encodeDelLink({ name }) }]),
      );
    socket.run({
      operation: `RTM_NEWLINK set ${name}`,
      message: encodeSetLink({ name, mtuBytes, alias }),
    });
    undo.move();
  });
  return isNew;
}

export function setWireguard(
  context: NamespaceContext,
  name: string,
  change: WireguardChange,
  path: string,
): void {
  using socket = openSocketIn(context, path, linux.NETLINK_GENERIC);
  const messages = encodeSetDevice(familyOf(socket), name, change);
  // One at a time: what follows a refused one would be done.
  for (const message of messages) socket.run({ operation: `WG_CMD_SET_DEVICE ${name}`, message });
}

export function dumpWireguard(context: NamespaceContext, name: string, path: string): WireguardState {
  using socket = openSocketIn(context, path, linux.NETLINK_GENERIC);
  const family = familyOf(socket);
  const request = { operation: `WG_CMD_GET_DEVICE ${name}`, message: encodeGetDevice(family, name) };
  return mergeDevice(socket.dump(request, family, decodeDevice));
}

/** From a thread of libuv's pool, as the kernel waits for an rcu_barrier. */
export async function moveLink(context: NamespaceContext, name: string, path: string): Promise<void> {
  const operation = `RTM_NEWLINK move ${name} to ${path}`;
  using namespace = openNamespace(context.seam, path);
  using socket = new NetlinkSocket(context.sockets, linux.NETLINK_ROUTE);
  context.seam.step(`kernel ${operation}`);
  const failure = await socket.exchangeLater({
    operation,
    message: encodeSetLink({ name, netnsFd: namespace.fd }),
  });
  if (failure !== undefined) throw failure;
}
