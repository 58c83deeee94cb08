/*
 * Conditions with the time they were first seen: a report that still holds keeps its `since`.
 */
import type { Clock } from './clock.ts';
import type { Condition } from './condition.ts';

export type ConditionReport = Omit<Condition, 'since'>;

export class ConditionBook {
  readonly #clock: Clock;
  readonly #topics = new Map<string, readonly Condition[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces everything reported on `topic`. Returns what is new. */
  report(topic: string, reports: readonly ConditionReport[]): readonly Condition[] {
    const before = this.#topics.get(topic) ?? [];
    const since = new Date(this.#clock.nowMs()).toISOString();
    const now = reports.map((one) => ({
      ...one,
      since: before.find(({ id }) => id === one.id)?.since ?? since,
    }));
    this.#topics.set(topic, now);
    return now.filter(({ id }) => !before.some((one) => one.id === id));
  }

  list(): readonly Condition[] {
    return [...this.#topics.values()].flat();
  }
}
