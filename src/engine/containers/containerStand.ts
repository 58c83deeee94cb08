/*
 * For tests of this folder: everything that containers need, over fakes and in a temporary folder, and a way to make
 * the n-th call to any of the fakes fail.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/logger.ts';
import { openSeam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Image, ImageStore } from '../../runtime/images/images.ts';
import { allCapabilities } from '../../runtime/oci/capabilities.ts';
import { everyLimit } from '../../runtime/oci/limitStand.ts';
import { EventLog } from '../events.ts';
import type { ContainerSpec } from '../model.ts';
import { LocalVolumes } from '../volumes/volumes.ts';
import { type LocalContainers, openContainers } from './containers.ts';
import { FakeMounts, FakeNetwork, FakeRuntime, MemoryStore } from './fakes.ts';

/** Calls that change something outside the daemon: the steps of every operation. */
const steps = new Set(
  'txn prepare remove createTask startTask deleteTask kill updateResources pause resume release forget renamed'.split(
    ' ',
  ),
);

export class Faults {
  /** Steps since `arm`. */
  count = 0;
  #failAt = 0;
  #isDeath = false;

  /** The `failAt`-th step from now on fails, before it does anything; 0 = none. */
  arm(failAt: number): void {
    this.count = 0;
    this.#failAt = failAt;
    this.#isDeath = false;
  }

  /** From the `dieAt`-th step on nothing happens any more and nothing is answered; 0 = never. */
  armDeath(dieAt: number): void {
    this.arm(dieAt);
    this.#isDeath = true;
  }

  /** Nothing happens any more, now. */
  die(): void {
    this.armDeath(1);
  }

  /** `target`, with its steps counted. */
  into<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const value: unknown = Reflect.get(object, name, object);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (steps.has(String(name)) && this.#isDeadAfterStep(String(name))) return new Promise(() => {});
          return (value as (...args: unknown[]) => unknown).apply(object, args);
        };
      },
    });
  }

  /** Counts; throws the planned failure; true once the daemon is dead. */
  #isDeadAfterStep(name: string): boolean {
    this.count += 1;
    if (this.#failAt === 0) return false;
    if (this.#isDeath) return this.count >= this.#failAt;
    if (this.count === this.#failAt) throw new LinkspanError('runtimeFailed', `${name}: injected`);
    return false;
  }
}

const image: Image = {
  id: `sha256:${'1'.repeat(64)}`,
  sizeBytes: 100,
  config: {
    env: ['IMAGE=1'],
    entrypoint: [],
    command: ['sh'],
    workingDir: '',
    user: '',
    exposedPorts: ['80/tcp'],
    volumes: [],
    labels: { of: 'image' },
  },
} as unknown as Image;

const images = {
  chainId: () => 'chain',
  get: (ref: string) =>
    ref === 'busybox' || ref === image.id
      ? Promise.resolve(image)
      : Promise.reject(new LinkspanError('imageNotFound', `No such image: ${ref}:latest`)),
} as unknown as ImageStore;

/** A container of busybox with nothing set. */
export const plain: ContainerSpec = {
  image: 'busybox',
  env: [],
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
  mounts: [],
  sysctls: {},
  extraHosts: [],
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  networkMode: { type: 'networks' },
  networkModeText: 'default',
  attachments: [],
  pidMode: '',
  ipcMode: '',
  utsMode: '',
  cgroupNamespace: '',
};

/** Time stands still: only a sleep of no time ends, and all others when `wake` is called. */
class TestClock implements Clock {
  readonly #sleepers = new Set<() => void>();

  nowMs(): number {
    return systemClock.nowMs();
  }

  upMs(): number {
    return systemClock.upMs();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms === 0) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#sleepers.add(resolve);
    signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
    return promise;
  }

  wake(): void {
    for (const wake of this.#sleepers) wake();
    this.#sleepers.clear();
  }
}

/** The containers over fakes, in a folder of their own. */
export class Stand implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'linkspan-containers-'));
  readonly store: MemoryStore = new MemoryStore();
  readonly runtime: FakeRuntime = new FakeRuntime();
  readonly network: FakeNetwork = new FakeNetwork();
  readonly mounts: FakeMounts = new FakeMounts();
  readonly clock: TestClock = new TestClock();
  /** Of the daemon that was opened last. */
  faults: Faults = new Faults();
  readonly actions: string[] = [];
  #containers: LocalContainers | undefined;
  #volumes: LocalVolumes | undefined;

  get containers(): LocalContainers {
    assert.ok(this.#containers);
    return this.#containers;
  }

  get volumes(): LocalVolumes {
    assert.ok(this.#volumes);
    return this.#volumes;
  }

  /** What a daemon start does; the state of the one before stays. */
  async open(): Promise<LocalContainers> {
    this.faults.die();
    this.faults = new Faults();
    const events = new EventLog();
    events.follow(({ action, attributes }) => this.actions.push(`${action} ${attributes['name'] ?? ''}`));
    writeFileSync(
      join(this.folder, 'resolv.conf'),
      'nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch lan\n',
    );
    const store = this.faults.into(this.store);
    this.#volumes = new LocalVolumes({
      ...{ store, events, clock: this.clock, logger: silentLogger, seam: openSeam() },
      hostMounts: this.mounts,
      folder: join(this.folder, 'volumes'),
    });
    this.#containers = await openContainers({
      store,
      runtime: this.faults.into(this.runtime),
      images,
      events,
      network: this.faults.into(this.network),
      volumes: this.volumes,
      clock: this.clock,
      logger: silentLogger,
      host: {
        architecture: 'amd64',
        kernelRelease: '6.12',
        capabilities: allCapabilities,
        cgroupVersion: 1,
        cgroupParent: '/linkspan',
        limitSupport: everyLimit(2),
        appArmor: undefined,
        findInit: () => '/usr/bin/tini-static',
        devices: () => [],
        devicesAt: () => [],
        findMount: () => undefined,
        deviceNumber: () => ({ major: 8, minor: 0 }),
      },
      makeFifo: (path) => void execFileSync('mkfifo', [path]),
      openDatagrams: () => {
        throw new Error('no journal here');
      },
      dataFolder: join(this.folder, 'data'),
      fifoFolder: join(this.folder, 'fifos'),
      shmFolder: join(this.folder, 'shm'),
      subpathFolder: join(this.folder, 'subpaths'),
      hostMounts: this.mounts,
      defaultIpcMode: 'private',
      hostsPath: join(this.folder, 'hosts'),
      resolvConfPath: join(this.folder, 'resolv.conf'),
      dnsDefaults: { dns: [], dnsSearch: [], dnsOptions: [] },
      defaultLog: { driver: 'json-file', options: {} },
      hostname: () => 'machine',
    });
    return this.#containers;
  }

  /** Creates with a command and a name. */
  async create(command: string, name: string, change: Partial<ContainerSpec> = {}): Promise<string> {
    const { container } = await this.containers.create(
      { ...plain, command: command.split(' '), ...change },
      name,
    );
    return container.id;
  }

  /** Settles when the container has ended its present run. */
  async ended(ref: string): Promise<number> {
    return (await this.containers.wait(ref, 'not-running', new AbortController().signal).done).exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containers?.[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}

/** A stand whose daemon runs. */
export async function openStand(): Promise<Stand> {
  const stand = new Stand();
  await stand.open();
  return stand;
}
