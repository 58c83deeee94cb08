/*
 * What this node stores of itself in its swarm (`swarm/self`): read, changed and locked in one place.
 */
import { KeyedMutex } from '../../base/mutex.ts';
import type { Store } from '../../store/store.ts';
import { type SelfPart, type SelfRecord, selfKey } from '../membership/records.ts';
import { lockSelf, type StoredSelf, unlockSelf } from './autolock.ts';

export class OwnRecord {
  readonly #store: Store;
  readonly #mutex = new KeyedMutex();
  #unlockKey: string | undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Under which the record is locked; undefined: it is clear. */
  get unlockKey(): string | undefined {
    return this.#unlockKey;
  }

  /** As it is stored. */
  async find(): Promise<StoredSelf | undefined> {
    return (await this.#store.get(selfKey))?.value as StoredSelf | undefined;
  }

  /** Of a node that becomes a member: to be stored. */
  lock(self: SelfRecord, unlockKey: string | undefined): StoredSelf {
    this.#unlockKey = unlockKey;
    return lockSelf(self, unlockKey);
  }

  /** With the key of today, or with another, which is the one of today if it fits. Codes swarmLocked, unlockKeyInvalid. */
  open(stored: StoredSelf, unlockKey: string | undefined = this.#unlockKey): SelfRecord {
    const self = unlockSelf(stored, unlockKey);
    this.#unlockKey = self === stored ? undefined : unlockKey;
    return self;
  }

  /**
   * Part of it, and `unlockKey` from now on; fields that are undefined go. Resolves with what it is; undefined if the node
   * has left. Rejects as `Store.txn`.
   */
  change(
    part: SelfPart,
    { unlockKey }: { readonly unlockKey: string | undefined } = { unlockKey: this.#unlockKey },
  ): Promise<SelfRecord | undefined> {
    return this.#mutex.run(selfKey, async () => {
      const entry = await this.#store.get(selfKey);
      if (entry === undefined) return undefined;
      const changed = { ...this.open(entry.value as StoredSelf), ...part };
      const self = JSON.parse(JSON.stringify(changed)) as SelfRecord;
      const isAsRead = { key: selfKey, is: 'revision', revision: entry.revision } as const;
      const write = [{ key: selfKey, put: lockSelf(self, unlockKey) }];
      if (!(await this.#store.txn({ compare: [isAsRead], write })).ok) return undefined;
      this.#unlockKey = unlockKey;
      return self;
    });
  }
}
