/*
 * Asks running containers how they are, one probe of a container after the other, by its HEALTHCHECK. The status is
 * durable as long as the machine runs, so that a daemon that comes back goes on with it; what probes wrote is not.
 */
import type { Healthcheck } from '../../runtime/oci/healthcheck.ts';
import { probeCommand } from '../../runtime/oci/healthcheck.ts';
import type { HealthStatus } from '../model.ts';
import { emitContainerEvent } from './containerEvents.ts';
import type { ContainersContext } from './dependencies.ts';
import { type Health, type ProbeResult, probeDelayMs, timeoutMsOf, withResult } from './healthState.ts';
import type { LiveContainer } from './liveContainer.ts';
import type { Probes } from './probes.ts';

interface Watch {
  readonly live: LiveContainer;
  readonly healthcheck: Healthcheck;
  readonly args: readonly string[];
  /** By the clock that nobody sets. */
  readonly startedUpMs: number;
  readonly signal: AbortSignal;
}

/** Of the container's present or last run; undefined if nobody asks. */
export function healthOf({ record, probed }: LiveContainer): Health | undefined {
  return record.health === undefined ? undefined : { status: record.health, ...probed };
}

/** The status that a run begins with. */
export function firstHealth({ record }: LiveContainer): { readonly health?: HealthStatus } {
  return probeCommand(record.process.healthcheck) === undefined ? {} : { health: 'starting' };
}

/** A part of 1 that is a container's own: what begins at one moment, at a daemon's start, is spread by it. */
function phaseOf({ id }: LiveContainer): number {
  return Number.parseInt(id.slice(0, 8), 16) / 2 ** 32;
}

export class HealthChecks {
  readonly #context: ContainersContext;
  readonly #probes: Probes;
  /** The daemon lets go. */
  readonly #closing: AbortSignal;

  constructor(context: ContainersContext, probes: Probes, closing: AbortSignal) {
    this.#context = context;
    this.#probes = probes;
    this.#closing = closing;
  }

  /** Of a container that runs, and since when it is asked. No-op without a healthcheck. */
  begin(live: LiveContainer, since: 'start' | 'unpause' | 'adoption'): void {
    const { healthcheck, shell } = live.record.process;
    const args = probeCommand(healthcheck, shell);
    if (healthcheck === undefined || args === undefined) return;
    live.probing?.abort();
    live.probing = new AbortController();
    const { clock } = this.#context;
    const ranMs = Math.max(0, clock.nowMs() - Date.parse(live.record.startedAt));
    const watch: Watch = {
      ...{ live, healthcheck, args, startedUpMs: clock.upMs() - ranMs },
      signal: AbortSignal.any([live.probing.signal, this.#closing]),
    };
    if (since === 'start') live.probed = { ...live.probed, failingStreak: 0 };
    // Those that a daemon finds are not to be asked all at once.
    void this.#follow(watch, since === 'adoption' ? phaseOf(live) : 1);
  }

  async #follow(watch: Watch, firstPart: number): Promise<void> {
    const { live, healthcheck, args, startedUpMs, signal } = watch;
    const { clock, logger } = this.#context;
    const ranMs = (): number => clock.upMs() - startedUpMs;
    for (let part = firstPart; ; part = 1) {
      const delayMs = part * probeDelayMs(healthcheck, live.record.health ?? 'starting', ranMs());
      try {
        await clock.sleep(delayMs, signal);
      } catch {
        return;
      }
      const beganMs = ranMs();
      const result = await this.#probes.run(live, args, timeoutMsOf(healthcheck));
      if (signal.aborted) return;
      try {
        await this.#note(live, result, healthcheck, beganMs);
      } catch (error) {
        logger.warn({ ...live.logFields, err: error }, 'could not record the health of a container');
      }
    }
  }

  async #note(
    live: LiveContainer,
    result: ProbeResult,
    healthcheck: Healthcheck,
    ranMs: number,
  ): Promise<void> {
    const before = healthOf(live) ?? { status: 'starting' as const, ...live.probed };
    const { status, ...probed } = withResult(before, result, healthcheck, ranMs);
    live.probed = probed;
    if (status === live.record.health) return;
    const { table, events } = this.#context;
    const written = table.update(live, { health: status }, 'process').catch((error: unknown) => {
      // It holds all the same; the next change is written with it.
      live.record = { ...live.record, health: status };
      throw error;
    });
    emitContainerEvent(events, live.record, `health_status: ${status}`);
    await written;
  }
}
