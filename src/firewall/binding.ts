/*
 * What the firewall needs to know of a published port or a run of them: the input of the plan. The engine builds it
 * when it has settled on host ports. Not for who holds a host port, nor for how the user asked for it.
 */
import type { Ip } from '../net/ip.ts';
import type { Prefix } from '../net/prefix.ts';
import type { Proto } from '../net/proto.ts';

export interface FirewallBinding {
  readonly proto: Proto;
  /** Of the target's family; undefined = every address that the host has. */
  readonly hostIp: Ip | undefined;
  /** 1 to 65535. Meaningless where `isRouted`. */
  readonly hostPort: number;
  /** How many consecutive ports: `hostPort + i` goes to `port + i`. */
  readonly count: number;
  /** The container's address and first port. */
  readonly target: Ip;
  readonly port: number;
  /** True: nothing is translated, the container's own address is opened (gateway mode `routed`). */
  readonly isRouted: boolean;
  /** Who may connect; empty = everybody. One without a prefix of the target's family admits nobody of that family. */
  readonly sources: readonly Prefix[];
  /** Links from which the container's own address and port may be reached too; of no effect with `sources`. */
  readonly trustedLinks: readonly string[];
}
