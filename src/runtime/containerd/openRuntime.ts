/*
 * The container runtime over containerd: snapshots (overlayfs), container records, tasks and execs of
 * io.containerd.runc.v2. Everything that is kept lives in containerd and in the shims; this object may be dropped and
 * opened again at any time. Contract: runtime/runtime.ts.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { stringifyBig } from '../../base/bigJson.ts';
import { Events } from '../../base/events.ts';
import type { Logger } from '../../base/logger.ts';
import { findProgram } from '../../base/programs.ts';
import type { Seam } from '../../base/seam.ts';
import type { OciSpec, Runtime, RuntimeContainer, RuntimeEvents, StdioPaths } from '../runtime.ts';
import { type ContainerdClient, containerdNamespace, type loadLibraries, openClient } from './client.ts';
import { connect, supervise } from './connection.ts';
import { openDaemonProcess } from './daemonProcess.ts';
import { type Any, type Process, snapshotKind, taskStatus } from './messages.ts';
import { readStartedBy } from './processTree.ts';
import { layerDirectories, readLayeredFile } from './rootfs.ts';
import { withRunningRootfs, withStoppedRootfs } from './rootfsAccess.ts';
import { findChanges } from './rootfsChanges.ts';
import { copyFolder } from './rootfsCopy.ts';
import { toLinkspanError, unless } from './status.ts';
import { endStrays } from './strays.ts';
import { deleteTask, type ProcessRef, waitProcess } from './tasks.ts';
import { formatTimestamp } from './timestamp.ts';

export interface RuntimeOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  /** Socket of a containerd that somebody else runs; undefined = a private one is started and kept running. */
  readonly address?: string;
  readonly seam: Seam;
  readonly logger: Logger;
  /** OCI runtime: a name in PATH or a path; default runc. */
  readonly runtimeBinary?: string;
  /** What `loadLibraries` of client.ts gave, if it was called ahead. */
  readonly libraries?: ReturnType<typeof loadLibraries>;
  /** cgroups through systemd: `linux.cgroupsPath` is then `slice:prefix:name`. */
  readonly isSystemdCgroup?: boolean;
}

/** The runtime plus its connection, which the image store shares. */
export interface ContainerdRuntime extends Runtime {
  readonly client: ContainerdClient;
}

export const snapshotter = 'overlayfs';
const runtimeName = 'io.containerd.runc.v2';
/** Marks our containers' snapshots, beside the extraction ones of images. */
const containerLabel = 'linkspan.container';
/** Creating a task runs runc once; a loaded machine may need long. */
const createDeadlineMs = 120_000;

/** Each takes two seconds more where the shim is busy. */
const stateTries = 60;
const stateRetryMs = 250;

const specTypeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
const resourcesTypeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';
const processTypeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

function toAny(typeUrl: string, value: OciSpec): Any {
  return { type_url: typeUrl, value: Buffer.from(stringifyBig(value)) };
}

function toStdio(stdio: StdioPaths): { stdin: string; stdout: string; stderr: string; terminal: boolean } {
  return {
    stdin: stdio.stdin ?? '',
    stdout: stdio.stdout ?? '',
    stderr: stdio.stderr ?? '',
    terminal: stdio.isTerminal,
  };
}

const statusNames: Readonly<Record<number, 'created' | 'running' | 'paused' | 'stopped'>> = {
  [taskStatus.created]: 'created',
  [taskStatus.running]: 'running',
  [taskStatus.paused]: 'paused',
  [taskStatus.pausing]: 'running',
  [taskStatus.stopped]: 'stopped',
};

function toTask(process: Process): NonNullable<RuntimeContainer['task']> {
  // A task whose shim is gone has an unknown status: nothing of it runs any more.
  const status = statusNames[process.status] ?? 'stopped';
  if (status !== 'stopped') return { status, pid: process.pid };
  return {
    status,
    pid: 0,
    exit: { exitCode: process.exit_status, exitedAt: formatTimestamp(process.exited_at) },
  };
}

/** SIGKILL, unless it is gone. */
function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A runtime method whose failures leave as LinkspanError. */
function guard<Arguments extends readonly unknown[], Result>(
  work: (...args: Arguments) => Promise<Result>,
): (...args: Arguments) => Promise<Result> {
  return async (...args) => {
    try {
      return await work(...args);
    } catch (error) {
      throw toLinkspanError(error);
    }
  };
}

/**
 * Starts or adopts containerd and connects. Throws runtimeUnavailable with what to install or what containerd said.
 * Disposing ends a private containerd if nothing of ours runs in it, and leaves it otherwise.
 */
export async function openRuntime(options: RuntimeOptions): Promise<ContainerdRuntime> {
  const { seam, logger } = options;
  const daemon = options.address === undefined ? openDaemonProcess(options) : undefined;
  const address = options.address ?? daemon?.address ?? '';
  const client = await openClient(address, seam, options.libraries);
  const shims = { namespace: containerdNamespace, address, logger };
  try {
    await connect(client, daemon);
  } catch (error) {
    client[Symbol.dispose]();
    throw toLinkspanError(error);
  }
  const events = new Events<RuntimeEvents>();
  const stopping = new AbortController();
  const supervision = supervise(client, daemon, events, logger, stopping.signal);

  const binary = options.runtimeBinary ?? 'runc';
  const taskOptions: Any = {
    type_url: 'containerd.runc.v1.Options',
    value: client.encode('RuncOptions', {
      ...(binary === 'runc' ? {} : { binary_name: binary }),
      systemd_cgroup: options.isSystemdCgroup ?? false,
    }),
  };
  let runcVersion: Promise<string> | undefined;

  async function readRuncVersion(): Promise<string> {
    const path = (await findProgram(binary)) ?? binary;
    const { stdout } = await promisify(execFile)(path, ['--version']);
    return /version (\S+)/.exec(stdout)?.[1] ?? 'unknown';
  }

  async function prepare(
    id: string,
    chainId: string,
    labels: Readonly<Record<string, string>>,
  ): Promise<void> {
    const all = { ...labels, [containerLabel]: id, 'containerd.io/gc.root': new Date().toISOString() };
    await unless(
      client.call('Snapshots.Prepare', { snapshotter, key: id, parent: chainId, labels: all }),
      'alreadyExists',
    );
  }

  const viewKey = (id: string, index: number): string => `${id}-image-${index}`;

  async function prepareView(id: string, index: number, chainId: string): Promise<void> {
    const labels = { 'containerd.io/gc.root': new Date().toISOString() };
    const key = viewKey(id, index);
    await unless(
      client.call('Snapshots.View', { snapshotter, key, parent: chainId, labels }),
      'alreadyExists',
    );
  }

  /** From the last one down: what is left after a failure is found again, which is counted up until one is missing. */
  async function removeViews(id: string): Promise<void> {
    const keys: string[] = [];
    for (let index = 0; ; index += 1) {
      const key = viewKey(id, index);
      const found = await unless(client.call('Snapshots.Stat', { snapshotter, key }), 'notFound');
      if (found === undefined) break;
      keys.push(key);
    }
    for (const key of keys.toReversed())
      await unless(client.call('Snapshots.Remove', { snapshotter, key }), 'notFound');
  }

  /** containerd's record with this spec, made at the first start and changed at later ones. */
  async function putRecord(id: string, spec: OciSpec): Promise<void> {
    const container = {
      id,
      runtime: { name: runtimeName },
      spec: toAny(specTypeUrl, spec),
      snapshotter,
      snapshot_key: id,
    };
    const created = await unless(client.call('Containers.Create', { container }), 'alreadyExists');
    if (created === undefined)
      await client.call('Containers.Update', { container, update_mask: { paths: ['spec'] } });
  }

  /** Containers whose task this process is asking for: not yet in any list, and no strays. */
  const creating = new Set<string>();
  /** Of each sweep under way: what was being asked for when it began, or since. It may be in no list that it has read. */
  const sweeps = new Set<Set<string>>();

  async function createTask(id: string, spec: OciSpec, stdio: StdioPaths): Promise<{ readonly pid: number }> {
    creating.add(id);
    for (const seen of sweeps) seen.add(id);
    try {
      return await createTaskOnce(id, spec, stdio);
    } catch (error) {
      // The bundle of a lost shim is in the way: only a failure pays for looking.
      const ended = await endStrays({ ...shims, isKnown: (other) => other !== id });
      if (ended.length === 0) throw error;
      return await createTaskOnce(id, spec, stdio);
    } finally {
      creating.delete(id);
    }
  }

  async function sweep(): Promise<void> {
    const seen = new Set(creating);
    sweeps.add(seen);
    try {
      const { tasks } = await client.call('Tasks.List', {});
      const known = new Set(tasks.map(({ id }) => id));
      await endStrays({ ...shims, isKnown: (id) => known.has(id) || seen.has(id) });
    } finally {
      sweeps.delete(seen);
    }
  }

  async function createTaskOnce(
    id: string,
    spec: OciSpec,
    stdio: StdioPaths,
  ): Promise<{ readonly pid: number }> {
    const [{ mounts }] = await Promise.all([
      client.call('Snapshots.Mounts', { snapshotter, key: id }),
      putRecord(id, spec),
    ]);
    const request = { container_id: id, rootfs: mounts, options: taskOptions, ...toStdio(stdio) };
    const create = (): Promise<{ readonly pid: number }> =>
      client.call('Tasks.Create', request, { deadlineMs: createDeadlineMs });
    const created = await unless(create(), 'alreadyExists');
    if (created !== undefined) return { pid: created.pid };
    // An ended task that nobody deleted, since the daemon was away.
    await deleteTask(client, id);
    return { pid: (await create()).pid };
  }

  async function remove(id: string): Promise<void> {
    await deleteTask(client, id);
    await unless(client.call('Containers.Delete', { id }), 'notFound');
    await removeViews(id);
    await unless(client.call('Snapshots.Remove', { snapshotter, key: id }), 'notFound');
  }

  async function listSnapshots(): Promise<readonly string[]> {
    const names: string[] = [];
    const filters = [`kind==active,labels."${containerLabel}"`];
    for await (const { info } of client.stream('Snapshots.List', { snapshotter, filters }))
      for (const { name, kind } of info) if (kind === snapshotKind.active) names.push(name);
    return names;
  }

  /**
   * containerd says `unknown` of a task whose shim does not answer within two seconds, which may be busy with a request of
   * a daemon that died: that is no end. Asked again until it answers; undefined if it is gone.
   */
  async function settled(process: Process): Promise<Process | undefined> {
    let found: Process | undefined = process;
    for (let left = stateTries; found?.status === taskStatus.unknown && left > 0; left--) {
      await sleep(stateRetryMs);
      const answer = await unless(client.call('Tasks.Get', ref(process.id)), 'notFound');
      found = answer?.process;
    }
    return found;
  }

  async function list(): Promise<readonly RuntimeContainer[]> {
    const [snapshots, { containers }, { tasks }] = await Promise.all([
      listSnapshots(),
      client.call('Containers.List', { filters: [] }),
      client.call('Tasks.List', {}),
    ]);
    const known = await Promise.all(tasks.map(settled));
    const taskOf = new Map(
      known.flatMap((process) => (process === undefined ? [] : [[process.id, toTask(process)]])),
    );
    const ids = new Set([...snapshots, ...containers.map(({ id }) => id), ...taskOf.keys()]);
    return [...ids].map((id) => ({ id, task: taskOf.get(id) }));
  }

  async function readRootfsFile(id: string, path: string): Promise<Buffer | undefined> {
    const { mounts } = await client.call('Snapshots.Mounts', { snapshotter, key: id });
    return await readLayeredFile(layerDirectories(mounts), path);
  }

  async function copyRootfsFolder(
    id: string,
    path: string,
    target: string,
  ): ReturnType<Runtime['copyRootfsFolder']> {
    const { mounts } = await client.call('Snapshots.Mounts', { snapshotter, key: id });
    return await copyFolder(layerDirectories(mounts), path, target);
  }

  async function dispose(): Promise<void> {
    stopping.abort();
    await supervision;
    const isIdle =
      daemon !== undefined &&
      (await client.call('Tasks.List', {}, { deadlineMs: 5000 }).then(
        ({ tasks }) => tasks.every((process) => process.status === taskStatus.stopped),
        () => false,
      ));
    client[Symbol.dispose]();
    if (!isIdle) return;
    await daemon.stop().catch((error: unknown) => logger.warn({ err: error }, 'containerd did not end'));
  }

  async function killExec(id: string, execId: string, pid: number): Promise<void> {
    // What forks on while it is looked for is found by the next look.
    for (let look = 0; look < 5; look++) {
      const list = await unless(client.call('Tasks.ListPids', ref(id)), 'notFound');
      const started = await readStartedBy(
        pid,
        (list?.processes ?? []).map((one) => one.pid),
      );
      const request = { ...ref(id, execId), signal: constants.signals.SIGKILL };
      if (look === 0) await unless(client.call('Tasks.Kill', request), 'notFound');
      if (started.size === 0) return;
      for (const one of started) killQuietly(one);
    }
  }

  const mountsOf = guard((id: string) => client.call('Snapshots.Mounts', { snapshotter, key: id }));
  const ref = (id: string, execId = ''): ProcessRef => ({ container_id: id, exec_id: execId });
  return {
    client,
    events,
    containerd: { address, namespace: containerdNamespace },
    versions: guard(async () => ({
      containerd: (await client.call('Version.Version', {})).version,
      runc: await (runcVersion ??= readRuncVersion()),
    })),
    prepare: guard(prepare),
    prepareView: guard(prepareView),
    viewMount: guard(async (id, index) => {
      const { mounts } = await client.call('Snapshots.Mounts', { snapshotter, key: viewKey(id, index) });
      const [mount] = mounts;
      if (mount === undefined) throw new Error('a view of an image has no mount');
      return mount;
    }),
    remove: guard(remove),
    list: guard(list),
    sweep: guard(sweep),
    readRootfsFile: guard(readRootfsFile),
    copyRootfsFolder: guard(copyRootfsFolder),
    changes: guard(async (id) => {
      const { mounts } = await mountsOf(id);
      return await findChanges(layerDirectories(mounts));
    }),
    withRunningRootfs,
    withStoppedRootfs: async (id, options, work) => {
      const { mounts } = await mountsOf(id);
      return await withStoppedRootfs(mounts, options, work);
    },
    usage: guard(async (id) => ({
      writableBytes: Number((await client.call('Snapshots.Usage', { snapshotter, key: id })).size),
    })),
    createTask: guard(createTask),
    startTask: guard(async (id) => void (await client.call('Tasks.Start', ref(id)))),
    waitTask: guard((id) => waitProcess(client, ref(id))),
    deleteTask: guard((id) => deleteTask(client, id)),
    kill: guard(async (id, signal, { execId, all } = {}) => {
      const request = { ...ref(id, execId), signal, all: all ?? false };
      await unless(client.call('Tasks.Kill', request), 'notFound');
    }),
    updateResources: guard(async (id, resources) => {
      const request = { container_id: id, resources: toAny(resourcesTypeUrl, resources) };
      await client.call('Tasks.Update', request);
    }),
    pause: guard(async (id) => void (await client.call('Tasks.Pause', ref(id)))),
    resume: guard(async (id) => void (await client.call('Tasks.Resume', ref(id)))),
    resize: guard(
      async (id, { height, width }, execId) =>
        void (await client.call('Tasks.ResizePty', { ...ref(id, execId), height, width })),
    ),
    closeStdin: guard(
      async (id, execId) =>
        void (await unless(client.call('Tasks.CloseIO', { ...ref(id, execId), stdin: true }), 'notFound')),
    ),
    pids: guard(async (id) => (await client.call('Tasks.ListPids', ref(id))).processes.map(({ pid }) => pid)),
    createExec: guard(async (id, execId, process, stdio) => {
      const spec = toAny(processTypeUrl, process);
      await client.call('Tasks.Exec', { ...toStdio(stdio), container_id: id, exec_id: execId, spec });
    }),
    startExec: guard(async (id, execId) => ({
      pid: (await client.call('Tasks.Start', ref(id, execId), { deadlineMs: createDeadlineMs })).pid,
    })),
    waitExec: guard((id, execId) => waitProcess(client, ref(id, execId))),
    killExec: guard(killExec),
    deleteExec: guard(
      async (id, execId) =>
        void (await unless(client.call('Tasks.DeleteProcess', ref(id, execId)), 'notFound')),
    ),
    [Symbol.asyncDispose]: dispose,
  };
}
