/*
 * The containers of the engine in memory: states and streams, no processes. For tests.
 */
import { Readable } from 'node:stream';
import { newId } from '../../../base/ids.ts';
import type { ContainerFiles, Containers, Exec, ExecSpec, WaitCondition } from '../../../engine/engine.ts';
import type { EventLog } from '../../../engine/events.ts';
import {
  type AttachmentRequest,
  type Binding,
  type Container,
  type ContainerId,
  type ContainerSpec,
  type Endpoint,
  zeroTime,
} from '../../../engine/model.ts';
import { LinkspanError } from '../../../errors/linkspanError.ts';
import type { Mac } from '../../../net/mac.ts';
import type { AttachStreams, LogRecord } from '../../../runtime/stdio/stdio.ts';
import { busybox } from './fakeImages.ts';
import type { FakeNetworks } from './fakeNetworks.ts';
import { Program } from './fakeProgram.ts';

const now = (): string => new Date().toISOString();

interface Waiter {
  readonly condition: WaitCondition;
  readonly resolve: (result: { readonly exitCode: number; readonly error: string }) => void;
}

export class FakeContainers implements Containers {
  readonly all: Map<string, Container> = new Map();
  readonly specs: ContainerSpec[] = [];
  readonly calls: string[] = [];
  readonly files: ContainerFiles = {
    export: (ref) => {
      this.get(ref);
      return Readable.from([Buffer.from('a tar')]);
    },
    changes: () => Promise.resolve([]),
    statPath: () => Promise.reject(new LinkspanError('fileNotFound', 'no files here')),
    readPath: () => Promise.reject(new LinkspanError('fileNotFound', 'no files here')),
    writePath: () => Promise.reject(new LinkspanError('fileNotFound', 'no files here')),
    commit: (ref, request) => {
      this.calls.push(`commit ${this.get(ref).name} ${JSON.stringify(request)}`);
      return Promise.resolve(busybox.id);
    },
  };
  /** Container and request of each connect, for assertions. */
  readonly connections: (readonly [string, AttachmentRequest])[] = [];
  readonly #programs = new Map<string, Program>();
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #execs = new Map<string, Exec>();
  readonly #execPrograms = new Map<string, Program>();
  readonly #networks: FakeNetworks;
  readonly #events: EventLog;

  constructor(networks: FakeNetworks, events: EventLog) {
    this.#networks = networks;
    this.#events = events;
  }

  list(): readonly Container[] {
    return [...this.all.values()];
  }

  get(ref: string): Container {
    const name = ref.replace(/^\//, '');
    const all = this.list();
    const found =
      all.find((one) => one.id === ref || one.name === name) ?? all.find(({ id }) => id.startsWith(ref));
    if (found === undefined) throw new LinkspanError('containerNotFound', `No such container: ${ref}`);
    return found;
  }

  endpoints({ id }: Container): readonly Endpoint[] {
    return this.#networks.attached.filter(({ containerId }) => containerId === id);
  }

  readonly published: Binding[] = [];

  bindings(): readonly Binding[] {
    return this.published;
  }

  changePorts(): Promise<void> {
    return Promise.resolve();
  }

  create(
    spec: ContainerSpec,
    name: string = `fake_${this.all.size}`,
  ): Promise<{ readonly container: Container; readonly warnings: readonly string[] }> {
    this.specs.push(spec);
    if (spec.image.startsWith('nosuch'))
      return Promise.reject(new LinkspanError('imageNotFound', `No such image: ${spec.image}`));
    const command = spec.command ?? busybox.config.command;
    const container: Container = {
      id: newId(),
      name,
      createdAt: now(),
      spec,
      process: {
        args: [...(spec.entrypoint ?? []), ...command],
        entrypoint: spec.entrypoint ?? [],
        command,
        env: [...spec.env, ...busybox.config.env],
        workingDir: spec.workingDir ?? '',
        user: spec.user ?? '',
        stopSignal: 'SIGTERM',
        labels: spec.labels,
        exposedPorts: spec.exposedPorts,
      },
      imageId: busybox.id,
      state: 'created',
      pid: 0,
      exitCode: 0,
      error: '',
      startedAt: zeroTime,
      finishedAt: zeroTime,
      restartCount: 0,
      hostsPath: '',
      hostnamePath: '',
      resolvConfPath: '',
      logPath: '',
    };
    this.all.set(container.id, container);
    this.#programs.set(container.id, new Program());
    this.#emit('create', container);
    return Promise.resolve({ container, warnings: [] });
  }

  start(ref: string): Promise<void> {
    const container = this.get(ref);
    const args = container.process.args;
    if (args[0] === '/nosuch') {
      this.#finish(container.id, 127);
      return Promise.reject(
        new LinkspanError(
          'containerStartFailed',
          'failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory: unknown',
        ),
      );
    }
    const program = this.#programOf(container).rearm();
    this.all.set(container.id, { ...container, state: 'running', pid: 4711, startedAt: now() });
    this.#attachNetworks(container);
    this.#emit('start', container);
    void program.ended.promise.then((exitCode) => this.#finish(container.id, exitCode));
    program.run(args);
    return Promise.resolve();
  }

  stop(ref: string, timeoutS?: number, signal?: string): Promise<boolean> {
    const container = this.get(ref);
    this.calls.push(`stop ${container.name} ${timeoutS} ${signal}`);
    if (container.state !== 'running') return Promise.resolve(false);
    this.#programOf(container).end(137);
    return Promise.resolve(true);
  }

  async restart(ref: string, timeoutS?: number, signal?: string): Promise<void> {
    await this.stop(ref, timeoutS, signal);
    await this.start(ref);
  }

  kill(ref: string, signal: string): Promise<void> {
    const container = this.get(ref);
    this.calls.push(`kill ${container.name} ${signal}`);
    if (container.state !== 'running')
      return Promise.reject(
        new LinkspanError(
          'containerState',
          `cannot kill container: ${ref}: container ${container.id} is not running`,
        ),
      );
    this.#programOf(container).end(137);
    return Promise.resolve();
  }

  pause(ref: string): Promise<void> {
    return this.#setState(ref, 'paused');
  }

  unpause(ref: string): Promise<void> {
    return this.#setState(ref, 'running');
  }

  wait(
    ref: string,
    condition: WaitCondition,
  ): { readonly done: Promise<{ readonly exitCode: number; readonly error: string }> } {
    const container = this.get(ref);
    const { promise, resolve } = Promise.withResolvers<{
      readonly exitCode: number;
      readonly error: string;
    }>();
    if (condition === 'not-running' && container.state !== 'running')
      resolve({ exitCode: container.exitCode, error: '' });
    else
      this.#waiters.set(container.id, [...(this.#waiters.get(container.id) ?? []), { condition, resolve }]);
    return { done: promise };
  }

  remove(ref: string, options: { readonly isForced: boolean }): Promise<void> {
    const container = this.get(ref);
    if (container.state === 'running' && !options.isForced)
      return Promise.reject(
        new LinkspanError(
          'containerState',
          `cannot remove container "${ref}": container is running: stop the container before removing or force remove`,
        ),
      );
    if (container.state === 'running') this.#programOf(container).end(137);
    this.#detachNetworks(container.id);
    this.all.delete(container.id);
    this.#release(container.id, 'removed', container.exitCode);
    this.#emit('destroy', container);
    return Promise.resolve();
  }

  sample(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  health(): undefined {
    return undefined;
  }

  appArmorProfile(): string {
    return '';
  }

  execIds(): readonly string[] {
    return [];
  }

  update(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  rename(ref: string, name: string): Promise<void> {
    const container = this.get(ref);
    this.all.set(container.id, { ...container, name });
    return Promise.resolve();
  }

  resize(ref: string, size: { readonly height: number; readonly width: number }): Promise<void> {
    this.calls.push(`resize ${this.get(ref).name} ${size.height}x${size.width}`);
    return Promise.resolve();
  }

  attach(ref: string, want: { readonly stdin: boolean }): Promise<AttachStreams> {
    const program = this.#programOf(this.get(ref)).rearm();
    return Promise.resolve({
      ...program.watch(),
      ...(want.stdin && { stdin: program.stdin }),
      close: () => {},
    });
  }

  async *logs(ref: string): AsyncIterable<LogRecord> {
    yield* this.#programOf(this.get(ref)).log;
  }

  top(): Promise<{ readonly titles: readonly string[]; readonly processes: readonly (readonly string[])[] }> {
    return Promise.resolve({ titles: ['PID', 'CMD'], processes: [['4711', 'sleep 999']] });
  }

  size(): Promise<{ readonly writableBytes: number; readonly rootfsBytes: number }> {
    return Promise.resolve({ writableBytes: 7, rootfsBytes: 1984169 });
  }

  async prune(select: (container: Container) => boolean): Promise<readonly ContainerId[]> {
    const chosen = this.list().filter((one) => one.state !== 'running' && select(one));
    for (const { id } of chosen) await this.remove(id, { isForced: false });
    return chosen.map(({ id }) => id);
  }

  execCreate(ref: string, spec: ExecSpec): Promise<Exec> {
    const container = this.get(ref);
    if (container.state !== 'running')
      return Promise.reject(new LinkspanError('containerState', `container ${container.id} is not running`));
    const exec: Exec = {
      id: newId(),
      containerId: container.id,
      spec,
      state: 'created',
      pid: 0,
      exitCode: undefined,
    };
    this.#execs.set(exec.id, exec);
    this.#execPrograms.set(exec.id, new Program());
    return Promise.resolve(exec);
  }

  execGet(id: string): Exec {
    const exec = this.#execs.get(id);
    if (exec === undefined) throw new LinkspanError('execNotFound', `No such exec instance: ${id}`);
    return exec;
  }

  execStart(id: string): Promise<AttachStreams> {
    const exec = this.execGet(id);
    if (exec.spec.args[0] === 'nosuch') {
      this.#execs.set(id, { ...exec, state: 'exited', exitCode: 127 });
      return Promise.reject(
        new LinkspanError(
          'containerStartFailed',
          'OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown',
        ),
      );
    }
    const program = this.#execPrograms.get(id) ?? new Program();
    const streams = program.watch();
    this.#execs.set(id, { ...exec, state: 'running', pid: 4712 });
    void program.ended.promise.then((exitCode) =>
      this.#execs.set(id, { ...exec, state: 'exited', exitCode }),
    );
    program.run(exec.spec.args);
    return Promise.resolve({
      ...streams,
      ...(exec.spec.attach.stdin && { stdin: program.stdin }),
      close: () => {},
    });
  }

  execResize(id: string, size: { readonly height: number; readonly width: number }): Promise<void> {
    this.calls.push(`exec resize ${size.height}x${size.width} ${this.execGet(id).state}`);
    return Promise.resolve();
  }

  #programOf({ id }: Container): Program {
    const program = this.#programs.get(id) ?? new Program();
    this.#programs.set(id, program);
    return program;
  }

  #setState(ref: string, state: Container['state']): Promise<void> {
    const container = this.get(ref);
    this.all.set(container.id, { ...container, state });
    return Promise.resolve();
  }

  #finish(id: string, exitCode: number): void {
    const container = this.all.get(id);
    if (container === undefined) return;
    this.all.set(id, { ...container, state: 'exited', pid: 0, exitCode, finishedAt: now() });
    this.#detachNetworks(id);
    this.#emit('die', container, { exitCode: String(exitCode) });
    this.#release(id, 'exited', exitCode);
    if (container.spec.isAutoRemove) void this.remove(id, { isForced: false });
  }

  connect(ref: string, request: AttachmentRequest): Promise<void> {
    this.connections.push([ref, request]);
    return Promise.resolve();
  }

  disconnect(ref: string, network: string): Promise<void> {
    this.#networks.get(network);
    return Promise.reject(
      new LinkspanError('endpointNotFound', `container ${ref} is not connected to network ${network}`),
    );
  }

  #release(id: string, what: 'exited' | 'removed', exitCode: number): void {
    const waiters = this.#waiters.get(id) ?? [];
    const isDue = ({ condition }: Waiter): boolean => what === 'removed' || condition !== 'removed';
    this.#waiters.set(
      id,
      waiters.filter((waiter) => !isDue(waiter)),
    );
    for (const waiter of waiters.filter(isDue)) waiter.resolve({ exitCode, error: '' });
  }

  #attachNetworks(container: Container): void {
    if (container.spec.networkMode.type === 'container') return;
    container.spec.attachments.forEach((request, index) => {
      const { id, pools } = this.#networks.get(request.network);
      const gateway = pools[0]?.gateway;
      this.#networks.attached.push({
        id: newId(),
        networkId: id,
        containerId: container.id,
        containerName: container.name,
        request,
        defaultRoutes: [],
        dnsNames: [container.name],
        state: 'attached',
        interfaceName: `eth${index}`,
        hostInterfaceName: '',
        mac: '02:00:00:00:00:02' as Mac,
        ...(gateway !== undefined && {
          ipv4: `${request.ipv4 ?? gateway.replace(/1$/, '2')}/16`,
          ipv4Gateway: gateway,
        }),
      });
    });
  }

  #detachNetworks(containerId: string): void {
    const { attached } = this.#networks;
    attached.splice(0, attached.length, ...attached.filter((one) => one.containerId !== containerId));
  }

  #emit(action: string, { id, name, spec }: Container, more: Readonly<Record<string, string>> = {}): void {
    this.#events.emit({
      type: 'container',
      action,
      actorId: id,
      attributes: { ...spec.labels, ...more, image: spec.image, name },
    });
  }
}
