/*
 * Durable state behind one interface: an ordered map of keys to JSON values with a revision per change, and
 * transactions that compare before they write. SQLite implements it, and etcd for the records of a swarm.
 * Keys are slash-separated (`networks/<id>`, `leases/<network id>/<address>`). Values are JSON objects.
 */

export interface Entry {
  readonly key: string;
  readonly value: unknown;
  /** Revision of the transaction that wrote this value; revisions of a store only grow. */
  readonly revision: number;
}

export type Compare =
  | { readonly key: string; readonly is: 'absent' }
  | { readonly key: string; readonly is: 'revision'; readonly revision: number };

export type Write =
  | { readonly key: string; readonly put: unknown }
  | { readonly key: string; readonly del: true };

/**
 * What a transaction outlives when it resolves. `process`: the end of this program, which is enough for an intent, since
 * the kernel's state that it is about does not outlive the machine either. `machine`: power loss, and with it whatever
 * was written before. The difference is one wait for the disk.
 */
export type Survival = 'process' | 'machine';

export interface Txn {
  /** All must hold, or nothing is written. */
  readonly compare?: readonly Compare[];
  readonly write: readonly Write[];
  /** Default `machine`. */
  readonly survives?: Survival;
}

export type TxnResult = { readonly ok: true; readonly revision: number } | { readonly ok: false };

/** What a watch tells. */
export interface StoreChange {
  /** All that is below the prefix now is in `put`; otherwise what one transaction changed. */
  readonly isAll: boolean;
  readonly revision: number;
  readonly put: readonly Entry[];
  /** Keys; empty where `isAll`. */
  readonly del: readonly string[];
}

/**
 * Keys that are there while this program lives, and gone at most 15 seconds after it died. Set and deleted in the
 * background, again and again until it works; all put again when the lease was lost.
 */
export interface LiveKeys {
  set(key: string, value: unknown): void;
  /** What this program set; another's value below this key stays. */
  delete(key: string): void;
}

export interface Store extends AsyncDisposable {
  get(key: string): Promise<Entry | undefined>;
  /** All entries whose key starts with `prefix`, in key order, at one revision. */
  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }>;
  /**
   * Atomic; durable when it resolves, as `survives` says. Rejects with code `store` when the disk refuses, and from a sync
   * that failed on with code `storeUnavailable`: what the disk says after that is not to be believed.
   */
  txn(txn: Txn): Promise<TxnResult>;
  /**
   * Resolves when all that transactions wrote which had resolved before outlives the machine too: for who has more to do
   * while the disk works. Rejects as `txn`; then what was written may or may not outlive it.
   */
  sync(): Promise<void>;
  /**
   * First all that is below `prefix`, then each transaction's changes in order of revision, one call per transaction that
   * touched it; all again where some were missed. A transaction of this store that resolved has been told before it
   * resolves only with SQLite; with etcd it comes by itself, soon. Goes on by itself until disposed, or until the store
   * is. `hear` does not throw.
   */
  watch(prefix: string, hear: (change: StoreChange) => void): Disposable;
  /** Absent where one program has the store for itself. */
  readonly live?: LiveKeys;
}
