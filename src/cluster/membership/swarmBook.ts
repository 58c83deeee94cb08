/*
 * The swarm's own record as a manager knows it. Changed by comparing its revision, as others may change it too.
 */
import type { Clock } from '../../base/clock.ts';
import { Events } from '../../base/events.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Mirror } from '../../store/mirror.ts';
import { isSealed, openSwarm, sealSwarm } from '../identity/vault.ts';
import { type SwarmRecord, swarmKey } from './records.ts';

export interface SwarmBookDependencies {
  readonly mirror: Mirror;
  readonly clock: Clock;
  /** Of what is secret in the record. */
  readonly sealKey: string;
}

export interface SwarmBookEvents extends Record<string, unknown> {
  readonly changed: { readonly before: SwarmRecord; readonly after: SwarmRecord };
}

/** Others cannot be first for ever. */
const mostAttempts = 20;

export class SwarmBook implements Disposable {
  readonly events: Events<SwarmBookEvents> = new Events();
  readonly #deps: SwarmBookDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #listener: Disposable;
  #swarm: SwarmRecord;

  /** Code store if the mirror has no such record, or one whose secrets `sealKey` does not open. */
  constructor(deps: SwarmBookDependencies) {
    this.#deps = deps;
    const entry = deps.mirror.get(swarmKey);
    if (entry === undefined) throw new LinkspanError('store', 'the record of the swarm is gone');
    this.#swarm = openSwarm(deps.sealKey, entry.value);
    this.#listener = deps.mirror.events.on('changed', ({ put }) => {
      const news = put.find(({ key }) => key === swarmKey);
      if (news === undefined) return;
      const before = this.#swarm;
      this.#swarm = openSwarm(deps.sealKey, news.value);
      this.events.emit('changed', { before, after: this.#swarm });
    });
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }

  get swarm(): SwarmRecord {
    return this.#swarm;
  }

  /** What is secret is clear in the store: it was written by a daemon of before. */
  get isClear(): boolean {
    return !isSealed(this.#deps.mirror.get(swarmKey)?.value);
  }

  /**
   * Writes what `change` makes of the record, unless that is the same object; it is asked again where another was faster,
   * and may throw.
   */
  change(change: (swarm: SwarmRecord) => SwarmRecord | Promise<SwarmRecord>): Promise<SwarmRecord> {
    const { mirror, clock, sealKey } = this.#deps;
    return this.#mutex.run('swarm', async () => {
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        const asRead = mirror.unchanged(swarmKey);
        const before = this.#swarm;
        const changed = await change(before);
        if (changed === before) return before;
        const after = { ...changed, version: before.version + 1, updatedAt: timestamp(clock) };
        const write = [{ key: swarmKey, put: sealSwarm(sealKey, after) }];
        if (await mirror.commit({ compare: [asRead], write })) return after;
      }
      throw new LinkspanError(
        'store',
        'could not change the swarm: other managers changed it again and again',
      );
    });
  }
}
