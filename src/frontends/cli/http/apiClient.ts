/*
 * The daemon's HTTP API over a plain socket, one connection a request. Written over `net` because importing Node's
 * http client doubles the CLI's start-up time. Paths carry the API version whose request shapes the CLI writes (1.50).
 */
import { connect, type Socket } from 'node:net';
import { CliError, DaemonError } from '../cliError.ts';
import { ByteQueue } from './byteQueue.ts';
import { type HostAddress, parseHost } from './host.ts';
import { type ResponseHead, ResponseParser } from './responseParser.ts';

export const apiVersion = '1.50';

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface RequestOptions {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent chunked, as application/x-tar. */
  readonly stream?: AsyncIterable<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiResponse {
  readonly head: ResponseHead;
  readonly body: AsyncIterable<Buffer>;
  /** Drops the connection. */
  readonly close: () => void;
}

/** A connection that has left HTTP: bytes both ways. The caller destroys `socket`. */
export interface Hijacked {
  readonly socket: Socket;
  readonly body: AsyncIterable<Buffer>;
  readonly contentType: string;
}

interface Exchange extends ApiResponse {
  readonly socket: Socket;
}

/** `?a=1&b=2` in the order of keys, as Go encodes it; undefined values are left out. */
export function formatQuery(query: Query): string {
  const encode = (text: string): string =>
    encodeURIComponent(text)
      .replaceAll('%20', '+')
      .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const pairs = Object.keys(query)
    .sort()
    .flatMap((key) => [query[key] ?? []].flat().map((value) => `${encode(key)}=${encode(value)}`));
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function formatRequest(method: string, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\nHost: api.linkspan.local\r\nUser-Agent: linkspan-cli\r\n${lines.join('')}\r\n`;
}

async function sendStream(socket: Socket, stream: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of stream) {
    if (piece.length === 0) continue;
    if (socket.destroyed) return;
    socket.write(`${piece.length.toString(16)}\r\n`);
    socket.write(piece);
    if (!socket.write('\r\n')) {
      await new Promise<void>((resolve) => {
        socket.once('drain', resolve);
        socket.once('close', () => resolve());
      });
    }
  }
  if (!socket.destroyed) socket.write('0\r\n\r\n');
}

async function messageOfBody(response: ApiResponse): Promise<string> {
  const text = await textOf(response);
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {}
  return text.trim() === '' ? `${response.head.status} ${response.head.reason}` : text.trim();
}

/** The whole body as UTF-8 text. */
export async function textOf(response: ApiResponse): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of response.body) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

export class ApiClient {
  readonly host: string;
  readonly #address: HostAddress;

  readonly #headers: Readonly<Record<string, string>>;

  /** `headers` are sent with each request, but a user agent. Throws CliError if `host` cannot be parsed. Does not connect. */
  constructor(host: string, headers: Readonly<Record<string, string>> = {}) {
    this.host = host;
    const own = Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'user-agent');
    this.#headers = Object.fromEntries(own);
    this.#address = parseHost(host);
  }

  /** Resolves with status and headers once they arrive; a status of 400 or above rejects with DaemonError. */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<ApiResponse> {
    const exchange = await this.#exchange(method, path, { Connection: 'close' }, options);
    return exchange;
  }

  /** A request whose response body is text (JSON, mostly). */
  async text(method: string, path: string, options: RequestOptions = {}): Promise<string> {
    return textOf(await this.request(method, path, options));
  }

  /** A request whose response is JSON of the shape that the caller names; an empty body gives undefined. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const text = await this.text(method, path, options);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Upgrades to a raw stream (attach, exec). */
  async hijack(path: string, options: RequestOptions = {}): Promise<Hijacked> {
    const upgrade = { Connection: 'Upgrade', Upgrade: 'tcp' };
    const { socket, body, head } = await this.#exchange('POST', path, upgrade, options);
    if (head.status !== 101 && head.status !== 200) {
      socket.destroy();
      throw new CliError(`unable to upgrade to tcp, received ${head.status}`);
    }
    return { socket, body, contentType: head.headers.get('content-type') ?? '' };
  }

  async #exchange(
    method: string,
    path: string,
    connection: Readonly<Record<string, string>>,
    options: RequestOptions,
  ): Promise<Exchange> {
    const body = options.json === undefined ? '' : JSON.stringify(options.json);
    const framing: Record<string, string> =
      options.stream !== undefined
        ? { 'Content-Type': 'application/x-tar', 'Transfer-Encoding': 'chunked' }
        : options.json !== undefined
          ? { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) }
          : method === 'POST'
            ? { 'Content-Length': '0' }
            : {};
    const socket = connect({ ...this.#address, allowHalfOpen: true });
    const headers = { ...this.#headers, ...connection, ...framing, ...options.headers };
    socket.write(
      formatRequest(method, `/v${apiVersion}${path}${formatQuery(options.query ?? {})}`, headers) + body,
    );
    const response = this.#receive(socket, method);
    if (options.stream !== undefined) {
      // The daemon may answer before it has read everything; a failing source must end the wait for an answer.
      sendStream(socket, options.stream).catch((error: unknown) => {
        socket.destroy(error instanceof Error ? error : new Error(String(error)));
      });
    }
    const exchange = await response;
    if (exchange.head.status >= 400)
      throw new DaemonError(exchange.head.status, await messageOfBody(exchange));
    return exchange;
  }

  #receive(socket: Socket, method: string): Promise<Exchange> {
    const { promise, resolve, reject } = Promise.withResolvers<Exchange>();
    const parser = new ResponseParser(method);
    const queue = new ByteQueue((isPaused) => void (isPaused ? socket.pause() : socket.resume()));
    const close = (): void => void socket.destroy();
    const fail = (error: Error): void => {
      reject(error);
      queue.end(error);
      socket.destroy();
    };
    const take = (feed: () => ReturnType<ResponseParser['push']>): void => {
      try {
        for (const event of feed()) {
          if (event.type === 'head') resolve({ head: event.head, body: queue, close, socket });
          else if (event.type === 'data') queue.push(event.data);
          else queue.end();
        }
        if (parser.isDone) socket.destroy();
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    };
    socket.on('data', (bytes: Buffer) => take(() => parser.push(bytes)));
    socket.on('end', () => take(() => parser.finish()));
    socket.on('error', (error: NodeJS.ErrnoException) => fail(this.#describe(error)));
    socket.on('close', () => {
      reject(new CliError('connection closed by the daemon'));
      queue.end();
    });
    return promise;
  }

  #describe(error: NodeJS.ErrnoException): Error {
    if (error.syscall !== 'connect') return error;
    if (error.code === 'EACCES')
      return new CliError(
        `permission denied while trying to connect to the Linkspan daemon socket at ${this.host}: use sudo, or join the group that owns the socket`,
      );
    return new CliError(`Cannot connect to the Linkspan daemon at ${this.host}. Is linkspand running?`);
  }
}
