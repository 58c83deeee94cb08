/*
 * What is stored of a swarm. On every node `swarm/self`: who it is there. On managers, below `cluster/`, what the swarm
 * knows, which only managers write:
 *
 *   cluster/swarm         the swarm: specification, and sealed (identity/vault.ts) root key, token secrets, unlock key
 *   cluster/roles         no value: two changes of roles never rely on what was before the other
 *   cluster/nodes/<id>    one node; gone when it is removed, and with it its right to come back
 *
 * Where several managers share a store, they tell each other there, for as long as they live:
 *
 *   cluster/live/managers/<id>   a manager that runs
 *   cluster/live/nodes/<id>      a node, by the manager that it has its session with
 *
 * Those are in the node's own store, or in one elsewhere (etcd). Then the node's own has, from before they are made until
 * after they are gone:
 *
 *   swarm-elsewhere/<swarm id>
 *
 * What is stored of networks: networks/records.ts on managers, networks/replicaCache.ts on the others.
 * Whether a node is there is not stored for good: managers hear it (roster.ts).
 */
import { createHash } from 'node:crypto';
import type { KeyPair } from '../identity/authority.ts';
import type { MemberRecord } from '../managers/storeMember.ts';
import type { ClusterSpec, NodeDescription, NodeRole, NodeSpec, NodeState } from '../swarm.ts';

/** This node in the swarm that it belongs to. */
export interface SelfRecord {
  readonly nodeId: string;
  readonly swarmId: string;
  readonly keys: KeyPair;
  readonly rootPem: string;
  /** `0.0.0.0:2377`, where a manager listens. */
  readonly listen: string;
  /** `192.0.2.11:2377`, where others reach it. */
  readonly advertise: string;
  /** Of VXLAN, without a port. */
  readonly dataPath: string;
  /** UDP, of all nodes; absent until a manager has told it. */
  readonly dataPathPort?: number;
  readonly isManager: boolean;
  /** Of a manager: opens what is secret in the swarm's record (identity/vault.ts). 32 bytes, in base64. */
  readonly sealKey?: string;
  /** Of a manager: the swarm's records are not in the node's own store, but in one that the user runs. */
  readonly isElsewhere?: boolean;
  /** They are in the store that managers share, or will be: this node's member of it. */
  readonly member?: MemberRecord;
  /** Addresses of managers, as far as is known. */
  readonly managers: readonly string[];
  /** Of a worker: their ids by address, as far as managers have told them. */
  readonly managerIds?: Readonly<Record<string, string>>;
}

/** A change of the swarm's root that is under way: `root` of the record is trusted until it ends. */
export interface RootRotation {
  /** What follows, and certifies nodes from now on. */
  readonly root: KeyPair;
  /** The certificate of what follows as the root before it signs it, for those who do not know it yet. */
  readonly crossPem: string;
}

/** What a node shows and trusts; roots as their digest (joinToken.ts). */
export interface NodeTls {
  /** The root that its certificate comes from; empty: none of ours. */
  readonly issuer: string;
  /** Of all roots that it trusts, one after the other. */
  readonly trusts: string;
}

/** Of a change: fields that are undefined go. */
export type SelfPart = { readonly [K in keyof SelfRecord]?: SelfRecord[K] | undefined };

/** Addresses of managers but for the node itself. */
export function othersOf({
  managers,
  advertise,
}: Pick<SelfRecord, 'managers' | 'advertise'>): readonly string[] {
  return managers.filter((address) => address !== advertise);
}

/** What makes a manager a worker. */
export function asWorker(self: Pick<SelfRecord, 'managers' | 'advertise'>): SelfPart {
  const gone = { member: undefined, isElsewhere: undefined, sealKey: undefined };
  return { ...gone, isManager: false, managers: othersOf(self) };
}

export interface SwarmRecord {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly spec: ClusterSpec;
  /** Root certificate and key. */
  readonly root: KeyPair;
  readonly rotation?: RootRotation;
  /** How many roots the swarm has had; absent: 1. */
  readonly rootCount?: number;
  /** Of the store that managers share, if they do. */
  readonly storeRoot?: KeyPair;
  readonly secrets: Readonly<Record<NodeRole, string>>;
  /** Under which managers keep what is secret (identity/autolock.ts); absent: they are not locked. */
  readonly unlockKey?: string;
  readonly dataPathPort: number;
  readonly addressPools: readonly string[];
  readonly subnetLength: number;
}

export interface NodeRecord {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly spec: NodeSpec;
  readonly description: NodeDescription;
  /** Without a port. */
  readonly address: string;
  /** Of VXLAN; absent: `address`. */
  readonly dataPath?: string;
  /** Of a manager: `192.0.2.11:2377`. */
  readonly managerAddress?: string;
  /** As its sessions showed; absent: it had none since managers ask. */
  readonly tls?: NodeTls;
  /** Counts the node's sessions: what an earlier one still writes is refused. */
  readonly epoch: number;
}

/** Who is there, as the manager says that has its session. */
export interface LiveNode {
  readonly manager: string;
  /** Of the session. */
  readonly epoch: number;
  /** Of what the manager has told. */
  readonly count: number;
  readonly state: NodeState;
  readonly message: string;
}

export const selfKey = 'swarm/self';
export const elsewherePrefix = 'swarm-elsewhere/';
export const elsewhereKey = (swarmId: string): string => `${elsewherePrefix}${swarmId}`;
export const clusterPrefix = 'cluster/';
export const swarmKey = 'cluster/swarm';
export const nodesPrefix = 'cluster/nodes/';
export const livePrefix = 'cluster/live/';
export const liveNodesPrefix = 'cluster/live/nodes/';
export const liveNodeKey = (id: string): string => `${liveNodesPrefix}${id}`;
export const liveManagersPrefix = 'cluster/live/managers/';
export const liveManagerKey = (id: string): string => `${liveManagersPrefix}${id}`;
/** No value of its own: a change of a role compares its revision and writes it. */
export const rolesKey = 'cluster/roles';
export const nodeKey = (id: string): string => `${nodesPrefix}${id}`;

/**
 * A node's id: 25 characters of base 36, from the key that it asks a certificate for. So a request that is sent again,
 * since the answer was lost, makes no second node. `publicKey`: SubjectPublicKeyInfo, DER.
 */
export function nodeIdOf(publicKey: Uint8Array): string {
  const digest = createHash('sha256').update(publicKey).digest('hex').slice(0, 32);
  return BigInt(`0x${digest}`).toString(36).padStart(25, '0');
}
