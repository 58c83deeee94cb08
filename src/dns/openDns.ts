/*
 * The resolver service as the main thread sees it: forwards to the DNS worker, which does the work, and starts another
 * when it dies.
 */
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from '../base/clock.ts';
import { Events } from '../base/events.ts';
import type { Logger } from '../base/logger.ts';
import type { Seam } from '../base/seam.ts';
import { messageOf } from '../errors/linkspanError.ts';
import { KernelError } from '../kernel/kernel.ts';
import { FdRegister } from './fdRegister.ts';
import { type Latencies, LatencyCount } from './latencies.ts';
import type { NamedEndpoint } from './names.ts';
import type {
  DnsReply,
  DnsRequest,
  DnsStatistics,
  DnsWorkerStart,
  OpenRequest,
  ResolverPorts,
} from './protocol.ts';

export interface DnsEvents extends Record<string, unknown> {
  /**
   * The worker's thread died, and all that was asked of it is lost: names have to be put and resolvers opened again. The
   * first that is opened starts another.
   */
  readonly lost: { readonly cause: string };
}

export interface Dns extends AsyncDisposable {
  readonly events: Events<DnsEvents>;
  /**
   * Opens the resolver of a sandbox, or changes the view of an open one; the endpoints put before are in effect when it
   * resolves. Rejects with a KernelError, nothing left open.
   */
  open(request: OpenRequest): Promise<ResolverPorts>;
  /** False if the resolver is not open, or its sockets serve no more: then it is to be closed and opened again. */
  check(id: string): Promise<boolean>;
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

/** errno of calls that a stop cut short. */
const closedCode = 'ESHUTDOWN';

type Asked<T> = T extends { readonly call: number } ? Omit<T, 'call'> : never;

class WorkerDns {
  readonly #logger: Logger;
  readonly #worker: Worker;
  readonly #fds = new FdRegister();
  readonly #ready = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #lastCall = 0;
  #death: KernelError | undefined;

  /** `onDeath` is called when the thread is gone for another reason than `close`, and nothing of it is left. */
  constructor(start: Omit<DnsWorkerStart, 'fds'>, logger: Logger, onDeath: (cause: string) => void) {
    this.#logger = logger;
    this.#worker = new Worker(workerUrl, {
      name: 'dns',
      workerData: { ...start, fds: this.#fds.memory } satisfies DnsWorkerStart,
      resourceLimits,
      // Sockets are opened by libc and closed by node:fs, which this bookkeeping would warn of.
      trackUnmanagedFds: false,
    });
    this.#worker.on('message', (reply: DnsReply) => this.#receive(reply));
    this.#worker.on('error', (error) => this.#die(messageOf(error)));
    this.#worker.on('exit', () => {
      const isDeath = this.#death?.code !== closedCode;
      this.#die('it ended');
      if (isDeath) {
        this.#fds.closeAll();
        onDeath(this.#death?.message ?? '');
      }
      this.#gone.resolve();
    });
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Undefined while it lives; else settles when its thread is gone. */
  get end(): Promise<void> | undefined {
    return this.#death === undefined ? undefined : this.#gone.promise;
  }

  async open(request: OpenRequest): Promise<ResolverPorts> {
    return (await this.#ask({ type: 'open', request })) as ResolverPorts;
  }

  async check(id: string): Promise<boolean> {
    return (await this.#ask({ type: 'check', id })) as boolean;
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

  /** Ends the thread. */
  async stop(): Promise<void> {
    if (this.#death === undefined) {
      this.#death = new KernelError('DNS worker', closedCode, 'closed');
      this.#fail();
      this.#worker.postMessage({ type: 'end' } satisfies DnsRequest);
    }
    await this.#gone.promise;
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
        this.#logger.error({ id: reply.id, err: reply.message }, 'a resolver has a problem');
    }
  }

  #take(call: number): PromiseWithResolvers<unknown> | undefined {
    const pending = this.#pending.get(call);
    this.#pending.delete(call);
    return pending;
  }

  #die(cause: string): void {
    if (this.#death !== undefined) return;
    this.#death = new KernelError('DNS worker', 'EPIPE', cause);
    this.#logger.error({ err: cause }, 'the DNS worker died');
    this.#ready.reject(this.#death);
    this.#fail();
  }

  #fail(): void {
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
  }
}

/** Deaths that are further apart have nothing to do with each other. */
const calmMs = 60_000;
/** Before the second start in a row, then twice that. */
const firstPauseMs = 100;
const lastPauseMs = 10_000;
const noLatencies: Latencies = new LatencyCount().read();

/**
 * Starts the worker when the first resolver is opened: a daemon whose containers have none does without its thread.
 * What was put before is told it then. So it is after a death, too; later and later, should it die again and again.
 */
class LazyDns implements Dns {
  readonly events: Events<DnsEvents> = new Events();
  readonly #start: (onDeath: (cause: string) => void) => Promise<WorkerDns>;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #before = new Map<string, NamedEndpoint>();
  #starting: Promise<WorkerDns> | undefined;
  #worker: WorkerDns | undefined;
  /** In a row. */
  #deaths = 0;
  #startedAtMs = 0;

  constructor(start: (onDeath: (cause: string) => void) => Promise<WorkerDns>, clock: Clock) {
    this.#start = start;
    this.#clock = clock;
  }

  async open(request: OpenRequest): Promise<ResolverPorts> {
    const worker = await this.#running();
    try {
      return await worker.open(request);
    } catch (error) {
      if (worker.end === undefined || this.#closing.signal.aborted) throw error;
      // It died of something else, or so we hope.
      await worker.end;
      return await (await this.#running()).open(request);
    }
  }

  #running(): Promise<WorkerDns> {
    return this.#worker === undefined ? (this.#starting ??= this.#startNow()) : Promise.resolve(this.#worker);
  }

  async #startNow(): Promise<WorkerDns> {
    try {
      if (this.#deaths > 1)
        await this.#clock.sleep(
          Math.min(firstPauseMs * 2 ** (this.#deaths - 2), lastPauseMs),
          this.#closing.signal,
        );
      this.#startedAtMs = this.#clock.nowMs();
      const worker = await this.#start((cause) => this.#lose(cause));
      worker.put([...this.#before.values()]);
      this.#before.clear();
      this.#worker = worker;
      return worker;
    } catch (error) {
      this.#starting = undefined;
      throw error;
    }
  }

  #lose(cause: string): void {
    this.#worker = undefined;
    this.#starting = undefined;
    this.#deaths = this.#clock.nowMs() - this.#startedAtMs > calmMs ? 1 : this.#deaths + 1;
    if (!this.#closing.signal.aborted) this.events.emit('lost', { cause });
  }

  async check(id: string): Promise<boolean> {
    return (await this.#worker?.check(id)) ?? false;
  }

  async close(id: string): Promise<void> {
    const worker = await this.#starting?.catch(() => undefined);
    if (worker?.end === undefined) await worker?.close(id);
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
    const counts = { sandboxes: 0, endpoints: this.#before.size, own: 0, forwarded: 0, dropped: 0, open: 0 };
    return { ...counts, latencies: { own: noLatencies, forwarded: noLatencies } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    // A start that fails has told whoever asked for it.
    const worker = await this.#starting?.catch(() => undefined);
    await worker?.stop();
  }
}

/** The service; its thread starts with the first resolver, about 60 ms. Dispose it to end that. */
export function openDns(options: {
  readonly seam: Seam;
  readonly logger: Logger;
  /** The machine's resolv.conf. */
  readonly resolvConfPath: string;
  readonly clock?: Clock;
}): Dns {
  const { seam, logger, resolvConfPath, clock = systemClock } = options;
  return new LazyDns(async (onDeath) => {
    // As in openKernel: libuv's pool must not be started by a thread that is inside a container's namespace.
    await stat('/');
    const worker = new WorkerDns({ seam: seam.workerData, resolvConfPath }, logger, onDeath);
    await worker.ready;
    return worker;
  }, clock);
}
