/*
 * Many datagrams a system call: recvmmsg(2) into slots, answers by sendmmsg(2) to where the datagrams came from. For
 * one thread, which may use a ring for all its sockets, one after the other: a datagram's bytes hold until the next
 * `receive`. All memory is allocated once and stays referenced here, because the kernel gets it by address.
 *
 *   struct mmsghdr (64-bit), 64 bytes:
 *   0 msg_name ptr, 8 msg_namelen u32, 16 msg_iov ptr, 24 msg_iovlen u64, 32 msg_control ptr, 40 msg_controllen u64,
 *   48 msg_flags i32, 56 msg_len u32
 *   struct iovec, 16 bytes: 0 iov_base ptr, 8 iov_len u64
 */
import { type Libc, linux } from './libc.ts';

const slots = 64;
/** Enough for any question; a longer datagram is dropped. */
const slotBytes = 2048;
const headerBytes = 64;
const vectorBytes = 16;
/** struct sockaddr_in. */
const addressBytes = 16;
/** 32-bit words of a header. */
const words = headerBytes / 4;
const nameLengthWord = 2;
const flagsWord = 12;
const lengthWord = 14;

interface Side {
  readonly headers: Uint8Array;
  readonly headerWords: Uint32Array;
  readonly vectors: Uint8Array;
  readonly vectorWords: BigUint64Array;
  readonly addresses: Uint8Array;
  readonly data: Uint8Array;
}

function newSide(libc: Libc): Side {
  const make = (size: number): Uint8Array => new Uint8Array(new ArrayBuffer(slots * size));
  const side = {
    headers: make(headerBytes),
    vectors: make(vectorBytes),
    addresses: make(addressBytes),
    data: make(slotBytes),
  };
  const [vectorsAt, addressesAt, dataAt] = [side.vectors, side.addresses, side.data].map((bytes) =>
    libc.addressOf(bytes),
  ) as [bigint, bigint, bigint];
  const headerPointers = new BigUint64Array(side.headers.buffer);
  const vectorWords = new BigUint64Array(side.vectors.buffer);
  for (let i = 0; i < slots; i++) {
    const header = (i * headerBytes) / 8;
    headerPointers[header] = addressesAt + BigInt(i * addressBytes);
    headerPointers[header + 2] = vectorsAt + BigInt(i * vectorBytes);
    headerPointers[header + 3] = 1n;
    vectorWords[2 * i] = dataAt + BigInt(i * slotBytes);
    vectorWords[2 * i + 1] = BigInt(slotBytes);
  }
  return { ...side, vectorWords, headerWords: new Uint32Array(side.headers.buffer) };
}

/** Datagrams that one `receive` takes at most. */
export const ringSlots: number = slots;

export class DatagramRing {
  readonly #libc: Libc;
  readonly #in: Side;
  readonly #out: Side;
  #queued = 0;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#in = newSide(libc);
    this.#out = newSide(libc);
  }

  /** Takes what waits on `fd`, `ringSlots` at most; the number of datagrams, 0 if there are none. */
  receive(fd: number): number {
    const { headers, headerWords } = this.#in;
    for (let i = 0; i < slots; i++) headerWords[i * words + nameLengthWord] = addressBytes;
    const n = this.#libc.recvmmsg(fd, headers, slots, linux.MSG_DONTWAIT, null);
    return Math.max(n, 0);
  }

  /** Bytes of the i-th datagram, valid until the next `receive`; undefined if it was longer than a slot. */
  datagram(i: number): Uint8Array | undefined {
    const { headerWords, data } = this.#in;
    if (((headerWords[i * words + flagsWord] as number) & linux.MSG_TRUNC) !== 0) return undefined;
    const start = i * slotBytes;
    return data.subarray(start, start + (headerWords[i * words + lengthWord] as number));
  }

  /** A copy of where the i-th datagram came from, for `sendTo`. */
  sender(i: number): Uint8Array {
    return this.#in.addresses.slice(i * addressBytes, (i + 1) * addressBytes);
  }

  /** Queues an answer to the i-th datagram, 2048 bytes at most; `flush` sends. */
  answer(i: number, bytes: Uint8Array): void {
    const { headerWords, vectorWords, addresses, data } = this.#out;
    const slot = this.#queued++;
    data.set(bytes, slot * slotBytes);
    vectorWords[2 * slot + 1] = BigInt(bytes.length);
    addresses.set(this.#in.addresses.subarray(i * addressBytes, (i + 1) * addressBytes), slot * addressBytes);
    headerWords[slot * words + nameLengthWord] = addressBytes;
  }

  /** Sends what is queued. A datagram that the socket's buffer has no room for is lost, as UDP is. */
  flush(fd: number): void {
    const { headers } = this.#out;
    let sent = 0;
    while (sent < this.#queued) {
      const n = this.#libc.sendmmsg(
        fd,
        headers.subarray(sent * headerBytes),
        this.#queued - sent,
        linux.MSG_DONTWAIT,
      );
      // The first of the rest cannot be sent: the next may.
      sent += n > 0 ? n : 1;
    }
    this.#queued = 0;
  }

  /** One datagram of any length to where another came from; lost if it cannot be sent. */
  sendTo(fd: number, bytes: Uint8Array, sender: Uint8Array): void {
    this.#libc.sendto(fd, bytes, bytes.length, linux.MSG_DONTWAIT, sender, sender.length);
  }

  /** Room of one `answer`, bytes. */
  static readonly answerBytes: number = slotBytes;
}
