/*
 * Starts the engines that the benchmark compares, each in a network namespace of its own inside one lane, with its
 * state on the machine's disk: linkspand, a real dockerd and podman's service. All speak Docker's API.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callApi } from '../tests/compat/api.ts';
import { eventually } from '../tests/compat/command.ts';

const root = join(import.meta.dirname, '..');

export type EngineName = 'linkspan' | 'docker' | 'podman';

export interface RunningEngine {
  readonly name: EngineName;
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

function commandLine(name: EngineName, folder: string): readonly string[] {
  const socket = `unix://${folder}/sock`;
  if (name === 'podman') return ['podman', 'system', 'service', '--time=0', socket];
  const program = name === 'docker' ? 'dockerd' : join(root, 'bin/linkspand');
  const cgroup = ['--cgroup-parent', `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-bench'}`];
  const roots = ['--data-root', `${folder}/data`, '--exec-root', `/run/bench-${name}`];
  return [program, ...roots, '--pidfile', `${folder}/pid`, '-H', socket, ...cgroup];
}

async function isUp(socketPath: string): Promise<boolean> {
  try {
    return (await callApi(socketPath, 'GET', '/_ping')).status === 200;
  } catch {
    return false;
  }
}

/** Resolves once the engine answers. */
export async function startEngine(name: EngineName, parent: string): Promise<RunningEngine> {
  const folder = join(parent, name);
  mkdirSync(folder);
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  const log = openSync(join(folder, 'log'), 'w');
  const env = { ...process.env, ...(name === 'podman' ? podmanFiles(folder) : {}) };
  const args = [`--net=/run/netns/${name}`, '--', ...commandLine(name, folder)];
  const child = spawn('nsenter', args, { stdio: ['ignore', log, log], env });
  closeSync(log);
  const socketPath = join(folder, 'sock');
  if (!(await eventually(() => isUp(socketPath), 40_000)))
    throw new Error(`${name} did not start:\n${readFileSync(join(folder, 'log'), 'utf8').slice(-2000)}`);
  const version = JSON.parse((await callApi(socketPath, 'GET', '/version')).body) as { Version: string };
  return { name, socketPath, pid: child.pid ?? 0, version: version.Version };
}

/** Gives it the busybox image of the archive. */
export function loadImage({ socketPath }: RunningEngine, archive: string): void {
  execFileSync('docker', ['-H', `unix://${socketPath}`, 'load', '-i', archive], { stdio: 'ignore' });
}

/** Ends an engine that was started here; the lane ends what it leaves running. */
export function stopEngine({ pid }: RunningEngine): void {
  process.kill(pid, 'SIGTERM');
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
