/*
 * A world for container tests: a private containerd, the engine's containers over it, and a network that makes empty
 * namespaces. The image has no layers; the machine's static busybox is bound in.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { type LocalContainers, openContainers } from '../../src/engine/containers/containers.ts';
import { MemoryStore } from '../../src/engine/containers/fakes.ts';
import type { SandboxNetwork } from '../../src/engine/containers/ports.ts';
import { LocalVolumes } from '../../src/engine/volumes/volumes.ts';
import { EventLog } from '../../src/engine/events.ts';
import type { Container, ContainerSpec, SandboxId } from '../../src/engine/model.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { type ContainerdRuntime, openRuntime } from '../../src/runtime/containerd/openRuntime.ts';
import type { Image, ImageStore } from '../../src/runtime/images/images.ts';
import { openHostMounts } from '../../src/runtime/hostMounts.ts';
import { readSpecHost } from '../../src/runtime/oci/specHost.ts';

const image = {
  id: `sha256:${'2'.repeat(64)}`,
  sizeBytes: 0,
  config: {
    env: [],
    entrypoint: [],
    command: [],
    workingDir: '',
    user: '',
    exposedPorts: [],
    volumes: [],
    labels: {},
  },
} as unknown as Image;

const images = { chainId: () => '', get: () => Promise.resolve(image) } as unknown as ImageStore;

/** A container of busybox with nothing set. */
const plainSpec: ContainerSpec = {
  image: 'busybox',
  env: ['PATH=/bin'],
  groupAdd: [],
  isTty: false,
  isStdinOpen: false,
  isStdinOnce: false,
  attach: { stdin: false, stdout: true, stderr: true },
  labels: {},
  annotations: {},
  exposedPorts: [],
  ports: [],
  publishesAllPorts: false,
  isAutoRemove: false,
  isPrivileged: false,
  isReadOnlyRootfs: false,
  hasInit: false,
  capAdd: [],
  capDrop: [],
  securityOptions: [],
  mounts: ['busybox', 'sh', 'cat', 'sleep', 'id', 'head', 'stty', 'hostname', 'ls'].map((name) => ({
    type: 'bind' as const,
    source: '/bin/busybox',
    target: `/bin/${name}`,
    isReadOnly: true,
    createSource: false,
  })),
  sysctls: {},
  extraHosts: [],
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  networkMode: { type: 'none' },
  networkModeText: 'none',
  attachments: [],
  pidMode: '',
  ipcMode: '',
  utsMode: '',
  cgroupNamespace: '',
};

/** Empty namespaces, as `--network none` has. */
class NoNetwork implements SandboxNetwork {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  validate(): void {}

  async prepare(container: Container): ReturnType<SandboxNetwork['prepare']> {
    if (container.spec.networkMode.type === 'host') return { sandbox: undefined };
    const id = container.id.slice(0, 12) as SandboxId;
    const path = `/run/netns/${id}`;
    await this.#kernel.createNamespace(path);
    return { sandbox: { id, path } };
  }

  async release({ sandbox }: Container): Promise<void> {
    if (sandbox !== undefined) await this.#kernel.removeNamespace(sandbox.path);
  }

  forget(): Promise<void> {
    return Promise.resolve();
  }

  getNetwork(ref: string): never {
    throw new LinkspanError('networkNotFound', `network ${ref} not found`);
  }

  findNetwork(): undefined {}

  check(): void {}

  connect(): Promise<void> {
    return Promise.resolve();
  }

  disconnect(): Promise<void> {
    return Promise.resolve();
  }

  endpoints(): readonly [] {
    return [];
  }

  counters(): Promise<readonly []> {
    return Promise.resolve([]);
  }

  bindings(): readonly [] {
    return [];
  }

  publish(): Promise<void> {
    return Promise.resolve();
  }

  renamed(): Promise<void> {
    return Promise.resolve();
  }

  hostGatewayIps(): readonly string[] {
    return [];
  }

  sweep(): Promise<void> {
    return Promise.resolve();
  }
}

export class ContainerWorld implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'lsw-'));
  readonly store: MemoryStore = new MemoryStore();
  readonly events: EventLog = new EventLog();
  #kernel: Kernel | undefined;
  #runtime: ContainerdRuntime | undefined;
  #containers: LocalContainers | undefined;

  get containers(): LocalContainers {
    if (this.#containers === undefined) throw new Error('not open');
    return this.#containers;
  }

  get runtime(): ContainerdRuntime {
    if (this.#runtime === undefined) throw new Error('not open');
    return this.#runtime;
  }

  /** What a daemon start does. */
  async open(): Promise<LocalContainers> {
    const dataRoot = join(this.folder, 'data');
    const execRoot = join(this.folder, 'run');
    for (const path of [dataRoot, execRoot]) mkdirSync(path, { recursive: true });
    const kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
    this.#kernel = kernel;
    this.#runtime = await openRuntime({ dataRoot, execRoot, seam: openSeam(), logger: silentLogger });
    this.#containers = await openContainers({
      store: this.store,
      runtime: this.#runtime,
      images,
      events: this.events,
      network: new NoNetwork(kernel),
      volumes: new LocalVolumes({
        ...{ store: this.store, events: this.events, clock: systemClock, logger: silentLogger },
        ...{ seam: openSeam(), folder: join(dataRoot, 'volumes'), hostMounts: openHostMounts(openSeam()) },
      }),
      clock: systemClock,
      logger: silentLogger,
      host: readSpecHost(),
      makeFifo: (path) => kernel.makeFifo(path),
      openDatagrams: (path) => kernel.openDatagrams(path),
      dataFolder: join(dataRoot, 'containers'),
      fifoFolder: join(execRoot, 'containers'),
      shmFolder: join(execRoot, 'shm'),
      subpathFolder: join(execRoot, 'subpaths'),
      hostMounts: openHostMounts(openSeam()),
      defaultIpcMode: 'private',
      hostsPath: '/etc/hosts',
      resolvConfPath: '/etc/resolv.conf',
      dnsDefaults: { dns: [], dnsSearch: [], dnsOptions: [] },
      defaultLog: { driver: 'json-file', options: {} },
      hostname: () => 'machine',
    });
    return this.#containers;
  }

  /** Lets go of everything without ending any container, as a dying daemon does. */
  async close(): Promise<void> {
    await this.#containers?.[Symbol.asyncDispose]();
    await this.#runtime?.[Symbol.asyncDispose]();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  async create(args: readonly string[], name: string, change: Partial<ContainerSpec> = {}): Promise<string> {
    const spec: ContainerSpec = { ...plainSpec, command: args, ...change };
    return (await this.containers.create(spec, name)).container.id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { id } of this.#containers?.list() ?? []) {
      await this.containers.remove(id, { isForced: true, removesVolumes: false });
    }
    await this.close();
    rmSync(this.folder, { recursive: true });
  }
}
