/*
 * One connection to the BuildKit, opened for one client and closed with it: what a client that goes away had under way
 * ends by itself. Not for what the calls mean.
 */
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectSocket } from 'node:net';
import { Duplex } from 'node:stream';
import { openWire, type Wire } from '../codec/protobuf/wire.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import type { BuilderAddress } from './address.ts';
import { answersOf, frameMessage, GrpcError, grpcCode, headersOfRaw, openCall } from './grpc.ts';
import { buildkitSchema } from './schema.ts';

const connectTimeoutMs = 10_000;
/** After so much silence TCP asks whether the other side is there. */
const keepAliveMs = 30_000;
/** Images and contexts travel in these streams; HTTP/2's own 64 KiB make them wait for each other. */
const windowBytes = 4 << 20;

/**
 * BuildKit's clients say in fields what they want of a folder, one for each pattern of a .dockerignore or a COPY. Node
 * takes 128 fields and sends 64 KiB of them; gRPC's other servers take 16 MiB. What stays is nghttp2's own limit: the
 * head of a call has at most nine frames, 144 KiB as it is packed.
 */
const fieldsMaxBytes = 16 << 20;
const fieldLimits = { maxHeaderListPairs: 1 << 16, maxSendHeaderBlockLength: fieldsMaxBytes } as const;
const fieldSettings = { maxHeaderListSize: fieldsMaxBytes } as const;

/** Loaded where it is used: an ES import of it costs every daemon memory. */
const http2 = (): typeof import('node:http2') => process.getBuiltinModule('node:http2');

/** Serves a call that came over a session or a client's connection. `headers` keep every value of a name. */
export type ServeCall = (stream: ServerHttp2Stream, path: string, headers: OutgoingHttpHeaders) => void;

/** Speaks HTTP/2 as its client on a connection that is there. */
export function clientOn(connection: Duplex): ClientHttp2Session {
  const session = http2().connect('http://localhost', {
    createConnection: () => connection,
    ...fieldLimits,
    settings: { ...fieldSettings, initialWindowSize: windowBytes, enablePush: false },
  });
  session.once('connect', () => session.setLocalWindowSize(4 * windowBytes));
  // Whoever waits for a stream of it hears of it there.
  session.on('error', () => {});
  return session;
}

/** Speaks HTTP/2 as its server on a connection that is there. Ends with the connection. */
export function serveOn(connection: Duplex, serve: ServeCall): Disposable {
  const session = http2().performServerHandshake(connection, {
    ...fieldLimits,
    settings: { ...fieldSettings, initialWindowSize: windowBytes },
  });
  session.setLocalWindowSize(4 * windowBytes);
  session.on('error', () => {});
  session.on('stream', (stream: ServerHttp2Stream, headers, _flags, raw: string[]) => {
    stream.on('error', () => {});
    serve(stream, headers[':path'] ?? '', headersOfRaw(raw));
  });
  return { [Symbol.dispose]: () => session.destroy() };
}

async function openSocket(address: BuilderAddress): Promise<Socket> {
  const socket = 'path' in address ? connectSocket(address.path) : connectSocket(address.port, address.host);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => reject(new Error(`no answer in ${connectTimeoutMs / 1000} s`)),
    connectTimeoutMs,
  );
  socket.once('connect', resolve);
  socket.once('error', reject);
  try {
    await promise;
    // A machine that has gone says nothing: without it whoever waits would wait for ever.
    socket.setKeepAlive(true, keepAliveMs);
    return socket;
  } catch (error) {
    socket.destroy();
    throw new LinkspanError(
      'builderUnavailable',
      `the BuildKit at ${address.text} (--builder) cannot be reached: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
    socket.off('error', reject);
  }
}

/** The bytes of a connection, in the messages of a call. */
function tunnelOf(call: ClientHttp2Stream, wire: Wire): Duplex {
  const codec = wire.message('BytesMessage');
  let resume: (() => void) | undefined;
  const tunnel = new Duplex({
    read: () => resume?.(),
    write: (chunk: Buffer, _encoding, done) => {
      call.write(frameMessage(codec.serialize({ data: chunk })), done);
    },
    final: (done) => {
      call.end(done);
    },
    destroy: (error, done) => {
      call.close(http2().constants.NGHTTP2_CANCEL);
      done(error);
    },
  });
  tunnel.on('error', () => {});
  const pump = async (): Promise<void> => {
    for await (const message of answersOf(call)) {
      const { data } = codec.deserialize(message) as { data: Uint8Array };
      if (tunnel.destroyed) return;
      if (tunnel.push(data)) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      resume = resolve;
      await promise;
    }
    tunnel.push(null);
  };
  pump().catch((error: unknown) => tunnel.destroy(error as Error));
  return tunnel;
}

export class BuildKitConnection implements Disposable {
  readonly session: ClientHttp2Session;
  readonly wire: Wire;

  constructor(session: ClientHttp2Session, wire: Wire) {
    this.session = session;
    this.wire = wire;
  }

  /** Throws GrpcError. */
  async call<T>(method: string, request: object, signal?: AbortSignal): Promise<T> {
    for await (const answer of this.stream<T>(method, request, signal)) return answer;
    throw new GrpcError(grpcCode.unknown, `${method} was not answered`);
  }

  /** Ends with the server's stream, or when the iteration is left. Throws GrpcError. */
  async *stream<T>(method: string, request: object, signal?: AbortSignal): AsyncGenerator<T> {
    const { responseDeserialize } = this.wire.method(method);
    for await (const message of this.messages(method, request, signal))
      yield responseDeserialize(message) as T;
  }

  /** The same, in the bytes of the messages. */
  async *messages(method: string, request: object, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const { path, requestSerialize } = this.wire.method(method);
    if (this.session.destroyed || this.session.closed)
      throw new GrpcError(grpcCode.unavailable, 'the connection to BuildKit broke');
    const call = openCall(this.session, path);
    call.on('error', () => {});
    const cancel = (): void => call.close(http2().constants.NGHTTP2_CANCEL);
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      if (signal?.aborted === true) throw new GrpcError(grpcCode.cancelled, 'canceled');
      call.end(frameMessage(requestSerialize(request)));
      yield* answersOf(call);
    } finally {
      signal?.removeEventListener('abort', cancel);
      if (!call.closed) cancel();
    }
  }

  /**
   * Offers a session: BuildKit calls back over it, and `serve` answers. `metadata` are the x-docker-expose-session-*
   * fields. `closed` fires when BuildKit ended it.
   */
  openSession(metadata: OutgoingHttpHeaders, serve: ServeCall, closed: () => void = () => {}): Disposable {
    const call = openCall(this.session, '/moby.buildkit.v1.Control/Session', metadata);
    call.on('error', () => {});
    const tunnel = tunnelOf(call, this.wire);
    tunnel.once('close', closed);
    const served = serveOn(tunnel, serve);
    return {
      [Symbol.dispose]: () => {
        served[Symbol.dispose]();
        tunnel.destroy();
      },
    };
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** Throws code builderUnavailable. */
export async function dial(address: BuilderAddress): Promise<BuildKitConnection> {
  const wire = await openWire(buildkitSchema);
  return new BuildKitConnection(clientOn(await openSocket(address)), wire);
}
