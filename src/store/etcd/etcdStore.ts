/*
 * The Store over etcd. Keys lie below a prefix, so that several stores share one etcd; values are JSON. A revision is
 * etcd's, which others' writes raise too. An acknowledged transaction is on the disks of a majority, so both kinds of
 * survival are one here.
 */
import type { Seam } from '../../base/seam.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import type { Compare, Entry, LiveKeys, Store, StoreChange, Txn, TxnResult, Write } from '../store.ts';
import { type EtcdClient, EtcdRefusal } from './etcdClient.ts';
import { EtcdLiveKeys } from './etcdLiveKeys.ts';
import { watchRange } from './etcdWatch.ts';
import {
  compareResult,
  compareTarget,
  type KeyValue,
  type RangeResponse,
  type TxnRequest,
} from './schema.ts';

/** Of comparisons and of writes, each: etcd's own limit (--max-txn-ops) unless it is told another. */
export const mostOperations = 128;
/** Entries of one answer: some hundred kilobytes. */
const pageEntries = 1000;
/** A compaction between two pages of a list begins it anew. */
const mostListings = 5;

type Client = Pick<EtcdClient, 'call' | 'stream' | 'clock'>;

export class EtcdStore implements Store {
  readonly #client: Client;
  readonly #seam: Seam;
  readonly #prefix: string;
  readonly #pageEntries: number;
  readonly #live: EtcdLiveKeys;
  readonly #watches = new Set<Disposable>();

  /** `prefix` ends with a slash; the client outlives the store. */
  constructor(client: Client, seam: Seam, prefix: string, page: number = pageEntries) {
    this.#client = client;
    this.#seam = seam;
    this.#prefix = prefix;
    this.#pageEntries = page;
    this.#live = new EtcdLiveKeys(client, (key) => this.#bytes(key));
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#client.call('KV.Range', { key: this.#bytes(key) });
    return kvs[0] === undefined ? undefined : this.#toEntry(kvs[0]);
  }

  async list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#listOnce(prefix);
      } catch (error) {
        if (!(error instanceof EtcdRefusal && error.reason === 'compacted') || attempt >= mostListings)
          throw error;
      }
    }
  }

  async txn({ compare = [], write }: Txn): Promise<TxnResult> {
    // etcd refuses two writes of one key; in order, the last one is what stays.
    const last = new Map(write.map((one) => [one.key, one]));
    for (const [what, count] of [
      ['comparisons', compare.length],
      ['writes', last.size],
    ] as const)
      if (count > mostOperations)
        throw new LinkspanError('store', `${count} ${what} in one transaction: etcd takes ${mostOperations}`);
    this.#step(`store commit ${write.map(({ key }) => key).join(' ')}`);
    const { header, succeeded } = await this.#client.call('KV.Txn', {
      compare: compare.map((one) => this.#toCompare(one)),
      success: [...last.values()].map((one) => this.#toOperation(one)),
    });
    return succeeded ? { ok: true, revision: Number(header?.revision ?? 0) } : { ok: false };
  }

  /** A majority has on its disks whatever resolved. */
  async sync(): Promise<void> {}

  watch(prefix: string, hear: (change: StoreChange) => void): Disposable {
    const key = this.#bytes(prefix);
    const list = async () => {
      const { revision, entries } = await this.list(prefix);
      return { revision, put: entries };
    };
    const range = {
      ...{ key, end: endOf(key), list },
      toEntry: (kv: KeyValue) => this.#toEntry(kv),
      toKey: (kv: KeyValue) => this.#toKey(kv),
    };
    const watch = watchRange(this.#client, range, hear);
    this.#watches.add(watch);
    return {
      [Symbol.dispose]: () => {
        this.#watches.delete(watch);
        watch[Symbol.dispose]();
      },
    };
  }

  get live(): LiveKeys {
    return this.#live;
  }

  /** Ends the watches, and the live keys as far as that takes no longer than a second; the client is its opener's. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#watches.clear();
    await this.#live[Symbol.asyncDispose]();
  }

  /** In pages, all at the revision of the first. */
  async #listOnce(
    prefix: string,
  ): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    let key = this.#bytes(prefix);
    const range_end = endOf(key);
    let revision = '0';
    const entries: Entry[] = [];
    for (let hasMore = true; hasMore; ) {
      const page: RangeResponse = await this.#client.call('KV.Range', {
        ...{ key, range_end, limit: this.#pageEntries, revision },
      });
      if (revision === '0') revision = page.header?.revision ?? '0';
      for (const kv of page.kvs) entries.push(this.#toEntry(kv));
      const last = page.kvs.at(-1);
      hasMore = page.more && last !== undefined;
      // The first key that comes after it.
      if (last !== undefined) key = Buffer.concat([last.key, Buffer.of(0)]);
    }
    return { revision: Number(revision), entries };
  }

  #step(name: string): void {
    try {
      this.#seam.step(name);
    } catch (error) {
      throw new LinkspanError('store', `the store refused a change: ${messageOf(error)}`, { cause: error });
    }
  }

  #bytes(key: string): Buffer {
    return Buffer.from(this.#prefix + key);
  }

  #toKey({ key }: KeyValue): string {
    return Buffer.from(key).toString().slice(this.#prefix.length);
  }

  #toEntry(kv: KeyValue): Entry {
    const { value, mod_revision } = kv;
    return {
      key: this.#toKey(kv),
      value: JSON.parse(Buffer.from(value).toString()) as unknown,
      revision: Number(mod_revision),
    };
  }

  #toCompare(one: Compare): TxnRequest['compare'][number] {
    return {
      result: compareResult.equal,
      target: compareTarget.modRevision,
      key: this.#bytes(one.key),
      mod_revision: one.is === 'absent' ? 0 : one.revision,
    };
  }

  #toOperation(one: Write): TxnRequest['success'][number] {
    const key = this.#bytes(one.key);
    if ('del' in one) return { request_delete_range: { key } };
    return { request_put: { key, value: Buffer.from(JSON.stringify(one.put)) } };
  }
}

/** The first key after all that start with `prefix`, which ends with an ASCII character. */
function endOf(prefix: Uint8Array): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}
