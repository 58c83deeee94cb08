/*
 * The way into a process's standard input. Writers may come before the process exists: what they write waits, and so
 * does the end, because closing the pipe before the shim has opened it would lose what is in it.
 */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { openForWriting, reopenForWriting } from './fifo.ts';

type Done = (error?: Error | null) => void;

export class StdinPipe {
  readonly #onEnd: () => void;
  readonly #waiting: { readonly chunk: Buffer; readonly done: Done }[] = [];
  #socket: Socket | undefined;
  #keeperFd: number | undefined;
  #isConnected = false;
  #isEnded = false;

  /** `onEnd` is called once, when the pipe was closed by `end` and nothing is left in our hands. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  /** Opens the FIFO before the process is made. */
  open(path: string): void {
    const { fd, keeperFd } = openForWriting(path);
    this.#keeperFd = keeperFd;
    this.#use(fd);
  }

  /** The process has started, so its shim has the other end. */
  connected(): void {
    this.#isConnected = true;
    this.#closeKeeper();
    if (this.#isEnded) this.#endNow();
  }

  /** Opens the FIFO of a process that was there before the daemon. */
  reopen(path: string): void {
    const fd = reopenForWriting(path);
    this.#isConnected = true;
    if (fd === undefined) this.#isEnded = true;
    else this.#use(fd);
  }

  /** A writable for one client; `onFinish` runs when the client has ended its side. */
  writer(onFinish: () => void): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => this.#write(chunk, done),
      final: (done) => {
        onFinish();
        done();
      },
    });
  }

  /** Closes the process's stdin once everything written before has gone. Idempotent. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#isConnected) this.#endNow();
  }

  /** Drops everything: the process is gone or was never made. */
  close(): void {
    this.#isEnded = true;
    this.#closeKeeper();
    this.#socket?.destroy();
    for (const { done } of this.#waiting.splice(0)) done();
  }

  #use(fd: number): void {
    const socket = new Socket({ fd, readable: false, writable: true });
    this.#socket = socket;
    // EPIPE: the process closed its stdin. Its writers are not told, as with any pipeline.
    socket.on('error', () => {});
    for (const { chunk, done } of this.#waiting.splice(0)) this.#write(chunk, done);
  }

  #write(chunk: Buffer, done: Done): void {
    if (this.#socket === undefined && !this.#isEnded) this.#waiting.push({ chunk, done });
    else if (this.#socket === undefined || this.#socket.destroyed || !this.#socket.writable) done();
    else this.#socket.write(chunk, () => done());
  }

  #endNow(): void {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) this.#onEnd();
    else {
      socket.once('close', () => this.#onEnd());
      socket.end(() => socket.destroy());
    }
  }

  #closeKeeper(): void {
    if (this.#keeperFd !== undefined) closeSync(this.#keeperFd);
    this.#keeperFd = undefined;
  }
}
