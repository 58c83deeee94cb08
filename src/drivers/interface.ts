/*
 * What a network driver does. Desired state in, idempotent apply: `ensureNetwork` may be called at every start.
 * A driver owns kernel objects and firewall entries of its networks, no records: those are the engine's.
 */
import type { GatewayMode } from '../firewall/network.ts';
import type { Address, Link, Sysctl } from '../kernel/kernel.ts';
import type { Ip, IpFamily } from '../net/ip.ts';
import type { Mac } from '../net/mac.ts';
import type { IpWithLength, Prefix } from '../net/prefix.ts';

/** A pool with its addresses as values. */
export interface DriverPool {
  readonly subnet: Prefix;
  readonly gateway: Ip | undefined;
}

/** A network as a driver sees it. */
export interface DriverNetwork {
  readonly id: string;
  readonly name: string;
  readonly isInternal: boolean;
  readonly isPredefined: boolean;
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
  readonly pools: readonly DriverPool[];
  readonly options: Readonly<Record<string, string>>;
}

export interface DriverEndpoint {
  readonly id: string;
  readonly networkId: string;
  readonly containerId: string;
  /** The container's end: `eth0`. */
  readonly interfaceName: string;
  readonly hostInterfaceName: string;
  readonly mac: Mac;
  readonly addresses: readonly IpWithLength[];
  /** Default routes to set, at most one per family; the unspecified address = through the device alone. */
  readonly gateways: readonly Ip[];
  /** Kernel parameters of the interface, as the user asked for them. */
  readonly sysctls: readonly Sysctl[];
}

/** What a driver says of a network before it exists. */
export interface DriverPlan {
  /** False: the engine allocates no pools (host, none). */
  readonly needsPools: boolean;
  /** Families whose pools get a gateway address: not in isolated mode; inhibited bridges keep theirs. */
  readonly gatewayFamilies: readonly IpFamily[];
  /** `eth`, or what an option says. */
  readonly interfacePrefix: string;
  /** False: endpoints have no interface on the host (macvlan, ipvlan). */
  readonly hasHostInterface?: false;
  /** True: the network has no way out, whatever the request says (a parent that leads nowhere). */
  readonly isInternal?: boolean;
  /** True: endpoints have their parent's link address, and cannot be given one. */
  readonly sharesMac?: boolean;
  /** True: its endpoints lead nowhere but to each other; their container gets its way out from this host's gateway network. */
  readonly needsGatewayNetwork?: boolean;
  /** True: default routes go through the device alone, without a gateway. */
  readonly routesByDevice?: boolean;
  /** Of endpoints' interfaces, where it depends on more than the network. */
  readonly mtuBytes?: number;
}

/** What publishing a port means on a network. */
export interface Publishing {
  readonly modes: Readonly<Record<IpFamily, GatewayMode>>;
  /** Where ports are bound if the user names no address; undefined = everywhere. */
  readonly bindingAddress: Ip | undefined;
  /** Who may connect to ports that name no sources of their own; empty = everybody. */
  readonly sources: readonly Prefix[];
  /** Links of the host from which published ports are reached by the container's own address too. */
  readonly trustedLinks: readonly string[];
}

export interface Driver {
  readonly name: string;
  readonly scope: 'local' | 'global';
  /** Checks options (codes driverOptionInvalid, networkConfigInvalid) and says what it needs. Pure. */
  plan(network: Omit<DriverNetwork, 'pools'>): DriverPlan;
  /** How ports are published on this network; undefined (or no such method) = they are not. Pure. */
  publishing?(network: DriverNetwork): Publishing | undefined;
  /** Throws code networkConflict if `network` conflicts with one of `others`, which are networks of this driver. Pure. */
  checkConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void;
  /**
   * Makes the kernel match; idempotent. `isNew` (default false): the network is of just now, so that nothing of it can be
   * there. Undoes what it did when it fails.
   */
  ensureNetwork(network: DriverNetwork, isNew?: boolean): Promise<void>;
  /**
   * An endpoint of the network is about to be attached: what needs no more than that is begun. Dispose of it when the
   * endpoint is attached, or will not be; what nobody uses then goes again. What it cannot do, `attach` tries and says.
   */
  prepare?(network: DriverNetwork): AsyncDisposable;
  /** Success if already gone. Tries every step, collects errors. `others` are the other networks of this driver. */
  removeNetwork(network: DriverNetwork, others: readonly DriverNetwork[]): Promise<void>;
  /** Puts the endpoint into the sandbox at `sandboxPath`. Undoes what it did when it fails. */
  attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void>;
  /** Success if already gone. `sandboxPath` is undefined where the container has no sandbox any more. */
  detach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string | undefined): Promise<void>;
  /** Name of the host's link that stands for the network; undefined where there is none. Pure. */
  linkOf(network: DriverNetwork): string | undefined;
  /** Kernel parameters of that link as they should be; a write of another value is looked at (repairNetwork). Pure. */
  sysctlsOf?(network: DriverNetwork): readonly Sysctl[];
  /** Path of a namespace of the network's own, there while endpoints are attached. Pure. */
  namespaceOf?(network: DriverNetwork): string;
  /** Name of the host's link that endpoints are on, whosever it is, where they have none of their own there. Pure. */
  parentOf?(network: DriverNetwork): string;
  /**
   * Compares a network that stands with the kernel, and puts back what somebody took away or changed. What somebody
   * added stays. Resolves with one sentence a repair; throws what could not be repaired.
   */
  repairNetwork(network: DriverNetwork): Promise<readonly string[]>;
  /**
   * Likewise for an attached endpoint. `extent` `outside` leaves be what is inside the sandbox, where a container with
   * the right to may change things on purpose; a pair that is gone is made again all the same.
   */
  repairEndpoint(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string,
    extent: 'outside' | 'all',
  ): Promise<readonly string[]>;
  /** Deletes kernel objects that carry this daemon's mark but belong to no network or endpoint given. */
  sweep(
    actual: { readonly links: readonly Link[]; readonly addresses: readonly Address[] },
    keep: { readonly networks: readonly DriverNetwork[]; readonly endpoints: readonly DriverEndpoint[] },
  ): Promise<void>;
}
