/*
 * What the main thread and the workers of the kernel tell each other, by structured clone.
 */
import type { FaultPlan } from '../base/seam.ts';
import type { Kernel, KernelEvents } from './kernel.ts';

/** The verbs that cross the thread boundary; `makeFifo` and `openDatagrams` are synchronous and do not. */
export type Verb = Exclude<
  keyof Kernel,
  'events' | 'makeFifo' | 'openDatagrams' | typeof Symbol.asyncDispose
>;

/** Those of the nft worker; all others are the kernel worker's. */
export type NftVerb = Extract<Verb, 'nft' | 'probeFeatures'>;

export type VerbArguments<V extends Verb> = Parameters<Kernel[V]>;
export type VerbResult<V extends Verb> = Awaited<ReturnType<Kernel[V]>>;

/** A verb is synchronous, except for deleting a link and probing a path, which wait without holding the others up. */
export type Operations<Verbs extends Verb> = {
  readonly [V in Verbs]: (...args: VerbArguments<V>) => VerbResult<V> | Promise<VerbResult<V>>;
};

export interface WorkerStart {
  readonly seam: { readonly plan: FaultPlan | undefined; readonly shared: SharedArrayBuffer };
  /**
   * The kernel names the thread in its notices of ruleset changes: both workers have this name, unique on the machine, so
   * that own changes can be told. At most 15 bytes.
   */
  readonly threadName: string;
}

export type Call<Verbs extends Verb> = {
  readonly [V in Verbs]: { readonly id: number; readonly verb: V; readonly args: VerbArguments<V> };
}[Verbs];

/** A KernelError in parts: structured clone keeps neither the class nor its fields. */
export interface Failure {
  readonly message: string;
  readonly code: string;
}

type EventNamed<N extends string> = N extends string
  ? { readonly name: N; readonly value: KernelEvents[N] }
  : never;

export type KernelEvent = EventNamed<
  'link' | 'address' | 'route' | 'forwarding' | 'farLoss' | 'farRuleset' | 'sysctl' | 'ruleset' | 'overrun'
>;

export type WorkerMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown; readonly durationMs: number }
  | {
      readonly type: 'failure';
      readonly id: number;
      readonly failure: Failure;
      readonly durationMs: number;
    }
  | { readonly type: 'events'; readonly events: readonly KernelEvent[] };
