/*
 * The face of a swarm's networks to the engine: what managers decide and every node knows. A swarm network is the same on
 * all nodes; who is attached to it where is a table of endpoints, of which a node gets those of the networks that it
 * follows. Managers give out subnets, VNIs and addresses; nodes own their endpoints and are the truth about them.
 * Records are JSON, addresses are text in canonical form, ids of networks have 25 characters of base 36.
 * Without a swarm there are no networks and no nodes, and what needs a manager throws code noSwarm (on a worker
 * notManager).
 */
import type { Events } from '../base/events.ts';

export interface SwarmPool {
  readonly subnet: string;
  readonly ipRange?: string;
  /** Without length. */
  readonly gateway?: string;
  readonly auxAddresses: Readonly<Record<string, string>>;
}

/** What a network is; its driver is overlay. */
export interface SwarmNetworkSpec {
  readonly name: string;
  readonly isInternal: boolean;
  /** As asked for at create; says nothing about who may be attached (that is an option's). */
  readonly isAttachable: boolean;
  /** The one that every swarm has from the start. */
  readonly isIngress: boolean;
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
  readonly pools: readonly SwarmPool[];
  /**
   * Set: each node has blocks of 2 to this power addresses of its own, and chooses from them; managers give blocks out.
   */
  readonly blockBits?: number;
  /** One for each segment, in the order of the driver's segments. */
  readonly vnis: readonly number[];
  /** As given, without the VNIs unless the user chose them. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

export interface SwarmNetwork extends SwarmNetworkSpec {
  readonly id: string;
  /** RFC 3339 with nanoseconds. */
  readonly createdAt: string;
}

/** What a new network must keep clear of, and what it may choose from. */
export interface SwarmSurroundings {
  readonly networks: readonly SwarmNetwork[];
  /** `10.0.0.0/8`, of the swarm. */
  readonly addressPools: readonly string[];
  /** Of the subnets that are cut from them. */
  readonly subnetLength: number;
}

/** An endpoint of this node, as the engine says it should be. */
export interface EndpointClaim {
  /** Never used again. */
  readonly endpointId: string;
  readonly networkId: string;
  readonly containerId: string;
  readonly containerName: string;
  readonly mac: string;
  /** What a resolver knows it by on this network; the first is the name that PTR answers. */
  readonly dnsNames: readonly string[];
  /** Exactly these, without length; where absent, any of the network's families. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** False: the container does not run, and its addresses are kept for it. */
  readonly isUp: boolean;
  /**
   * Set: no container's, but a block of this family that the node has of the network. Its address is the first of the
   * block, which no endpoint gets; it is never up, and has no names and no link address (all zeros).
   */
  readonly block?: 4 | 6;
}

/** A block of a network. */
export interface SwarmBlock {
  /** `10.0.1.64/26`. */
  readonly block: string;
  readonly nodeId: string;
}

/** A row of a network's table. */
export interface SwarmEndpoint extends EndpointClaim {
  readonly nodeId: string;
  /** Of the store, when it was written: of two rows of one endpoint or one address the higher is the truth. */
  readonly revision: number;
}

/** Endpoints of one node's tunnel, and nodes behind NAT that a relay tells of. */
export const mostEndpoints = 16;
export const mostSeen = 1000;

/** What a node says of its end of encrypted tunnels. */
export interface TunnelOffer {
  /** X25519, base64. */
  readonly publicKey: string;
  /** Of the way to the other hosts, outside. */
  readonly mtuBytes: number;
  /** Where its UDP socket may be reached, `192.0.2.11:51820` or `[2001:db8::1]:51820`; the likeliest first. */
  readonly endpoints: readonly string[];
  /** Of a relay: where it sees nodes behind NAT come from, by node. Absent: it has not looked, and what it said holds. */
  readonly sees?: Readonly<Record<string, string>>;
  /** Why it cannot encrypt, though it could: it has no WireGuard any more. At most `longestReason` characters. */
  readonly lacks?: string;
}

export const longestReason = 500;

export interface NodeTunnel extends TunnelOffer {
  /** From 1; the address inside is made of it. No other node has it, and the node keeps it. */
  readonly number: number;
  /**
   * The address that a manager sees its session come from, where that is none of its own (`endpoints`), or which the
   * manager itself is known by outside, where the session comes from within the manager's network: it is behind NAT, and
   * nobody begins to talk to it from outside.
   */
  readonly seenAs?: string;
}

export interface SwarmNode {
  readonly id: string;
  readonly hostname: string;
  /** Underlay address of its end of the tunnels, without a port. */
  readonly vtep: string;
  /** Its endpoints keep their addresses and entries, but names do not lead to them. */
  readonly isDown: boolean;
  /** Absent on a node that cannot encrypt, and on one that has not said yet. */
  readonly tunnel?: NodeTunnel;
  /** What two nodes behind NAT say to each other may go by it: it is a manager, or has the label `linkspan.relay=true`. */
  readonly isRelay?: true;
}

/** What happened to a node or a network of the swarm. */
export interface SwarmEvent {
  readonly type: 'node' | 'network';
  readonly action: 'create' | 'update' | 'remove';
  readonly id: string;
  /** Of a node without a name its host name. */
  readonly name: string;
  /** Of a node's update what is not as it was: `state.old` and `state.new`, likewise availability, role, leader, reachability. */
  readonly changes: Readonly<Record<string, string>>;
}

export interface SwarmNetworksEvents extends Record<string, unknown> {
  /** Networks that came or are gone; all are gone when the node leaves its swarm. */
  readonly networks: { readonly added: readonly SwarmNetwork[]; readonly removed: readonly SwarmNetwork[] };
  /**
   * Of a followed network: endpoints of other nodes that are up. `isSnapshot`: `added` are all of them. An endpoint in
   * `added` that was known replaces what was known.
   */
  readonly peers: {
    readonly networkId: string;
    readonly isSnapshot: boolean;
    readonly added: readonly SwarmEndpoint[];
    readonly removed: readonly SwarmEndpoint[];
  };
  /** Of a followed network: which node has which block is not as it was. */
  readonly blocks: { readonly networkId: string };
  /** A node came, went, moved to another address, is down or up, may be a relay or no more, or has another tunnel. */
  readonly nodes: { readonly changed: readonly string[] };
  /** On managers. */
  readonly happened: SwarmEvent;
  /** The manager refuses what this node says it has (its address is another's by now). */
  readonly refused: {
    readonly networkId: string;
    readonly endpointId: string;
    readonly message: string;
  };
}

export interface SwarmNetworks {
  readonly events: Events<SwarmNetworksEvents>;
  /** A manager tells this node what changes, and hears of what this node changes. */
  readonly isInTouch: boolean;
  /** As far as this node knows: from a manager, or from its cache while none answers. */
  readonly networks: readonly SwarmNetwork[];
  /** This node's end of the tunnels; undefined without a swarm. */
  readonly dataPath: { readonly nodeId: string; readonly address: string; readonly port: number } | undefined;
  /** All of them, this one too. */
  readonly nodes: readonly SwarmNode[];
  findNode(id: string): SwarmNode | undefined;
  /** Of a followed network: endpoints of other nodes that are up. */
  peers(networkId: string): readonly SwarmEndpoint[];
  /** Of a followed network: blocks of all nodes, this one's too; empty for a network without. */
  blocks(networkId: string): readonly SwarmBlock[];

  /**
   * Managers only (code notManager, noSwarm). `plan` is pure and is called again where another change came between; what
   * it throws is thrown. Resolves when this node knows the network. Codes networkNameTaken, networkConflict (a VNI of
   * another's), poolOverlap.
   */
  createNetwork(plan: (around: SwarmSurroundings) => SwarmNetworkSpec): Promise<SwarmNetwork>;
  /** Managers only. Code swarmNetworkInUse while endpoints of any node are on it, networkNotFound. */
  removeNetwork(id: string): Promise<void>;

  /**
   * Leases addresses and writes the endpoint's row, in one transaction. The same endpoint again changes its row (never its
   * addresses). Codes noSwarm, networkNotFound, addressTaken, addressInvalid, addressesExhausted, nodeRefused,
   * managerUnreachable (after five seconds).
   *
   * On a network with blocks this node chooses the addresses from its own; where no manager answers it does so all the
   * same, and tells it with the next session. It asks for a block when it has none with a free address (code networkFull
   * where there is none left).
   */
  claim(claim: EndpointClaim): Promise<SwarmEndpoint>;
  /**
   * Forgets endpoints of this node and frees their addresses. Resolves when a manager has done so; where none answers within
   * two seconds, resolves all the same: the next session tells it (`own`). Never rejects. With the addresses, so that they
   * rest where they were chosen.
   */
  release(
    endpoints: readonly Pick<EndpointClaim, 'networkId' | 'endpointId' | 'ipv4' | 'ipv6'>[],
  ): Promise<void>;
  /** Changes rows of this node (up or not, names); otherwise as `release`. */
  amend(claims: readonly EndpointClaim[]): Promise<void>;

  /** Resolves when the network's table is known, from a manager or, where none answers within two seconds, from the cache. Idempotent. */
  follow(networkId: string): Promise<void>;
  unfollow(networkId: string): void;
  /**
   * What this node says of its tunnel from now on, in this session and each one after it; undefined: it has none to tell
   * of, and what it told stays. It is known where `findNode` of this node has it.
   */
  offerTunnel(offer: TunnelOffer | undefined): void;
  /** All rows of a network, of every node, this one's and blocks too. From a manager, else what is known here. */
  endpoints(networkId: string): Promise<readonly SwarmEndpoint[]>;
}

/**
 * What the engine says that this node has, with addresses: told at the beginning of each session and after a change that
 * no manager took, and then the truth. Rows of this node that it does not name are dropped, but for those that were
 * claimed since the daemon began and neither named since nor released. An endpoint is named no more from the moment that
 * `release` is called for it, and as it will be from the moment that `amend` is.
 */
export type OwnEndpoints = () => readonly EndpointClaim[];
