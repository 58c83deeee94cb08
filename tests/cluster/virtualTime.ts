/*
 * For simulations: time, chance and what passes between programs, all decided by one seed. Nothing happens but by the
 * clock; each step lets everything run that it woke.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../src/base/clock.ts';
import type { Link } from '../../src/cluster/networks/link.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import type { Compare, Entry, Store, StoreChange, Txn, TxnResult } from '../../src/store/store.ts';

interface Step {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class VirtualTime implements Clock {
  #nowMs = 0;
  #order = 0;
  /** A heap by time, then order. */
  readonly #steps: Step[] = [];
  #seed: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0 || 1;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  upMs(): number {
    return this.#nowMs;
  }

  /** From 0 to below 1 (xorshift32). */
  chance(): number {
    let x = this.#seed;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#seed = x >>> 0;
    return this.#seed / 2 ** 32;
  }

  after(ms: number, run: () => void): void {
    const step = { atMs: this.#nowMs + ms, order: this.#order++, run };
    const steps = this.#steps;
    let i = steps.push(step) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(step, steps[parent]!)) break;
      steps[i] = steps[parent]!;
      i = parent;
    }
    steps[i] = step;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      this.after(ms, resolve);
    });
  }

  /** Lets `ms` pass. `check` is called after each step. */
  async run(ms: number, check: () => void): Promise<void> {
    const endMs = this.#nowMs + ms;
    await nextTurn();
    for (let next = this.#steps[0]; next !== undefined && next.atMs <= endMs; next = this.#steps[0]) {
      this.#nowMs = next.atMs;
      this.#take().run();
      await nextTurn();
      check();
    }
    this.#nowMs = endMs;
  }

  #take(): Step {
    const steps = this.#steps;
    const first = steps[0]!;
    const last = steps.pop()!;
    if (steps.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= steps.length) break;
      if (child + 1 < steps.length && isBefore(steps[child + 1]!, steps[child]!)) child += 1;
      if (!isBefore(steps[child]!, last)) break;
      steps[i] = steps[child]!;
      i = child;
    }
    steps[i] = last;
    return first;
  }
}

function isBefore(a: Step, b: Step): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** What is on a disk: it outlives programs. */
export class Disk {
  readonly entries: Map<string, Entry> = new Map();
  revision = 0;
  /** Called after each commit. */
  onCommit: (write: Txn['write']) => void = () => {};
  /** Programs that want to know of commits. */
  readonly watchers: Set<(write: Txn['write']) => void> = new Set();

  apply({ compare = [], write }: Txn): TxnResult {
    if (!compare.every((one) => this.#holds(one))) return { ok: false };
    this.revision += 1;
    for (const one of write)
      if ('put' in one) {
        const value: unknown = JSON.parse(JSON.stringify(one.put));
        this.entries.set(one.key, { key: one.key, value, revision: this.revision });
      } else this.entries.delete(one.key);
    this.onCommit(write);
    for (const listener of this.watchers) listener(write);
    return { ok: true, revision: this.revision };
  }

  list(prefix: string): readonly Entry[] {
    return [...this.entries.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #holds(compare: Compare): boolean {
    const entry = this.entries.get(compare.key);
    return compare.is === 'absent' ? entry === undefined : entry?.revision === compare.revision;
  }
}

/** A program's view of a disk: slow, sometimes failing, and without answers once the program is dead. */
export class SimulatedStore implements Store {
  readonly #time: VirtualTime;
  readonly #disk: Disk;
  readonly #failures: () => number;
  readonly #asked = new Set<() => unknown>();
  #isDead = false;

  constructor(time: VirtualTime, disk: Disk, failures: () => number) {
    this.#time = time;
    this.#disk = disk;
    this.#failures = failures;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#ask(() => this.#disk.entries.get(key));
  }

  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    return this.#ask(() => ({ revision: this.#disk.revision, entries: this.#disk.list(prefix) }));
  }

  txn(txn: Txn): Promise<TxnResult> {
    return this.#ask(() => this.#disk.apply(txn));
  }

  sync(): Promise<void> {
    return this.#ask(() => undefined);
  }

  /** Hears of commits in order, late by chance; now and then the line breaks, and all is told anew. */
  watch(prefix: string, hear: (change: StoreChange) => void): Disposable {
    const time = this.#time;
    let isOver = false;
    /** Breaks of the line so far: what was on its way then never comes. */
    let line = 0;
    let arrivesAtMs = 0;
    const tell = (change: StoreChange): void => {
      const own = line;
      const delay = time.chance() < 0.05 ? time.chance() * 300 : time.chance() * 3;
      arrivesAtMs = Math.max(arrivesAtMs, time.nowMs() + delay);
      time.after(arrivesAtMs - time.nowMs(), () => {
        if (!isOver && !this.#isDead && own === line) hear(change);
      });
    };
    const tellAll = (): void => {
      const { revision } = this.#disk;
      tell({ isAll: true, revision, put: this.#disk.list(prefix), del: [] });
    };
    const listener = (write: Txn['write']): void => {
      const { revision, entries } = this.#disk;
      const own = write.filter(({ key }) => key.startsWith(prefix));
      if (own.length === 0) return;
      if (time.chance() < 0.01) {
        line += 1;
        tellAll();
        return;
      }
      const keys = [...new Set(own.map(({ key }) => key))];
      const put = keys.flatMap((key) => entries.get(key) ?? []);
      tell({ isAll: false, revision, put, del: keys.filter((key) => !entries.has(key)) });
    };
    this.#disk.watchers.add(listener);
    tellAll();
    return {
      [Symbol.dispose]: () => {
        isOver = true;
        this.#disk.watchers.delete(listener);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Its program dies: of what it has asked for, some is done at once, and the rest never. */
  die(): void {
    this.#isDead = true;
    for (const work of this.#asked) if (this.#time.chance() < 0.5) work();
    this.#asked.clear();
  }

  /** A failure comes before the work is done, or after it. */
  #ask<T>(work: () => T): Promise<T> {
    const time = this.#time;
    return new Promise((resolve, reject) => {
      if (this.#isDead) return;
      const kind = time.chance() < this.#failures() ? time.chance() : 1;
      const slow = time.chance() < 0.05 ? 500 : 2;
      const done = kind < 0.5 ? (): undefined => undefined : work;
      this.#asked.add(done);
      time.after(time.chance() * slow, () => {
        if (!this.#asked.delete(done)) return;
        const result = done();
        time.after(time.chance() * 2, () => {
          if (this.#isDead) return;
          if (kind < 1) reject(new LinkspanError('store', 'the disk failed'));
          else resolve(result as T);
        });
      });
    });
  }
}

/** One end of a session: messages in order, late by chance, until it breaks. */
export class SimulatedLink implements Link {
  readonly waitingBytes = 0;
  readonly #time: VirtualTime;
  #far: SimulatedLink | undefined;
  #on: Parameters<Link['listen']>[0] | undefined;
  #isOver = false;
  #arrivesAtMs = 0;
  onEnd: () => void = () => {};
  /** Heard from the other side. */
  onMessage: (value: unknown) => void = () => {};

  private constructor(time: VirtualTime) {
    this.#time = time;
  }

  static pair(time: VirtualTime): readonly [SimulatedLink, SimulatedLink] {
    const [a, b] = [new SimulatedLink(time), new SimulatedLink(time)];
    a.#far = b;
    b.#far = a;
    return [a, b];
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  send(text: string | Buffer, sent?: () => void): void {
    if (this.#isOver) return;
    const value: unknown = JSON.parse(String(text));
    this.#later(() => {
      if (!this.#isOver) sent?.();
      if (this.#far !== undefined) this.#far.#hear(value);
    });
  }

  refuse(why: string): void {
    throw new Error(`a node was cut off: ${why}`);
  }

  /** This side knows at once; the other hears some of what is under way, and then the end. */
  drop(): void {
    if (this.#isOver) return;
    this.#end();
    const far = this.#far;
    this.#time.after(this.#time.chance() * 3000, () => {
      if (far !== undefined) far.#end();
    });
  }

  /** Both know at once. */
  cut(): void {
    this.#end();
    if (this.#far !== undefined) this.#far.#end();
  }

  listen(on: Parameters<Link['listen']>[0]): void {
    this.#on = on;
  }

  #hear(value: unknown): void {
    if (this.#isOver) return;
    this.onMessage(value);
    this.#on?.message(value);
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#on?.end();
    this.onEnd();
  }

  /** In order: nothing overtakes. */
  #later(run: () => void): void {
    const time = this.#time;
    const delay = time.chance() < 0.15 ? time.chance() * 1000 : time.chance() * 10;
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, time.nowMs() + delay);
    time.after(this.#arrivesAtMs - time.nowMs(), run);
  }
}
