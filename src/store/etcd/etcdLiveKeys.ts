/*
 * Keys that live as long as this program: etcd deletes them with a lease, which is renewed while there are any. Works
 * through what is wanted in the background, again and again; a lost lease is replaced, and everything put again.
 */
import { randomBytes } from 'node:crypto';
import type { LiveKeys } from '../store.ts';
import { type EtcdClient, EtcdRefusal } from './etcdClient.ts';
import { compareResult, compareTarget } from './schema.ts';

/** After the program's death. */
const lifeS = 15;
/** Twice in a life it may fail. */
const renewMs = 5000;
/** Of a renewal. */
const answerMs = 3000;
/** Between two attempts; doubled each time. */
const pauseMs = { least: 100, most: 1000 } as const;
/** For the lease's end, when the store is closed: it ends by itself too. */
const partingMs = 1000;

export class EtcdLiveKeys implements LiveKeys, AsyncDisposable {
  readonly #client: Pick<EtcdClient, 'call' | 'stream' | 'clock'>;
  readonly #toBytes: (key: string) => Uint8Array;
  /** As JSON. */
  readonly #wanted = new Map<string, string>();
  /** With the lease that is now. A value that may be there or not is not in here, but its key is in `#touched`. */
  readonly #written = new Map<string, string>();
  /** Keys that may be there with the lease that is now. */
  readonly #touched = new Set<string>();
  readonly #over = new AbortController();
  /** Wakes the work that sleeps. */
  #wake = new AbortController();
  #lease: number | undefined;
  #working: Promise<void> | undefined;

  constructor(client: Pick<EtcdClient, 'call' | 'stream' | 'clock'>, toBytes: (key: string) => Uint8Array) {
    this.#client = client;
    this.#toBytes = toBytes;
  }

  set(key: string, value: unknown): void {
    this.#wanted.set(key, JSON.stringify(value));
    this.#hurry();
  }

  delete(key: string): void {
    this.#wanted.delete(key);
    if (this.#touched.has(key)) this.#hurry();
  }

  /** All of them go, in a second, or by themselves. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    this.#wake.abort();
    const parting = this.#working?.then(async () => {
      if (this.#lease !== undefined) await this.#client.call('Lease.LeaseRevoke', { ID: this.#lease });
    });
    const stop = new AbortController();
    await Promise.race([parting, this.#client.clock.sleep(partingMs, stop.signal)]).catch(() => {});
    stop.abort();
  }

  #hurry(): void {
    this.#working ??= this.#work();
    this.#wake.abort();
  }

  async #work(): Promise<void> {
    let pause: number = pauseMs.least;
    let renewedMs = 0;
    while (!this.#over.signal.aborted) {
      this.#wake = new AbortController();
      let sleepMs = renewMs;
      try {
        if (this.#lease !== undefined && this.#nowMs() - renewedMs >= renewMs) {
          await this.#renew(this.#lease);
          renewedMs = this.#nowMs();
        }
        if (this.#lease === undefined && this.#wanted.size > 0) {
          this.#lease = await this.#grant();
          renewedMs = this.#nowMs();
        }
        if (this.#lease !== undefined) await this.#settle(this.#lease);
        sleepMs = Math.max(0, renewedMs + renewMs - this.#nowMs());
        pause = pauseMs.least;
      } catch (error) {
        if (error instanceof EtcdRefusal && error.reason === 'notFound') this.#forget();
        this.#wake = new AbortController();
        sleepMs = pause;
        pause = Math.min(2 * pause, pauseMs.most);
      }
      if (this.#over.signal.aborted) return;
      await this.#client.clock.sleep(sleepMs, this.#wake.signal).catch(() => {});
    }
  }

  async #grant(): Promise<number> {
    // 48 bits: below what a number holds exactly. etcd refuses one that is in use.
    const ID = randomBytes(6).readUIntBE(0, 6);
    await this.#client.call('Lease.LeaseGrant', { ID, TTL: lifeS });
    return ID;
  }

  async #renew(ID: number): Promise<void> {
    const options = { signal: this.#over.signal, limitMs: answerMs };
    const ttl = await this.#client.stream('Lease.LeaseKeepAlive', { ID }, (answer) => answer.TTL, options);
    if (Number(ttl) <= 0) this.#forget();
  }

  /** The lease is no more, and its keys with it. */
  #forget(): void {
    this.#lease = undefined;
    this.#written.clear();
    this.#touched.clear();
  }

  /** One key after the other: there are few, and each may change meanwhile. */
  async #settle(lease: number): Promise<void> {
    for (const [key, json] of [...this.#wanted]) {
      if (this.#over.signal.aborted) return;
      if (this.#wanted.get(key) !== json || this.#written.get(key) === json) continue;
      this.#written.delete(key);
      this.#touched.add(key);
      const request_put = { key: this.#toBytes(key), value: Buffer.from(json), lease };
      await this.#client.call('KV.Txn', { compare: [], success: [{ request_put }] });
      this.#written.set(key, json);
    }
    for (const key of [...this.#touched]) {
      if (this.#over.signal.aborted) return;
      if (this.#wanted.has(key)) continue;
      const bytes = this.#toBytes(key);
      const isOurs = { result: compareResult.equal, target: compareTarget.lease, key: bytes, lease };
      await this.#client.call('KV.Txn', {
        ...{ compare: [isOurs], success: [{ request_delete_range: { key: bytes } }] },
      });
      // Wanted again meanwhile, it is put again.
      this.#written.delete(key);
      this.#touched.delete(key);
    }
  }

  #nowMs(): number {
    return performance.now();
  }
}
