/*
 * Ends runs and containers: what happens when a process exits, stop, kill, and removal. Order at an exit: the last
 * output, network down, durable record, those who wait; a crash in between is done again from the start, because the
 * ended task stays in the runtime until the record says `exited`.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ExitStatus } from '../../runtime/runtime.ts';
import type { Container } from '../model.ts';
import { withSecondChance } from '../secondChance.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { fifoFolderOf } from './containerIo.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { settlesWithin } from './patience.ts';
import { isRestartWanted } from './restarts.ts';
import { ownsNetwork } from './sharing.ts';
import { parseSignal } from './signals.ts';

/** How long outputs may stay open after the process: somebody outside the container may hold them. */
const drainLimitMs = 2_000;
/** How long a killed process may take to be gone. */
const killLimitMs = 10_000;
const defaultStopTimeoutS = 10;
const retryMs = 1_000;
/** Of a run whose end nobody saw. */
export const unknownExitCode = 255;

export class Ender {
  readonly #context: ContainersContext;
  /** Told after a run of so many milliseconds that another one is due. */
  readonly #restart: (live: LiveContainer, ranMs: number) => void;
  /** The daemon lets go: runs are left to the next one. */
  readonly #closing = new AbortController();

  constructor(context: ContainersContext, restart: (live: LiveContainer, ranMs: number) => void) {
    this.#context = context;
    this.#restart = restart;
  }

  close(): void {
    this.#closing.abort();
  }

  /** Fires with `close`. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Follows a run to its end. Does not throw. */
  watch(live: LiveContainer, exit: Promise<ExitStatus>): void {
    void this.#follow(live, exit);
  }

  async #follow(live: LiveContainer, exit: Promise<ExitStatus>): Promise<void> {
    const { signal } = this.#closing;
    const { startedAt } = live.record;
    for (let waiting = exit; ; waiting = this.#lookAgain(live)) {
      try {
        const status = await waiting;
        if (!signal.aborted)
          await this.#context.mutex.run(live.id, () => this.ended(live, startedAt, status));
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#context.logger.warn(
          { ...live.logFields, err: error },
          'lost sight of a container; looking again',
        );
      }
    }
  }

  /** The connection to the runtime broke; the process may go on, or be gone without a trace. */
  async #lookAgain(live: LiveContainer): Promise<ExitStatus> {
    const { runtime, clock } = this.#context;
    await clock.sleep(retryMs, this.#closing.signal);
    const found = (await runtime.list()).find(({ id }) => id === live.id);
    if (found?.task !== undefined) return await runtime.waitTask(live.id);
    return { exitCode: unknownExitCode, exitedAt: timestamp(clock) };
  }

  /**
   * Called with the mutex held. `startedAt` names the run, so that an older run's end is not taken for this one's.
   * When it throws it can be called again, and goes on where it stood.
   */
  async ended(live: LiveContainer, startedAt: string, status: ExitStatus): Promise<void> {
    if (live.record.startedAt !== startedAt || live.settledRun === startedAt) return;
    if (live.isRunning) await this.#processEnded(live, status);
    const removes = live.record.spec.isAutoRemove && !live.isRestarting;
    const restarts = live.record.state === 'restarting';
    await this.#releaseNetwork(live);
    await this.#releaseMemory(live);
    await this.#releaseVolumes(live);
    const again = restarts ? { restartCount: live.record.restartCount + 1 } : {};
    const change: Partial<Container> = removes ? { state: 'removing', removesVolumes: true } : again;
    await this.#twice(live, () => this.#context.table.update(live, change));
    live.settledRun = startedAt;
    live.announceExit();
    if (removes) return await this.#finishRemoval(live);
    try {
      await this.#twice(live, () => this.#context.runtime.deleteTask(live.id));
    } finally {
      if (restarts) this.#restart(live, ranMs(live.record));
    }
  }

  /** The last output, then the news. */
  async #processEnded(live: LiveContainer, { exitCode, exitedAt }: ExitStatus): Promise<void> {
    const { clock, events } = this.#context;
    const { io } = live;
    live.io = undefined;
    live.probing?.abort();
    if (io !== undefined) {
      await settlesWithin(io.drained(), drainLimitMs, clock);
      await io.finish();
    }
    const restarts = !live.isRestarting && isRestartWanted(live.record, exitCode);
    const state = restarts ? 'restarting' : 'exited';
    // To Docker what does not run is unhealthy.
    const health = live.record.health === undefined ? {} : { health: 'unhealthy' as const };
    live.record = { ...live.record, state, pid: 0, exitCode, finishedAt: exitedAt, ...health };
    emitContainerEvent(events, live.record, 'die', {
      exitCode: String(exitCode),
      execDuration: String(Math.floor(ranMs(live.record) / 1000)),
    });
  }

  /** Sends a signal to the first process. Throws containerState if it does not run. */
  async signal(live: LiveContainer, signal: number): Promise<void> {
    await this.#context.runtime.kill(live.id, signal);
    emitContainerEvent(this.#context.events, live.record, 'kill', { signal: String(signal) });
  }

  /** Before a signal that means the end: what ends then is not started again. */
  async noteStop(live: LiveContainer): Promise<void> {
    const { spec, wasStopped } = live.record;
    if (wasStopped === true || live.isRestarting) return;
    // Without a policy the record of the end is soon enough: it matters if the container is given one later.
    if (spec.restartPolicy === undefined) live.record = { ...live.record, wasStopped: true };
    else await this.#context.table.update(live, { wasStopped: true });
  }

  /** SIGKILL, and waits until the run has ended. */
  async killAndWait(live: LiveContainer): Promise<void> {
    await this.noteStop(live);
    const exit = live.nextExit;
    await this.#thaw(live);
    await this.signal(live, parseSignal('KILL'));
    if (!(await settlesWithin(exit, killLimitMs, this.#context.clock)) && live.isRunning) {
      throw new LinkspanError(
        'runtimeFailed',
        `container ${live.id} did not end within ${killLimitMs / 1000} s of SIGKILL`,
      );
    }
  }

  /** False if it does not run. `timeoutS` undefined = the container's; -1 = no SIGKILL ever. */
  async stop(
    live: LiveContainer,
    timeoutS: number | undefined,
    signal: string | undefined,
  ): Promise<boolean> {
    if (!live.isRunning) return false;
    const { spec, process } = live.record;
    const limitS = timeoutS ?? spec.stopTimeoutS ?? defaultStopTimeoutS;
    await this.noteStop(live);
    const exit = live.nextExit;
    await this.#thaw(live);
    await this.signal(live, parseSignal(signal ?? process.stopSignal));
    const isEnded =
      limitS < 0
        ? await exit.then(() => true)
        : await settlesWithin(exit, limitS * 1000, this.#context.clock);
    if (!isEnded && live.isRunning) await this.killAndWait(live);
    emitContainerEvent(this.#context.events, live.record, 'stop');
    return true;
  }

  /**
   * Called with the mutex held: a container that does not run. Idempotent; a failure leaves it `dead`. `removesVolumes`:
   * its anonymous volumes go too, as they do where an earlier call said so.
   */
  async remove(live: LiveContainer, removesVolumes = false): Promise<void> {
    if (this.#context.table.find(live.id) === undefined) return;
    const change = removesVolumes ? { removesVolumes } : {};
    await this.#context.table.update(live, { state: 'removing', ...change });
    await this.#finishRemoval(live);
  }

  /** A record that says `removing` goes away for good; also after a restart of the daemon. */
  async #finishRemoval(live: LiveContainer): Promise<void> {
    try {
      await this.#twice(live, () => this.#removeEverything(live));
    } catch (error) {
      // Not durable: the intent stays, and the next daemon finishes it.
      live.record = { ...live.record, state: 'dead' };
      throw error;
    }
    emitContainerEvent(this.#context.events, live.record, 'destroy');
    live.announceRemoval();
  }

  async #removeEverything(live: LiveContainer): Promise<void> {
    const { runtime, network, table, volumes, dataFolder } = this.#context;
    const { record } = live;
    const { io } = live;
    live.io = undefined;
    await Promise.all([
      runtime.remove(record.id),
      ownsNetwork(record) ? network.forget(record) : undefined,
      io?.finish(),
    ]);
    await Promise.all([
      rm(join(dataFolder, record.id), { recursive: true, force: true }),
      rm(fifoFolderOf(this.#context, record.id), { recursive: true, force: true }),
    ]);
    // Before the record, which names them, goes.
    await volumes.release(record);
    await table.delete(live);
  }

  /** Network and sandbox down; what fails is left to the next start of the daemon, which sweeps. */
  async #releaseNetwork(live: LiveContainer): Promise<void> {
    const { network, logger } = this.#context;
    if (!ownsNetwork(live.record)) return;
    try {
      await this.#twice(live, () => network.release(live.record));
    } catch (error) {
      logger.error({ ...live.logFields, err: error }, 'could not take down the network of a container');
    }
    live.record = withoutSandbox(live.record);
  }

  /** What fails is left to the next start of the daemon, which sweeps. */
  async #releaseMemory(live: LiveContainer): Promise<void> {
    const { sharedMemory, logger } = this.#context;
    try {
      await this.#twice(live, () => sharedMemory.unmount(live.record));
    } catch (error) {
      logger.error({ ...live.logFields, err: error }, 'could not unmount the shared memory of a container');
    }
  }

  /** As above. */
  async #releaseVolumes(live: LiveContainer): Promise<void> {
    try {
      await this.#context.volumes.end(live.record);
    } catch (error) {
      this.#context.logger.error(
        { ...live.logFields, err: error },
        'could not unmount a volume of a container',
      );
    }
  }

  async #twice(live: LiveContainer, step: () => Promise<void>): Promise<void> {
    await withSecondChance(this.#context.logger, live.logFields, step);
  }

  /** A frozen process takes no signal. */
  async #thaw(live: LiveContainer): Promise<void> {
    if (live.record.state !== 'paused') return;
    await this.#context.runtime.resume(live.id);
    await this.#context.table.update(live, { state: 'running' });
    emitContainerEvent(this.#context.events, live.record, 'unpause');
  }
}

/** Of the last run, which has ended. */
function ranMs({ startedAt, finishedAt }: Container): number {
  return Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt));
}

function withoutSandbox(record: Container): Container {
  const { sandbox: _gone, ...rest } = record;
  return rest;
}
