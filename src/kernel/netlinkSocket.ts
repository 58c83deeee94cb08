/*
 * A netlink socket for requests: sends messages, matches acknowledgements, runs dumps. Synchronous, for worker
 * threads. Every message passes the seam just before it is sent. Contract: netlink(7).
 */
import { closeSync } from 'node:fs';
import type { Seam } from '../base/seam.ts';
import {
  controlType,
  decodeAcknowledgement,
  decodeMessages,
  type Message,
  setAcknowledge,
  messageFlag,
  setSequence,
} from '../codec/netlink/core.ts';
import { asKernelError, errnoName } from './errno.ts';
import { KernelError } from './kernel.ts';
import { check, type Libc, linux } from './libc.ts';

/** A message with the name it has at the seam and in errors. */
export interface Request {
  readonly operation: string;
  readonly message: Uint8Array;
}

/** Large enough for any datagram: the kernel fills at most 32 KiB for a dump. */
const receiveBytes = 65536;
const dumpAttempts = 8;
/** Messages of one send of `exchangeMany`: if all fail, their errors fit a receive buffer of the default size. */
const manyMessages = 128;
/** Of sockets that hear notifications: room for some 8000 while the worker is busy. The kernel takes it only if privileged. */
export const notificationBufferBytes: number = 8 << 20;

/** What the sockets of one thread share. */
export interface SocketContext {
  readonly libc: Libc;
  readonly seam: Seam;
  /** Scratch space: what is decoded from it is copied before the next receive. */
  readonly buffer: Buffer;
}

export function newSocketContext(libc: Libc, seam: Seam): SocketContext {
  return { libc, seam, buffer: Buffer.alloc(receiveBytes) };
}

function i32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Opens a bound netlink socket in the calling thread's namespace. `groups` as in sockaddr_nl. */
export function openNetlinkFd(libc: Libc, protocol: number, groups = 0): number {
  const fd = check(
    libc,
    'socket netlink',
    libc.socket(linux.AF_NETLINK, linux.SOCK_RAW | linux.SOCK_CLOEXEC, protocol),
  );
  const address = Buffer.alloc(12);
  address.writeUInt16LE(linux.AF_NETLINK, 0);
  address.writeUInt32LE(groups, 8);
  try {
    check(libc, 'bind netlink', libc.bind(fd, address, address.length));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** Sets an integer option; returns false where the kernel refuses. */
export function setOption(libc: Libc, fd: number, level: number, option: number, value: number): boolean {
  return libc.setsockopt(fd, level, option, i32(value), 4) === 0;
}

export class NetlinkSocket implements Disposable {
  readonly fd: number;
  readonly #context: SocketContext;
  #sequence = 0;
  #sendBytes = 0;

  /** Opens in the calling thread's namespace and stays there. `protocol`: NETLINK_ROUTE or NETLINK_NETFILTER. */
  constructor(context: SocketContext, protocol: number) {
    this.#context = context;
    this.fd = openNetlinkFd(context.libc, protocol);
    setOption(context.libc, this.fd, linux.SOL_NETLINK, linux.NETLINK_CAP_ACK, 1);
    setOption(context.libc, this.fd, linux.SOL_NETLINK, linux.NETLINK_EXT_ACK, 1);
  }

  /**
   * Sends the messages in one call and returns, per message, its failure or undefined. The kernel executes them in
   * order and goes on after a failed one. A message that the seam fails is not sent, nor are those after it: they
   * carry the same failure.
   */
  exchange(requests: readonly Request[]): (KernelError | undefined)[] {
    const sent: Request[] = [];
    let fault: KernelError | undefined;
    for (const request of requests) {
      try {
        this.#context.seam.step(`kernel ${request.operation}`);
      } catch (error) {
        fault = asKernelError(request.operation, error);
        break;
      }
      sent.push(request);
    }
    const outcomes = sent.length === 0 ? [] : this.#exchange(sent);
    return requests.map((_, i) => (i < sent.length ? outcomes[i] : fault));
  }

  /** As `exchange`, but throws the first failure. */
  run(...requests: readonly Request[]): void {
    for (const outcome of this.exchange(requests)) if (outcome !== undefined) throw outcome;
  }

  /**
   * As `exchange`, for thousands that are expected to succeed, whose acknowledgements would overflow the socket: the
   * last of each send alone is acknowledged, for what fails the kernel says anyway. Returns the failures.
   */
  exchangeMany(requests: readonly Request[]): KernelError[] {
    const failures: KernelError[] = [];
    for (let at = 0; at < requests.length; at += manyMessages) {
      const sent: Request[] = [];
      let fault: KernelError | undefined;
      for (const request of requests.slice(at, at + manyMessages)) {
        try {
          this.#context.seam.step(`kernel ${request.operation}`);
          sent.push(request);
        } catch (error) {
          fault = asKernelError(request.operation, error);
          break;
        }
      }
      failures.push(...this.#exchangeQuietly(sent));
      if (fault !== undefined) return [...failures, fault];
    }
    return failures;
  }

  #exchangeQuietly(requests: readonly Request[]): KernelError[] {
    const last = requests.at(-1);
    if (last === undefined) return [];
    const first = this.#sequence + 1;
    for (const { message } of requests) {
      setSequence(message, ++this.#sequence);
      if (message !== last.message) setAcknowledge(message, false);
    }
    this.#send(last.operation, Buffer.concat(requests.map(({ message }) => message)));
    const failures: KernelError[] = [];
    for (;;) {
      for (const answer of this.receive(last.operation)) {
        if (answer.type !== controlType.error) continue;
        const { errno, text } = decodeAcknowledgement(answer);
        const { operation } = requests[answer.sequence - first] ?? last;
        if (errno !== 0) failures.push(new KernelError(operation, errnoName(errno), text));
        if (answer.sequence === this.#sequence) return failures;
      }
    }
  }

  /**
   * As `exchange`, for an nfnetlink batch between its two frames, where everything happens or nothing: any failure
   * is the failure of all. The last message alone is acknowledged, after what the kernel says of those that fail.
   */
  exchangeBatch(
    begin: Uint8Array,
    requests: readonly Request[],
    end: Uint8Array,
  ): (KernelError | undefined)[] {
    for (const { operation } of requests) {
      try {
        this.#context.seam.step(`kernel ${operation}`);
      } catch (error) {
        const fault = asKernelError(operation, error);
        return requests.map(() => fault);
      }
    }
    // Each time: the last one of a batch that is sent again was in the midst of it before.
    for (const [i, { message }] of requests.entries()) setAcknowledge(message, i === requests.length - 1);
    return this.#exchange(requests, begin, end);
  }

  #exchange(
    requests: readonly Request[],
    begin: Uint8Array = new Uint8Array(),
    end: Uint8Array = new Uint8Array(),
  ): (KernelError | undefined)[] {
    const first = this.#sequence + 1;
    for (const { message } of requests) setSequence(message, ++this.#sequence);
    const operation = requests[0]?.operation ?? '';
    this.#send(operation, Buffer.concat([begin, ...requests.map((request) => request.message), end]));
    const outcomes: (KernelError | undefined)[] = requests.map(() => undefined);
    for (;;) {
      for (const message of this.receive(operation)) {
        if (message.type !== controlType.error) continue;
        const { errno, text } = decodeAcknowledgement(message);
        // Frames carry sequence 0. An error of theirs (EPERM, ENOMEM) is the only answer to the whole batch.
        if (message.sequence === 0)
          return requests.map(() => new KernelError(operation, errnoName(errno), text));
        const index = message.sequence - first;
        const request = requests[index];
        if (request === undefined) continue;
        if (errno !== 0) outcomes[index] = new KernelError(request.operation, errnoName(errno), text);
        // Acknowledgements keep the order of the messages.
        if (index === requests.length - 1) return outcomes;
      }
    }
  }

  /** Sends one message from a thread of libuv's pool, for what blocks in the kernel. Does not pass the seam. */
  async exchangeLater({ operation, message }: Request): Promise<KernelError | undefined> {
    setSequence(message, ++this.#sequence);
    // errno belongs to the pool's thread and is lost; what the kernel refuses, it says in the acknowledgement.
    if ((await this.#context.libc.sendLater(this.fd, message)) < 0) return new KernelError(operation, 'EIO');
    for (;;) {
      for (const answer of this.receive(operation)) {
        if (answer.type !== controlType.error || answer.sequence !== this.#sequence) continue;
        const { errno, text } = decodeAcknowledgement(answer);
        return errno === 0 ? undefined : new KernelError(operation, errnoName(errno), text);
      }
    }
  }

  #send(operation: string, bytes: Uint8Array): void {
    const { libc } = this.#context;
    // The kernel refuses (EMSGSIZE) what exceeds the send buffer, 212992 bytes by default.
    if (bytes.length > 150_000 && bytes.length > this.#sendBytes) {
      this.#sendBytes = bytes.length * 2;
      setOption(libc, this.fd, linux.SOL_SOCKET, linux.SO_SNDBUFFORCE, this.#sendBytes);
    }
    check(libc, operation, libc.send(this.fd, bytes, bytes.length, 0));
  }

  /** Receives one datagram. Answers are queued before send returns, so that none being there is an error (EAGAIN). */
  receive(operation: string): Message[] {
    const { libc, buffer } = this.#context;
    const n = check(libc, operation, libc.recv(this.fd, buffer, buffer.length, linux.MSG_DONTWAIT));
    return decodeMessages(buffer.subarray(0, n));
  }

  /** Sends a request that is answered by one message of type `answer`; `decode` must copy what it keeps. */
  get<T>(request: Request, answer: number, decode: (message: Message) => T): T {
    this.#context.seam.step(`kernel ${request.operation}`);
    setSequence(request.message, ++this.#sequence);
    this.#send(request.operation, request.message);
    for (;;) {
      for (const message of this.receive(request.operation)) {
        if (message.sequence !== this.#sequence) continue;
        if (message.type === answer) return decode(message);
        this.#throwError(request, message);
      }
    }
  }

  /** Runs a dump, again when a change interrupted it; `decode` must copy what it keeps and may skip with undefined. */
  dump<T>(request: Request, answer: number, decode: (payload: Uint8Array) => T | undefined): T[] {
    this.#context.seam.step(`kernel ${request.operation}`);
    for (let attempt = 1; ; attempt++) {
      const { values, isInterrupted } = this.#dumpOnce(request, answer, decode);
      // The last attempt's answer is taken as it is: under constant change there is no better one.
      if (!isInterrupted || attempt === dumpAttempts) return values;
    }
  }

  #dumpOnce<T>(
    request: Request,
    answer: number,
    decode: (payload: Uint8Array) => T | undefined,
  ): { values: T[]; isInterrupted: boolean } {
    const values: T[] = [];
    let isInterrupted = false;
    setSequence(request.message, ++this.#sequence);
    this.#send(request.operation, request.message);
    for (;;) {
      for (const message of this.receive(request.operation)) {
        if (message.sequence !== this.#sequence) continue;
        isInterrupted ||= (message.flags & messageFlag.dumpInterrupted) !== 0;
        if (message.type === controlType.done) return { values, isInterrupted };
        this.#throwError(request, message);
        const value = message.type === answer ? decode(message.payload) : undefined;
        if (value !== undefined) values.push(value);
      }
    }
  }

  #throwError(request: Request, message: Message): void {
    if (message.type !== controlType.error) return;
    const { errno, text } = decodeAcknowledgement(message);
    throw new KernelError(request.operation, errnoName(errno), text);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
