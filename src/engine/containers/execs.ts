/*
 * Further processes in a running container. They live in memory only: after a restart of the daemon they go on, but
 * nobody can ask for them any more.
 */
import { newId } from '../../base/ids.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { buildExecProcess, type ConsoleSize } from '../../runtime/oci/spec.ts';
import { type AccountFiles, resolveUser } from '../../runtime/oci/users.ts';
import type { OciSpec } from '../../runtime/runtime.ts';
import { defaultDetachKeys } from '../../runtime/stdio/detachKeys.ts';
import { ProcessIo } from '../../runtime/stdio/processIo.ts';
import type { AttachStreams } from '../../runtime/stdio/stdio.ts';
import type { Exec, ExecSpec } from '../engine.ts';
import type { ContainerId } from '../model.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { fifoFolderOf } from './containerIo.ts';
import { checkDetachKeys } from './createChecks.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { settlesWithin } from './patience.ts';
import { checkExecutable } from './runningChecks.ts';
import { findPeer } from './sharing.ts';
import { ownHostname, specOptionsOf } from './specValues.ts';
import { translateStartError } from './startError.ts';

/** How long an ended exec can be asked about, as in Docker. */
const keptMs = 5 * 60 * 1000;
/** A child that it left behind may hold its outputs for ever. */
const drainLimitMs = 2_000;

interface LiveExec {
  exec: Exec;
  /** Users and groups of its container, read while the client asks for the start. */
  readonly accounts: Promise<AccountFiles>;
  readonly end: PromiseWithResolvers<number>;
  endedMs: number | undefined;
}

function commandLine(exec: Exec): string {
  return exec.spec.args.join(' ');
}

export class Execs {
  readonly #context: ContainersContext;
  readonly #execs = new Map<string, LiveExec>();

  constructor(context: ContainersContext) {
    this.#context = context;
  }

  /** Throws containerState unless the container runs and is not paused. */
  create(live: LiveContainer, spec: ExecSpec): Exec {
    checkExecutable(live.record);
    if (spec.args.length === 0) throw new LinkspanError('requestInvalid', 'No exec command specified');
    checkDetachKeys(spec.detachKeys, defaultDetachKeys);
    this.#dropOld();
    const exec: Exec = {
      id: newId<'exec'>(),
      containerId: live.id,
      spec,
      state: 'created',
      pid: 0,
      exitCode: undefined,
    };
    const accounts = this.#context.accounts.read(live.record);
    // It is the start that tells of a failure.
    accounts.catch(() => {});
    this.#execs.set(exec.id, { exec, accounts, end: Promise.withResolvers(), endedMs: undefined });
    this.#emit(live, exec, `exec_create: ${commandLine(exec)}`);
    return exec;
  }

  get(id: string): Exec {
    return this.#get(id).exec;
  }

  /** Of a container, those that have not ended. */
  idsOf(container: ContainerId): readonly string[] {
    const all = [...this.#execs.values()].map(({ exec }) => exec);
    return all
      .filter((exec) => exec.containerId === container && exec.state !== 'exited')
      .map(({ id }) => id);
  }

  /** Settles with the exit code once it has ended, or could not be started; its outputs may still be open. */
  ended(id: string): Promise<number> {
    return this.#get(id).end.promise;
  }

  /** Nobody will ask about it any more. */
  drop(id: string): void {
    this.#execs.delete(id);
  }

  /** Forgets those of a container that is gone. */
  forget(container: ContainerId): void {
    for (const { exec } of [...this.#execs.values()]) {
      if (exec.containerId === container) this.#execs.delete(exec.id);
    }
  }

  /**
   * Starts it, with a terminal of this size or else its spec's; the streams are those that its spec attaches, none if detached. A command that cannot be run rejects
   * with containerStartFailed and leaves exit code 127 or 126 in the exec.
   */
  async start(
    id: string,
    options: { readonly isDetached: boolean; readonly consoleSize?: ConsoleSize },
  ): Promise<AttachStreams> {
    const entry = this.#get(id);
    const { exec } = entry;
    if (exec.state !== 'created') {
      const state = exec.state === 'running' ? 'is already running' : 'has already run';
      throw new LinkspanError('execState', `exec command ${id} ${state}`);
    }
    const live = this.#context.table.get(exec.containerId);
    checkExecutable(live.record);
    // Taken before the first await, so that a second start is refused.
    const size = options.consoleSize ?? exec.spec.consoleSize;
    const spec = { ...exec.spec, ...(size !== undefined && { consoleSize: size }) };
    entry.exec = { ...exec, spec, state: 'running' };
    const io = this.#openIo(entry.exec, options.isDetached);
    try {
      return await this.#run(live, entry, io, options.isDetached);
    } catch (error) {
      await io.finish();
      await this.#context.runtime.deleteExec(live.id, id).catch(() => {});
      const failure = translateStartError(error, exec.spec.args[0] ?? '', 126);
      this.#end(entry, failure.exitCode);
      this.#emit(live, exec, 'exec_die', { exitCode: String(failure.exitCode) });
      throw failure.error;
    }
  }

  /** Throws execState unless it runs. */
  async resize(id: string, size: { readonly height: number; readonly width: number }): Promise<void> {
    const { exec } = this.#get(id);
    if (exec.state !== 'running' || exec.pid === 0) {
      throw new LinkspanError('execState', `exec process ${id} is not started`);
    }
    await this.#context.runtime.resize(exec.containerId, size, id);
  }

  async #run(
    live: LiveContainer,
    entry: LiveExec,
    io: ProcessIo,
    isDetached: boolean,
  ): Promise<AttachStreams> {
    const { runtime } = this.#context;
    const { exec } = entry;
    const { id, spec } = exec;
    const process = this.#processOf(live, spec, await entry.accounts);
    await runtime.createExec(live.id, id, process, io.open());
    const { stdin, stdout, stderr } = spec.attach;
    const streams: AttachStreams = isDetached
      ? { close: () => {} }
      : io.attach({
          stdin,
          stdout,
          stderr,
          detachKeys: checkDetachKeys(spec.detachKeys, defaultDetachKeys),
          onDetach: () => this.#emit(live, exec, 'exec_detach'),
        });
    const { pid } = await runtime.startExec(live.id, id);
    io.begin();
    io.connected();
    entry.exec = { ...exec, state: 'running', pid };
    this.#emit(live, exec, `exec_start: ${commandLine(exec)}`);
    void this.#follow(live, entry, io);
    return streams;
  }

  #processOf(live: LiveContainer, spec: ExecSpec, files: AccountFiles): OciSpec {
    const { host, table, hostname } = this.#context;
    const { record } = live;
    const named = findPeer(table, record) ?? record;
    return buildExecProcess(
      {
        args: spec.args,
        env: spec.env,
        workingDir: spec.workingDir,
        user: resolveUser(spec.user ?? record.process.user, record.spec.groupAdd, files),
        isTty: spec.isTty,
        isPrivileged: spec.isPrivileged,
        consoleSize: spec.consoleSize,
      },
      specOptionsOf(record, ownHostname(named.id, named.spec, hostname)),
      host,
    );
  }

  /** The exit code is known before the streams end: who reads to the end asks for it next. */
  async #follow(live: LiveContainer, entry: LiveExec, io: ProcessIo): Promise<void> {
    const { runtime, clock, logger } = this.#context;
    const { id } = entry.exec;
    let exitCode = 137;
    try {
      ({ exitCode } = await runtime.waitExec(live.id, id));
      entry.end.resolve(exitCode);
    } catch (error) {
      // Its container ended, or the runtime did.
      logger.debug({ ...live.logFields, exec: id, err: error }, 'lost sight of an exec');
    }
    await settlesWithin(io.drained(), drainLimitMs, clock);
    this.#end(entry, exitCode);
    await io.finish();
    this.#emit(live, entry.exec, 'exec_die', { exitCode: String(exitCode) });
    await runtime.deleteExec(live.id, id).catch((error: unknown) => {
      logger.debug({ ...live.logFields, exec: id, err: error }, 'could not delete an ended exec');
    });
  }

  #openIo(exec: Exec, isDetached: boolean): ProcessIo {
    const { runtime, makeFifo, logger } = this.#context;
    const { attach, isTty } = exec.spec;
    return new ProcessIo({
      directory: fifoFolderOf(this.#context, exec.containerId),
      prefix: `${exec.id}-`,
      isTty,
      hasStdin: attach.stdin && !isDetached,
      isStdinOnce: true,
      // The shim takes all of them or none; of what nobody attached to, what comes is dropped.
      outputs: isDetached || !(attach.stdin || attach.stdout || attach.stderr) ? [] : ['stdout', 'stderr'],
      log: undefined,
      makeFifo,
      closeStdin: () => {
        runtime.closeStdin(exec.containerId, exec.id).catch((error: unknown) => {
          logger.debug({ exec: exec.id, err: error }, 'closing stdin failed: the process is gone');
        });
      },
    });
  }

  #get(id: string): LiveExec {
    const entry = this.#execs.get(id) ?? this.#findByPrefix(id);
    if (entry !== undefined) return entry;
    throw new LinkspanError('execNotFound', `No such exec instance: ${id}`);
  }

  #findByPrefix(id: string): LiveExec | undefined {
    const matches = id === '' ? [] : [...this.#execs].filter(([known]) => known.startsWith(id));
    return matches.length === 1 ? matches[0]?.[1] : undefined;
  }

  #end(entry: LiveExec, exitCode: number): void {
    entry.exec = { ...entry.exec, state: 'exited', pid: 0, exitCode };
    entry.endedMs = this.#context.clock.nowMs();
    entry.end.resolve(exitCode);
  }

  #dropOld(): void {
    const beforeMs = this.#context.clock.nowMs() - keptMs;
    for (const [id, { endedMs }] of this.#execs) {
      if (endedMs !== undefined && endedMs < beforeMs) this.#execs.delete(id);
    }
  }

  #emit(
    live: LiveContainer,
    exec: Exec,
    action: string,
    attributes: Readonly<Record<string, string>> = {},
  ): void {
    emitContainerEvent(this.#context.events, live.record, action, { execID: exec.id, ...attributes });
  }
}
