/*
 * Starts the engines that the benchmark compares, each in a network namespace of its own inside one lane, with its
 * state on the machine's disk: linkspand, a real dockerd and podman's service. All speak Docker's API.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { callApi } from '../tests/compat/api.ts';
import { eventually } from '../tests/compat/command.ts';

const root = join(import.meta.dirname, '..');

export type EngineName = 'linkspan' | 'docker' | 'podman';

export interface RunningEngine {
  readonly name: EngineName;
  /** Its network namespace, below /run/netns. */
  readonly namespace: string;
  /** Its state, log and socket. */
  readonly folder: string;
  readonly socketPath: string;
  readonly pid: number;
  readonly version: string;
}

/** Folder of all engines; on disk, so that durable writes cost what they cost. */
export function makeFolder(): string {
  return mkdtempSync('/var/tmp/linkspan-bench-');
}

function podmanFiles(folder: string): NodeJS.ProcessEnv {
  // Without CAP_SYS_RESOURCE podman's own default limits fail; crun refuses hybrid cgroups.
  const containersConf = `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
`;
  writeFileSync(join(folder, 'containers.conf'), containersConf);
  const storage = `[storage]\ndriver = "overlay"\ngraphroot = "${folder}/root"\nrunroot = "${folder}/run"\n`;
  writeFileSync(join(folder, 'storage.conf'), storage);
  return {
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
  };
}

function commandLine(name: EngineName, folder: string, namespace: string): readonly string[] {
  const socket = `unix://${folder}/sock`;
  if (name === 'podman') return ['podman', 'system', 'service', '--time=0', socket];
  const program = name === 'docker' ? 'dockerd' : join(root, 'bin/linkspand');
  const cgroup = ['--cgroup-parent', `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-bench'}`];
  const roots = ['--data-root', `${folder}/data`, '--exec-root', `/run/bench-${namespace}`];
  return [program, ...roots, '--pidfile', `${folder}/pid`, '-H', socket, ...cgroup];
}

async function isUp(socketPath: string): Promise<boolean> {
  try {
    return (await callApi(socketPath, 'GET', '/_ping')).status === 200;
  } catch {
    return false;
  }
}

/** Resolves once the engine answers. One of several of a name has a namespace of another name. */
export async function startEngine(
  name: EngineName,
  parent: string,
  namespace: string = name,
): Promise<RunningEngine> {
  const folder = join(parent, namespace);
  mkdirSync(folder);
  execFileSync('ip', ['netns', 'add', namespace]);
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  return await launch(name, folder, namespace);
}

/** Resolves once the engine, which was told to end, answers no more. */
export async function isGone({ socketPath }: RunningEngine): Promise<boolean> {
  return await eventually(async () => !(await isUp(socketPath)));
}

/** Starts the program of an engine that is gone, on the same state. */
export async function startAgain({ name, folder, namespace }: RunningEngine): Promise<RunningEngine> {
  return await launch(name, folder, namespace);
}

async function launch(name: EngineName, folder: string, namespace: string): Promise<RunningEngine> {
  const log = openSync(join(folder, 'log'), 'w');
  const env = { ...process.env, ...(name === 'podman' ? podmanFiles(folder) : {}) };
  const args = [`--net=/run/netns/${namespace}`, '--', ...commandLine(name, folder, namespace)];
  const child = spawn('nsenter', args, { stdio: ['ignore', log, log], env });
  closeSync(log);
  const socketPath = join(folder, 'sock');
  if (!(await eventually(() => isUp(socketPath), 40_000)))
    throw new Error(`${name} did not start:\n${readFileSync(join(folder, 'log'), 'utf8').slice(-2000)}`);
  const version = JSON.parse((await callApi(socketPath, 'GET', '/version')).body) as { Version: string };
  return { name, namespace, folder, socketPath, pid: child.pid ?? 0, version: version.Version };
}

/** One request; resolves with the answer's body, rejects if it is an error or takes two minutes. */
export async function call(
  engine: RunningEngine,
  method: string,
  path: string,
  body?: unknown,
): Promise<string> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const answer = await callApi(engine.socketPath, method, path, text, {}, 120_000);
  if (answer.status >= 400)
    throw new Error(`${engine.name}: ${method} ${path}: ${answer.status} ${answer.body}`);
  return answer.body;
}

export interface RunningContainer {
  readonly id: string;
  readonly pid: number;
  /** Of its endpoint on the network that it was started on. */
  readonly address: string;
}

interface Inspected {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>>;
  };
}

export interface ContainerRequest {
  readonly Cmd?: readonly string[];
  readonly name?: string;
  readonly HostConfig?: object;
  readonly NetworkingConfig?: object;
}

/** A container of busybox that sleeps, on `network`; `request` is added to what is asked for. */
export async function startContainer(
  engine: RunningEngine,
  network: string,
  { name, HostConfig = {}, ...request }: ContainerRequest = {},
): Promise<RunningContainer> {
  const path = `/containers/create${name === undefined ? '' : `?name=${name}`}`;
  const made = await call(engine, 'POST', path, {
    ...{ Image: 'busybox', Cmd: ['sleep', '6000'], ...request },
    HostConfig: { NetworkMode: network, ...HostConfig },
  });
  const { Id: id } = JSON.parse(made) as { Id: string };
  await call(engine, 'POST', `/containers/${id}/start`);
  const { State, NetworkSettings } = JSON.parse(
    await call(engine, 'GET', `/containers/${id}/json`),
  ) as Inspected;
  return { id, pid: State.Pid, address: NetworkSettings.Networks[network]?.IPAddress ?? '' };
}

/** The busybox image as an archive in `folder`. */
export function makeImage(folder: string): string {
  const image = join(folder, 'busybox.tar');
  execFileSync(join(root, 'scripts/node'), [
    join(root, 'src/frontends/lab/busyboxImage.ts'),
    '--save',
    image,
  ]);
  return image;
}

/** Gives it the busybox image of the archive. */
export function loadImage({ socketPath }: RunningEngine, archive: string): void {
  execFileSync('docker', ['-H', `unix://${socketPath}`, 'load', '-i', archive], { stdio: 'ignore' });
}

/** Removes their containers and ends engines that were started here; the lane ends what they leave running. */
export async function stopEngines(engines: readonly RunningEngine[]): Promise<void> {
  for (const engine of engines) {
    const all = JSON.parse(await call(engine, 'GET', '/containers/json?all=1')) as { Id: string }[];
    for (const { Id } of all) await call(engine, 'DELETE', `/containers/${Id}?force=1`);
    process.kill(engine.pid, 'SIGTERM');
  }
  await sleep(1500);
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
