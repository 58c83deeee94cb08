/*
 * The Kernel of the main thread: forwards every verb to the kernel worker or the nft worker, and events to listeners.
 * Nothing here blocks; the main thread's own foreign calls are mkfifo and those of
 * unixDatagrams.ts.
 */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { Events } from '../base/events.ts';
import type { Logger } from '../base/logger.ts';
import type { Seam } from '../base/seam.ts';
import { type Kernel, KernelError, type KernelEvents } from './kernel.ts';
import { check, loadLibc } from './libc.ts';
import { openUnixDatagrams } from './unixDatagrams.ts';
import type { KernelEvent, Verb, VerbArguments, VerbResult, WorkerMessage, WorkerStart } from './protocol.ts';

/** From source a worker is TypeScript beside this file; in a bundle it is a bundle beside this one. */
function urlOf(worker: 'kernel' | 'nft'): URL {
  return new URL(`./${worker}Worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url);
}

/** Small, because an idle worker keeps what it once had. A dump of 1000 links needs some 2 MB. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 } as const;

interface Pending {
  readonly verb: Verb;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: KernelError) => void;
}

/** Told of every verb that the worker has done: how long it took there, the wait for its turn not counted. */
export type KernelObserver = (operation: {
  readonly verb: Verb;
  readonly durationMs: number;
  readonly isFailure: boolean;
}) => void;

export interface KernelOptions {
  readonly seam: Seam;
  readonly logger: Logger;
  readonly onOperation?: KernelObserver;
}

class WorkerLink {
  readonly events: Events<KernelEvents> = new Events();
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  /** `kernel worker` */
  readonly #name: string;
  readonly #pending = new Map<number, Pending>();
  readonly #logger: Logger;
  readonly #observe: KernelObserver | undefined;
  readonly #becomeReady: () => void;
  readonly #failReady: (error: Error) => void;
  #nextId = 1;
  #death: KernelError | undefined;

  constructor(worker: 'kernel' | 'nft', threadName: string, { seam, logger, onOperation }: KernelOptions) {
    this.#name = `${worker} worker`;
    this.#logger = logger;
    this.#observe = onOperation;
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.#becomeReady = ready.resolve;
    this.#failReady = ready.reject;
    const workerData: WorkerStart = { seam: seam.workerData, threadName };
    this.#worker = new Worker(urlOf(worker), {
      name: worker,
      workerData,
      resourceLimits,
      // Sockets are opened by libc and closed by node:fs, which this bookkeeping would warn of.
      trackUnmanagedFds: false,
    });
    this.#worker.on('message', (message: WorkerMessage) => this.#receive(message));
    this.#worker.on('error', (error) => this.#die(error));
    this.#worker.on('exit', () => this.#die(new Error(`the ${this.#name} ended`)));
  }

  call<V extends Verb>(verb: V, args: VerbArguments<V>): Promise<VerbResult<V>> {
    if (this.#death !== undefined) return Promise.reject(this.#death);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { verb, resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ id, verb, args });
    });
  }

  #receive(message: WorkerMessage): void {
    switch (message.type) {
      case 'ready':
        this.#becomeReady();
        break;
      case 'result':
        this.#take(message.id, message.durationMs, false)?.resolve(message.value);
        break;
      case 'failure': {
        const { code, message: text } = message.failure;
        this.#take(message.id, message.durationMs, true)?.reject(rebuild(code, text));
        break;
      }
      case 'events':
        for (const event of message.events) this.#emit(event);
        break;
      default:
        message satisfies never;
    }
  }

  #take(id: number, durationMs: number, isFailure: boolean): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending !== undefined) this.#observe?.({ verb: pending.verb, durationMs, isFailure });
    this.#pending.delete(id);
    return pending;
  }

  #emit(event: KernelEvent): void {
    if (event.name === 'overrun') this.#logger.warn({}, 'kernel notifications were lost');
    this.events.emit(event.name, event.value);
  }

  #die(cause: unknown): void {
    if (this.#death !== undefined) return;
    const text = cause instanceof Error ? cause.message : String(cause);
    this.#death = new KernelError(this.#name, 'EPIPE', text);
    this.#failReady(this.#death);
    if (this.#pending.size > 0) this.#logger.error({ err: text }, `the ${this.#name} died`);
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
  }

  async close(): Promise<void> {
    this.#death ??= new KernelError(this.#name, 'EPIPE', 'closed');
    for (const pending of this.#pending.values()) pending.reject(this.#death);
    this.#pending.clear();
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.#worker.postMessage('close');
    await ended;
  }
}

/** A KernelError whose message is complete already. */
function rebuild(code: string, message: string): KernelError {
  const error = new KernelError('', code);
  error.message = message;
  return error;
}

/**
 * Starts the workers; resolves when they are ready, about 60 ms later. Dispose ends them: what is in the kernel stays.
 * Rejects with a KernelError where one cannot start (not root, koffi missing).
 */
export async function openKernel(options: KernelOptions): Promise<Kernel> {
  // Makes libuv start its pool from this thread. Its threads keep the network namespace of the thread that starts
  // them for ever: started by a worker inside a container's namespace, they would do all file work from in there.
  await stat('/');
  const libc = loadLibc();
  const threadName = `linkspan-${randomBytes(3).toString('hex')}`;
  const link = new WorkerLink('kernel', threadName, options);
  const nft = new WorkerLink('nft', threadName, options);
  await Promise.all([link.ready, nft.ready]);
  return {
    events: link.events,
    createNamespace: (...args) => link.call('createNamespace', args),
    removeNamespace: (...args) => link.call('removeNamespace', args),
    hasNamespace: (...args) => link.call('hasNamespace', args),
    numberNamespace: (...args) => link.call('numberNamespace', args),
    ensureBridge: (...args) => link.call('ensureBridge', args),
    setUpBridge: (...args) => link.call('setUpBridge', args),
    ensureAddress: (...args) => link.call('ensureAddress', args),
    ensureConnectedRoute: (...args) => link.call('ensureConnectedRoute', args),
    ensureUnreachable: (...args) => link.call('ensureUnreachable', args),
    delUnreachable: (...args) => link.call('delUnreachable', args),
    ensureLoopbackRoute: (...args) => link.call('ensureLoopbackRoute', args),
    ensureDefaultRoute: (...args) => link.call('ensureDefaultRoute', args),
    setPort: (...args) => link.call('setPort', args),
    delAddress: (...args) => link.call('delAddress', args),
    setLink: (...args) => link.call('setLink', args),
    delLink: (...args) => link.call('delLink', args),
    discardBridge: (...args) => link.call('discardBridge', args),
    attach: (...args) => link.call('attach', args),
    ensureOverlay: (...args) => link.call('ensureOverlay', args),
    changePeers: (...args) => link.call('changePeers', args),
    peers: (...args) => link.call('peers', args),
    hasWireguard: (...args) => link.call('hasWireguard', args),
    ensureWireguard: (...args) => link.call('ensureWireguard', args),
    setWireguard: (...args) => link.call('setWireguard', args),
    wireguard: (...args) => link.call('wireguard', args),
    moveLink: (...args) => link.call('moveLink', args),
    growReceiveBuffers: (...args) => link.call('growReceiveBuffers', args),
    changeRoutes: (...args) => link.call('changeRoutes', args),
    hasLinkKind: (...args) => link.call('hasLinkKind', args),
    ensureParent: (...args) => link.call('ensureParent', args),
    attachChild: (...args) => link.call('attachChild', args),
    detachChild: (...args) => link.call('detachChild', args),
    setDefaultRoute: (...args) => link.call('setDefaultRoute', args),
    announce: (...args) => link.call('announce', args),
    probePath: (...args) => link.call('probePath', args),
    links: (...args) => link.call('links', args),
    linkCounters: (...args) => link.call('linkCounters', args),
    findLink: (...args) => link.call('findLink', args),
    addresses: (...args) => link.call('addresses', args),
    routes: (...args) => link.call('routes', args),
    getSysctl: (...args) => link.call('getSysctl', args),
    setSysctl: (...args) => link.call('setSysctl', args),
    watchSysctls: (...args) => link.call('watchSysctls', args),
    nft: (...args) => nft.call('nft', args),
    holdPorts: (...args) => link.call('holdPorts', args),
    releasePorts: (...args) => link.call('releasePorts', args),
    forgetFlows: (...args) => link.call('forgetFlows', args),
    setHairpin: (...args) => link.call('setHairpin', args),
    changeElements: (...args) => link.call('changeElements', args),
    probeFeatures: (...args) => nft.call('probeFeatures', args),
    makeFifo: (path) => {
      options.seam.step(`kernel mkfifo ${path}`);
      check(libc, `mkfifo ${path}`, libc.mkfifo(path, 0o600));
    },
    openDatagrams: (path) => {
      options.seam.step(`kernel connect ${path}`);
      return openUnixDatagrams(libc, path);
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([link.close(), nft.close()]);
    },
  };
}
