/*
 * Deleting links. The kernel acknowledges an RTM_DELLINK only after an rcu_barrier (25 to 35 ms, one per request),
 * but the link is gone, its name and address free, when the notification arrives (0.4 ms). So: requests are sent from
 * threads of libuv's pool, at most two at a time, and a delete is complete when its notification comes; the
 * acknowledgement counts for errors only. Requests that come while both are under way are put into one link group
 * (IFLA_GROUP) and deleted by one request with one barrier.
 */
import { randomInt } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Seam } from '../base/seam.ts';
import { encodeDelLink, encodeSetLink } from '../codec/netlink/route.ts';
import { asKernelError, hasErrno } from './errno.ts';
import type { KernelError } from './kernel.ts';
import { linux } from './libc.ts';
import { NetlinkSocket, type SocketContext } from './netlinkSocket.ts';
import type { KernelEvent } from './protocol.ts';

/** Of the pool's four threads; the others stay free for file work. */
const lanes = 2;

interface Pending {
  readonly name: string;
  /** It has passed the seam already. */
  readonly isStepped: boolean;
  readonly resolve: () => void;
  readonly reject: (error: KernelError) => void;
}

export class Reaper implements Disposable {
  readonly #context: SocketContext;
  readonly #idle: NetlinkSocket[];
  readonly #sockets: readonly NetlinkSocket[];
  #queue: Pending[] = [];
  /** Sent, waiting for their notification; several callers may wait for one name. */
  readonly #awaited = new Map<string, Set<Pending>>();
  #isFlushDue = false;
  readonly #sends = new Set<Promise<void>>();

  /** Opens its sockets in the calling thread's namespace. */
  constructor(context: SocketContext) {
    this.#context = context;
    this.#sockets = Array.from({ length: lanes }, () => new NetlinkSocket(context, linux.NETLINK_ROUTE));
    this.#idle = [...this.#sockets];
  }

  get #seam(): Seam {
    return this.#context.seam;
  }

  /** Whether a delete is under way that a notification completes. */
  get isWaiting(): boolean {
    return this.#awaited.size > 0;
  }

  /** Resolves when the link `name` is gone, also if there was none. */
  delLink(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ name, isStepped: false, resolve, reject });
      this.#flushSoon();
    });
  }

  /** For who does not wait: throws if it cannot be sent, but what the kernel says later is not heard. */
  beginDelLink(name: string): void {
    this.#seam.step(`kernel RTM_DELLINK ${name}`);
    const ignore = (): void => {};
    this.#queue.push({ name, isStepped: true, resolve: ignore, reject: ignore });
    this.#flushSoon();
  }

  /** To be told of every event, so that it sees links vanish. */
  observe(event: KernelEvent): void {
    if (event.name !== 'link' || event.value.action !== 'del') return;
    const { name } = event.value.link;
    for (const pending of this.#awaited.get(name) ?? []) pending.resolve();
    this.#awaited.delete(name);
  }

  /** After the calls that are already waiting in this thread's queue, so that they share a barrier. */
  #flushSoon(): void {
    if (this.#isFlushDue || this.#idle.length === 0) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const socket = this.#idle.pop();
    if (socket === undefined) return;
    const group = randomInt(0x40000000, 0x7fffffff);
    const batch = this.#markBatch(socket, this.#queue.splice(0), group);
    const [only] = batch;
    if (only === undefined) {
      this.#idle.push(socket);
      return;
    }
    for (const pending of batch) this.#await(pending);
    const message = encodeDelLink(batch.length === 1 ? { name: only.name } : { group });
    const send = this.#send(socket, message, batch).finally(() => this.#sends.delete(send));
    this.#sends.add(send);
  }

  /** Passes the seam and puts the links into `group` if they are several; settles those that fail or are gone. */
  #markBatch(socket: NetlinkSocket, batch: readonly Pending[], group: number): Pending[] {
    const stepped = batch.filter((pending) => this.#step(pending));
    if (stepped.length < 2) return stepped;
    const outcomes = socket.exchange(
      stepped.map(({ name }) => ({
        operation: `RTM_NEWLINK group ${name}`,
        message: encodeSetLink({ name, group }),
      })),
    );
    return stepped.filter((pending, i) => {
      const outcome = outcomes[i];
      if (outcome === undefined) return true;
      this.#complete(pending, outcome);
      return false;
    });
  }

  #step(pending: Pending): boolean {
    try {
      if (!pending.isStepped) this.#seam.step(`kernel RTM_DELLINK ${pending.name}`);
      return true;
    } catch (error) {
      pending.reject(asKernelError(`RTM_DELLINK ${pending.name}`, error));
      return false;
    }
  }

  #await(pending: Pending): void {
    const waiting = this.#awaited.get(pending.name) ?? new Set();
    this.#awaited.set(pending.name, waiting.add(pending));
  }

  #complete(pending: Pending, outcome: KernelError | undefined): void {
    if (outcome === undefined || hasErrno(outcome, 'ENODEV')) pending.resolve();
    else pending.reject(outcome);
  }

  async #send(socket: NetlinkSocket, message: Uint8Array, batch: readonly Pending[]): Promise<void> {
    const operation = `RTM_DELLINK ${batch.map(({ name }) => name).join(' ')}`;
    let outcome: KernelError | undefined;
    try {
      outcome = await socket.exchangeLater({ operation, message });
    } catch (error) {
      outcome = asKernelError(operation, error);
    }
    // Those whose notification came are resolved already; after an overrun it may never come.
    for (const pending of batch) {
      this.#awaited.get(pending.name)?.delete(pending);
      this.#complete(pending, outcome);
    }
    this.#idle.push(socket);
    if (this.#queue.length > 0) this.#flushSoon();
  }

  /** A delete that somebody else sends from libuv's pool, for `settle` to wait for. Returns `work`. */
  track(work: Promise<void>): Promise<void> {
    const ended = work.then(
      () => {},
      () => {},
    );
    this.#sends.add(ended);
    void ended.finally(() => this.#sends.delete(ended));
    return work;
  }

  /** Resolves when nothing is under way: koffi cannot have its thread end before its calls have. */
  async settle(): Promise<void> {
    while (this.#queue.length > 0 || this.#sends.size > 0) {
      await Promise.all(this.#sends);
      await nextTurn();
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket[Symbol.dispose]();
  }
}
