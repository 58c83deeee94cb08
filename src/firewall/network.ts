/*
 * What the firewall needs to know of a network: the input of the plan. Drivers build it from their options.
 * Not for endpoints: nothing here changes when a container comes or goes.
 */
import type { Ip } from '../net/ip.ts';
import type { Prefix } from '../net/prefix.ts';

/**
 * What may come in from outside the network without having been asked for (Docker's `gateway_mode`):
 * `nat` and `isolated` nothing, `routed` ICMP, `nat-unprotected` everything. Published ports come on top.
 */
export type GatewayMode = 'nat' | 'nat-unprotected' | 'routed' | 'isolated';

/** The source address of what leaves: the outgoing link's, the container's own, or a given one. */
export type SourceNat = 'masquerade' | 'none' | { readonly to: Ip };

export interface FirewallSubnet {
  readonly prefix: Prefix;
  readonly gatewayMode: GatewayMode;
  readonly sourceNat: SourceNat;
}

export interface FirewallNetwork {
  readonly id: string;
  /** The bridge device: at most 15 bytes. */
  readonly bridge: string;
  /** Nothing is forwarded into it or out of it. */
  readonly isInternal: boolean;
  /** False: its containers do not reach each other (`icc=false`). */
  readonly isOpenInside: boolean;
  readonly subnets: readonly FirewallSubnet[];
}
