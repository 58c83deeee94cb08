/*
 * Clients that speak to a BuildKit themselves (buildx, compose 2, `docker build`): what they call is passed on, and so is
 * what BuildKit calls in their sessions. We stand between for two things: the image comes into our store, and images that
 * only our store has can be built on.
 */
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { ImageContent } from '../runtime/images/content.ts';
import type { ImageStore } from '../runtime/images/images.ts';
import { type BuildKitConnection, clientOn, serveOn } from './connection.ts';
import { endCall, forwardCall, frameMessage, GrpcError, grpcCode, readMessages } from './grpc.ts';
import { type ImportBook, receiveImage, sendMethod } from './imports.ts';
import { isOfLocalImages, planPolicy, serveLocalImages } from './localImages.ts';
import { rewriteSolve } from './rewrite.ts';

const solveMethod = '/moby.buildkit.v1.Control/Solve';
const idField = 'x-docker-expose-session-uuid';
const methodField = 'x-docker-expose-session-grpc-method';

/** What we stand between with. */
export interface Half {
  readonly book: ImportBook;
  readonly images: Pick<ImageStore, 'load'>;
  readonly content: ImageContent;
}

async function passSolve(
  stream: ServerHttp2Stream,
  headers: OutgoingHttpHeaders,
  { session, wire }: BuildKitConnection,
  { book, content }: Half,
): Promise<void> {
  const [message] = await Array.fromAsync(readMessages(stream));
  if (message === undefined) throw new GrpcError(grpcCode.unknown, 'a solve without a request');
  const policy = planPolicy(await content.localTags());
  // Nothing would end what is begun for a client that has gone.
  if (stream.closed || stream.destroyed) return;
  const { bytes, sessionId, imported } = rewriteSolve(wire, message, policy);
  const expected = book.expect(sessionId, imported);
  stream.once('close', () => expected[Symbol.dispose]());
  forwardCall(stream, headers, session, frameMessage(bytes));
}

/** The server's sockets stay open for writing when their client has ended: HTTP/2 has no use for such a half. */
function endWhole(client: Duplex): void {
  client.once('end', () => client.destroy());
  // One that has ended already says so when it is read.
  client.read(0);
}

/** Serves a client until it goes, or `connection` does, which is closed with it. */
export function passControl(client: Duplex, connection: BuildKitConnection, half: Half): void {
  const served = serveOn(client, (stream, path, headers) => {
    if (path === solveMethod)
      passSolve(stream, headers, connection, half).catch((error: unknown) => endCall(stream, error));
    else forwardCall(stream, headers, connection.session);
  });
  const end = (): void => {
    served[Symbol.dispose]();
    connection[Symbol.dispose]();
    client.destroy();
  };
  client.once('close', end);
  endWhole(client);
  connection.session.once('close', end);
}

/** The same for a session. `metadata` are its fields, the methods that the client answers among them. */
export function passSession(
  client: Duplex,
  metadata: OutgoingHttpHeaders,
  connection: BuildKitConnection,
  { book, images, content }: Half,
): void {
  const id = String(metadata[idField] ?? '');
  const methods = [metadata[methodField] ?? []].flat().map(String);
  const hasSend = methods.some((method) => method.toLowerCase() === sendMethod.toLowerCase());
  const offered = { ...metadata, [methodField]: hasSend ? methods : [...methods, sendMethod] };
  const upstream = clientOn(client);
  const session = connection.openSession(
    offered,
    (stream, path, headers) => {
      if (book.isExpected(id, path, headers)) void receiveImage(stream, connection.wire, images);
      else if (isOfLocalImages(path, headers)) void serveLocalImages(stream, path, connection.wire, content);
      else forwardCall(stream, headers, upstream);
    },
    () => client.destroy(),
  );
  endWhole(client);
  client.once('close', () => {
    session[Symbol.dispose]();
    connection[Symbol.dispose]();
  });
}
