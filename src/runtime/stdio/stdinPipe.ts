/*
 * The way into a process's standard input. Writers may come before the process exists: what they write waits, and so
 * does the end, until the shim has opened its end. It may do that late: containerd/fifo opens a non-blocking reader in
 * a goroutine, so a started process says nothing of it. A pipe written and closed before would lose what was in it,
 * and the reader would then wait for a writer for ever.
 */
import { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { openForWriting } from './fifo.ts';

type Done = (error?: Error | null) => void;

/** Nothing tells a writer that a FIFO's reader has come, so it looks again after this; nearly always it is there. */
const readerPollMs = 2;

export class StdinPipe {
  readonly #onEnd: () => void;
  readonly #waiting: { readonly chunk: Buffer; readonly done: Done }[] = [];
  #socket: Socket | undefined;
  #path: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** No more input is taken. */
  #isEnded = false;
  /** Nothing that waits is wanted any more. */
  #isClosed = false;

  /** `onEnd` is called once, when the pipe was closed by `end` and nothing is left in our hands. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  /** Names the FIFO, which exists, of a process that is to be made. */
  open(path: string): void {
    this.#path = path;
  }

  /** The process has started: its shim has the other end, or soon will. */
  connected(): void {
    this.#retry = undefined;
    if (this.#path === undefined || this.#socket !== undefined || this.#isClosed) return;
    const fd = openForWriting(this.#path);
    if (fd === undefined) this.#retry = setTimeout(() => this.connected(), readerPollMs);
    else this.#use(fd);
  }

  /** Opens the FIFO of a process that was there before the daemon. */
  reopen(path: string): void {
    const fd = openForWriting(path);
    if (fd === undefined) this.close();
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
    if (this.#socket !== undefined) this.#end(this.#socket);
  }

  /** Drops everything: the process is gone or was never made. */
  close(): void {
    this.#isEnded = true;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
    for (const { done } of this.#waiting.splice(0)) done();
  }

  #use(fd: number): void {
    const socket = new Socket({ fd, readable: false, writable: true });
    this.#socket = socket;
    // EPIPE: the process closed its stdin. Its writers are not told, as with any pipeline.
    socket.on('error', () => {});
    for (const { chunk, done } of this.#waiting.splice(0)) socket.write(chunk, () => done());
    if (this.#isEnded) this.#end(socket);
  }

  #write(chunk: Buffer, done: Done): void {
    const socket = this.#socket;
    if (this.#isEnded || socket?.writable === false) done();
    else if (socket === undefined) this.#waiting.push({ chunk, done });
    else socket.write(chunk, () => done());
  }

  #end(socket: Socket): void {
    if (socket.destroyed) this.#onEnd();
    else {
      socket.once('close', () => this.#onEnd());
      socket.end(() => socket.destroy());
    }
  }
}
