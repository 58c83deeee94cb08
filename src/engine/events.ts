/*
 * What happened, for `docker events`: a bounded log in memory with live followers. Order of emission is order of
 * delivery.
 */
import { Events } from '../base/events.ts';

export interface EngineEvent {
  /** Absent: it is this machine's alone. */
  readonly scope?: 'swarm';
  readonly type: 'container' | 'network' | 'image' | 'volume' | 'daemon' | 'node' | 'service';
  readonly action: string;
  readonly actorId: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly timeNs: bigint;
}

/** Docker keeps 256; a late `--since` sees no more than that. */
const keptEvents = 256;

export class EventLog {
  readonly #kept: EngineEvent[] = [];
  readonly #live = new Events<{ event: EngineEvent }>();
  #lastNs = 0n;

  /** Stamps and publishes. Stamps grow strictly, so that `--since` can resume. */
  emit(event: Omit<EngineEvent, 'timeNs'>): void {
    const nowNs = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
    this.#lastNs = nowNs > this.#lastNs ? nowNs : this.#lastNs + 1n;
    const stamped: EngineEvent = { ...event, timeNs: this.#lastNs };
    this.#kept.push(stamped);
    if (this.#kept.length > keptEvents) this.#kept.shift();
    this.#live.emit('event', stamped);
  }

  /** What is still kept, oldest first. */
  kept(): readonly EngineEvent[] {
    return this.#kept;
  }

  /** Calls `listener` for each event from now on, until disposed. */
  follow(listener: (event: EngineEvent) => void): Disposable {
    return this.#live.on('event', listener);
  }
}
