/*
 * A connected unix datagram socket that only sends, for the main thread: no call waits. What is too large for a datagram
 * goes as a sealed memory file (memfd_create(2)) whose descriptor is sent in its place, as systemd's journal takes it
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL).
 *
 *   struct sockaddr_un   0 family u16 LE, 2 path, ended by a zero byte
 *   struct msghdr        0 address of the name, 8 its length u32, 16 address of the parts, 24 their number u64,
 *                        32 address of the control bytes, 40 their number u64, 48 flags i32, 56 in all
 *   struct cmsghdr       0 length u64, 8 level i32, 12 type i32, 16 descriptor i32, 24 in all
 */
import { closeSync, writeSync } from 'node:fs';
import { errnoName } from './errno.ts';
import { KernelError, type UnixDatagrams } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';

/** The most that a path of a unix socket has, with its zero byte. */
const pathMaxBytes = 108;
const descriptorBytes = 4;

function encodePath(path: string): Uint8Array {
  const bytes = Buffer.from(`\0\0${path}\0`);
  if (bytes.length > 2 + pathMaxBytes) throw new KernelError(`connect ${path}`, 'ENAMETOOLONG');
  bytes.writeUInt16LE(linux.AF_UNIX, 0);
  return bytes;
}

/** A memory file with `bytes` that nobody can change any more. The caller closes it. */
function sealedFile(libc: Libc, bytes: Uint8Array): number {
  const fd = check(
    libc,
    'memfd_create',
    libc.memfdCreate('message', linux.MFD_CLOEXEC | linux.MFD_ALLOW_SEALING),
  );
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    const seals = linux.F_SEAL_SEAL | linux.F_SEAL_SHRINK | linux.F_SEAL_GROW | linux.F_SEAL_WRITE;
    check(libc, 'fcntl F_ADD_SEALS', libc.fcntl(fd, linux.F_ADD_SEALS, seals));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** An empty datagram with `file`; the result of sendmsg(2). */
function sendFile(libc: Libc, fd: number, file: number): number {
  const control = Buffer.alloc(24);
  control.writeBigUInt64LE(BigInt(16 + descriptorBytes), 0);
  control.writeInt32LE(linux.SOL_SOCKET, 8);
  control.writeInt32LE(linux.SCM_RIGHTS, 12);
  control.writeInt32LE(file, 16);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(libc.addressOf(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  const result = libc.sendmsg(fd, header, linux.MSG_NOSIGNAL | linux.MSG_DONTWAIT);
  // Naming it here keeps it alive until the call is over.
  return control.length > 0 ? result : -1;
}

/** True if it was sent, false where the queue is full. */
function wasSent(libc: Libc, result: number): boolean {
  if (result >= 0) return true;
  const code = errnoName(libc.errno());
  if (code === 'EAGAIN' || code === 'ENOBUFS') return false;
  throw new KernelError('send', code);
}

/** Throws KernelError: ENOENT and ECONNREFUSED where nobody receives at `path`. The caller disposes of it. */
export function openUnixDatagrams(libc: Libc, path: string): UnixDatagrams {
  const address = encodePath(path);
  const type = linux.SOCK_DGRAM | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC;
  const fd = check(libc, 'unix socket', libc.socket(linux.AF_UNIX, type, 0));
  try {
    check(libc, `connect ${path}`, libc.connect(fd, address, address.length));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const count = Buffer.alloc(4);
  return {
    send: (message) => {
      const result = libc.send(fd, message, message.length, linux.MSG_NOSIGNAL | linux.MSG_DONTWAIT);
      if (result >= 0 || !['EMSGSIZE', 'ENOBUFS'].includes(errnoName(libc.errno())))
        return wasSent(libc, result);
      const file = sealedFile(libc, message);
      try {
        return wasSent(libc, sendFile(libc, fd, file));
      } finally {
        closeSync(file);
      }
    },
    hasUntaken: () => {
      check(libc, 'ioctl SIOCOUTQ', libc.ioctl(fd, linux.SIOCOUTQ, count));
      return count.readInt32LE() > 0;
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}
