/*
 * Restart policies: whether another run follows the end of one, and the wait in between, which as in Docker begins at
 * 100 ms, doubles up to a minute, and begins anew after a run of ten seconds. A run that could not be started counts as
 * one that failed: what it lacks (a network of the swarm, a mount) may be there later.
 */
import { timestamp } from '../../base/timestamp.ts';
import { type Container, zeroTime } from '../model.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { neededBy } from './sharing.ts';

const firstDelayMs = 100;
const mostDelayMs = 60_000;
const longRunMs = 10_000;

/** Whether another run follows, now that the last one ended with `exitCode`. Pure. */
export function isRestartWanted(record: Container, exitCode: number = record.exitCode): boolean {
  const { restartPolicy: policy } = record.spec;
  if (policy === undefined || record.wasStopped === true) return false;
  if (policy.name !== 'on-failure') return true;
  return exitCode !== 0 && (policy.maxRetries === 0 || record.restartCount < policy.maxRetries);
}

/** Whether a daemon that starts has to start the container, which does not run. Pure. */
export function isStartDue({ state, spec, startedAt, wasStopped }: Container): boolean {
  const { restartPolicy: policy } = spec;
  if (policy === undefined || startedAt === zeroTime) return false;
  if (state === 'restarting') return true;
  return (
    state === 'exited' &&
    (policy.name === 'always' || (policy.name === 'unless-stopped' && wasStopped !== true))
  );
}

/** Between two runs of a restart policy: the next one is due, or being started. Pure. */
export function isBetweenRuns({ state, restartCount }: Container): boolean {
  return state === 'restarting' || (state === 'starting' && restartCount > 0);
}

/** `beforeMs`: the wait of before, 0 = none. Pure. */
export function nextDelayMs(beforeMs: number, ranMs: number): number {
  if (beforeMs === 0 || ranMs >= longRunMs) return firstDelayMs;
  return Math.min(2 * beforeMs, mostDelayMs);
}

export class Restarts {
  readonly #context: ContainersContext;
  readonly #start: (live: LiveContainer) => Promise<void>;
  /** The daemon lets go: nothing is started any more. */
  readonly #closing: AbortSignal;
  /** Records, runtime and network are one again: not before may anything start. */
  #isOpen = false;

  constructor(
    context: ContainersContext,
    start: (live: LiveContainer) => Promise<void>,
    closing: AbortSignal,
  ) {
    this.#context = context;
    this.#start = start;
    this.#closing = closing;
  }

  /** After a run of `ranMs` of a container whose record says `restarting`. Does not wait for it. No-op before `resume`. */
  schedule(live: LiveContainer, ranMs: number): void {
    if (!this.#isOpen) return;
    live.restart?.abort();
    const restart = new AbortController();
    live.restart = restart;
    live.restartDelayMs = nextDelayMs(live.restartDelayMs, ranMs);
    void this.#startLater(live, live.restartDelayMs, AbortSignal.any([restart.signal, this.#closing]));
  }

  /** What a daemon that starts has to start, once all is brought together. */
  async resume(): Promise<void> {
    const { table, logger } = this.#context;
    this.#isOpen = true;
    for (const live of table.list()) {
      if (!isStartDue(live.record)) continue;
      try {
        await table.update(live, { state: 'restarting' });
      } catch (error) {
        // It is due all the same: the next daemon would come to it again.
        live.record = { ...live.record, state: 'restarting' };
        logger.warn({ ...live.logFields, err: error }, 'could not record that a container is due');
      }
      this.schedule(live, 0);
    }
  }

  /** A restart that is due does not come, as somebody wants it stopped; one under way is awaited. True if one was due. */
  async callOff(live: LiveContainer): Promise<boolean> {
    return await this.#context.mutex.run(live.id, async () => {
      if (live.record.state !== 'restarting') return false;
      await this.#context.table.update(live, { state: 'exited', wasStopped: true });
      live.restart?.abort();
      live.announceExit();
      return true;
    });
  }

  async #startLater(live: LiveContainer, delayMs: number, signal: AbortSignal): Promise<void> {
    const { clock, mutex, table, logger } = this.#context;
    try {
      await clock.sleep(delayMs, signal);
      await mutex.run(live.id, async () => {
        if (signal.aborted || table.find(live.id) !== live || live.record.state !== 'restarting') return;
        // What it joins comes first.
        const isComing = (peer: Container): boolean => isBetweenRuns(peer) || peer.state === 'starting';
        if (neededBy(table, live.record).some(isComing)) return this.schedule(live, 0);
        try {
          await this.#start(live);
        } catch (error) {
          logger.warn({ ...live.logFields, err: error }, 'could not restart a container');
          await this.#failed(live);
        }
      });
    } catch (error) {
      if (signal.aborted) return;
      logger.error({ ...live.logFields, err: error }, 'could not record a restart; trying again');
      this.schedule(live, 0);
    }
  }

  async #failed(live: LiveContainer): Promise<void> {
    const { table, clock } = this.#context;
    const { restartCount } = live.record;
    if (isRestartWanted(live.record)) {
      await table.update(live, { state: 'restarting', restartCount: restartCount + 1 });
      this.schedule(live, 0);
      return;
    }
    await table.update(live, { state: 'exited', finishedAt: timestamp(clock) });
    live.announceExit();
  }
}
