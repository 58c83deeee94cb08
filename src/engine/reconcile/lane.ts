/*
 * When one subject is looked at: soon after the first notice, again if notices came meanwhile, later and later while
 * looking fails, and not at once when it had to be repaired over and over. Knows nothing of what is looked at.
 */
import type { Clock } from '../../base/clock.ts';
import type { RepairTrigger } from '../../base/repairLog.ts';

/** A burst of notices is one look. */
const settleMs = 30;
const firstRetryMs = 1000;
const lastRetryMs = 60_000;
/** More looks that found something to repair than this, within this time: somebody takes away what we put back. */
const calmRepairs = 5;
const calmMs = 10_000;

/** What a look came to; `isContested`: somebody keeps undoing our repairs, so that the next look waits. */
export type Outcome =
  | { readonly type: 'sound' | 'repaired'; readonly isContested: boolean }
  | { readonly type: 'failed'; readonly error: unknown };

export interface LaneDependencies {
  readonly clock: Clock;
  readonly stopping: AbortSignal;
  /** Looks and repairs; true if something was repaired. */
  readonly look: (trigger: RepairTrigger) => Promise<boolean>;
  readonly report: (outcome: Outcome) => void;
}

export class Lane {
  readonly #deps: LaneDependencies;
  readonly #repairedAtMs: number[] = [];
  #due: RepairTrigger | undefined;
  #running: Promise<void> | undefined;
  /** In a row. */
  #failures = 0;
  #isRetryDue = false;

  constructor(deps: LaneDependencies) {
    this.#deps = deps;
  }

  /** Resolves when the subject was looked at after this call, with whatever outcome, or the reconciler stops. */
  request(trigger: RepairTrigger): Promise<void> {
    this.#due = this.#due === 'event' ? 'event' : trigger;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Nothing is due, and nothing is remembered. */
  get isAtRest(): boolean {
    this.#forgetRepairs();
    return this.#running === undefined && this.#failures === 0 && this.#repairedAtMs.length === 0;
  }

  /** Resolves when no look is due. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, stopping } = this.#deps;
    try {
      while (this.#due !== undefined) {
        await clock.sleep(this.#isContested() ? calmMs : settleMs, stopping);
        const trigger = this.#due;
        this.#due = undefined;
        await this.#look(trigger);
      }
    } catch {
      // Stopped.
    }
  }

  async #look(trigger: RepairTrigger): Promise<void> {
    const { clock, stopping, look, report } = this.#deps;
    try {
      const hasRepaired = await look(trigger);
      if (hasRepaired) this.#repairedAtMs.push(clock.nowMs());
      this.#failures = 0;
      report({ type: hasRepaired ? 'repaired' : 'sound', isContested: this.#isContested() });
    } catch (error) {
      if (stopping.aborted) return;
      this.#failures += 1;
      report({ type: 'failed', error });
      this.#retryLater(trigger);
    }
  }

  /** Nobody waits for it: what made it fail may last. */
  #retryLater(trigger: RepairTrigger): void {
    if (this.#isRetryDue) return;
    this.#isRetryDue = true;
    const waitMs = Math.min(firstRetryMs * 2 ** (this.#failures - 1), lastRetryMs);
    this.#deps.clock.sleep(waitMs, this.#deps.stopping).then(
      () => {
        this.#isRetryDue = false;
        void this.request(trigger);
      },
      () => {},
    );
  }

  #forgetRepairs(): void {
    const sinceMs = this.#deps.clock.nowMs() - calmMs;
    while ((this.#repairedAtMs[0] ?? sinceMs) < sinceMs) this.#repairedAtMs.shift();
  }

  #isContested(): boolean {
    this.#forgetRepairs();
    return this.#repairedAtMs.length > calmRepairs;
  }
}
