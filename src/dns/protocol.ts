/*
 * What the main thread and the DNS worker tell each other, by structured clone and in order.
 */
import type { FaultPlan } from '../base/seam.ts';
import type { Latencies } from './latencies.ts';
import type { SandboxView } from './localAnswer.ts';
import type { NamedEndpoint } from './names.ts';

/** Where the resolver of a sandbox listens, on 127.0.0.11 inside. */
export interface ResolverPorts {
  readonly udp: number;
  readonly tcp: number;
}

export interface OpenRequest {
  /** Sandbox id. */
  readonly id: string;
  /** Its namespace. */
  readonly path: string;
  readonly view: SandboxView;
  /** Ports of an earlier daemon, taken again if they are free. */
  readonly wanted: ResolverPorts | undefined;
}

export interface DnsStatistics {
  readonly sandboxes: number;
  readonly endpoints: number;
  readonly own: number;
  readonly forwarded: number;
  readonly dropped: number;
  /** Questions that wait for a server now. */
  readonly open: number;
  /** From a question's arrival in the worker to its answer. */
  readonly latencies: { readonly own: Latencies; readonly forwarded: Latencies };
}

export interface DnsWorkerStart {
  readonly seam: { readonly plan: FaultPlan | undefined; readonly shared: SharedArrayBuffer };
  /** The machine's resolv.conf. */
  readonly resolvConfPath: string;
  /** Of the FdRegister. */
  readonly fds: SharedArrayBuffer;
}

/** `call` numbers the requests that are answered. */
export type DnsRequest =
  | { readonly type: 'open'; readonly call: number; readonly request: OpenRequest }
  | { readonly type: 'check'; readonly call: number; readonly id: string }
  | { readonly type: 'close'; readonly call: number; readonly id: string }
  | { readonly type: 'statistics'; readonly call: number }
  | { readonly type: 'put'; readonly endpoints: readonly NamedEndpoint[] }
  | { readonly type: 'del'; readonly id: string }
  | { readonly type: 'end' };

export type DnsReply =
  | { readonly type: 'ready' }
  | { readonly type: 'value'; readonly call: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly call: number; readonly code: string; readonly message: string }
  | { readonly type: 'problem'; readonly id: string; readonly message: string };
