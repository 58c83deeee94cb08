/*
 * What was found changed by somebody else and put right: the last ones in detail, all of them by number. Written by
 * whoever repairs, read by /metrics and `doctor`. In memory: it begins with the daemon.
 */
import type { Clock } from './clock.ts';
import { Events } from './events.ts';

/** What kind of thing was repaired; a label of the metric, so there are few. */
export type RepairKind = 'firewall' | 'forwarding' | 'bridge' | 'endpoint' | 'resolver' | 'tunnel';

/** What led to the look: a notice of the kernel, or the slow compare that comes whatever happens. */
export type RepairTrigger = 'event' | 'compare';

export interface Repair {
  /** Counts up from 1. */
  readonly id: number;
  /** RFC 3339. */
  readonly at: string;
  readonly kind: RepairKind;
  /** What it was, as an operator would name it: `table inet linkspan`, `docker0`. */
  readonly object: string;
  /** One sentence: what was found, and what was done. */
  readonly cause: string;
  readonly trigger: RepairTrigger;
}

/** Enough to see a pattern; a fight with another program would fill any memory. */
const keptRepairs = 100;

export interface RepairEvents extends Record<string, unknown> {
  readonly repair: Repair;
}

export class RepairLog {
  readonly events: Events<RepairEvents> = new Events();
  readonly #clock: Clock;
  readonly #recent: Repair[] = [];
  readonly #counts = new Map<RepairKind, number>();
  #lastId = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  record(repair: Omit<Repair, 'id' | 'at'>): void {
    const at = new Date(this.#clock.nowMs()).toISOString();
    const full: Repair = { id: ++this.#lastId, at, ...repair };
    this.#recent.push(full);
    if (this.#recent.length > keptRepairs) this.#recent.shift();
    this.#counts.set(repair.kind, (this.#counts.get(repair.kind) ?? 0) + 1);
    this.events.emit('repair', full);
  }

  /** The last hundred, oldest first. */
  get recent(): readonly Repair[] {
    return [...this.#recent];
  }

  /** Since the daemon's start. */
  get counts(): Readonly<Partial<Record<RepairKind, number>>> {
    return Object.fromEntries(this.#counts);
  }
}
