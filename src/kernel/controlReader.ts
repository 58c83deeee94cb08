/*
 * Receives datagrams with their control data, which says what namespace a netlink notification is from.
 * Contract: recvmsg(2), netlink(7) NETLINK_LISTEN_ALL_NSID.
 *
 *   msghdr   0 name | 8 u32 name length | 16 iov | 24 iov count | 32 control | 40 control length | 48 i32 flags
 *   iovec    0 base | 8 length
 *   cmsghdr  0 u64 length | 8 i32 level | 12 i32 type | 16 i32 the namespace's number
 */
import { errnoName } from './errno.ts';
import { type Libc, linux } from './libc.ts';
import type { SocketContext } from './netlinkSocket.ts';

const messageHeaderBytes = 56;
const vectorBytes = 16;
const controlBytes = 64;
const controlLengthAt = 40;

/** Its buffers live as long as it does. */
export class ControlReader {
  readonly #libc: Libc;
  readonly #data: Buffer;
  readonly #header = Buffer.alloc(messageHeaderBytes);
  readonly #vector = Buffer.alloc(vectorBytes);
  readonly #control = Buffer.alloc(controlBytes);

  constructor({ libc, buffer }: SocketContext) {
    this.#libc = libc;
    this.#data = buffer;
    this.#vector.writeBigUInt64LE(libc.addressOf(buffer), 0);
    this.#vector.writeBigUInt64LE(BigInt(buffer.length), 8);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(libc.addressOf(this.#control), 32);
  }

  /** The bytes of one datagram, valid until the next receive, or the errno name. */
  receive(fd: number): Uint8Array | string {
    this.#header.writeBigUInt64LE(BigInt(controlBytes), controlLengthAt);
    const n = this.#libc.recvmsg(fd, this.#header, linux.MSG_DONTWAIT);
    return n < 0 ? errnoName(this.#libc.errno()) : this.#data.subarray(0, n);
  }

  /** Where the last datagram came from; undefined = this namespace. */
  get namespaceId(): number | undefined {
    if (this.#header.readBigUInt64LE(controlLengthAt) < 20n) return undefined;
    const isNumber =
      this.#control.readInt32LE(8) === linux.SOL_NETLINK &&
      this.#control.readInt32LE(12) === linux.NETLINK_LISTEN_ALL_NSID;
    return isNumber ? this.#control.readInt32LE(16) : undefined;
  }
}
