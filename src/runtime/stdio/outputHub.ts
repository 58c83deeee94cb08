/*
 * One output stream of a process and everybody who watches it: each chunk goes to the sink (the log) and to every
 * tap. The slowest decides the pace: while one of them is full, nothing is read, and the process blocks at its pipe,
 * as it would at a slow terminal. Of several watchers one that reads nothing for some time is given up, so that it does
 * not hold the others. A tap sees what comes after it was made.
 */
import { Socket } from 'node:net';
import { Readable } from 'node:stream';

/** How long one watcher may hold the others. */
const patienceMs = 10_000;

/** Takes a copy of the stream; returns false when full, and then calls the hub's `sinkDrained` later. */
export type OutputSink = (chunk: Buffer) => boolean;

export class OutputHub {
  readonly #sink: OutputSink | undefined;
  readonly #taps = new Set<Readable>();
  readonly #full = new Set<Readable | 'sink'>();
  readonly #ended = Promise.withResolvers<void>();
  #source: Socket | undefined;
  #isEnded = false;
  readonly #patienceMs: number;
  #patience: NodeJS.Timeout | undefined;

  constructor(sink: OutputSink | undefined, options: { readonly patienceMs?: number } = {}) {
    this.#sink = sink;
    this.#patienceMs = options.patienceMs ?? patienceMs;
  }

  /** Settles when the source has ended and every chunk was handed on. The taps stay open until `end`. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Starts reading from `fd`, which the hub then owns. The writer must have opened its end. */
  begin(fd: number): void {
    const source = new Socket({ fd, readable: true, writable: false });
    this.#source = source;
    source.on('data', (chunk: Buffer) => this.#spread(chunk));
    // A pipe has no errors but those of a dying machine; whatever it is, the stream is over.
    source.on('error', () => {});
    source.on('close', () => this.#ended.resolve());
    this.#pace();
  }

  /**
   * A readable of what comes from now on. It ends with `end`, not with the source: who reads to the end must find the
   * exit code known by then. Destroying it detaches.
   */
  tap(): Readable {
    const tap = new Readable({
      read: () => this.#drained(tap),
      destroy: (error, done) => {
        this.#taps.delete(tap);
        this.#drained(tap);
        done(error);
      },
    });
    if (this.#isEnded) tap.push(null);
    else {
      this.#taps.add(tap);
      // Whoever is full has held nobody so far, and holds this one.
      if (this.#full.size > 0) this.#pace();
    }
    return tap;
  }

  /** Ends one tap, the process goes on: its reader sees what it has, then the end. */
  release(tap: Readable): void {
    if (this.#taps.delete(tap)) tap.push(null);
    this.#drained(tap);
  }

  /** The sink has room again. */
  sinkDrained(): void {
    this.#drained('sink');
  }

  /** Ends all taps and stops reading; what was not read is dropped. Idempotent. */
  end(): void {
    this.#isEnded = true;
    this.#source?.destroy();
    for (const tap of [...this.#taps]) tap.push(null);
    this.#taps.clear();
    clearTimeout(this.#patience);
    this.#ended.resolve();
  }

  #spread(chunk: Buffer): void {
    if (this.#sink?.(chunk) === false) this.#full.add('sink');
    for (const tap of this.#taps) if (!tap.push(chunk)) this.#full.add(tap);
    this.#pace();
  }

  #drained(who: Readable | 'sink'): void {
    if (this.#full.delete(who)) this.#pace();
  }

  #pace(): void {
    clearTimeout(this.#patience);
    if (this.#full.size === 0) {
      this.#source?.resume();
      return;
    }
    this.#source?.pause();
    this.#patience = setTimeout(() => this.#giveUp(), this.#patienceMs).unref();
  }

  /** Nobody of those who are full has read since; a single watcher may take its time. */
  #giveUp(): void {
    const slow = [...this.#taps].filter((tap) => this.#full.has(tap));
    if (slow.length < this.#taps.size) for (const tap of slow) tap.destroy();
  }
}
