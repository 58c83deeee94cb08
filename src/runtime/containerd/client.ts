/*
 * A thin typed client for one containerd: unary calls and streams by method name, in our containerd namespace.
 * It reconnects by itself; calls made while containerd is away wait for it until their deadline. No retries here:
 * what may be repeated is for callers to know. @grpc/grpc-js is loaded by `loadLibraries`, so that importing this costs nothing.
 */
import type * as Grpc from '@grpc/grpc-js';
import type { Seam } from '../../base/seam.ts';
import { openWire, type Wire, type WireMethod } from '../../codec/protobuf/wire.ts';
import {
  readingMethods,
  type StreamMethods,
  type UnaryMethods,
  type WriteRequest,
  type WriteResponse,
} from './messages.ts';
import { containerdSchema } from './schema.ts';
import { ContainerdError } from './status.ts';

/** Our namespace inside containerd; others (moby, k8s.io, default) are never looked at. */
export const containerdNamespace = 'linkspan';

const defaultDeadlineMs = 60_000;

export interface CallOptions {
  /** Default 60 000; Infinity for none. */
  readonly deadlineMs?: number;
  /** What the call makes is held by this lease until it is deleted. */
  readonly lease?: string;
  readonly signal?: AbortSignal;
}

/** A Content.Write conversation: each request has one answer. */
export interface ContentWriter extends Disposable {
  send(request: WriteRequest): Promise<WriteResponse>;
}

export interface ContainerdClient extends Disposable {
  /** Throws ContainerdError, or the seam's InjectedFault before a call that changes something. */
  call<M extends keyof UnaryMethods>(
    method: M,
    request: UnaryMethods[M]['request'],
    options?: CallOptions,
  ): Promise<UnaryMethods[M]['response']>;
  /** Ends when containerd ends it or when the iteration is left. */
  stream<M extends keyof StreamMethods>(
    method: M,
    request: StreamMethods[M]['request'],
    options?: CallOptions,
  ): AsyncIterable<StreamMethods[M]['response']>;
  openWriter(options?: CallOptions): ContentWriter;
  /** Bytes of a message that travels inside Any. */
  encode(message: 'RuncOptions', value: Readonly<Record<string, unknown>>): Buffer;
  decode(message: 'TaskOom', bytes: Uint8Array): Readonly<Record<string, unknown>>;
}

interface Libraries {
  readonly grpc: typeof Grpc;
  readonly wire: Wire;
}

/** Loads what a client needs, which takes longer than all else about it; may be called ahead, without an address. */
export async function loadLibraries(): Promise<Libraries> {
  const [grpc, wire] = await Promise.all([import('@grpc/grpc-js'), openWire(containerdSchema)]);
  return { grpc, wire };
}

const channelOptions = {
  'grpc.default_authority': 'localhost',
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.service_config_disable_resolution': 1,
  // containerd comes back within a second when it was killed; do not wait for grpc's two minutes.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.min_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_receive_message_length': 32 << 20,
} as const;

/** Connects lazily to the unix socket at `address`; succeeds also if nobody listens there yet. */
export async function openClient(
  address: string,
  seam: Seam,
  libraries: Promise<Libraries> = loadLibraries(),
): Promise<ContainerdClient> {
  const { grpc, wire } = await libraries;
  const channel = new grpc.Client(`unix://${address}`, grpc.credentials.createInsecure(), channelOptions);
  const openCalls = new Set<() => void>();
  let isClosed = false;

  function prepare(
    name: string,
    options: CallOptions,
  ): { method: WireMethod; metadata: Grpc.Metadata; call: Grpc.CallOptions } {
    const method = wire.method(name);
    if (isClosed) throw new ContainerdError(name, grpc.status.CANCELLED, 'the connection was closed');
    const metadata = new grpc.Metadata({ waitForReady: true });
    metadata.set('containerd-namespace', containerdNamespace);
    if (options.lease !== undefined) metadata.set('containerd-lease', options.lease);
    const deadlineMs = options.deadlineMs ?? defaultDeadlineMs;
    return {
      method,
      metadata,
      call: { deadline: deadlineMs === Infinity ? Infinity : Date.now() + deadlineMs },
    };
  }

  const toError = (name: string, error: Grpc.ServiceError): ContainerdError =>
    new ContainerdError(name, error.code, error.details);

  /** Cancels with the signal and when the client closes, until disposed. */
  function cancelWith(cancel: () => void, signal: AbortSignal | undefined): Disposable {
    openCalls.add(cancel);
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted === true) cancel();
    return {
      [Symbol.dispose]: () => {
        openCalls.delete(cancel);
        signal?.removeEventListener('abort', cancel);
      },
    };
  }

  async function call<M extends keyof UnaryMethods>(
    name: M,
    request: UnaryMethods[M]['request'],
    options: CallOptions = {},
  ): Promise<UnaryMethods[M]['response']> {
    if (!readingMethods.has(name)) seam.step(`containerd ${name}`);
    const { method, metadata, call: callOptions } = prepare(name, options);
    const { promise, resolve, reject } = Promise.withResolvers<UnaryMethods[M]['response']>();
    const unary = channel.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      callOptions,
      (error, value) => {
        if (error === null) resolve(value as UnaryMethods[M]['response']);
        else reject(toError(name, error));
      },
    );
    using _ = cancelWith(() => unary.cancel(), options.signal);
    return await promise;
  }

  async function* stream<M extends keyof StreamMethods>(
    name: M,
    request: StreamMethods[M]['request'],
    options: CallOptions = {},
  ): AsyncIterable<StreamMethods[M]['response']> {
    const { method, metadata, call: callOptions } = prepare(name, options);
    const readable = channel.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      callOptions,
    );
    using _ = cancelWith(() => readable.cancel(), options.signal);
    try {
      for await (const message of readable) yield message as StreamMethods[M]['response'];
    } catch (error) {
      throw toError(name, error as Grpc.ServiceError);
    } finally {
      // A cancelled call reports that as an error, which nobody waits for any more.
      readable.on('error', () => {});
      readable.cancel();
    }
  }

  function openWriter(options: CallOptions = {}): ContentWriter {
    seam.step('containerd Content.Write');
    const { method, metadata, call: callOptions } = prepare('Content.Write', options);
    const duplex = channel.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      metadata,
      callOptions,
    );
    const registration = cancelWith(() => duplex.cancel(), options.signal);
    let waiting: PromiseWithResolvers<WriteResponse> | undefined;
    let failure: Error | undefined;
    const fail = (error: Error): void => {
      failure ??= error;
      waiting?.reject(failure);
      waiting = undefined;
    };
    duplex.on('data', (answer: object) => {
      waiting?.resolve(answer as WriteResponse);
      waiting = undefined;
    });
    duplex.on('error', (error: Grpc.ServiceError) => fail(toError('Content.Write', error)));
    duplex.on('end', () =>
      fail(new ContainerdError('Content.Write', grpc.status.UNKNOWN, 'containerd ended the upload')),
    );
    return {
      send: (request) => {
        if (failure !== undefined) return Promise.reject(failure);
        waiting = Promise.withResolvers<WriteResponse>();
        const { promise } = waiting;
        duplex.write(request);
        return promise;
      },
      [Symbol.dispose]: () => {
        registration[Symbol.dispose]();
        // Our half ends; what has been committed stays, what has not is dropped with the lease.
        duplex.end();
        duplex.cancel();
      },
    };
  }

  return {
    call,
    stream,
    openWriter,
    encode: (message, value) => wire.message(message).serialize(value),
    decode: (message, bytes) => wire.message(message).deserialize(bytes) as Readonly<Record<string, unknown>>,
    [Symbol.dispose]: () => {
      isClosed = true;
      for (const cancel of openCalls) cancel();
      channel.close();
    },
  };
}
