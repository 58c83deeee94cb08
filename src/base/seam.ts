/*
 * The one seam through which every durable step and every kernel call passes, so that a test can make the
 * n-th of them fail or kill the process there. Unarmed, a step costs one atomic load. Plan and counter are shared
 * memory: workers count along with the main thread and see a plan that is loaded later.
 * A plan is text: `crash@N` kills this process with SIGKILL before step N, `ENOSPC@N` (any errno name) makes step N
 * fail, `count` only counts. Steps are numbered from 1 since `arm`.
 */
import { constants } from 'node:os';

export interface FaultPlan {
  readonly at: number;
  readonly action: 'crash' | 'count' | { readonly errno: string };
}

/** Parses `crash@12`, `EPERM@3` or `count`; undefined for anything else. */
export function parseFaultPlan(text: string): FaultPlan | undefined {
  if (text === 'count') return { at: 0, action: 'count' };
  const match = /^(crash|E[A-Z0-9]+)@(\d+)$/.exec(text);
  if (match === null) return undefined;
  const [, what = '', at = '0'] = match;
  return { at: Number(at), action: what === 'crash' ? 'crash' : { errno: what } };
}

function errnoOf(name: string): number {
  const errno = (constants.errno as Record<string, number>)[name];
  if (errno === undefined) throw new RangeError(`no errno is called ${name}`);
  return errno;
}

/** A failure that a FaultPlan injected; carries an errno name and number as a kernel error does. */
export class InjectedFault extends Error {
  readonly code: string;
  readonly errno: number;
  constructor(step: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? 'EIO';
    super(`${step}: injected ${code}`);
    this.name = 'InjectedFault';
    this.code = code;
    this.errno = errno;
  }
}

/** Words of the shared memory. */
const armedWord = 0;
const countWord = 1;
const atWord = 2;
/** 0 = only count, -1 = crash, else the errno number. */
const actionWord = 3;

export class Seam {
  readonly #words: Int32Array;

  constructor(plan: FaultPlan | undefined, shared: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.#words = new Int32Array(shared);
    if (plan !== undefined) this.load(plan);
  }

  /** What a worker needs to build a Seam that counts along with this one. */
  get workerData(): { readonly plan: undefined; readonly shared: SharedArrayBuffer } {
    return { plan: undefined, shared: this.#words.buffer as SharedArrayBuffer };
  }

  /** Sets what will happen; nothing happens before `arm`. Throws RangeError for an errno name that this system lacks. */
  load(plan: FaultPlan): void {
    Atomics.store(this.#words, armedWord, 0);
    Atomics.store(this.#words, atWord, plan.at);
    const action = plan.action === 'count' ? 0 : plan.action === 'crash' ? -1 : errnoOf(plan.action.errno);
    Atomics.store(this.#words, actionWord, action);
  }

  /** Starts counting from zero. Steps before arming pass unseen, so that start-up does not count. */
  arm(): void {
    Atomics.store(this.#words, countWord, 0);
    Atomics.store(this.#words, armedWord, 1);
  }

  /** Steps seen since `arm`. */
  get count(): number {
    return Atomics.load(this.#words, countWord);
  }

  /** Called just before the step named `name` happens. Throws InjectedFault, or does not return, if it is the planned one. */
  step(name: string): void {
    if (Atomics.load(this.#words, armedWord) === 0) return;
    const n = Atomics.add(this.#words, countWord, 1) + 1;
    const action = Atomics.load(this.#words, actionWord);
    if (action === 0 || n !== Atomics.load(this.#words, atWord)) return;
    if (action === -1) {
      process.kill(process.pid, 'SIGKILL');
      // The signal is delivered on return to user space; nothing may run after it.
      for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    }
    throw new InjectedFault(name, action);
  }
}

/** A Seam without a plan, for production and for tests that do not inject. */
export function openSeam(): Seam {
  return new Seam(undefined);
}
