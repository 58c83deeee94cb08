/*
 * The resolver of one container: from a request's bytes to an answer's, whichever way it came. What is ours is
 * answered at once; the rest is forwarded.
 */
import { plainUdpBytes, rcode } from '../codec/dns/message.ts';
import { encodeReply, type Query, readRequest, udpLimit } from '../codec/dns/query.ts';
import type { Transport } from '../kernel/ipSockets.ts';
import type { Account, Forwarder, Upstream } from './forwarder.ts';
import type { LatencyCount } from './latencies.ts';
import { answerLocally, ownTtlS, type SandboxView, shuffled } from './localAnswer.ts';
import type { NameIndex } from './names.ts';

/** Over TCP (RFC 1035 §4.2.2). */
const maxMessageBytes = 65_535;

export interface ResolverCounts {
  /** Requests answered without asking anybody, refusals included. */
  own: number;
  forwarded: number;
  /** Requests that got no answer: no DNS message, or an answer itself. */
  dropped: number;
}

export interface ResolverDependencies {
  readonly index: NameIndex;
  readonly forwarder: Forwarder;
  /** The host's own servers, in order. */
  readonly hostServers: () => readonly string[];
  /** 0 ≤ x < 1, for the order of answers. */
  readonly random: () => number;
  readonly counts: ResolverCounts;
  readonly latencies: { readonly own: LatencyCount; readonly forwarded: LatencyCount };
  /** Of a clock that does not jump. */
  readonly nowMs: () => number;
}

/** An answer now, one later, or none. */
export type Outcome = Uint8Array | Promise<Uint8Array> | undefined;

export class SandboxResolver {
  readonly #deps: ResolverDependencies;
  readonly #namespace: string;
  readonly #account: Account = { open: 0 };
  view: SandboxView;

  constructor(deps: ResolverDependencies, namespace: string, view: SandboxView) {
    this.#deps = deps;
    this.#namespace = namespace;
    this.view = view;
  }

  /** Answers a request. `bytes` is read before this returns, and copied where it is needed longer. */
  serve(bytes: Uint8Array, transport: Transport): Outcome {
    const { counts, latencies, index, random, nowMs } = this.#deps;
    const startedMs = nowMs();
    const request = readRequest(bytes);
    if (request === undefined) {
      counts.dropped++;
      return undefined;
    }
    if ('refusal' in request) {
      counts.own++;
      return request.refusal;
    }
    const { query } = request;
    const maxBytes = transport === 'tcp' ? maxMessageBytes : udpLimit(query);
    const answer = answerLocally(query, this.view, index);
    if (answer !== undefined) {
      counts.own++;
      const reply = encodeReply(query, answer.code, ownTtlS, shuffled(answer.data, random), maxBytes);
      latencies.own.add(nowMs() - startedMs);
      return reply;
    }
    counts.forwarded++;
    const outcome = this.#forward({ ...query, bytes: Uint8Array.from(query.bytes) }, transport, maxBytes);
    return outcome instanceof Promise ? this.#timed(outcome, startedMs) : outcome;
  }

  async #timed(answer: Promise<Uint8Array>, startedMs: number): Promise<Uint8Array> {
    const bytes = await answer;
    const { latencies, nowMs } = this.#deps;
    latencies.forwarded.add(nowMs() - startedMs);
    return bytes;
  }

  #forward(query: Query, transport: Transport, maxBytes: number): Outcome {
    const upstreams = this.#upstreams();
    if (upstreams.length === 0) return encodeReply(query, rcode.serverFailure, 0, [], plainUdpBytes);
    return this.#deps.forwarder.forward(query, upstreams, this.#account, { transport, maxBytes });
  }

  #upstreams(): readonly Upstream[] {
    const { servers, canAskHost } = this.view;
    if (servers.length > 0) return servers.map((address) => ({ address, namespace: this.#namespace }));
    if (!canAskHost) return [];
    return this.#deps.hostServers().map((address) => ({ address, namespace: undefined }));
  }
}
