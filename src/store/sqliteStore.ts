/*
 * The Store over SQLite, seen from the main thread: sends calls to the store worker and settles their promises.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Seam } from '../base/seam.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Entry, Store, StoreChange, Txn, TxnResult } from './store.ts';
import type {
  RawEntry,
  RawTxn,
  StoreAnswer,
  StoreCall,
  StoreGreeting,
  StoreReply,
  StoreRequest,
  StoreWorkerData,
} from './storeProtocol.ts';
import { type Watcher, Watchers } from './watchers.ts';

function workerUrl(): URL {
  // From source the worker is TypeScript beside this file; in a bundle it is a bundle beside this one.
  return new URL(import.meta.url.endsWith('.ts') ? './storeWorker.ts' : './storeWorker.js', import.meta.url);
}

function toEntry({ key, json, revision }: RawEntry): Entry {
  return { key, value: JSON.parse(json) as unknown, revision };
}

/** Before a list that failed is asked for again. */
const againMs = 1000;

/** A call under way. The worker answers in order (but for `sync`), so what is done here and at once is done in order. */
interface Call {
  readonly answered: (answer: StoreAnswer) => void;
  readonly failed: (error: LinkspanError) => void;
}

/** Told with the reason, again and again, once the store refuses every change (code storeUnavailable) until it is opened anew. */
export type OnLost = (reason: string) => void;

class SqliteStore implements Store {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Call>();
  readonly #watchers = new Watchers();
  #lastCall = 0;
  #failure: Error | undefined;
  readonly #onLost: OnLost;

  constructor(worker: Worker, onLost: OnLost) {
    this.#worker = worker;
    this.#onLost = onLost;
    worker.on('message', (reply: StoreReply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(error instanceof Error ? error : new Error(String(error))));
    worker.on('exit', () => this.#fail(new Error('the store worker ended')));
  }

  async get(key: string): Promise<Entry | undefined> {
    const answer = await this.#ask({ op: 'get', key });
    return answer.op === 'get' && answer.entry !== undefined ? toEntry(answer.entry) : undefined;
  }

  async list(prefix: string): Promise<{ revision: number; entries: readonly Entry[] }> {
    const answer = await this.#ask({ op: 'list', prefix });
    if (answer.op !== 'list') throw new LinkspanError('store', 'the store worker answered another question');
    return { revision: answer.revision, entries: answer.entries.map(toEntry) };
  }

  txn(txn: Txn): Promise<TxnResult> {
    const write = txn.write.map((w) => ({
      key: w.key,
      json: 'put' in w ? JSON.stringify(w.put) : undefined,
    }));
    const { compare = [], survives = 'machine' } = txn;
    const { promise, resolve, reject } = Promise.withResolvers<TxnResult>();
    this.#call(
      { op: 'txn', compare, write, survives },
      {
        answered: (answer) => {
          const revision = answer.op === 'txn' ? answer.revision : undefined;
          if (revision !== undefined) this.#tell(revision, write);
          resolve(revision === undefined ? { ok: false } : { ok: true, revision });
        },
        failed: (error) => {
          // It may have been done.
          for (const watcher of this.#watchers) this.#tellAll(watcher);
          reject(error);
        },
      },
    );
    return promise;
  }

  async sync(): Promise<void> {
    await this.#ask({ op: 'sync' });
  }

  watch(prefix: string, hear: (change: StoreChange) => void): Disposable {
    const watcher = this.#watchers.add(prefix, hear);
    this.#tellAll(watcher);
    return watcher;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure !== undefined) return;
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    await this.#ask({ op: 'close' });
    await ended;
  }

  #ask(request: StoreRequest): Promise<StoreAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<StoreAnswer>();
    this.#call(request, { answered: resolve, failed: reject });
    return promise;
  }

  #call(request: StoreRequest, call: Call): void {
    if (this.#failure !== undefined) {
      call.failed(new LinkspanError('store', `the store is closed: ${this.#failure.message}`));
      return;
    }
    const id = ++this.#lastCall;
    this.#pending.set(id, call);
    this.#worker.postMessage({ call: id, request } satisfies StoreCall);
  }

  #tell(revision: number, writes: RawTxn['write']): void {
    const watched = writes.filter(({ key }) => this.#watchers.isWatched(key));
    this.#watchers.tell(
      revision,
      watched.map(({ key, json }) =>
        json === undefined ? { key } : { key, entry: toEntry({ key, json, revision }) },
      ),
    );
  }

  #tellAll(watcher: Watcher): void {
    if (this.#failure !== undefined || watcher.isOver) return;
    this.#call(
      { op: 'list', prefix: watcher.prefix },
      {
        answered: (answer) => {
          if (answer.op === 'list') watcher.tellAll(answer.revision, answer.entries.map(toEntry));
        },
        failed: () => void setTimeout(() => this.#tellAll(watcher), againMs).unref(),
      },
    );
  }

  #settle(reply: StoreReply): void {
    const pending = this.#pending.get(reply.call);
    this.#pending.delete(reply.call);
    if ('answer' in reply) {
      pending?.answered(reply.answer);
      return;
    }
    if (reply.isLost) this.#onLost(reply.error);
    const code = reply.isLost ? 'storeUnavailable' : 'store';
    pending?.failed(new LinkspanError(code, `the store refused a change: ${reply.error}`));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const pending of this.#pending.values())
      pending.failed(new LinkspanError('store', `the store failed: ${error.message}`, { cause: error }));
    this.#pending.clear();
  }
}

/**
 * Opens (or creates) the store in the file `path`, making its folder. Code `daemonRunning` if another process holds
 * it, `store` if it cannot be read, or is damaged. Dispose it to release the file.
 */
export async function openSqliteStore(path: string, seam: Seam, onLost: OnLost = () => {}): Promise<Store> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o710 });
  const data: StoreWorkerData = { path, seam: seam.workerData };
  const worker = new Worker(workerUrl(), {
    workerData: data,
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 },
  });
  const greeting = await new Promise<StoreGreeting>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  if (greeting.ready) return new SqliteStore(worker, onLost);
  if (greeting.reason === 'locked')
    throw new LinkspanError(
      'daemonRunning',
      `another daemon is running on this data root: ${path} is locked`,
    );
  throw new LinkspanError('store', `cannot open the store ${path}: ${greeting.text}`);
}
