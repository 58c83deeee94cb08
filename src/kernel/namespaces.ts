/*
 * Network namespaces as bind-mounted nsfs files, and work inside them. Synchronous, for a worker thread: between
 * entering and leaving nothing may be awaited, and a thread that cannot get back takes the process down, since
 * everything it did next would happen in the wrong place. Contract: setns(2), network_namespaces(7).
 */
import { closeSync, openSync, statfsSync, unlinkSync } from 'node:fs';
import type { Seam } from '../base/seam.ts';
import {
  decodeNamespaceId,
  encodeGetNamespaceId,
  encodeNewNamespaceId,
  namespaceIdType,
} from '../codec/netlink/namespaceId.ts';
import { encodeSetLink } from '../codec/netlink/route.ts';
import { asKernelError, hasErrno } from './errno.ts';
import { KernelError, type NamespacePath } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';
import { NetlinkSocket, type SocketContext } from './netlinkSocket.ts';

/** statfs(2) f_type of nsfs (linux/magic.h). */
const nsfsMagic = 0x6e736673;
/** Not /proc/self, which is the main thread's. */
const ownNamespace = '/proc/thread-self/ns/net';

/** The daemon's own namespace, to come back to. Open one per thread before it enters any other. */
export interface Home extends Disposable {
  readonly fd: number;
}

export function openHome(): Home {
  const fd = openSync(ownNamespace, 'r');
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}

function returnHome(libc: Libc, home: Home): void {
  if (libc.setns(home.fd, linux.CLONE_NEWNET) === 0) return;
  process.stderr.write('linkspand: cannot return to the own network namespace, aborting\n');
  process.kill(process.pid, 'SIGABRT');
  // The signal may go to another thread: this one must do nothing more.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
}

/** What a thread needs to enter other namespaces and come back. */
export interface ThreadContext {
  readonly libc: Libc;
  readonly seam: Seam;
  readonly home: Home;
}

export interface NamespaceContext extends ThreadContext {
  readonly sockets: SocketContext;
}

/** Runs `work` with this thread inside the namespace at `path`; undefined runs it here. ENOENT, EINVAL if it is none. */
export function inNamespace<T>(context: ThreadContext, path: NamespacePath, work: () => T): T {
  if (path === undefined) return work();
  using namespace = openNamespace(context.seam, path);
  return inOpenNamespace(context, namespace, work);
}

export interface OpenNamespace extends Disposable {
  readonly fd: number;
  readonly path: string;
}

/** Dispose it to close its descriptor. ENOENT if there is no such file. */
export function openNamespace(seam: Seam, path: string): OpenNamespace {
  try {
    seam.step(`kernel open ${path}`);
    const fd = openSync(path, 'r');
    return { fd, path, [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    throw asKernelError(`open ${path}`, error);
  }
}

/** As `inNamespace`, for a namespace that is open already. EINVAL if the file is none. */
export function inOpenNamespace<T>(
  { libc, home, seam }: ThreadContext,
  { fd, path }: OpenNamespace,
  work: () => T,
): T {
  seam.step(`kernel setns ${path}`);
  check(libc, `setns ${path}`, libc.setns(fd, linux.CLONE_NEWNET));
  try {
    return work();
  } finally {
    returnHome(libc, home);
  }
}

/** A netlink socket inside the namespace at `path` (undefined = here); it stays in there. */
export function openSocketIn(
  context: NamespaceContext,
  path: NamespacePath,
  protocol: number = linux.NETLINK_ROUTE,
): NetlinkSocket {
  return inNamespace(context, path, () => new NetlinkSocket(context.sockets, protocol));
}

/** A sandbox that this thread is in, with a socket of its own. */
export interface Inside {
  /** The namespace, for links that are to be born in it. */
  readonly netnsFd: number;
  readonly socket: NetlinkSocket;
}

/** Runs `work` with this thread inside the namespace at `path`. Sockets of other namespaces work from there too. */
export function inSandbox(context: NamespaceContext, path: string, work: (inside: Inside) => void): void {
  using namespace = openNamespace(context.seam, path);
  inOpenNamespace(context, namespace, () => {
    using socket = new NetlinkSocket(context.sockets, linux.NETLINK_ROUTE);
    work({ netnsFd: namespace.fd, socket });
  });
}

export function hasNamespace(seam: Seam, path: string): boolean {
  seam.step(`kernel statfs ${path}`);
  try {
    return statfsSync(path).type === nsfsMagic;
  } catch (error) {
    const kernelError = asKernelError(`statfs ${path}`, error);
    if (hasErrno(kernelError, 'ENOENT', 'ENOTDIR')) return false;
    throw kernelError;
  }
}

/** `host` is a socket of the namespace that gives the number. */
export function numberNamespace(context: NamespaceContext, host: NetlinkSocket, path: string): number {
  using namespace = openNamespace(context.seam, path);
  const find = (): number | undefined =>
    host.get(
      { operation: `RTM_GETNSID ${path}`, message: encodeGetNamespaceId(namespace.fd) },
      namespaceIdType.new,
      ({ payload }) => decodeNamespaceId(payload),
    );
  const known = find();
  if (known !== undefined) return known;
  // EEXIST: a link that somebody made meanwhile leads there.
  const [failure] = host.exchange([
    { operation: `RTM_NEWNSID ${path}`, message: encodeNewNamespaceId(namespace.fd) },
  ]);
  if (failure !== undefined && !hasErrno(failure, 'EEXIST')) throw failure;
  const id = find();
  if (id === undefined) throw new KernelError(`number namespace ${path}`, 'ENOENT');
  return id;
}

/** Creates the file, or takes over a plain one. EEXIST if a namespace is mounted there. */
function createMountPoint(seam: Seam, path: string): void {
  seam.step(`kernel open ${path}`);
  try {
    closeSync(openSync(path, 'wx', 0o444));
  } catch (error) {
    const kernelError = asKernelError(`open ${path}`, error);
    if (!hasErrno(kernelError, 'EEXIST') || hasNamespace(seam, path)) throw kernelError;
  }
}

/** Creates a namespace with lo up and binds it to `path`. A plain file left there by a crash is taken over. */
export function createNamespace(context: NamespaceContext, path: string): void {
  const { libc, seam, home } = context;
  const operation = `create namespace ${path}`;
  using undo = new DisposableStack();
  try {
    createMountPoint(seam, path);
    undo.defer(() => unlinkSync(path));
    seam.step('kernel unshare');
    check(libc, 'unshare', libc.unshare(linux.CLONE_NEWNET));
    try {
      seam.step(`kernel mount ${path}`);
      check(libc, `mount ${path}`, libc.mount(ownNamespace, path, null, linux.MS_BIND, null));
      undo.defer(() => void libc.umount2(path, linux.MNT_DETACH));
      using socket = new NetlinkSocket(context.sockets, linux.NETLINK_ROUTE);
      socket.run({ operation: 'RTM_NEWLINK lo up', message: encodeSetLink({ ifindex: 1, isUp: true }) });
    } finally {
      returnHome(libc, home);
    }
  } catch (error) {
    throw asKernelError(operation, error);
  }
  undo.move();
}

/** Runs `work` inside a fresh namespace without a name: what it makes there dies with it, a moment later. */
export function inNewNamespace<T>({ libc, seam, home }: NamespaceContext, work: () => T): T {
  seam.step('kernel unshare');
  check(libc, 'unshare', libc.unshare(linux.CLONE_NEWNET));
  try {
    return work();
  } finally {
    returnHome(libc, home);
  }
}

/** Unmounts and unlinks; success if already gone. */
export function removeNamespace(context: NamespaceContext, path: string): void {
  const { libc, seam } = context;
  try {
    seam.step(`kernel umount ${path}`);
    check(libc, `umount ${path}`, libc.umount2(path, linux.MNT_DETACH));
  } catch (error) {
    // EINVAL: not a mount point.
    if (!hasErrno(error, 'EINVAL', 'ENOENT', 'ENOTDIR')) throw asKernelError(`umount ${path}`, error);
  }
  try {
    seam.step(`kernel unlink ${path}`);
    unlinkSync(path);
  } catch (error) {
    const kernelError = asKernelError(`unlink ${path}`, error);
    if (!hasErrno(kernelError, 'ENOENT', 'ENOTDIR')) throw kernelError;
  }
}
