/*
 * The files of containers: `diff`, `export`, `commit`. What is in volumes is in neither.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ConfigDraft } from '../../runtime/images/changes.ts';
import { applyChanges } from '../../runtime/images/changes.ts';
import type { Healthcheck } from '../../runtime/oci/healthcheck.ts';
import type { RootfsChange } from '../../runtime/runtime.ts';
import type { CommitRequest, ContainerFiles, PathStat } from '../engine.ts';
import type { Container, ResolvedProcess } from '../model.ts';
import { readPath, statPath, writePath } from './archives.ts';
import { emitContainerEvent } from './containerEvents.ts';
import type { ContainersContext } from './dependencies.ts';
import type { HealthChecks } from './healthChecks.ts';
import type { LiveContainer } from './liveContainer.ts';

function setOf(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function healthOf({ test, ...rest }: Healthcheck): NonNullable<ConfigDraft['Healthcheck']> {
  const { intervalNs, timeoutNs, startPeriodNs, startIntervalNs, retries } = rest;
  return {
    Test: [...test],
    ...(intervalNs !== 0 && { Interval: intervalNs }),
    ...(timeoutNs !== 0 && { Timeout: timeoutNs }),
    ...(startPeriodNs !== 0 && { StartPeriod: startPeriodNs }),
    ...(startIntervalNs !== 0 && { StartInterval: startIntervalNs }),
    ...(retries !== 0 && { Retries: retries }),
  };
}

/** What a container runs, as the config of an image that would run the same. */
function configOf(process: ResolvedProcess): ConfigDraft {
  const { entrypoint, command, env, workingDir, user, stopSignal, labels, exposedPorts } = process;
  const volumes = process.volumes ?? [];
  return {
    ...(user !== '' && { User: user }),
    ...(exposedPorts.length > 0 && { ExposedPorts: setOf(exposedPorts) }),
    Env: [...env],
    ...(command.length > 0 && { Cmd: [...command] }),
    ...(volumes.length > 0 && { Volumes: setOf(volumes) }),
    ...(workingDir !== '' && { WorkingDir: workingDir }),
    ...(entrypoint.length > 0 && { Entrypoint: [...entrypoint] }),
    ...(Object.keys(labels).length > 0 && { Labels: { ...labels } }),
    // What Docker sends where an image says nothing.
    ...(stopSignal !== 'SIGTERM' && { StopSignal: stopSignal }),
    ...(process.healthcheck !== undefined && { Healthcheck: healthOf(process.healthcheck) }),
    ...((process.shell ?? []).length > 0 && { Shell: [...(process.shell ?? [])] }),
  };
}

/** Docker's rules (builder/dockerfile, merge): `own` wins; lists of names are put together. Pure. */
export function mergeConfig(own: ConfigDraft, container: ConfigDraft): ConfigDraft {
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? entry;
  const names = new Set((own.Env ?? []).map(nameOf));
  // A command of the container is meant for the container's entrypoint.
  const { Cmd: command, Entrypoint: entrypoint, ...rest } = container;
  const hasEntrypoint = (own.Entrypoint ?? []).length > 0;
  const given = (own.Cmd ?? []).length > 0 ? own.Cmd : hasEntrypoint ? undefined : command;
  const runs = own.Entrypoint ?? entrypoint;
  const { Cmd: _command, Entrypoint: _entrypoint, ...others } = own;
  return {
    ...rest,
    ...others,
    ...(given !== undefined && { Cmd: given }),
    ...(runs !== undefined && { Entrypoint: runs }),
    Env: [...(own.Env ?? []), ...(container.Env ?? []).filter((entry) => !names.has(nameOf(entry)))],
    ...((own.ExposedPorts ?? container.ExposedPorts) !== undefined && {
      ExposedPorts: { ...container.ExposedPorts, ...own.ExposedPorts },
    }),
    ...((own.Volumes ?? container.Volumes) !== undefined && {
      Volumes: { ...container.Volumes, ...own.Volumes },
    }),
    ...((own.Labels ?? container.Labels) !== undefined && {
      Labels: { ...container.Labels, ...own.Labels },
    }),
  };
}

/** Throws containerState for one that is on its way out. `what`: `export`. */
function checkStays({ id, state }: Container, what: string): void {
  if (state === 'dead')
    throw new LinkspanError('containerState', `You cannot ${what} container ${id} which is Dead`);
  if (state === 'removing')
    throw new LinkspanError('containerState', `You cannot ${what} container ${id} which is being removed`);
}

export class LocalFiles implements ContainerFiles {
  readonly #context: ContainersContext;
  readonly #health: HealthChecks;

  constructor(context: ContainersContext, health: HealthChecks) {
    this.#context = context;
    this.#health = health;
  }

  async statPath(ref: string, path: string): Promise<PathStat> {
    return await statPath(this.#context, ref, path);
  }

  async readPath(...[ref, path, take]: Parameters<ContainerFiles['readPath']>): Promise<void> {
    await readPath(this.#context, ref, path, take);
  }

  async writePath(...[ref, path, tar, options]: Parameters<ContainerFiles['writePath']>): Promise<void> {
    await writePath(this.#context, ref, path, tar, options);
  }

  async changes(ref: string): Promise<readonly RootfsChange[]> {
    const { table, runtime } = this.#context;
    return await runtime.changes(table.get(ref).id);
  }

  export(ref: string, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const { table, images, events } = this.#context;
    const { record } = table.get(ref);
    checkStays(record, 'export');
    emitContainerEvent(events, record, 'export');
    return images.exportContainer(record.id, signal);
  }

  async commit(ref: string, request: CommitRequest): Promise<string> {
    const { table, mutex } = this.#context;
    const live = table.get(ref);
    checkStays(live.record, 'commit');
    const container = configOf(live.record.process);
    const config = mergeConfig(applyChanges(request.changes, request.config ?? container), container);
    return await mutex.run(live.id, async () => {
      table.get(live.id);
      return await this.#whileHeld(live, request.pauses, () => this.#commit(live, request, config));
    });
  }

  async #commit(live: LiveContainer, request: CommitRequest, config: ConfigDraft): Promise<string> {
    const { images, events } = this.#context;
    const { record } = live;
    const { ref, author, comment } = request;
    const createdBy = record.process.command.join(' ');
    const image = await images.commit(record.id, record.imageId, {
      ...(ref !== undefined && { ref }),
      author,
      comment,
      createdBy,
      config,
    });
    emitContainerEvent(events, record, 'commit', {
      comment,
      imageID: image.id,
      imageRef: ref ?? '',
    });
    return image.id;
  }

  /**
   * Runs `work` while no process of the container runs. That is in no record: one that is found paused, and should run, is
   * resumed when the daemon comes back.
   */
  async #whileHeld<T>(live: LiveContainer, pauses: boolean, work: () => Promise<T>): Promise<T> {
    const { runtime, events, logger } = this.#context;
    if (!pauses || live.record.state !== 'running') return await work();
    await runtime.pause(live.id);
    live.probing?.abort();
    emitContainerEvent(events, live.record, 'pause');
    try {
      return await work();
    } finally {
      try {
        await runtime.resume(live.id);
        this.#health.begin(live, 'unpause');
        emitContainerEvent(events, live.record, 'unpause');
      } catch (error) {
        // It has ended: what became of it is heard of elsewhere.
        logger.warn({ ...live.logFields, err: error }, 'could not resume a container after a commit');
      }
    }
  }
}
