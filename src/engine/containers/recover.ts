/*
 * Coming back: records, the runtime and the network are brought together again at daemon start. Running containers
 * are adopted with their streams, ends that nobody saw are worked through, intents are finished (`removing`) or
 * undone (`starting`), and what has no record goes away.
 */
import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { timestamp } from '../../base/timestamp.ts';
import type { RuntimeContainer } from '../../runtime/runtime.ts';
import { type Container, type ContainerId, zeroTime } from '../model.ts';
import { openContainerIo } from './containerIo.ts';
import type { ContainersContext } from './dependencies.ts';
import { type Ender, unknownExitCode } from './ender.ts';
import type { HealthChecks } from './healthChecks.ts';
import { openLeftExecs } from './leftExecs.ts';
import type { LiveContainer } from './liveContainer.ts';
import type { Restarts } from './restarts.ts';
import { ownsNetwork } from './sharing.ts';
import { finishUpdate } from './updates.ts';

/** Longer than containerd needs to finish or undo a request whose client has died. */
const secondLookMs = 1_500;

type Task = NonNullable<RuntimeContainer['task']>;

export class Recovery {
  readonly #context: ContainersContext;
  readonly #ender: Ender;
  readonly #restarts: Restarts;
  readonly #health: HealthChecks;

  constructor(context: ContainersContext, ender: Ender, restarts: Restarts, health: HealthChecks) {
    this.#context = context;
    this.#ender = ender;
    this.#restarts = restarts;
    this.#health = health;
  }

  /** Call once, after the table was loaded and before anything else. One container's failure does not stop the rest. */
  async recover(): Promise<void> {
    const { runtime, table, network, logger, fifoFolder } = this.#context;
    using _left = openLeftExecs(fifoFolder);
    const tasks = new Map((await runtime.list()).map(({ id, task }) => [id, task]));
    await Promise.all(
      table.list().map(async (live) => {
        try {
          await this.#recoverOne(live, tasks.get(live.id));
        } catch (error) {
          logger.error({ ...live.logFields, err: error }, 'could not bring a container back');
        }
      }),
    );
    await this.#removeOrphans([...tasks.keys()]);
    await runtime.sweep();
    await this.#removeFolders();
    await this.#sweepMounts();
    const recordsOf = (isRunning: boolean): readonly Container[] =>
      table
        .list()
        .filter((live) => live.isRunning === isRunning)
        .map(({ record }) => record);
    await network.sweep(recordsOf(true), recordsOf(false));
    await this.#restarts.resume();
    void this.#lookAgain();
  }

  async #recoverOne(live: LiveContainer, task: Task | undefined): Promise<void> {
    switch (live.record.state) {
      case 'removing':
      case 'dead':
        return await this.#ender.remove(live);
      case 'starting':
        return await this.#undoStart(live);
      case 'running':
      case 'paused':
        return await this.#adopt(live, task);
      case 'created':
      case 'restarting':
      case 'exited':
        // The end was recorded, its task not yet deleted.
        if (task !== undefined) await this.#context.runtime.deleteTask(live.id);
    }
  }

  /** The start was never answered: as if it had not been asked for. */
  async #undoStart(live: LiveContainer): Promise<void> {
    const { runtime, network, table, logger } = this.#context;
    await runtime.deleteTask(live.id);
    if (ownsNetwork(live.record)) {
      await network.release(live.record).catch((error: unknown) => {
        logger.warn(
          { ...live.logFields, err: error },
          'could not take down the network of a half-made start',
        );
      });
    }
    const { sandbox: _gone, ...rest } = live.record;
    live.record = rest;
    const { startedAt, restartCount } = live.record;
    const before = restartCount > 0 ? 'restarting' : startedAt === zeroTime ? 'created' : 'exited';
    await table.update(live, { state: before, pid: 0 });
    logger.info(live.logFields, 'undid a start that the last daemon did not finish');
  }

  async #adopt(live: LiveContainer, task: Task | undefined): Promise<void> {
    const { table, clock, logger } = this.#context;
    const { startedAt } = live.record;
    if (task?.status !== 'running' && task?.status !== 'paused') {
      const exit = task?.exit ?? { exitCode: unknownExitCode, exitedAt: timestamp(clock) };
      await this.#ender.ended(live, startedAt, exit);
      logger.info({ ...live.logFields, exitCode: exit.exitCode }, 'a container ended while no daemon ran');
      return;
    }
    live.io = openContainerIo(this.#context, live.record);
    live.io.reopen();
    // Held still for a commit that this cut short.
    const isHeld = live.record.state === 'running' && task.status === 'paused';
    if (isHeld) await this.#context.runtime.resume(live.id);
    const state = isHeld ? 'running' : task.status;
    if (live.record.state !== state || live.record.pid !== task.pid) {
      await table.update(live, { state, pid: task.pid });
    }
    await finishUpdate(this.#context, live);
    this.#ender.watch(live, this.#context.runtime.waitTask(live.id));
    if (task.status === 'running') this.#health.begin(live, 'adoption');
    logger.info({ ...live.logFields, pid: task.pid }, 'adopted a running container');
  }

  /** Snapshots and tasks without a record: a create or a removal was cut short. */
  async #removeOrphans(runtimeIds: readonly string[]): Promise<void> {
    const { runtime, table, logger } = this.#context;
    for (const id of runtimeIds.filter((id) => !table.isInUse(id))) {
      logger.info({ id }, 'removing a container that has no record');
      await runtime.remove(id);
    }
  }

  async #sweepMounts(): Promise<void> {
    const { sharedMemory, subpaths, table, logger } = this.#context;
    try {
      await subpaths.sweep();
      await sharedMemory.sweep((id) => table.find(id)?.isRunning === true);
    } catch (error) {
      logger.error({ err: error }, 'could not unmount what containers had');
    }
  }

  async #removeFolders(): Promise<void> {
    const { table, dataFolder, fifoFolder } = this.#context;
    for (const folder of [dataFolder, fifoFolder]) {
      for (const name of readdirSync(folder)) {
        if (!table.isInUse(name)) await rm(join(folder, name), { recursive: true, force: true });
      }
    }
  }

  /**
   * What the last daemon had asked for when it was killed may still have been under way at the first look: a task
   * that appears afterwards belongs to nobody. Does not throw.
   */
  async #lookAgain(): Promise<void> {
    const { runtime, table, mutex, clock, logger } = this.#context;
    try {
      await clock.sleep(secondLookMs, this.#ender.closing);
      await runtime.sweep();
      const found = await runtime.list();
      await this.#removeOrphans(found.map(({ id }) => id));
      for (const { id, task } of found) {
        const live = table.find(id as ContainerId);
        if (live === undefined || task === undefined) continue;
        await mutex.run(id, async () => {
          const { state } = live.record;
          if (state === 'created' || state === 'exited') await runtime.deleteTask(id);
        });
      }
    } catch (error) {
      if (!this.#ender.closing.aborted) logger.warn({ err: error }, 'the second look after the start failed');
    }
  }
}
