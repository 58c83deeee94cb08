/*
 * Test support: a daemon that answers from a table and remembers what it was asked. Speaks enough HTTP for the stock
 * docker CLI too, so that both programs can be run against the same answers. Not part of the program.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';

export interface StubReply {
  readonly status?: number;
  /** JSON, or text that is sent as it is. */
  readonly body?: unknown;
  /** Bytes to send after a 101. */
  readonly stream?: Buffer;
}

/** By `METHOD /path` or `METHOD /path?query`, without the API version. */
export type StubRoutes = Readonly<Record<string, StubReply>>;

export interface StubDaemon extends AsyncDisposable {
  /** `METHOD /path?query body`, in order; pings left out. */
  readonly requests: string[];
}

function find(routes: StubRoutes, method: string, url: string): StubReply | undefined {
  return routes[`${method} ${url}`] ?? routes[`${method} ${url.split('?', 1)[0] ?? ''}`];
}

function bare(url: string | undefined): string {
  return (url ?? '').replace(/^\/v\d+\.\d+/, '');
}

function answer(routes: StubRoutes, requests: string[], server: Server): void {
  server.on('request', (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const url = bare(request.url);
      response.setHeader('Api-Version', '1.50');
      response.setHeader('Ostype', 'linux');
      if (url === '/_ping') return response.end();
      requests.push(`${request.method} ${url} ${Buffer.concat(pieces).toString('utf8').trim()}`.trim());
      const reply = find(routes, request.method ?? '', url) ?? {
        status: 404,
        body: { message: `no answer for ${request.method} ${url}` },
      };
      response.writeHead(reply.status ?? 200, { 'Content-Type': 'application/json' });
      const { body } = reply;
      return response.end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    requests.push(`${request.method} ${bare(request.url)} ${head.toString('utf8').trim()}`.trim());
    const reply = find(routes, request.method ?? '', bare(request.url));
    socket.on('error', () => {});
    socket.write(
      'HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n',
    );
    socket.end(reply?.stream ?? '');
  });
}

/** Listens on the socket at `path` until disposed. */
export async function startStubDaemon(path: string, routes: StubRoutes): Promise<StubDaemon> {
  const requests: string[] = [];
  const server = createServer();
  answer(routes, requests, server);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(path, resolve);
  await promise;
  return {
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

/** One frame of a multiplexed stream. */
export function frame(stream: 1 | 2, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}
