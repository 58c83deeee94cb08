/*
 * The containers: the engine's face to the API for everything about them. This file only puts the parts together:
 * creator, starter, ender, attacher, execs, recovery. Operations that change one container queue behind each other;
 * stop and kill do not queue, because what they wait for needs the queue.
 */
import { mkdirSync } from 'node:fs';
import { KeyedMutex } from '../../base/mutex.ts';
import { hasCode, LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { readContainerLog } from './containerIo.ts';
import { appArmorProfileOf, type ConsoleSize } from '../../runtime/oci/spec.ts';
import type { AttachStreams, LogQuery, LogRecord } from '../../runtime/stdio/stdio.ts';
import { requestsOf } from '../bindings/publishedPorts.ts';
import { changeRequests, type PortChange } from '../bindings/requests.ts';
import type { ContainerSample, Containers, Exec, ExecSpec, WaitCondition } from '../engine.ts';
import {
  type AttachmentRequest,
  type Binding,
  type Container,
  type ContainerChange,
  type ContainerId,
  type ContainerSpec,
  type Endpoint,
  zeroTime,
} from '../model.ts';
import { Subpaths } from '../volumes/subpaths.ts';
import { AccountReader } from './accounts.ts';
import { type AttachWant, attachTo } from './attacher.ts';
import { connectContainer, disconnectContainer } from './connections.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { ContainerTable } from './containerTable.ts';
import { Creator } from './creator.ts';
import type { ContainersContext, ContainersDependencies } from './dependencies.ts';
import { Ender } from './ender.ts';
import { Execs } from './execs.ts';
import { LocalFiles } from './files.ts';
import { HealthChecks, healthOf } from './healthChecks.ts';
import type { Health } from './healthState.ts';
import type { ContainerEnd, LiveContainer } from './liveContainer.ts';
import { checkName } from './names.ts';
import { Probes } from './probes.ts';
import { Recovery } from './recover.ts';
import { isBetweenRuns, Restarts } from './restarts.ts';
import { checkRunning } from './runningChecks.ts';
import { mayChangeNetwork, ownsNetwork } from './sharing.ts';
import { SharedMemory } from './sharedMemory.ts';
import { parseSignal } from './signals.ts';
import { Starter } from './starter.ts';
import { sampleContainer } from './stats.ts';
import { listProcesses, type ProcessTable } from './top.ts';
import { checkUpdate, updateContainer } from './updates.ts';

type Size = { readonly height: number; readonly width: number };

function conflict(message: string): LinkspanError {
  return new LinkspanError('containerState', message);
}

/** What `openContainers` puts together. */
interface Parts {
  readonly ender: Ender;
  readonly starter: Starter;
  readonly restarts: Restarts;
  readonly execs: Execs;
  readonly health: HealthChecks;
}

export class LocalContainers implements Containers, AsyncDisposable {
  readonly files: LocalFiles;
  readonly #context: ContainersContext;
  readonly #creator: Creator;
  readonly #starter: Starter;
  readonly #ender: Ender;
  readonly #restarts: Restarts;
  readonly #execs: Execs;
  readonly #health: HealthChecks;
  readonly #oomWatch: Disposable;

  constructor(context: ContainersContext, parts: Parts) {
    this.#context = context;
    this.#ender = parts.ender;
    this.#restarts = parts.restarts;
    this.#creator = new Creator(context);
    this.#starter = parts.starter;
    this.#execs = parts.execs;
    this.#health = parts.health;
    this.files = new LocalFiles(context, parts.health);
    this.#oomWatch = context.runtime.events.on('oom', ({ containerId }) => void this.#noteOom(containerId));
  }

  /** Lets go of every container; they run on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#oomWatch[Symbol.dispose]();
    this.#ender.close();
    await Promise.all(this.#context.table.list().flatMap(({ io }) => io?.leave() ?? []));
  }

  list(): readonly Container[] {
    return this.#context.table.list().map(({ record }) => record);
  }

  get(ref: string): Container {
    return this.#get(ref).record;
  }

  health({ id }: Container): Health | undefined {
    const live = this.#context.table.find(id);
    return live === undefined ? undefined : healthOf(live);
  }

  appArmorProfile({ spec, startedAt }: Container): string {
    if (startedAt === zeroTime) return '';
    return appArmorProfileOf(spec, this.#context.host) ?? '';
  }

  execIds({ id }: Container): readonly string[] {
    return this.#execs.idsOf(id);
  }

  endpoints(container: Container): readonly Endpoint[] {
    return ownsNetwork(container) ? this.#context.network.endpoints(container) : [];
  }

  bindings(container: Container): readonly Binding[] {
    return ownsNetwork(container) ? this.#context.network.bindings(container) : [];
  }

  async changePorts(ref: string, change: PortChange): Promise<void> {
    const live = this.#get(ref);
    await this.#exclusive(live, async () => {
      const { record } = live;
      const { type } = record.spec.networkMode;
      if (type !== 'networks')
        throw new LinkspanError(
          'containerConfigInvalid',
          `a container in ${type} network mode publishes no ports of its own`,
        );
      // What -P asked for becomes a wish like any other, so that it can be taken back.
      const ports = changeRequests(requestsOf(record), change, this.bindings(record));
      const { table, network, events } = this.#context;
      await table.update(live, { spec: { ...record.spec, ports, publishesAllPorts: false } });
      try {
        if (live.isRunning) await network.publish(live.record);
      } catch (error) {
        await table.update(live, { spec: record.spec });
        throw hasCode(error, 'portUnavailable')
          ? new LinkspanError('portTaken', error.message, { cause: error })
          : error;
      }
      emitContainerEvent(events, live.record, 'update');
    });
  }

  async create(
    spec: ContainerSpec,
    name: string | undefined,
  ): Promise<{ readonly container: Container; readonly warnings: readonly string[] }> {
    const { live, warnings } = await this.#creator.create(spec, name);
    return { container: live.record, warnings };
  }

  async start(ref: string): Promise<void> {
    const live = this.#get(ref);
    await this.#exclusive(live, async () => {
      try {
        await this.#starter.start(live);
      } catch (error) {
        const { state, spec } = live.record;
        if (spec.isAutoRemove && (state === 'created' || state === 'exited'))
          await this.#ender.remove(live, true);
        throw error;
      }
    });
  }

  async stop(ref: string, timeoutS?: number, signal?: string): Promise<boolean> {
    const live = this.#get(ref);
    checkSignal('cannot stop container:', ref, signal);
    if (await this.#callOff(live)) return true;
    try {
      return await this.#ender.stop(live, timeoutS, signal);
    } catch (error) {
      // It ended by itself at that moment, and would come back.
      if (await this.#callOff(live)) return true;
      throw error;
    }
  }

  async restart(ref: string, timeoutS?: number, signal?: string): Promise<void> {
    const live = this.#get(ref);
    checkSignal('Cannot restart container', ref, signal);
    live.restartCalls += 1;
    try {
      await this.#callOff(live);
      await this.#ender.stop(live, timeoutS, signal);
      await this.#exclusive(live, () => this.#starter.start(live));
    } finally {
      live.restartCalls -= 1;
    }
    emitContainerEvent(this.#context.events, live.record, 'restart');
  }

  async kill(ref: string, signal: string): Promise<void> {
    const live = this.#get(ref);
    checkSignal('cannot kill container:', ref, signal);
    const number = parseSignal(signal);
    const isEnd = number === parseSignal('KILL') || number === parseSignal(live.record.process.stopSignal);
    if (isEnd && (await this.#callOff(live))) return;
    if (!live.isRunning) {
      throw conflict(`cannot kill container: ${ref}: container ${live.id} is not running`);
    }
    if (number === parseSignal('KILL')) return await this.#ender.killAndWait(live);
    if (isEnd) await this.#ender.noteStop(live);
    await this.#ender.signal(live, number);
  }

  async pause(ref: string): Promise<void> {
    const live = this.#get(ref);
    await this.#exclusive(live, async () => {
      if (live.record.state === 'paused') throw conflict(`container ${live.id} is already paused`);
      checkRunning(live.record);
      await this.#context.runtime.pause(live.id);
      await this.#context.table.update(live, { state: 'paused' });
      live.probing?.abort();
      emitContainerEvent(this.#context.events, live.record, 'pause');
    });
  }

  async unpause(ref: string): Promise<void> {
    const live = this.#get(ref);
    await this.#exclusive(live, async () => {
      if (live.record.state !== 'paused') throw conflict(`container ${live.id} is not paused`);
      await this.#context.runtime.resume(live.id);
      await this.#context.table.update(live, { state: 'running' });
      this.#health.begin(live, 'unpause');
      emitContainerEvent(this.#context.events, live.record, 'unpause');
    });
  }

  wait(ref: string, condition: WaitCondition, signal: AbortSignal): { readonly done: Promise<ContainerEnd> } {
    const live = this.#get(ref);
    const end = this.#endFor(live, condition);
    const aborted = Promise.withResolvers<never>();
    // Nobody may be listening when the client goes away.
    aborted.promise.catch(() => {});
    signal.addEventListener('abort', () => aborted.reject(signal.reason), { once: true });
    return { done: Promise.race([end, aborted.promise]) };
  }

  async remove(
    ref: string,
    options: { readonly isForced: boolean; readonly removesVolumes: boolean },
  ): Promise<void> {
    const live = this.#get(ref);
    if (live.record.state === 'removing' && !options.isForced) {
      throw conflict(`removal of container ${ref} is already in progress`);
    }
    while (!(await this.#removeStopped(live, options.removesVolumes))) {
      // Running, or started while this waited for its turn.
      if (!options.isForced) throw conflict(cannotRemove(live.record));
      if (!(await this.#callOff(live))) await this.#ender.killAndWait(live);
    }
    this.#execs.forget(live.id);
  }

  async rename(ref: string, name: string): Promise<void> {
    const live = this.#get(ref);
    if (name === '') throw new LinkspanError('requestInvalid', 'Neither old nor new names may be empty');
    const wanted = checkName(name);
    await this.#exclusive(live, async () => {
      const { table, network, events } = this.#context;
      const { name: oldName, id } = live.record;
      if (wanted === oldName) {
        throw new LinkspanError(
          'requestInvalid',
          'Renaming a container with the same name as its current name',
        );
      }
      this.#takeNewName(wanted, id);
      try {
        if (ownsNetwork(live.record)) await network.renamed(live.record, wanted);
        await table.update(live, { name: wanted });
      } catch (error) {
        table.releaseName(wanted, id);
        throw error;
      }
      table.releaseName(oldName, id);
      emitContainerEvent(events, live.record, 'rename', { oldName: `/${oldName}` });
    });
  }

  async update(ref: string, wanted: ContainerChange): Promise<readonly string[]> {
    const { change, warnings } = checkUpdate(this.#context, wanted);
    const live = this.#get(ref);
    await this.#exclusive(live, () => updateContainer(this.#context, live, change));
    return warnings;
  }

  async connect(ref: string, request: AttachmentRequest): Promise<void> {
    const live = this.#get(ref);
    await this.#exclusive(live, () => connectContainer(this.#context, live, request));
  }

  async disconnect(ref: string, network: string, isForced: boolean): Promise<void> {
    const live = this.#context.table.findByRef(ref);
    if (live === undefined && isForced) {
      // To Docker: whatever of that name is left on the network. Here nothing ever is.
      this.#context.network.getNetwork(network);
      throw new LinkspanError('containerNotFound', `endpoint ${ref} not found`);
    }
    const found = live ?? this.#get(ref);
    await this.#exclusive(found, () => disconnectContainer(this.#context, found, network, isForced));
  }

  async resize(ref: string, size: Size): Promise<void> {
    const live = this.#get(ref);
    checkRunning(live.record);
    await this.#context.runtime.resize(live.id, size);
    const { height, width } = size;
    emitContainerEvent(this.#context.events, live.record, 'resize', {
      height: String(height),
      width: String(width),
    });
  }

  attach(ref: string, want: AttachWant): Promise<AttachStreams> {
    const live = this.#get(ref);
    return this.#exclusive(live, () => Promise.resolve(attachTo(this.#context, live, want)));
  }

  logs(ref: string, query: LogQuery, signal: AbortSignal): AsyncIterable<LogRecord> {
    const live = this.#get(ref);
    return readContainerLog(live.record, query, live.isRunning ? live.io?.log : undefined, signal);
  }

  async top(ref: string, psArgs: readonly string[]): Promise<ProcessTable> {
    const live = this.#get(ref);
    checkRunning(live.record);
    const table = await listProcesses(psArgs, await this.#context.runtime.pids(live.id));
    emitContainerEvent(this.#context.events, live.record, 'top');
    return table;
  }

  async sample(id: ContainerId): Promise<ContainerSample | undefined> {
    const live = this.#context.table.find(id);
    if (live === undefined) throw new LinkspanError('containerNotFound', `No such container: ${id}`);
    return await sampleContainer(this.#context, live);
  }

  async size(ref: string): Promise<{ readonly writableBytes: number; readonly rootfsBytes: number }> {
    const { record } = this.#get(ref);
    const { runtime, images } = this.#context;
    const { writableBytes } = await runtime.usage(record.id);
    const image = await images.get(record.imageId).catch(() => undefined);
    return { writableBytes, rootfsBytes: writableBytes + (image?.sizeBytes ?? 0) };
  }

  async prune(select: (container: Container) => boolean): Promise<readonly ContainerId[]> {
    const removed: ContainerId[] = [];
    for (const { record } of this.#context.table.list()) {
      if ((record.state !== 'created' && record.state !== 'exited') || !select(record)) continue;
      try {
        await this.remove(record.id, { isForced: false, removesVolumes: false });
        removed.push(record.id);
      } catch (error) {
        this.#context.logger.warn(
          { container: record.name, id: record.id, err: error },
          'prune skipped a container',
        );
      }
    }
    this.#context.events.emit({
      type: 'container',
      action: 'prune',
      actorId: '',
      attributes: { reclaimed: '0' },
    });
    return removed;
  }

  execCreate(ref: string, spec: ExecSpec): Promise<Exec> {
    const live = this.#get(ref);
    return Promise.resolve(this.#execs.create(live, spec));
  }

  execGet(id: string): Exec {
    return this.#execs.get(id);
  }

  execStart(
    id: string,
    options: { readonly isDetached: boolean; readonly consoleSize?: ConsoleSize },
  ): Promise<AttachStreams> {
    return this.#execs.start(id, options);
  }

  async execResize(id: string, size: Size): Promise<void> {
    await this.#execs.resize(id, size);
  }

  /** Runs `work` while nobody else changes the container, if it then runs and has a network of its own. */
  async whileRunning(
    id: ContainerId,
    work: (container: Container, mayChangeItsNetwork: boolean) => Promise<void>,
  ): Promise<void> {
    const { table, mutex } = this.#context;
    await mutex.run(id, async () => {
      const live = table.find(id);
      if (live?.isRunning !== true || !ownsNetwork(live.record)) return;
      await work(live.record, mayChangeNetwork(table, live.record));
    });
  }

  /** False if it runs. Success if somebody else removed it meanwhile. */
  #removeStopped(live: LiveContainer, removesVolumes: boolean): Promise<boolean> {
    return this.#context.mutex.run(live.id, async () => {
      if (live.isRunning || live.record.state === 'restarting') return false;
      await this.#ender.remove(live, removesVolumes);
      return true;
    });
  }

  /** The news may come after that of the end. Does not throw. */
  async #noteOom(id: string): Promise<void> {
    const { table, events, logger } = this.#context;
    const live = table.find(id as ContainerId);
    if (live === undefined) return;
    emitContainerEvent(events, live.record, 'oom');
    try {
      await table.update(live, { wasOomKilled: true });
    } catch (error) {
      live.record = { ...live.record, wasOomKilled: true };
      logger.warn({ ...live.logFields, err: error }, 'could not record that memory was short');
    }
  }

  #get(ref: string): LiveContainer {
    return this.#context.table.get(ref);
  }

  /** One at a time, and not on a container that is gone when its turn comes. */
  #exclusive<T>(live: LiveContainer, work: () => Promise<T>): Promise<T> {
    return this.#context.mutex.run(live.id, () => {
      this.#context.table.get(live.id);
      return work();
    });
  }

  /** True if a restart was due, which does not come now. What is under way is awaited: an end, a start. */
  async #callOff(live: LiveContainer): Promise<boolean> {
    return !live.isRunning && (await this.#restarts.callOff(live));
  }

  #endFor(live: LiveContainer, condition: WaitCondition): Promise<ContainerEnd> {
    if (condition === 'removed') return live.removal;
    const goesOn = live.isRunning || isBetweenRuns(live.record);
    return condition === 'next-exit' || goesOn ? live.nextExit : Promise.resolve(live.end);
  }

  #takeNewName(name: string, id: ContainerId): void {
    try {
      this.#context.table.takeName(name, id);
    } catch (error) {
      throw new LinkspanError('containerNameTaken', `Error when allocating new name: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

/** Throws requestInvalid with Docker's text, before anything is done. */
function checkSignal(failed: string, ref: string, signal: string | undefined): void {
  try {
    if (signal !== undefined) parseSignal(signal);
  } catch (error) {
    throw new LinkspanError('requestInvalid', `${failed} ${ref}: ${messageOf(error)}`, { cause: error });
  }
}

function cannotRemove({ name, state }: Container): string {
  const why =
    state === 'paused'
      ? 'container is paused and must be unpaused first'
      : `container is ${state}: stop the container before removing or force remove`;
  return `cannot remove container "/${name}": ${why}`;
}

/** Reads the records, adopts what runs, and gives the face to the API. Disposing it leaves the containers running. */
export async function openContainers(deps: ContainersDependencies): Promise<LocalContainers> {
  mkdirSync(deps.dataFolder, { recursive: true, mode: 0o710 });
  mkdirSync(deps.fifoFolder, { recursive: true, mode: 0o700 });
  const context: ContainersContext = {
    ...deps,
    table: new ContainerTable(deps.store),
    mutex: new KeyedMutex(),
    accounts: new AccountReader(deps.runtime),
    sharedMemory: new SharedMemory(deps.shmFolder, deps.hostMounts),
    subpaths: new Subpaths(deps.subpathFolder, deps.hostMounts),
  };
  await context.table.load();
  await context.volumes.recover(context.table.list().map(({ record }) => record));
  const ender = new Ender(context, (live, ranMs) => restarts.schedule(live, ranMs));
  const execs = new Execs(context);
  const health = new HealthChecks(context, new Probes(context, execs), ender.closing);
  const starter = new Starter(context, (live, exit) => {
    ender.watch(live, exit);
    health.begin(live, 'start');
  });
  const restarts = new Restarts(context, (live) => starter.start(live, true), ender.closing);
  await new Recovery(context, ender, restarts, health).recover();
  return new LocalContainers(context, { ender, starter, restarts, execs, health });
}
