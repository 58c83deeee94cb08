/*
 * What a data root is: the id that marks this daemon's kernel objects, and what it changed on the machine. Kept in the
 * store under `daemon`, made at the first start.
 */
import { newId } from '../base/ids.ts';
import type { ForwardingRecord } from '../firewall/forwarding.ts';
import type { Store } from '../store/store.ts';

interface IdentityRecord {
  /** 64 hex digits. */
  readonly id: string;
  /** Families that this daemon switched forwarding on for, and in which boot of the machine. */
  readonly forwarding?: ForwardingRecord;
}

const key = 'daemon';

export class Identity {
  readonly #store: Store;
  #record: IdentityRecord;

  private constructor(store: Store, record: IdentityRecord) {
    this.#store = store;
    this.#record = record;
  }

  static async open(store: Store): Promise<Identity> {
    const entry = await store.get(key);
    if (entry !== undefined) return new Identity(store, entry.value as IdentityRecord);
    const identity = new Identity(store, { id: newId<'daemon'>() });
    await identity.#save(identity.#record);
    return identity;
  }

  get id(): string {
    return this.#record.id;
  }

  get forwarding(): ForwardingRecord | undefined {
    return this.#record.forwarding;
  }

  saveForwarding(forwarding: ForwardingRecord): Promise<void> {
    return this.#save({ ...this.#record, forwarding });
  }

  async #save(record: IdentityRecord): Promise<void> {
    await this.#store.txn({ write: [{ key, put: record }] });
    this.#record = record;
  }
}
