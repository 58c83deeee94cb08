/*
 * Asks upstream servers what is not ours: one after the other, the next when one is silent, unreachable, fails or
 * refuses. Bounded: a container that asks too much is refused, and so is everybody while too much is open in all.
 * Times and numbers are Docker's. Knows no sockets: `exchange` is handed in.
 */
import { rcode } from '../codec/dns/message.ts';
import { encodeReply, isTruncated, passOn, type Query, withId } from '../codec/dns/query.ts';
import type { Transport } from '../kernel/ipSockets.ts';
import { isDisappointing } from './localAnswer.ts';

/** A server, and from where it is asked. */
export interface Upstream {
  readonly address: string;
  /** Path of the namespace; undefined = the daemon's own. */
  readonly namespace: string | undefined;
}

/**
 * One question to one server and its answer, checked to be that. `bytes` is the request, whose id is `id`. Rejects
 * when the server cannot be reached or has not answered after `timeoutMs`.
 */
export type Exchange = (call: {
  readonly upstream: Upstream;
  readonly transport: Transport;
  readonly query: Query;
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly timeoutMs: number;
}) => Promise<Uint8Array>;

export const forwardLimits = {
  servers: 3,
  timeoutMs: 4000,
  /** Questions that one container may have open. */
  perSandbox: 1024,
  /** Questions open in all; each costs a file descriptor. */
  total: 4096,
} as const;

/** Counts a container's open questions. */
export interface Account {
  open: number;
}

export interface ForwarderDependencies {
  readonly exchange: Exchange;
  /** A random 16-bit number that cannot be guessed. */
  readonly randomId: () => number;
}

export class Forwarder {
  readonly #deps: ForwarderDependencies;
  #open = 0;

  constructor(deps: ForwarderDependencies) {
    this.#deps = deps;
  }

  /** Questions open now, of all containers. */
  get open(): number {
    return this.#open;
  }

  /**
   * The answer for the asker, `maxBytes` at most over UDP. REFUSED where too many questions are open, SERVFAIL where no
   * server has an answer. Does not reject.
   */
  async forward(
    query: Query,
    upstreams: readonly Upstream[],
    account: Account,
    asker: { readonly transport: Transport; readonly maxBytes: number },
  ): Promise<Uint8Array> {
    if (account.open >= forwardLimits.perSandbox || this.#open >= forwardLimits.total)
      return encodeReply(query, rcode.refused, 0, [], asker.maxBytes);
    account.open++;
    this.#open++;
    try {
      for (const upstream of upstreams.slice(0, forwardLimits.servers)) {
        const response = await this.#ask(query, upstream, asker.transport);
        if (response !== undefined && !isDisappointing(response))
          return passOn(query, response, asker.maxBytes);
      }
      return encodeReply(query, rcode.serverFailure, 0, [], asker.maxBytes);
    } finally {
      account.open--;
      this.#open--;
    }
  }

  /** Over UDP; again over TCP where that is cut short and the asker can take it all. undefined = no answer. */
  async #ask(query: Query, upstream: Upstream, asker: Transport): Promise<Uint8Array | undefined> {
    const first = await this.#exchange(query, upstream, 'udp');
    const isCut = first !== undefined && isTruncated(first);
    if (asker === 'udp' || (first !== undefined && !isCut)) return first;
    // A server that only speaks TCP is one too, for an asker over TCP.
    return (await this.#exchange(query, upstream, 'tcp')) ?? first;
  }

  async #exchange(query: Query, upstream: Upstream, transport: Transport): Promise<Uint8Array | undefined> {
    const id = this.#deps.randomId();
    const { timeoutMs } = forwardLimits;
    try {
      const bytes = withId(query.bytes, id);
      return await this.#deps.exchange({ upstream, transport, query, id, bytes, timeoutMs });
    } catch {
      // Unreachable, silent, or out of file descriptors: the next server is asked.
      return undefined;
    }
  }
}
