/*
 * What follows a sandbox's endpoints without being one: published ports, the resolver. The sandboxes call, in the
 * order in which the composition root lists the followers; release goes in reverse.
 */
import type { Container, Endpoint, Network, Sandbox } from '../model.ts';

export interface SandboxState {
  readonly container: Container;
  /** Undefined for the host's network. */
  readonly sandbox: Sandbox | undefined;
  /** Endpoints that are attached, in attach order. */
  readonly attachments: readonly { readonly endpoint: Endpoint; readonly network: Network }[];
}

export interface SandboxFollower {
  /**
   * Makes what it keeps match `state`: called before the process of a new sandbox runs and after each change of its
   * endpoints. Idempotent. Undoes what it did when it fails; the caller then takes the change back.
   */
  apply(state: SandboxState): Promise<void>;
  /** Interfaces of the sandbox were put back and may be new ones, with the same names and addresses. */
  repaired?(state: SandboxState): Promise<void>;
  /**
   * Compares what it keeps with what is there and puts back what is gone; one sentence a repair. `extent` `outside`
   * leaves be what is inside the sandbox, where a container with the right to may change things on purpose.
   */
  repair?(state: SandboxState, extent: 'outside' | 'all'): Promise<readonly string[]>;
  /** The sandbox is about to go, or is gone. Success if nothing is kept. Tries every step and collects errors. */
  release(container: Container): Promise<void>;
  /**
   * After a restart of the daemon: `states` are all sandboxes that live. Adopts what an earlier daemon kept for them
   * and removes what belongs to none of them.
   */
  adopt(states: readonly SandboxState[]): Promise<void>;
}
