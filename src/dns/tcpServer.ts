/*
 * DNS over TCP for one container (RFC 7766): questions may follow each other without waiting. Bounded against clients
 * that hold on: connections, open questions and unread answers per connection, and time without progress.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { FrameReader, frame } from './frames.ts';
import type { Outcome } from './resolver.ts';

export const tcpLimits = {
  connections: 64,
  /** Questions of one connection that may be open; reading pauses then. */
  open: 16,
  /** Answers that a client has not taken, bytes; reading pauses above. */
  unreadBytes: 65_536,
  /** A question as long as this is none. */
  questionBytes: 4096,
  /** Without a whole question, or without taking an answer. */
  idleMs: 10_000,
} as const;

class Connection {
  readonly #socket: Socket;
  readonly #serve: (bytes: Uint8Array) => Outcome;
  readonly #reader = new FrameReader(tcpLimits.questionBytes);
  readonly #waiting: Uint8Array[] = [];
  #open = 0;
  #deadline: NodeJS.Timeout;

  constructor(socket: Socket, serve: (bytes: Uint8Array) => Outcome) {
    this.#socket = socket;
    this.#serve = serve;
    this.#deadline = setTimeout(() => this.#expire(), tcpLimits.idleMs);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => {
      this.#progress();
      this.#work();
    });
    // A client that half-closes still waits for its answers.
    socket.on('end', () => this.#endIfDone());
    socket.on('error', () => undefined);
    socket.on('close', () => clearTimeout(this.#deadline));
  }

  #read(chunk: Uint8Array): void {
    try {
      this.#waiting.push(...this.#reader.push(chunk));
    } catch {
      this.#socket.destroy();
      return;
    }
    if (this.#waiting.length > 0) this.#progress();
    this.#work();
  }

  /** Serves what waits, as far as the limits allow; whoever finishes a question calls again. */
  #work(): void {
    while (this.#waiting.length > 0 && this.#hasRoom()) {
      const outcome = this.#serve(this.#waiting.shift() as Uint8Array);
      if (outcome instanceof Promise) {
        this.#open++;
        void outcome.then((answer) => {
          this.#open--;
          this.#answer(answer);
          this.#work();
        });
      } else if (outcome === undefined) {
        // Not DNS: there is nothing to wait for.
        this.#socket.destroy();
        return;
      } else this.#answer(outcome);
    }
    if (this.#waiting.length > 0) this.#socket.pause();
    else this.#socket.resume();
    if (this.#socket.readableEnded) this.#endIfDone();
  }

  #hasRoom(): boolean {
    return this.#open < tcpLimits.open && this.#socket.writableLength < tcpLimits.unreadBytes;
  }

  #answer(bytes: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(frame(bytes));
  }

  #endIfDone(): void {
    if (this.#open === 0 && this.#waiting.length === 0) this.#socket.end();
  }

  #progress(): void {
    this.#deadline.refresh();
  }

  /** An upstream may be slower than a client has to be. */
  #expire(): void {
    if (this.#open === 0) this.#socket.destroy();
    else this.#deadline = setTimeout(() => this.#expire(), tcpLimits.idleMs);
  }
}

/** Serves on `fd`, a listening socket, which the result owns. Disposing it closes the socket and all connections. */
export function openTcpServer(
  fd: number,
  serve: (bytes: Uint8Array) => Outcome,
  onError: (error: Error) => void,
): Disposable {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    if (sockets.size >= tcpLimits.connections) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    void new Connection(socket, serve);
  });
  server.on('error', onError);
  server.listen({ fd });
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
