/*
 * gRPC's messages and statuses on HTTP/2 streams, both ways. By hand over Node's HTTP/2, because most streams here only
 * pass through, on connections that others opened, and no gRPC library forwards methods that it has no schema of.
 * Source: grpc/grpc, doc/PROTOCOL-HTTP2.md.
 */
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Stream,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from 'node:http2';

/** gRPC's status codes that are used. */
export const grpcCode = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  notFound: 5,
  unimplemented: 12,
  unavailable: 14,
} as const;

export class GrpcError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'GrpcError';
    this.code = code;
  }
}

/** One message: 0 (not compressed), four bytes of length, most significant first, the bytes. */
export function frameMessage(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + bytes.length);
  frame[0] = 0;
  frame.writeUInt32BE(bytes.length, 1);
  frame.set(bytes, 5);
  return frame;
}

/**
 * The messages of a stream, which is left open for the answer. Throws GrpcError for a compressed one or one above
 * `maxMessageBytes`, and what the stream broke with.
 */
export async function* readMessages(stream: Http2Stream): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let length = 0;
  let wanted = 5;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    waiting.push(chunk);
    length += chunk.length;
    while (length >= wanted) {
      const all: Buffer = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting);
      wanted = 5 + all.readUInt32BE(1);
      if (all[0] !== 0) throw new GrpcError(grpcCode.unimplemented, 'compressed messages are not read');
      if (wanted > maxMessageBytes) throw new GrpcError(grpcCode.unknown, `a message has ${wanted} bytes`);
      const isWhole = all.length >= wanted;
      if (isWhole) yield all.subarray(5, wanted);
      const rest = isWhole ? all.subarray(wanted) : all;
      [waiting, length] = [[rest], rest.length];
      if (!isWhole) break;
      wanted = 5;
    }
  }
}

/** BuildKit's own limit. */
const maxMessageBytes = 16 << 20;

/** Header fields in the order of `raw` (name, value, …), with every value of a name: Node's object joins them. */
export function headersOfRaw(raw: readonly string[]): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name, value] = [raw[i] as string, raw[i + 1] as string];
    const before = headers[name];
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return headers;
}

function statusOf(headers: IncomingHttpHeaders): GrpcError | undefined {
  const status = headers['grpc-status'];
  if (status === undefined) return new GrpcError(grpcCode.unavailable, 'the stream ended without a status');
  const message = String(headers['grpc-message'] ?? '');
  return status === '0' ? undefined : new GrpcError(Number(status), decodeText(message));
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Opens a call; its messages are written with `frameMessage`. */
export function openCall(
  session: ClientHttp2Session,
  path: string,
  metadata: OutgoingHttpHeaders = {},
): ClientHttp2Stream {
  return session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...metadata,
  });
}

/** The messages that a call is answered with; throws GrpcError for a status that is not 0 and for a broken connection. */
export async function* answersOf(stream: ClientHttp2Stream): AsyncGenerator<Buffer> {
  let last: IncomingHttpHeaders = {};
  const keep = (headers: IncomingHttpHeaders): void => {
    if (headers['grpc-status'] !== undefined) last = headers;
  };
  stream.on('response', keep);
  stream.on('trailers', keep);
  try {
    yield* readMessages(stream);
  } catch (error) {
    if (error instanceof GrpcError) throw error;
    throw statusOf(last) ?? new GrpcError(grpcCode.unavailable, (error as Error).message);
  }
  const failure = statusOf(last);
  if (failure !== undefined) throw failure;
}

/** Ends a call that we serve. */
export function endCall(stream: ServerHttp2Stream, error?: unknown): void {
  if (stream.closed || stream.destroyed) return;
  const code = error === undefined ? grpcCode.ok : error instanceof GrpcError ? error.code : grpcCode.unknown;
  const message = error === undefined ? '' : encodeURIComponent((error as Error).message);
  const status = { 'grpc-status': String(code), ...(message !== '' && { 'grpc-message': message }) };
  if (!stream.headersSent) {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...status }, { endStream: true });
    return;
  }
  stream.once('wantTrailers', () => stream.sendTrailers(status));
  stream.end();
}

/** Sends the head of an answer, so that messages can follow. */
export function beginAnswer(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
}

/** Resolves when the stream takes more; rejects when it has gone. */
export async function writeTo(stream: Http2Stream, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed) throw new GrpcError(grpcCode.cancelled, 'the other side has gone');
  if (stream.write(bytes)) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = (): void => reject(new GrpcError(grpcCode.cancelled, 'the other side has gone'));
  stream.once('drain', resolve);
  stream.once('close', onClose);
  try {
    await promise;
  } finally {
    stream.off('drain', resolve);
    stream.off('close', onClose);
  }
}

/** Hands a call on to `upstream` and its answer back, whatever it is. `head`: what has been read of it already. */
export function forwardCall(
  stream: ServerHttp2Stream,
  headers: OutgoingHttpHeaders,
  upstream: ClientHttp2Session,
  head?: Uint8Array,
): void {
  if (upstream.closed || upstream.destroyed) {
    endCall(stream, new GrpcError(grpcCode.unavailable, 'the connection is closed'));
    return;
  }
  let out: ClientHttp2Stream;
  try {
    out = upstream.request(headers);
  } catch (error) {
    // Fields that Node does not send.
    endCall(stream, error);
    return;
  }
  const trailers = Promise.withResolvers<OutgoingHttpHeaders>();
  const cancel = process.getBuiltinModule('node:http2').constants.NGHTTP2_CANCEL;
  stream.on('error', () => {});
  out.on('error', () => {});
  if (head !== undefined) out.end(head);
  else stream.pipe(out);
  stream.once('close', () => out.close(cancel));
  /** What Node refuses to send ends this call alone. */
  const attempt = (send: () => void): boolean => {
    // A call that was canceled is closed before it is destroyed, and takes nothing any more.
    if (stream.closed || stream.destroyed) return false;
    try {
      send();
      return true;
    } catch {
      stream.close(cancel);
      out.close(cancel);
      return false;
    }
  };
  out.once('response', (answer, _flags, raw: string[]) => {
    const isWhole = answer['grpc-status'] !== undefined;
    const options = isWhole ? { endStream: true } : { waitForTrailers: true };
    if (!attempt(() => stream.respond(headersOfRaw(raw), options)) || isWhole) return;
    stream.once('wantTrailers', () => {
      void trailers.promise.then((all) => attempt(() => stream.sendTrailers(all)));
    });
    out.pipe(stream);
  });
  out.once('trailers', (_fields, _flags, raw?: string[]) => trailers.resolve(headersOfRaw(raw ?? [])));
  out.once('close', () => {
    // Too late to matter where there were trailers.
    trailers.resolve({
      'grpc-status': String(grpcCode.unavailable),
      'grpc-message': 'BuildKit ended the call',
    });
    if (!stream.headersSent)
      endCall(stream, new GrpcError(grpcCode.unavailable, 'the connection broke while the call was open'));
    else if (!out.readableEnded) stream.close(cancel);
  });
}
