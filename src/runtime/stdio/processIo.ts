/*
 * The stdio of one process, from before it exists until its last byte: FIFOs to the shim, the log, and those who
 * attach. One object a run; the engine drives it: open → begin (the shim has opened) → connected (it runs) → finish.
 *
 *    process ──pipe── shim ──FIFO── OutputHub ──┬── LogSink
 *                                               └── taps (attach, exec)
 *
 * A terminal has one output, stdout, and its input is never closed by an end of a client's stream.
 */
import { closeSync, mkdirSync, rmSync } from 'node:fs';
import { Transform, type Writable } from 'node:stream';
import type { StdioPaths } from '../runtime.ts';
import { DetachScanner, parseDetachKeys } from './detachKeys.ts';
import { type MakeFifo, openForReading, renewFifo } from './fifo.ts';
import type { LogSink } from './logSink.ts';
import { OutputHub, type OutputSink } from './outputHub.ts';
import { StdinPipe } from './stdinPipe.ts';
import type { AttachStreams } from './stdio.ts';

type OutputName = 'stdout' | 'stderr';

export interface ProcessIoOptions {
  /** Folder for the FIFOs, on a tmpfs; made if missing. */
  readonly directory: string;
  /** Distinguishes the processes of one folder: empty, or an exec id. */
  readonly prefix: string;
  readonly isTty: boolean;
  readonly hasStdin: boolean;
  readonly outputs: readonly OutputName[];
  /** The process's stdin closes when the first client with stdin ends it. */
  readonly isStdinOnce: boolean;
  readonly log: LogSink | undefined;
  readonly makeFifo: MakeFifo;
  /** Tells the shim that no more input comes (its own copy of the FIFO keeps the pipe open). */
  readonly closeStdin: () => void;
}

export interface AttachWish {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** `ctrl-p,ctrl-q`; looked for with a terminal only; empty = none. */
  readonly detachKeys: string;
  /** The key sequence was typed. */
  readonly onDetach: () => void;
}

export class ProcessIo {
  readonly #options: ProcessIoOptions;
  readonly #hubs: ReadonlyMap<OutputName, OutputHub>;
  readonly #stdin: StdinPipe | undefined;
  readonly #fds = new Map<OutputName, number>();
  readonly #drain: Disposable | undefined;

  constructor(options: ProcessIoOptions) {
    this.#options = options;
    const names = options.isTty ? options.outputs.filter((name) => name === 'stdout') : options.outputs;
    this.#hubs = new Map(names.map((name) => [name, new OutputHub(this.#sink(name))]));
    this.#stdin = options.hasStdin ? new StdinPipe(options.closeStdin) : undefined;
    this.#drain = options.log?.events.on('drain', () => {
      for (const hub of this.#hubs.values()) hub.sinkDrained();
    });
  }

  get log(): LogSink | undefined {
    return this.#options.log;
  }

  /** Makes and opens the FIFOs; resolves with what the runtime wants to know. */
  open(): StdioPaths {
    mkdirSync(this.#options.directory, { recursive: true, mode: 0o700 });
    if (this.#stdin !== undefined) {
      renewFifo(this.#path('stdin'), this.#options.makeFifo);
      this.#stdin.open(this.#path('stdin'));
    }
    for (const name of this.#hubs.keys()) {
      renewFifo(this.#path(name), this.#options.makeFifo);
      this.#fds.set(name, openForReading(this.#path(name)));
    }
    return this.#paths();
  }

  /** Opens the FIFOs of a process that was there before the daemon, and goes on where it stood. */
  reopen(): void {
    this.#stdin?.reopen(this.#path('stdin'));
    for (const [name, hub] of this.#hubs) {
      try {
        hub.begin(openForReading(this.#path(name)));
      } catch {
        // Swept from /run: the process goes on, its output cannot be had any more.
        hub.end();
      }
    }
  }

  /** Starts reading: the shim has opened its ends. */
  begin(): void {
    for (const [name, fd] of this.#fds) this.#hubs.get(name)?.begin(fd);
    this.#fds.clear();
  }

  /** The process runs: input may be closed from now on. */
  connected(): void {
    this.#stdin?.connected();
  }

  /** Settles when every output has come to its end. */
  async drained(): Promise<void> {
    await Promise.all([...this.#hubs.values()].map((hub) => hub.ended));
  }

  /** The process is gone: as `leave`, and the FIFOs are removed. Idempotent. */
  async finish(): Promise<void> {
    await this.leave();
    for (const name of ['stdin', ...this.#hubs.keys()] as const) rmSync(this.#path(name), { force: true });
  }

  /** Ends all clients and closes the log: everything that was read is in the file then. The process may go on. */
  async leave(): Promise<void> {
    for (const fd of this.#fds.values()) closeSync(fd);
    this.#fds.clear();
    this.#stdin?.close();
    for (const hub of this.#hubs.values()) hub.end();
    this.#drain?.[Symbol.dispose]();
    await this.#options.log?.close();
  }

  /** Streams for one client. With a terminal, typing the detach keys closes them. */
  attach(wish: AttachWish): AttachStreams {
    const stdout = wish.stdout ? this.#hubs.get('stdout')?.tap() : undefined;
    const stderr = wish.stderr ? this.#hubs.get('stderr')?.tap() : undefined;
    const close = (): void => {
      for (const tap of [stdout, stderr]) tap?.destroy();
      stdin?.destroy();
    };
    const leave = (): void => {
      if (stdout !== undefined) this.#hubs.get('stdout')?.release(stdout);
      if (stderr !== undefined) this.#hubs.get('stderr')?.release(stderr);
    };
    const stdin = wish.stdin ? this.#stdinFor(wish, leave) : undefined;
    return {
      ...(stdin === undefined ? {} : { stdin }),
      ...(stdout === undefined ? {} : { stdout }),
      ...(stderr === undefined ? {} : { stderr }),
      close,
    };
  }

  #stdinFor(wish: AttachWish, leave: () => void): Writable | undefined {
    const pipe = this.#stdin;
    if (pipe === undefined) return undefined;
    const writer = pipe.writer(() => {
      if (this.#options.isStdinOnce && !this.#options.isTty) pipe.end();
      else leave();
    });
    if (!this.#options.isTty || wish.detachKeys === '') return writer;
    const scanner = new DetachScanner(parseDetachKeys(wish.detachKeys));
    const filter = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        const { pass, isDetached } = scanner.feed(chunk);
        if (pass.length > 0) filter.push(pass);
        if (isDetached) {
          wish.onDetach();
          leave();
        }
        done();
      },
    });
    filter.on('error', () => {});
    filter.pipe(writer);
    return filter;
  }

  #sink(name: OutputName): OutputSink | undefined {
    const { log } = this.#options;
    return log === undefined ? undefined : (chunk) => log.append(name, chunk);
  }

  #path(name: 'stdin' | OutputName): string {
    return `${this.#options.directory}/${this.#options.prefix}${name}`;
  }

  #paths(): StdioPaths {
    return {
      stdin: this.#stdin === undefined ? undefined : this.#path('stdin'),
      stdout: this.#hubs.has('stdout') ? this.#path('stdout') : undefined,
      stderr: this.#hubs.has('stderr') ? this.#path('stderr') : undefined,
      isTerminal: this.#options.isTty,
    };
  }
}
