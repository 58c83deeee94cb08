/*
 * For tests of this folder: a store in memory, a runtime whose processes are scripted, a network that only counts.
 * The runtime plays the shim on the real FIFOs, so that streams are as they are.
 */
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LinkCounters } from '../../codec/netlink/linkCounters.ts';
import { Events } from '../../base/events.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { HostMount, HostMounts } from '../../runtime/hostMounts.ts';
import type { ExitStatus, OciSpec, Runtime, RuntimeContainer, StdioPaths } from '../../runtime/runtime.ts';
import type { Entry, Store, StoreChange, Txn, TxnResult } from '../../store/store.ts';
import { Watchers } from '../../store/watchers.ts';
import type {
  AttachmentRequest,
  Binding,
  Container,
  Endpoint,
  Network,
  Sandbox,
  SandboxId,
} from '../model.ts';
import type { SandboxNetwork } from './ports.ts';

/** Remembers what is mounted where, in order. */
export class FakeMounts implements HostMounts {
  readonly mounted: Map<string, HostMount> = new Map();

  mount(target: string, what: HostMount): Promise<void> {
    this.mounted.set(target, what);
    return Promise.resolve();
  }

  unmount(target: string): Promise<void> {
    this.mounted.delete(target);
    return Promise.resolve();
  }

  list(folder: string): Promise<readonly string[]> {
    return Promise.resolve([...this.mounted.keys()].filter((path) => path.startsWith(`${folder}/`)));
  }
}

export class MemoryStore implements Store {
  readonly entries: Map<string, Entry> = new Map();
  /** Every value ever written, oldest first: the durable steps. */
  readonly history: { readonly key: string; readonly value: unknown }[] = [];
  readonly #watchers = new Watchers();
  #revision = 0;

  get(key: string): Promise<Entry | undefined> {
    return Promise.resolve(this.entries.get(key));
  }

  list(prefix: string): Promise<{ readonly revision: number; readonly entries: readonly Entry[] }> {
    return Promise.resolve({ revision: this.#revision, entries: this.#below(prefix) });
  }

  txn(txn: Txn): Promise<TxnResult> {
    this.#revision += 1;
    for (const write of txn.write) {
      if ('del' in write) this.entries.delete(write.key);
      else {
        const value: unknown = structuredClone(write.put);
        this.entries.set(write.key, { key: write.key, value, revision: this.#revision });
        this.history.push({ key: write.key, value });
      }
    }
    const revision = this.#revision;
    this.#watchers.tell(
      revision,
      txn.write.map(({ key }) => {
        const entry = this.entries.get(key);
        return entry === undefined ? { key } : { key, entry };
      }),
    );
    return Promise.resolve({ ok: true, revision });
  }

  async sync(): Promise<void> {}

  watch(prefix: string, hear: (change: StoreChange) => void): Disposable {
    const watcher = this.#watchers.add(prefix, hear);
    queueMicrotask(() => watcher.tellAll(this.#revision, this.#below(prefix)));
    return watcher;
  }

  #below(prefix: string): readonly Entry[] {
    return [...this.entries.values()].filter(({ key }) => key.startsWith(prefix));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** What a scripted process does when it is started. */
export interface Script {
  readonly stdout?: string;
  /** Ends by itself with this code; undefined = runs until it is killed. */
  readonly exitCode?: number;
  /** Signals that it takes no notice of. */
  readonly ignores?: readonly number[];
  /** The runtime refuses to create it with this text. */
  readonly refusal?: string;
}

interface FakeTask {
  status: 'created' | 'running' | 'paused' | 'stopped';
  readonly pid: number;
  readonly script: Script;
  readonly spec: OciSpec;
  readonly writers: number[];
  readonly exit: PromiseWithResolvers<ExitStatus>;
  ended: ExitStatus | undefined;
}

function argsOf(spec: OciSpec): string {
  const process = (spec['process'] ?? spec) as { readonly args: readonly string[] };
  return process.args.join(' ');
}

function openTask(
  spec: OciSpec,
  scripts: ReadonlyMap<string, Script>,
  stdio: StdioPaths,
  pid: number,
): FakeTask {
  const script = scripts.get(argsOf(spec)) ?? { exitCode: 0 };
  if (script.refusal !== undefined) throw new LinkspanError('runtimeFailed', script.refusal);
  const writers = [stdio.stdout, stdio.stderr].flatMap((path) =>
    path === undefined ? [] : openSync(path, 'w'),
  );
  const exit = Promise.withResolvers<ExitStatus>();
  return { status: 'created', pid, script, spec, writers, exit, ended: undefined };
}

export class FakeRuntime implements Runtime {
  readonly events: Runtime['events'] = new Events();
  /** By command line. */
  readonly scripts: Map<string, Script> = new Map();
  readonly prepared: Set<string> = new Set();
  readonly tasks: Map<string, FakeTask> = new Map();
  readonly files: Map<string, string> = new Map([['/etc/passwd', 'root:x:0:0::/root:/bin/sh\n']]);
  /** What was last asked of a running task. */
  readonly resources: Map<string, OciSpec> = new Map();
  /** Calls that change something, in order. */
  readonly log: string[] = [];
  #nextPid = 1000;

  readonly containerd = { address: '/run/fake.sock', namespace: 'fake' };

  versions(): Promise<{ readonly containerd: string; readonly runc: string }> {
    return Promise.resolve({ containerd: '0', runc: '0' });
  }

  prepareView(): Promise<void> {
    return Promise.resolve();
  }

  viewMount(): Promise<{ readonly type: string; readonly source: string; readonly options: [] }> {
    return Promise.resolve({ type: 'bind', source: '/view', options: [] });
  }

  prepare(id: string): Promise<void> {
    this.prepared.add(id);
    return Promise.resolve();
  }

  async remove(id: string): Promise<void> {
    await this.deleteTask(id);
    this.prepared.delete(id);
  }

  list(): Promise<readonly RuntimeContainer[]> {
    return Promise.resolve(
      [...this.prepared].map((id) => {
        const task = this.tasks.get(id);
        if (task === undefined) return { id, task };
        const { status, pid, ended } = task;
        return { id, task: { status, pid, ...(ended === undefined ? {} : { exit: ended }) } };
      }),
    );
  }

  sweep(): Promise<void> {
    this.log.push('sweep');
    return Promise.resolve();
  }

  readRootfsFile(_id: string, path: string): Promise<Buffer | undefined> {
    this.log.push(`read ${path}`);
    const text = this.files.get(path);
    return Promise.resolve(text === undefined ? undefined : Buffer.from(text));
  }

  copyRootfsFolder(_id: string, path: string, target: string): Promise<'copied' | 'none'> {
    this.log.push(`copy ${path}`);
    const text = this.files.get(path);
    if (text === undefined) return Promise.resolve('none');
    writeFileSync(join(target, 'file'), text);
    return Promise.resolve('copied');
  }

  withRunningRootfs(): Promise<never> {
    return Promise.reject(new Error('no files here'));
  }

  withStoppedRootfs(): Promise<never> {
    return Promise.reject(new Error('no files here'));
  }

  changes(): ReturnType<Runtime['changes']> {
    return Promise.resolve([]);
  }

  usage(): Promise<{ readonly writableBytes: number }> {
    return Promise.resolve({ writableBytes: 7 });
  }

  createTask(id: string, spec: OciSpec, stdio: StdioPaths): Promise<{ readonly pid: number }> {
    this.log.push('createTask');
    const task = openTask(spec, this.scripts, stdio, (this.#nextPid += 1));
    this.tasks.set(id, task);
    return Promise.resolve({ pid: task.pid });
  }

  startTask(id: string): Promise<void> {
    const task = this.#task(id);
    task.status = 'running';
    const [stdout] = task.writers;
    if (stdout !== undefined) writeSync(stdout, task.script.stdout ?? '');
    if (task.script.exitCode !== undefined) this.end(id, task.script.exitCode);
    return Promise.resolve();
  }

  waitTask(id: string): Promise<ExitStatus> {
    return this.#task(id).exit.promise;
  }

  deleteTask(id: string): Promise<void> {
    if (this.tasks.get(id) !== undefined) this.end(id, 137);
    this.tasks.delete(id);
    return Promise.resolve();
  }

  kill(id: string, signal: number): Promise<void> {
    this.log.push(`kill ${signal}`);
    if (this.#task(id).script.ignores?.includes(signal) !== true) this.end(id, 128 + signal);
    return Promise.resolve();
  }

  updateResources(id: string, resources: OciSpec): Promise<void> {
    this.#task(id);
    this.resources.set(id, resources);
    return Promise.resolve();
  }

  pause(id: string): Promise<void> {
    this.#task(id).status = 'paused';
    return Promise.resolve();
  }

  resume(id: string): Promise<void> {
    this.#task(id).status = 'running';
    return Promise.resolve();
  }

  resize(): Promise<void> {
    return Promise.resolve();
  }

  closeStdin(): Promise<void> {
    return Promise.resolve();
  }

  pids(id: string): Promise<readonly number[]> {
    return Promise.resolve([this.#task(id).pid]);
  }

  async createExec(id: string, execId: string, process: OciSpec, stdio: StdioPaths): Promise<void> {
    await this.createTask(`${id}/${execId}`, process, stdio);
  }

  async startExec(id: string, execId: string): Promise<{ readonly pid: number }> {
    await this.startTask(`${id}/${execId}`);
    return { pid: this.#task(`${id}/${execId}`).pid };
  }

  waitExec(id: string, execId: string): Promise<ExitStatus> {
    return this.waitTask(`${id}/${execId}`);
  }

  killExec(id: string, execId: string): Promise<void> {
    this.log.push('killExec');
    this.end(`${id}/${execId}`, 137);
    return Promise.resolve();
  }

  deleteExec(id: string, execId: string): Promise<void> {
    return this.deleteTask(`${id}/${execId}`);
  }

  /** The process of a task or exec ends. */
  end(id: string, exitCode: number): void {
    const task = this.#task(id);
    if (task.status === 'stopped') return;
    task.status = 'stopped';
    task.ended = { exitCode, exitedAt: '2026-01-01T00:00:09Z' };
    for (const fd of task.writers.splice(0)) closeSync(fd);
    task.exit.resolve(task.ended);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #task(id: string): FakeTask {
    const task = this.tasks.get(id);
    if (task === undefined) throw new LinkspanError('runtimeFailed', `no task ${id}`);
    return task;
  }
}

export class FakeNetwork implements SandboxNetwork {
  /** Containers with a sandbox. */
  readonly attached: Set<string> = new Set();
  readonly log: string[] = [];
  failure: Error | undefined;

  validate(): void {}

  prepare(container: Container): Promise<{ readonly sandbox: Sandbox | undefined }> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.log.push(`prepare ${container.name}`);
    this.attached.add(container.id);
    const sandbox = { id: container.id as unknown as SandboxId, path: `/run/netns/${container.name}` };
    return Promise.resolve({ sandbox: container.spec.networkMode.type === 'host' ? undefined : sandbox });
  }

  release(container: Container): Promise<void> {
    this.log.push(`release ${container.name}`);
    this.attached.delete(container.id);
    return Promise.resolve();
  }

  forget(container: Container): Promise<void> {
    this.log.push(`forget ${container.name}`);
    return Promise.resolve();
  }

  /** There is `bridge`, `host`, `none` and whatever else is asked for, but for `nope`. */
  getNetwork(ref: string): Network {
    const network = this.findNetwork(ref);
    if (network === undefined) throw new LinkspanError('networkNotFound', `network ${ref} not found`);
    return network;
  }

  findNetwork(ref: string): Network | undefined {
    const driver = { host: 'host', none: 'null' }[ref] ?? 'bridge';
    return ref === 'nope' ? undefined : ({ id: ref, name: ref, driver } as Network);
  }

  check({ network }: AttachmentRequest): void {
    this.log.push(`check ${network}`);
  }

  async connect(
    container: Container,
    { network }: AttachmentRequest,
    commit: () => Promise<void>,
  ): Promise<void> {
    this.log.push(`connect ${container.name} ${network}`);
    await commit();
  }

  async disconnect(container: Container, network: Network, commit: () => Promise<void>): Promise<void> {
    await commit();
    this.log.push(`disconnect ${container.name} ${network.name}`);
  }

  endpoints(container: Container): readonly Endpoint[] {
    return this.attached.has(container.id)
      ? [{ ipv4: '172.17.0.2/16', dnsNames: [] as readonly string[] } as Endpoint]
      : [];
  }

  counters(): Promise<readonly LinkCounters[]> {
    return Promise.resolve([]);
  }

  bindings(): readonly Binding[] {
    return [];
  }

  publish(container: Container): Promise<void> {
    this.log.push(`publish ${container.name}`);
    return this.failure === undefined ? Promise.resolve() : Promise.reject(this.failure);
  }

  renamed(container: Container, name: string): Promise<void> {
    this.log.push(`rename ${container.name} ${name}`);
    return Promise.resolve();
  }

  hostGatewayIps(): readonly string[] {
    return ['172.17.0.1'];
  }

  sweep(running: readonly Container[]): Promise<void> {
    this.log.push(`sweep ${running.map(({ name }) => name).join(' ')}`);
    return Promise.resolve();
  }
}
