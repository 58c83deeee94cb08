/*
 * A session's WebSocket, once both sides have said hello, as the link that networks are talked about over.
 */
import type { WebSocket } from 'ws';
import type { Link } from '../networks/link.ts';
import { closeCode, parseMessage } from './protocol.ts';

/** For the other side to hear why. */
const closingMs = 1000;

export class WebSocketLink implements Link {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  get waitingBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(text: string | Buffer, sent?: () => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#socket.send(text, { binary: false }, (error) => {
      if (!error) sent?.();
    });
  }

  refuse(why: string): void {
    this.#socket.close(closeCode.refused, why);
    setTimeout(() => this.#socket.terminate(), closingMs).unref();
  }

  /** Not closed: it would wait for what the other side does not take in. */
  drop(): void {
    this.#socket.terminate();
  }

  listen({ message, end }: Parameters<Link['listen']>[0]): void {
    this.#socket.on('message', (data, isBinary) => message(isBinary ? undefined : parseMessage(data)));
    this.#socket.once('close', end);
  }
}
