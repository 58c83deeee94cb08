/*
 * The resolver service as the main thread sees it: forwards to the DNS worker, which does the work.
 */
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import type { Logger } from '../base/logger.ts';
import type { Seam } from '../base/seam.ts';
import { KernelError } from '../kernel/kernel.ts';
import type { NamedEndpoint } from './names.ts';
import type {
  DnsReply,
  DnsRequest,
  DnsStatistics,
  DnsWorkerStart,
  OpenRequest,
  ResolverPorts,
} from './protocol.ts';

export interface Dns extends AsyncDisposable {
  /**
   * Opens the resolver of a sandbox, or changes the view of an open one; the endpoints put before are in effect when it
   * resolves. Rejects with a KernelError, nothing left open.
   */
  open(request: OpenRequest): Promise<ResolverPorts>;
  /** Closes the sockets of a sandbox. Success if there are none. */
  close(id: string): Promise<void>;
  /** Adds or replaces endpoints. Takes effect in order with everything else that is asked here. */
  put(endpoints: readonly NamedEndpoint[]): void;
  /** Success if there is none. */
  del(id: string): void;
  statistics(): Promise<DnsStatistics>;
}

const bundled = import.meta.url.endsWith('.ts') ? './dnsWorker.ts' : './dnsWorker.js';
const workerUrl = new URL(bundled, import.meta.url);

/** 100,000 endpoints take some 100 MB. */
const resourceLimits = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 4 } as const;

type Asked<T> = T extends { readonly call: number } ? Omit<T, 'call'> : never;

class WorkerDns implements Dns {
  readonly #logger: Logger;
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #lastCall = 0;
  #death: KernelError | undefined;

  constructor(start: DnsWorkerStart, logger: Logger) {
    this.#logger = logger;
    this.#worker = new Worker(workerUrl, {
      name: 'dns',
      workerData: start,
      resourceLimits,
      // Sockets are opened by libc and closed by node:fs, which this bookkeeping would warn of.
      trackUnmanagedFds: false,
    });
    this.#worker.on('message', (reply: DnsReply) => this.#receive(reply));
    this.#worker.on('error', (error) => this.#die(error));
    this.#worker.on('exit', () => this.#die(new Error('the DNS worker ended')));
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async open(request: OpenRequest): Promise<ResolverPorts> {
    return (await this.#ask({ type: 'open', request })) as ResolverPorts;
  }

  async close(id: string): Promise<void> {
    await this.#ask({ type: 'close', id });
  }

  put(endpoints: readonly NamedEndpoint[]): void {
    this.#post({ type: 'put', endpoints });
  }

  del(id: string): void {
    this.#post({ type: 'del', id });
  }

  async statistics(): Promise<DnsStatistics> {
    return (await this.#ask({ type: 'statistics' })) as DnsStatistics;
  }

  #post(request: DnsRequest): void {
    if (this.#death === undefined) this.#worker.postMessage(request);
  }

  #ask(request: Asked<DnsRequest>): Promise<unknown> {
    if (this.#death !== undefined) return Promise.reject(this.#death);
    const call = ++this.#lastCall;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(call, pending);
    this.#post({ ...request, call });
    return pending.promise;
  }

  #receive(reply: DnsReply): void {
    switch (reply.type) {
      case 'ready':
        return this.#ready.resolve();
      case 'value':
        this.#take(reply.call)?.resolve(reply.value);
        return;
      case 'failure': {
        const error = new KernelError('', reply.code);
        error.message = reply.message;
        this.#take(reply.call)?.reject(error);
        return;
      }
      case 'problem':
        this.#logger.error({ sandbox: reply.id, error: reply.message }, 'a resolver has a problem');
    }
  }

  #take(call: number): PromiseWithResolvers<unknown> | undefined {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    return pending;
  }

  #die(cause: unknown): void {
    if (this.#death !== undefined) return;
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#death = new KernelError('DNS worker', 'EPIPE', text);
    this.#logger.error(
      { cause: text },
      'the DNS worker died: names do not resolve until the daemon restarts',
    );
    this.#ready.reject(this.#death);
    this.#fail();
  }

  #fail(): void {
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#death ??= new KernelError('DNS worker', 'EPIPE', 'closed');
    this.#fail();
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.#worker.postMessage({ type: 'end' } satisfies DnsRequest);
    await ended;
  }
}

/**
 * Starts the worker when the first resolver is opened: a daemon whose containers have none does without its thread.
 * What was put before is told it then.
 */
class LazyDns implements Dns {
  readonly #start: () => Promise<WorkerDns>;
  readonly #before = new Map<string, NamedEndpoint>();
  #starting: Promise<WorkerDns> | undefined;
  #worker: WorkerDns | undefined;

  constructor(start: () => Promise<WorkerDns>) {
    this.#start = start;
  }

  async open(request: OpenRequest): Promise<ResolverPorts> {
    const worker = this.#worker ?? (await (this.#starting ??= this.#startNow()));
    return await worker.open(request);
  }

  async #startNow(): Promise<WorkerDns> {
    try {
      const worker = await this.#start();
      worker.put([...this.#before.values()]);
      this.#before.clear();
      this.#worker = worker;
      return worker;
    } catch (error) {
      this.#starting = undefined;
      throw error;
    }
  }

  async close(id: string): Promise<void> {
    await this.#worker?.close(id);
  }

  put(endpoints: readonly NamedEndpoint[]): void {
    if (this.#worker !== undefined) this.#worker.put(endpoints);
    else for (const endpoint of endpoints) this.#before.set(endpoint.id, endpoint);
  }

  del(id: string): void {
    if (this.#worker !== undefined) this.#worker.del(id);
    else this.#before.delete(id);
  }

  async statistics(): Promise<DnsStatistics> {
    if (this.#worker !== undefined) return await this.#worker.statistics();
    return { sandboxes: 0, endpoints: this.#before.size, own: 0, forwarded: 0, dropped: 0, open: 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A start that fails has told whoever asked for it.
    const worker = await this.#starting?.catch(() => undefined);
    await worker?.[Symbol.asyncDispose]();
  }
}

/** The service; its thread starts with the first resolver, about 60 ms. Dispose it to end that. */
export function openDns(options: {
  readonly seam: Seam;
  readonly logger: Logger;
  /** The machine's resolv.conf. */
  readonly resolvConfPath: string;
}): Dns {
  const { seam, logger, resolvConfPath } = options;
  return new LazyDns(async () => {
    // As in openKernel: libuv's pool must not be started by a thread that is inside a container's namespace.
    await stat('/');
    const worker = new WorkerDns({ seam: seam.workerData, resolvConfPath }, logger);
    await worker.ready;
    return worker;
  });
}
