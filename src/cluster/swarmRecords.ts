/*
 * Where this node keeps what makes it a member, and on a manager what the swarm knows: both in the node's own store, or
 * the swarm's records elsewhere (etcd), below the swarm's id, so that swarms there never mix. Two stores know no common
 * transaction: the node's own says first that there may be records elsewhere, and last that there are none any more.
 */
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Store, TxnResult, Write } from '../store/store.ts';
import type { StoredSelf } from './identity/autolock.ts';
import {
  clusterPrefix,
  elsewhereKey,
  elsewherePrefix,
  type NodeRecord,
  nodesPrefix,
  type SelfRecord,
  selfKey,
} from './membership/records.ts';
import { refusals } from './refusals.ts';

export interface SwarmStores {
  /** The store of one swarm's records. */
  of(swarmId: string): Store;
}

/** Of one transaction. */
const mostWrites = 100;

export class SwarmRecords {
  readonly #own: Store;
  readonly #elsewhere: SwarmStores | undefined;

  constructor(own: Store, elsewhere: SwarmStores | undefined) {
    this.#own = own;
    this.#elsewhere = elsewhere;
  }

  /** Of a swarm that is made from now on. */
  get isElsewhere(): boolean {
    return this.#elsewhere !== undefined;
  }

  /**
   * The store of the swarm's records, where it is this node's own or the user's. Code store if this daemon was not told
   * where they are, or was told otherwise.
   */
  of({ isElsewhere = false, swarmId }: SelfRecord): Store {
    if (isElsewhere && this.#elsewhere === undefined)
      throw new LinkspanError(
        'store',
        'the records of this swarm are in etcd: start the daemon with --store',
      );
    if (!isElsewhere && this.#elsewhere !== undefined)
      throw new LinkspanError(
        'store',
        'the records of this swarm are in the database of this node: start the daemon without --store',
      );
    return this.#elsewhere?.of(swarmId) ?? this.#own;
  }

  /** A new swarm, and this node as its manager; `stored`: `self` as its own store has it. */
  async make(self: SelfRecord, stored: StoredSelf, made: readonly Write[]): Promise<void> {
    const store = this.of(self);
    const alone = [{ key: selfKey, is: 'absent' }] as const;
    const member = { key: selfKey, put: stored };
    if (store === this.#own) {
      checkDone(await store.txn({ compare: alone, write: [...made, member] }));
      return;
    }
    await this.use(self);
    await store.txn({ write: made });
    checkDone(await this.#own.txn({ compare: alone, write: [member] }));
  }

  /** This node is no member. What is elsewhere stays. */
  async forget(): Promise<void> {
    for (const prefix of ['swarm/', clusterPrefix]) await removeAll(this.#own, prefix);
  }

  /** The swarm's records have moved: those in the node's own store are old. */
  async forgetOwn(): Promise<void> {
    await removeAll(this.#own, clusterPrefix);
  }

  /** What is elsewhere of the swarm goes when this node was the last to use it. */
  async use({ swarmId, nodeId }: Pick<SelfRecord, 'swarmId' | 'nodeId'>): Promise<void> {
    await this.#own.txn({ write: [{ key: elsewhereKey(swarmId), put: { nodeId } }] });
  }

  /** Other managers go on with what is elsewhere of the swarm. */
  async letBe(swarmId: string): Promise<void> {
    await this.#own.txn({ write: [{ key: elsewhereKey(swarmId), del: true }] });
  }

  /** Removes what is elsewhere of swarms that this node is not in. Needs --store for that; without it they stay. */
  async forgetElsewhere(): Promise<void> {
    if (this.#elsewhere === undefined) return;
    const self = (await this.#own.get(selfKey))?.value as SelfRecord | undefined;
    for (const { key, value } of (await this.#own.list(elsewherePrefix)).entries) {
      const swarmId = key.slice(elsewherePrefix.length);
      if (swarmId === self?.swarmId) continue;
      const there = this.#elsewhere.of(swarmId);
      const { nodeId } = value as { readonly nodeId?: string };
      const nodes = (await there.list(nodesPrefix)).entries.map((entry) => entry.value as NodeRecord);
      // Other managers go on with them.
      if (!nodes.some(({ id, spec }) => spec.role === 'manager' && id !== nodeId)) await removeAll(there, '');
      await this.#own.txn({ write: [{ key, del: true }] });
    }
  }
}

function checkDone({ ok }: TxnResult): void {
  if (!ok) throw new LinkspanError('swarmActive', refusals.member);
}

async function removeAll(store: Store, prefix: string): Promise<void> {
  const { entries } = await store.list(prefix);
  for (let i = 0; i < entries.length; i += mostWrites)
    await store.txn({
      write: entries.slice(i, i + mostWrites).map(({ key }): Write => ({ key, del: true })),
    });
}
