/*
 * The store of a manager: can be closed to writes, so that what was sent before is done and nothing comes after it; and
 * says as Docker does what it means where no majority answers.
 */
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { Entry, LiveKeys, Store, StoreChange, Txn, TxnResult } from '../../store/store.ts';

/** Docker's (swarmkit, raft ErrLostLeadership). */
const noLeader =
  "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.";

export class GatedStore implements Store {
  readonly live?: LiveKeys;
  readonly #store: Store;
  readonly #hasMembers: boolean;
  #isShut = false;

  /** `hasMembers`: it is a store of the managers' own. */
  constructor(store: Store, hasMembers: boolean) {
    this.#store = store;
    this.#hasMembers = hasMembers;
    if (store.live !== undefined) this.live = store.live;
  }

  shut(): void {
    this.#isShut = true;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#store.get(key);
  }

  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    return this.#store.list(prefix);
  }

  /** Code storeUnavailable once it is shut. */
  async txn(txn: Txn): Promise<TxnResult> {
    if (this.#isShut) throw new LinkspanError('storeUnavailable', "the swarm's records are on the move");
    try {
      return await this.#store.txn(txn);
    } catch (error) {
      if (!this.#hasMembers || !hasCode(error, 'storeUnavailable')) throw error;
      throw new LinkspanError('storeUnavailable', noLeader, { cause: error });
    }
  }

  sync(): Promise<void> {
    return this.#store.sync();
  }

  watch(prefix: string, hear: (change: StoreChange) => void): Disposable {
    return this.#store.watch(prefix, hear);
  }

  /** The store is its opener's. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
