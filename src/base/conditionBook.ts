/*
 * Conditions with the time they were first seen: a report that still holds keeps its `since`.
 */
import type { Clock } from './clock.ts';
import type { Condition } from './condition.ts';
import type { Logger } from './logger.ts';

export type ConditionReport = Omit<Condition, 'since'>;

export class ConditionBook {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #topics = new Map<string, readonly Condition[]>();

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Replaces everything reported on `topic`; warns of what is new. */
  report(topic: string, reports: readonly ConditionReport[]): void {
    const before = this.#topics.get(topic) ?? [];
    const since = new Date(this.#clock.nowMs()).toISOString();
    const now = reports.map((one) => ({
      ...one,
      since: before.find(({ id }) => id === one.id)?.since ?? since,
    }));
    this.#topics.set(topic, now);
    for (const { id, text } of now)
      if (!before.some((one) => one.id === id)) this.#logger.warn({ condition: id }, text);
  }

  list(): readonly Condition[] {
    return [...this.#topics.values()].flat();
  }
}
