/*
 * This node's own member of the store that a swarm's managers share: what the cluster needs of it. Managers from the second
 * on each run one (etcd), and talk to their own alone.
 */
import type { Store } from '../../store/store.ts';
import type { KeyPair } from '../identity/authority.ts';

/** What this node keeps of its member. */
export interface MemberRecord {
  /** `192.0.2.11:2378`, where the others' members reach it. */
  readonly peer: string;
  /** Of the store's own root: no node's certificate opens the store. */
  readonly keys: KeyPair;
  readonly rootPem: string;
  /** What it begins with: all members, by node, and their peers. */
  readonly initial: Readonly<Record<string, string>>;
  /** It makes the store; otherwise it comes to one. */
  readonly isFirst: boolean;
  /** It counts; until then it is being added. */
  readonly isVoting: boolean;
}

export interface StorePeer {
  readonly id: string;
  /** Of the node; empty until it has begun. */
  readonly name: string;
  /** `192.0.2.11:2378` */
  readonly peer: string;
  readonly isLearner: boolean;
}

/** The members of the store. Every call rejects with code storeUnavailable where no majority answers. */
export interface StorePeers {
  list(): Promise<readonly StorePeer[]>;
  /** It does not count yet, so that nothing depends on whether it ever begins. */
  addLearner(peer: string): Promise<void>;
  /** Resolves when it counts: it has to be in step first. Success if it does already. */
  promote(id: string): Promise<void>;
  /** Success if there is none. */
  remove(id: string): Promise<void>;
}

export interface StoreMember extends AsyncDisposable {
  /** Of the swarm's records. */
  readonly store: Store;
  readonly peers: StorePeers;
}

export interface StoreMembers {
  /** Rejects with what is missing on this machine. */
  check(): Promise<void>;
  /** Starts the member, or takes up the one that runs. Resolves when it answers, though a majority may not. */
  open(swarmId: string, nodeId: string, record: MemberRecord, isForcedNew?: boolean): Promise<StoreMember>;
  /** It was begun here once. */
  hasData(): Promise<boolean>;
  /** Ends it in order, so that another leads at once; it has what it has. Success if there is none. */
  stop(): Promise<void>;
  /** Ends it, and what it has. Success if there is none. */
  wipe(): Promise<void>;
}
