/*
 * What carries the tunnels of an overlay network on this host: the host's own network, or the encrypted tunnels between the
 * nodes, whose addresses and sockets are in a namespace of their own.
 */
import type { TunnelGuard } from '../../firewall/tunnelGuard.ts';
import type { Underlay } from './segments.ts';

export interface Carrier {
  /** Where VXLAN packets are looked at. */
  readonly guard: TunnelGuard;
  /** Path of the namespace of its addresses and sockets; absent: the host's. */
  readonly namespace?: string;
  /**
   * This host's end. Throws code noSwarm without a swarm. Before `hold` it may lack the address; all else is right for
   * planning.
   */
  underlay(): Underlay;
  /**
   * A network of this host needs it: makes what is missing of it; idempotent. Codes tunnelUnavailable, tunnelPortTaken,
   * managerUnreachable.
   */
  hold(networkId: string): Promise<void>;
  /** The network needs it no more: what nobody needs goes. Success if it did not. */
  release(networkId: string): Promise<void>;
  /** What an earlier daemon left goes, unless a network needs it. */
  sweep(): Promise<void>;
}

/** The host's own network. */
export function createPlainCarrier(guard: TunnelGuard, underlay: () => Underlay): Carrier {
  const nothing = (): Promise<void> => Promise.resolve();
  return { guard, underlay, hold: nothing, release: nothing, sweep: () => guard.sweep() };
}
