/*
 * One end of a wireguard-go's socket: a connection that stays, over which requests go one after another, and whose end
 * tells that the process is gone. What is sent may hold keys: no error has any of it.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeyedMutex } from '../base/mutex.ts';
import type { Seam } from '../base/seam.ts';
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import { endOfReply, errnoOfReply, formatSet, getRequest, parseDevice } from '../codec/wireguard/uapi.ts';
import { errnoName } from '../kernel/errno.ts';
import { KernelError } from '../kernel/kernel.ts';

/** A request takes 0.1 ms, one for 1000 peers 90 ms. */
const answerTimeoutMs = 10_000;
const reconnectMs = 20;

/** Fixed in wireguard-go, whatever its namespaces and its user. */
export function uapiPathOf(name: string): string {
  return `/var/run/wireguard/${name}.sock`;
}

async function open(path: string): Promise<Socket> {
  const socket = connect(path);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('connect', resolve);
  socket.once('error', reject);
  await promise;
  socket.off('error', reject);
  // Its end comes as `close`.
  socket.on('error', () => {});
  socket.setEncoding('utf8');
  return socket;
}

/** Resolves with a whole answer. Rejects with EPIPE when the connection ends first. */
function readReply(socket: Socket, operation: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const parts: string[] = [];
  const take = (text: string): void => {
    parts.push(text);
    // Searched whole only where an end may be.
    if (!`${parts.at(-2)?.slice(-1) ?? ''}${text}`.includes('\n\n')) return;
    const reply = parts.join('');
    if (endOfReply(reply) !== undefined) resolve(reply);
  };
  const end = (): void => reject(new KernelError(operation, 'EPIPE', 'wireguard-go ended'));
  const late = setTimeout(
    () => reject(new KernelError(operation, 'ETIMEDOUT', 'no answer from wireguard-go')),
    answerTimeoutMs,
  );
  socket.on('data', take);
  socket.once('close', end);
  return promise.finally(() => {
    clearTimeout(late);
    socket.off('data', take);
    socket.off('close', end);
  });
}

export class UapiClient implements Disposable {
  readonly #path: string;
  readonly #name: string;
  readonly #seam: Seam;
  readonly #queue = new KeyedMutex();
  #socket: Socket | undefined;
  #isClosed = false;
  readonly #tellGone: () => void;
  /** Resolves when nobody listens at the socket any more; never after it was disposed of. */
  readonly gone: Promise<void>;

  constructor(name: string, seam: Seam) {
    this.#name = name;
    this.#path = uapiPathOf(name);
    this.#seam = seam;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#tellGone = resolve;
  }

  /** False if nobody listens, or the one who does ends at once. */
  async connect(): Promise<boolean> {
    try {
      this.#take(await open(this.#path));
      await this.state();
      return true;
    } catch {
      this.#drop();
      return false;
    }
  }

  async set(change: WireguardChange): Promise<void> {
    const operation = `wireguard-go set ${this.#name}`;
    await this.#queue.run('', async () => {
      this.#seam.step(operation);
      const reply = await this.#exchange(operation, formatSet(change));
      const errno = errnoOfReply(reply);
      if (errno === 0) return;
      // The lines after the refused one would be taken for requests.
      this.#drop();
      void this.#findOut();
      throw new KernelError(operation, errnoName(errno));
    });
  }

  state(): Promise<WireguardState> {
    const operation = `wireguard-go get ${this.#name}`;
    return this.#queue.run('', async () => {
      const reply = await this.#exchange(operation, getRequest);
      const errno = errnoOfReply(reply);
      if (errno !== 0) throw new KernelError(operation, errnoName(errno));
      return parseDevice(reply);
    });
  }

  async #exchange(operation: string, request: string): Promise<string> {
    if (this.#socket === undefined) {
      if (this.#isClosed) throw new KernelError(operation, 'EPIPE', 'closed');
      const opened = await open(this.#path).catch((error: NodeJS.ErrnoException) => {
        throw new KernelError(operation, error.code ?? 'EIO', 'wireguard-go does not listen');
      });
      if (this.#socket === undefined && !this.#isClosed) this.#take(opened);
      else opened.destroy();
    }
    const socket = this.#socket;
    if (socket === undefined) throw new KernelError(operation, 'EPIPE');
    const reply = readReply(socket, operation);
    socket.write(request);
    try {
      return await reply;
    } catch (error) {
      // An answer that comes late must not be taken for the next one's.
      socket.destroy();
      throw error;
    }
  }

  #take(socket: Socket): void {
    this.#socket = socket;
    socket.once('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      void this.#findOut();
    });
  }

  /** The connection ended by itself: whether the process did, the next one tells. */
  async #findOut(): Promise<void> {
    while (!this.#isClosed && this.#socket === undefined) {
      const socket = await open(this.#path).catch(() => undefined);
      if (this.#isClosed) {
        socket?.destroy();
        return;
      }
      if (socket === undefined) {
        this.#tellGone();
        return;
      }
      if (this.#socket === undefined) this.#take(socket);
      else socket.destroy();
      await sleep(reconnectMs);
    }
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#drop();
  }
}
