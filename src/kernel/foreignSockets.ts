/*
 * Sockets of a process that we started and that has no option for what we want of them: taken by pidfd_getfd(2) (Linux
 * 5.6; CAP_SYS_PTRACE or the same user), which gives a second descriptor of the same socket.
 */
import { closeSync, readdirSync, readlinkSync } from 'node:fs';
import type { Seam } from '../base/seam.ts';
import { asKernelError, hasErrno } from './errno.ts';
import { check, type Libc, linux } from './libc.ts';
import { setOption } from './netlinkSocket.ts';

function socketOption(libc: Libc, fd: number, option: number): number | undefined {
  const value = Buffer.alloc(4);
  const length = Buffer.from([4, 0, 0, 0]);
  const isKnown = libc.getsockopt(fd, linux.SOL_SOCKET, option, value, length) === 0;
  return isKnown ? value.readInt32LE() : undefined;
}

function isUdp(libc: Libc, fd: number): boolean {
  const domain = socketOption(libc, fd, linux.SO_DOMAIN);
  return (
    (domain === linux.AF_INET || domain === linux.AF_INET6) &&
    socketOption(libc, fd, linux.SO_TYPE) === linux.SOCK_DGRAM
  );
}

/** Descriptors of a process that are sockets of any kind. Throws ENOENT where it has ended. */
function socketsOf(pid: number): readonly number[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`).startsWith('socket:') ? [Number(fd)] : [];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

/** True if the socket is UDP and held less. */
function growOne(libc: Libc, fd: number, bytes: number): boolean {
  // The kernel counts twice what it is given, and says so when it is asked (socket(7)).
  if (!isUdp(libc, fd) || (socketOption(libc, fd, linux.SO_RCVBUF) ?? 0) >= 2 * bytes) return false;
  check(libc, 'SO_RCVBUFFORCE', setOption(libc, fd, linux.SOL_SOCKET, linux.SO_RCVBUFFORCE, bytes) ? 0 : -1);
  return true;
}

/** See Kernel.growReceiveBuffers. */
export function growReceiveBuffers(libc: Libc, seam: Seam, pid: number, bytes: number): number {
  const operation = `grow the receive buffers of process ${pid}`;
  seam.step(`kernel ${operation}`);
  const pidFd = check(libc, operation, libc.pidfdOpen(pid));
  try {
    let grown = 0;
    for (const theirs of socketsOf(pid)) {
      const ours = libc.pidfdGetfd(pidFd, theirs);
      try {
        check(libc, operation, ours);
        if (growOne(libc, ours, bytes)) grown++;
      } catch (error) {
        if (!hasErrno(error, 'EBADF')) throw error;
      } finally {
        if (ours >= 0) closeSync(ours);
      }
    }
    return grown;
  } catch (error) {
    throw asKernelError(operation, error);
  } finally {
    closeSync(pidFd);
  }
}
