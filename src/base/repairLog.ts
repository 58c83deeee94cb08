/*
 * What was found changed by somebody else and put right: the last ones in detail, all of them by number. Written by
 * whoever repairs, read by /metrics and `doctor`. In memory: it begins with the daemon.
 */
import type { Clock } from './clock.ts';

/** What kind of thing was repaired; a label of the metric, so there are few. */
export type RepairKind =
  | 'firewall'
  | 'forwarding'
  | 'bridge'
  | 'endpoint'
  | 'address'
  | 'route'
  | 'sysctl'
  | 'resolver';

export interface Repair {
  /** RFC 3339. */
  readonly at: string;
  readonly kind: RepairKind;
  /** What it was, as an operator would name it: `table inet linkspan`, `docker0`. */
  readonly object: string;
  /** One sentence: what was found. */
  readonly cause: string;
}

/** Enough to see a pattern; a fight with another program would fill any memory. */
const keptRepairs = 100;

export class RepairLog {
  readonly #clock: Clock;
  readonly #recent: Repair[] = [];
  readonly #counts = new Map<RepairKind, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  record(repair: Omit<Repair, 'at'>): void {
    this.#recent.push({ at: new Date(this.#clock.nowMs()).toISOString(), ...repair });
    if (this.#recent.length > keptRepairs) this.#recent.shift();
    this.#counts.set(repair.kind, (this.#counts.get(repair.kind) ?? 0) + 1);
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
