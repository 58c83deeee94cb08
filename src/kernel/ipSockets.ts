/*
 * UDP and TCP sockets inside a namespace, as file descriptors, for a worker thread. A socket stays in the namespace
 * that it was opened in; whoever gets the descriptor closes it. Contract: ip(7), ipv6(7), socket(2).
 *
 *   struct sockaddr_in    0 family u16 LE, 2 port u16 BE, 4 address 4 bytes, 8 zero, 16 bytes in all
 *   struct sockaddr_in6   0 family u16 LE, 2 port u16 BE, 4 flow u32, 8 address 16 bytes, 24 scope u32, 28 in all
 */
import { closeSync } from 'node:fs';
import { type Ip, ipToBytes } from '../net/ip.ts';
import { errnoName } from './errno.ts';
import { KernelError, type NamespacePath } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';
import { inNamespace, type ThreadContext } from './namespaces.ts';

export type Transport = 'udp' | 'tcp';

/** Connections that the kernel holds until they are accepted. */
const backlog = 128;

export function encodeSocketAddress(ip: Ip, port: number): Uint8Array {
  const bytes = Buffer.alloc(ip.family === 4 ? 16 : 28);
  bytes.writeUInt16LE(ip.family === 4 ? linux.AF_INET : linux.AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipToBytes(ip), ip.family === 4 ? 4 : 8);
  return bytes;
}

function openSocket(libc: Libc, transport: Transport, ip: Ip): number {
  const type = transport === 'udp' ? linux.SOCK_DGRAM : linux.SOCK_STREAM;
  const family = ip.family === 4 ? linux.AF_INET : linux.AF_INET6;
  return check(
    libc,
    `${transport} socket`,
    libc.socket(family, type | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC, 0),
  );
}

/** `work` on a new socket; closed again if that fails. */
function withSocket(libc: Libc, transport: Transport, ip: Ip, work: (fd: number) => void): number {
  const fd = openSocket(libc, transport, ip);
  try {
    work(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The port that a bound socket got. */
function portOf(libc: Libc, fd: number): number {
  const address = Buffer.alloc(28);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  check(libc, 'getsockname', libc.getsockname(fd, address, length));
  return address.readUInt16BE(2);
}

/**
 * False for a socket of `openBound` that serves no more: an operator can take one away (`ss -K`). A TCP one listens, a
 * UDP one has its port.
 */
export function isServing(libc: Libc, transport: Transport, { fd, port }: BoundSocket): boolean {
  if (transport === 'udp') return portOf(libc, fd) === port;
  const [value, length] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32LE(value.length);
  check(libc, 'SO_ACCEPTCONN', libc.getsockopt(fd, linux.SOL_SOCKET, linux.SO_ACCEPTCONN, value, length));
  return value.readInt32LE(0) === 1;
}

export interface BoundSocket {
  readonly fd: number;
  readonly port: number;
}

/** Room for some 5000 questions that come while the thread is busy; memory only while they wait. */
const receiveBytes = 4 << 20;
/** What the kernel holds for a TCP client that does not read. */
const sendBytes = 128 << 10;

function setOption(libc: Libc, fd: number, option: number, value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return libc.setsockopt(fd, linux.SOL_SOCKET, option, bytes, bytes.length);
}

function bindSocket(libc: Libc, transport: Transport, fd: number, address: Uint8Array): void {
  if (transport === 'udp') {
    // Refused to the unprivileged, who keep the default.
    setOption(libc, fd, linux.SO_RCVBUFFORCE, receiveBytes);
    check(libc, 'bind udp', libc.bind(fd, address, address.length));
    return;
  }
  // Connections of an earlier owner that linger in TIME_WAIT would hold the port for a minute.
  check(libc, 'SO_REUSEADDR', setOption(libc, fd, linux.SO_REUSEADDR, 1));
  // Connections inherit it.
  check(libc, 'SO_SNDBUF', setOption(libc, fd, linux.SO_SNDBUF, sendBytes));
  check(libc, 'bind tcp', libc.bind(fd, address, address.length));
  check(libc, 'listen', libc.listen(fd, backlog));
}

/**
 * A socket bound to `ip` and `port` (0 = any that is free) in the namespace at `path`; TCP listens. Passes the seam.
 * Throws KernelError, EADDRINUSE where the port is taken.
 */
export function openBound(
  context: ThreadContext,
  path: NamespacePath,
  transport: Transport,
  ip: Ip,
  port: number,
): BoundSocket {
  const { libc, seam } = context;
  const address = encodeSocketAddress(ip, port);
  return inNamespace(context, path, () => {
    seam.step(`kernel bind ${transport}`);
    const fd = withSocket(libc, transport, ip, (opened) => bindSocket(libc, transport, opened, address));
    return { fd, port: portOf(libc, fd) };
  });
}

/**
 * A socket connected to `ip` and `port` from the namespace at `path`; a TCP one may still be connecting. The kernel
 * draws its own port at random. Does not change anything, and does not pass the seam beyond entering the namespace.
 */
export function openConnected(
  context: ThreadContext,
  path: NamespacePath,
  transport: Transport,
  ip: Ip,
  port: number,
): number {
  const { libc } = context;
  const address = encodeSocketAddress(ip, port);
  return inNamespace(context, path, () =>
    withSocket(libc, transport, ip, (fd) => {
      if (libc.connect(fd, address, address.length) === 0) return;
      const code = errnoName(libc.errno());
      if (code !== 'EINPROGRESS') throw new KernelError(`connect ${transport}`, code);
    }),
  );
}
