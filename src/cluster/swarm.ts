/*
 * The face of the cluster to the API: what `swarm` and `node` commands need, in our words. A node is a machine; a manager
 * is a node that decides for the swarm. `ref` is a full id, a name or a unique id prefix. Every method throws LinkspanError;
 * what only managers can do throws code notManager elsewhere.
 */

export type NodeRole = 'manager' | 'worker';
/** `drain` takes nothing new and gives up what it has; `pause` keeps what it has. */
export type Availability = 'active' | 'pause' | 'drain';
export type NodeState = 'unknown' | 'down' | 'ready' | 'disconnected';

/** What an administrator says of a node. */
export interface NodeSpec {
  /** Empty = it is called by its host name. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly role: NodeRole;
  readonly availability: Availability;
}

/** What a node says of itself. */
export interface NodeDescription {
  readonly hostname: string;
  /** `x86_64`, and `linux`. */
  readonly architecture: string;
  readonly os: string;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly engineVersion: string;
  /** `key=value` of the daemon's --label. */
  readonly engineLabels: Readonly<Record<string, string>>;
}

export interface ClusterNode extends NodeDescription {
  /** 25 characters of base 36. */
  readonly id: string;
  /** Counts changes of the record: an update names the version that it is based on. */
  readonly version: number;
  /** RFC 3339 with nanoseconds. */
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly spec: NodeSpec;
  readonly state: NodeState;
  /** Why it is not ready; empty if it is. */
  readonly message: string;
  /** Where others reach it. */
  readonly address: string;
  /** Its certificate comes from the root that certifies. */
  readonly isTrusted: boolean;
  /** It trusts the root that tokens name, and none that is over. */
  readonly trustsRoot: boolean;
  /** Of a manager. */
  readonly manager?: {
    readonly isLeader: boolean;
    readonly isReachable: boolean;
    /** `192.0.2.11:2377` */
    readonly address: string;
  };
}

export interface ClusterSpec {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taskHistoryLimit: number;
  readonly snapshotInterval: number;
  readonly maxSnapshots: number;
  readonly heartbeatMs: number;
  readonly certificateLifeMs: number;
  readonly isAutolocked: boolean;
  /** Another number than before asks for a new root; absent: 0. */
  readonly forceRotate?: number;
}

/** The swarm itself, as a manager knows it. */
export interface Cluster {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly spec: ClusterSpec;
  /** The root that tokens name, and the one that certifies: another while the root is being changed. */
  readonly rootCertificatePem: string;
  readonly issuerCertificatePem: string;
  readonly isRootRotating: boolean;
  readonly dataPathPort: number;
  /** Where overlay networks without a subnet get theirs from, and how long those prefixes are. */
  readonly addressPools: readonly string[];
  readonly subnetLength: number;
  readonly tokens: Readonly<Record<NodeRole, string>>;
}

/** What this node is, for `info`. */
export interface SwarmStatus {
  readonly state: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
  readonly nodeId: string;
  readonly address: string;
  readonly isManager: boolean;
  /** Why the state is `error` or `pending`; empty otherwise. */
  readonly error: string;
  readonly managers: readonly { readonly nodeId: string; readonly address: string }[];
  /** On a manager. */
  readonly cluster?: Cluster;
  readonly nodeCount: number;
  readonly managerCount: number;
}

/** How the node is reached. Addresses may be names of interfaces, and lack a port. */
export interface NodeAddresses {
  /** Empty = 0.0.0.0:2377. */
  readonly listen: string;
  /** Empty = the machine's only address. */
  readonly advertise: string;
  /** Of VXLAN; empty = as advertised. */
  readonly dataPath: string;
  readonly availability: Availability;
}

export interface InitRequest extends NodeAddresses {
  readonly spec: ClusterSpec;
  readonly isForcedNew: boolean;
  /** 0 = 4789. */
  readonly dataPathPort: number;
  readonly addressPools: readonly string[];
  /** 0 = 24. */
  readonly subnetLength: number;
}

export interface JoinRequest extends NodeAddresses {
  /** Of managers: `192.0.2.11:2377`, tried in turn. */
  readonly remotes: readonly string[];
  readonly token: string;
}

export interface Rotation {
  readonly workerToken: boolean;
  readonly managerToken: boolean;
  readonly unlockKey: boolean;
  /** To a root of the user's, as PEM; absent: none. */
  readonly ownRoot?: { readonly certificatePem: string; readonly keyPem: string };
}

export interface Swarm {
  status(): SwarmStatus;
  /** Resolves with the node's id. Code swarmActive if it is in one. */
  init(request: InitRequest): Promise<string>;
  /** Resolves when the node is in. Codes swarmActive, joinRefused, joinTimeout. */
  join(request: JoinRequest): Promise<void>;
  /** Code noSwarmHere; lastManager unless forced. */
  leave(isForced: boolean): Promise<void>;
  /** Code notManager; swarmLocked, as all that managers do, until it is unlocked. */
  cluster(): Cluster;
  /** Code outOfSequence if `version` is not the record's. */
  update(version: number, spec: ClusterSpec, rotation: Rotation): Promise<void>;
  /** Of managers that are locked; empty: they are not. Code notManager. */
  unlockKey(): string;
  /** Codes swarmNotLocked, requestInvalid where the text is no key, unlockKeyInvalid where it is another. */
  unlock(unlockKey: string): Promise<void>;
  /** In order of creation. Code notManager. */
  nodes(): readonly ClusterNode[];
  /** `self` is this node. Codes nodeNotFound, nodeAmbiguous. */
  node(ref: string): ClusterNode;
  /** Codes as `node`, outOfSequence, demotionRefused. */
  updateNode(ref: string, version: number, spec: NodeSpec): Promise<void>;
  /** Code nodeInUse: it is ready, or a manager. */
  removeNode(ref: string, isForced: boolean): Promise<void>;
}
