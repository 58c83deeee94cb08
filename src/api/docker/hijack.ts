/*
 * Attach and exec take the connection over: what the client sends is the process's stdin, what it gets is the
 * output. Two ways in: `Upgrade: tcp` (101, what the docker CLI does) and without (200, then raw bytes).
 * A client that has no stdin half-closes at once; output goes on, so FIN only ever ends stdin.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { AttachStreams } from '../../runtime/stdio/stdio.ts';
import { encodeFrame, type OutputStream } from './frames.ts';

/** The head of the reply, sent as it stands because the HTTP server has let go of the connection. */
export function replyHead(isUpgrade: boolean, contentType: string): string {
  return isUpgrade
    ? `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`
    : `HTTP/1.1 200 OK\r\nContent-Type: ${contentType}\r\n\r\n`;
}

/** An error on a connection that the HTTP server has let go of. */
export function writeRawError(connection: Duplex, status: number, message: string): void {
  const body = `${JSON.stringify({ message })}\n`;
  connection.end(
    `HTTP/1.1 ${status} Error\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/**
 * Takes the socket of a request that has no Upgrade header away from the HTTP server. The request's body must have
 * been read. Bytes that came in the same packet as the request are lost to the HTTP parser; no known client does it.
 */
export function takeSocket(request: IncomingMessage, response: ServerResponse): Duplex {
  const { socket } = request;
  response.detachSocket(socket);
  // Without these two the server would parse stdin as the next request, and answer FIN by closing both ways.
  socket.removeAllListeners('data');
  socket.removeAllListeners('end');
  socket.setTimeout(0);
  return socket;
}

/** Copies one output; holds it back while the client is slow. Settles when it has ended. */
async function copyOutput(
  source: Readable,
  sink: Duplex,
  stream: OutputStream,
  isTty: boolean,
): Promise<void> {
  for await (const chunk of source as AsyncIterable<Buffer>) {
    if (sink.destroyed) return;
    const isFull = !sink.write(isTty ? chunk : encodeFrame(stream, chunk));
    if (isFull) await untilDrained(sink);
  }
}

/** Settles when the sink takes more, or is closed. */
export async function untilDrained(sink: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => {
    sink.off('drain', done);
    sink.off('close', done);
    resolve();
  };
  sink.on('drain', done);
  sink.on('close', done);
  await promise;
}

async function ended(stdin: Writable): Promise<void> {
  if (stdin.closed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stdin.once('close', resolve);
  stdin.once('finish', resolve);
  await promise;
}

/**
 * Joins `connection` and the streams of a process. Settles when all output has been handed to the connection, which
 * is then ended (FIN), or when the client has gone, which detaches.
 */
export async function joinStreams(connection: Duplex, streams: AttachStreams, isTty: boolean): Promise<void> {
  const gone = Promise.withResolvers<void>();
  connection.on('error', () => connection.destroy());
  connection.once('close', gone.resolve);
  if (streams.stdin === undefined) connection.resume();
  else {
    streams.stdin.on('error', () => connection.resume());
    connection.pipe(streams.stdin);
  }
  const { stdin, stdout, stderr } = streams;
  const work: Promise<void>[] = [];
  if (stdout !== undefined) work.push(copyOutput(stdout, connection, 'stdout', isTty));
  if (stderr !== undefined) work.push(copyOutput(stderr, connection, 'stderr', isTty));
  if (work.length === 0 && stdin !== undefined) work.push(ended(stdin));
  try {
    await Promise.race([Promise.all(work), gone.promise]);
  } finally {
    if (!connection.destroyed) connection.end();
    streams.close();
    // What the client still sends is dropped: a connection that nobody reads would never see its end.
    connection.unpipe();
    connection.resume();
  }
}
