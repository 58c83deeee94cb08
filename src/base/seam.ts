/*
 * The one seam through which every durable step and every kernel call passes, so that a test can make the
 * n-th of them fail or kill the process there. In production the plan is undefined and a step costs one
 * atomic add. The counter is shared memory: workers count along with the main thread.
 * The plan comes as text (`LINKSPAN_FAULT`): `crash@N` kills this process with SIGKILL before step N,
 * `ENOSPC@N` (any errno name) makes step N fail, `count` only counts. Steps are numbered from 1 since `arm`.
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

/** A failure that a FaultPlan injected; carries an errno name and number as a kernel error does. */
export class InjectedFault extends Error {
  readonly code: string;
  readonly errno: number;
  constructor(step: string, code: string) {
    super(`${step}: injected ${code}`);
    this.name = 'InjectedFault';
    this.code = code;
    this.errno = (constants.errno as Record<string, number>)[code] ?? 5;
  }
}

export class Seam {
  readonly #plan: FaultPlan | undefined;
  /** [0] = armed (0/1), [1] = steps counted since arming. */
  readonly #counter: Int32Array;

  constructor(plan: FaultPlan | undefined, shared: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.#plan = plan;
    this.#counter = new Int32Array(shared);
  }

  /** What a worker needs to build a Seam that counts along with this one. */
  get workerData(): { readonly plan: FaultPlan | undefined; readonly shared: SharedArrayBuffer } {
    return { plan: this.#plan, shared: this.#counter.buffer as SharedArrayBuffer };
  }

  /** Starts counting from zero. Steps before arming pass unseen, so that start-up does not count. */
  arm(): void {
    Atomics.store(this.#counter, 1, 0);
    Atomics.store(this.#counter, 0, 1);
  }

  /** Steps seen since `arm`. */
  get count(): number {
    return Atomics.load(this.#counter, 1);
  }

  /** Called just before the step named `name` happens. Throws InjectedFault, or does not return, if it is the planned one. */
  step(name: string): void {
    if (this.#plan === undefined || Atomics.load(this.#counter, 0) === 0) return;
    const n = Atomics.add(this.#counter, 1, 1) + 1;
    if (n !== this.#plan.at || this.#plan.action === 'count') return;
    if (this.#plan.action === 'crash') {
      process.kill(process.pid, 'SIGKILL');
      // The signal is delivered on return to user space; nothing may run after it.
      for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
    }
    throw new InjectedFault(name, this.#plan.action.errno);
  }
}

/** A Seam without a plan, for production and for tests that do not inject. */
export function openSeam(): Seam {
  return new Seam(undefined);
}
