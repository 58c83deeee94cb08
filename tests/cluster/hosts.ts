/*
 * Machines for the cluster checks: a lab (src/frontends/lab) of three hosts, or four, inside a lane (scripts/lane), each with a
 * daemon of its own. Those of several sites are in sites.ts.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { downLab, upLab } from '../../src/frontends/lab/lab.ts';
import { isDaemonAlive, killDaemon, logTail, startDaemon } from '../../src/frontends/lab/labDaemon.ts';
import { hostPaths, readLab } from '../../src/frontends/lab/labFolder.ts';
import { inHost, inUnderlay } from '../../src/frontends/lab/namespaces.ts';
import {
  addressOf as labAddress,
  getHost,
  type LabHost,
  planTopology,
  type Topology,
} from '../../src/frontends/lab/topology.ts';
import { heal, partition } from '../../src/frontends/lab/underlay.ts';
import { createRunner, eventually, type Runner, type Transcript } from '../compat/command.ts';

const root = join(import.meta.dirname, '../..');
/** Of the lab whose hosts these are. */
export const folder = '/run/cluster';
/** Orders for the fault seam of one daemon at a time (src/daemon/faults.ts). */
const faultFile = join(folder, 'faults');

/** The command lines that the checks are made with. */
export const commandLines: readonly (readonly [name: string, program: string])[] = [
  ['docker CLI', 'docker'],
  ['linkspan CLI', join(root, 'bin/linkspan')],
];

const hostNames = ['A', 'B', 'C', 'D'] as const;
export type HostName = (typeof hostNames)[number];

const labName = (host: HostName): string => `host-${host}`;
const topology = planTopology(hostNames.map(labName));

export function addressOf(host: HostName): string {
  const found = topology.hosts.find(({ name }) => name === labName(host));
  return found === undefined ? '' : labAddress(found);
}

/** A machine with its daemon. */
export class Host {
  /** In the transcript and in tests. */
  readonly name: string;
  /** That the other machines know it by. */
  readonly address: string;
  /** The command line at this host's daemon. */
  readonly cli: Runner;
  /** Its daemon's. */
  readonly socket: string;
  readonly #labName: string;

  constructor(name: string, { name: inLab, links }: LabHost, program: string, transcript: Transcript) {
    this.name = name;
    this.address = links[0]?.address ?? '';
    this.#labName = inLab;
    const paths = hostPaths(folder, this.#labName);
    this.socket = paths.socket;
    const env = { DOCKER_CONFIG: join(paths.folder, 'config'), DOCKER_HOST: '', HOME: paths.folder };
    const words = [program, '-H', `unix://${paths.socket}`];
    const hint = (): string => logTail(folder, this.#labName);
    this.cli = createRunner(words, transcript, { env, shown: `${name}:`, hint });
  }

  async start(): Promise<void> {
    await startDaemon(folder, this.#labName, readLab(folder).cgroup);
  }

  /** Resolves once the process is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await killDaemon(folder, this.#labName, signal);
  }

  /** The daemon, and the store that it runs for its swarm; containers go on. */
  async killAll(): Promise<void> {
    await this.kill('SIGKILL');
    this.killStore();
  }

  /** The store alone, which must run. */
  killStore(): void {
    this.run('busybox', 'kill', '-9', this.#read('exec/etcd/etcd.pid'));
  }

  /** A daemon that never was in a swarm, with no container, instead of whatever there is. */
  async renew(): Promise<void> {
    if (this.isAlive) await this.kill('SIGKILL');
    if (this.hasStore) this.killStore();
    for (const path of ['data/etcd', 'exec/etcd', 'data/state.db', 'data/state.db-wal', 'data/state.db-shm'])
      rmSync(join(hostPaths(folder, this.#labName).folder, path), { recursive: true, force: true });
    await this.start();
  }

  /** Whether a store for the swarm runs on it. */
  get hasStore(): boolean {
    return this.run('busybox', 'sh', '-c', 'pidof etcd || true').trim() !== '';
  }

  /** Whether the daemon runs. */
  get isAlive(): boolean {
    return isDaemonAlive(folder, this.#labName);
  }

  /** Gives the daemon's fault seam an order; resolves with its answer. */
  async order(text: string): Promise<string> {
    writeFileSync(faultFile, text);
    this.run('busybox', 'kill', '-USR2', this.#read('pid'));
    const read = (): string => readFileSync(faultFile, 'utf8');
    if (!(await eventually(() => /^(armed|count \d+)$/.test(read()))))
      throw new Error('no answer to an order');
    return read();
  }

  /** A file of the machine, trimmed. */
  #read(path: string): string {
    return readFileSync(join(hostPaths(folder, this.#labName).folder, path), 'utf8').trim();
  }

  /** The end of the daemon's log. */
  tail(): string {
    return logTail(folder, this.#labName);
  }

  /** Namespaces of overlay networks that are set up. */
  overlays(): readonly string[] {
    const path = this.#overlayFolder;
    return existsSync(path) ? readdirSync(path) : [];
  }

  /** Where they are, as the machine's own programs see it. */
  overlayPaths(): readonly string[] {
    return this.overlays().map((id) => join(this.#overlayFolder, id));
  }

  /** The namespace that the encrypted tunnels are in, as the machine's own programs see it. */
  get tunnelsPath(): string {
    return join(hostPaths(folder, this.#labName).folder, 'exec', 'tunnels', 'netns');
  }

  get #overlayFolder(): string {
    return join(hostPaths(folder, this.#labName).folder, 'exec', 'overlays');
  }

  /** The words that run a program on the machine. */
  words(...words: readonly string[]): readonly string[] {
    return [...inHost(folder, this.#labName), ...words];
  }

  /** A program on the machine; what it wrote. */
  run(...words: readonly string[]): string {
    const [program = '', ...args] = this.words(...words);
    return execFileSync(program, args, { encoding: 'utf8' });
  }
}

/** A container that sleeps, on a network at an address. */
export async function runSleeper({ cli }: Host, name: string, network: string, ip: string): Promise<void> {
  await cli(['run', '-d', '--name', name, '--network', network, '--ip', ip, 'busybox', 'sleep', '900']);
}

/** What runs a program on the segment between the machines. */
export function underlayWords(): readonly string[] {
  return inUnderlay(folder);
}

/** A program on the segment between the machines; what it wrote. */
export function onUnderlay(...words: readonly string[]): string {
  const [program = '', ...args] = [...underlayWords(), ...words];
  return execFileSync(program, args, { encoding: 'utf8' });
}

/** Cuts each line between one machine and the others, or those named, or mends it. */
export async function cutOff(
  host: HostName,
  isCut: boolean,
  from: readonly HostName[] = hostNames,
): Promise<void> {
  const own = getHost(topology, labName(host));
  for (const other of readLab(folder).topology.hosts)
    if (other.name !== own.name && from.some((name) => labName(name) === other.name))
      await (isCut ? partition : heal)(folder, own, other);
}

/** A swarm of these: the first manages it. */
export async function formSwarm(manager: Host, ...workers: readonly Host[]): Promise<void> {
  await manager.cli(['swarm', 'init', '--advertise-addr', manager.address]);
  const { stdout: token } = await manager.cli(['swarm', 'join-token', '-q', 'worker']);
  for (const host of workers) await host.cli(['swarm', 'join', '--token', token, `${manager.address}:2377`]);
}

export interface Cluster extends AsyncDisposable {
  /** D is there only if it was asked for. */
  readonly hosts: Readonly<Record<HostName, Host>>;
}

/** Hosts whose daemons run, in no swarm yet. `program`: the command line; `withImage`: busybox is loaded. */
export async function openCluster(program: string, withImage = false, count: 3 | 4 = 3): Promise<Cluster> {
  await upTopology(planTopology(hostNames.slice(0, count).map(labName)), withImage);
  const transcript: Transcript = [];
  const host = (name: HostName): Host =>
    new Host(name, getHost(topology, labName(name)), program, transcript);
  return {
    hosts: { A: host('A'), B: host('B'), C: host('C'), D: host('D') },
    [Symbol.asyncDispose]: () => downLab(folder),
  };
}

/** Hosts with their daemons, in no swarm; `downLab` of `folder` ends them. */
export async function upTopology(planned: Topology, withImage: boolean): Promise<void> {
  if (process.env['LINKSPAN_LANE'] !== '1') throw new Error('run this inside scripts/lane');
  const cgroupParent = process.env['LINKSPAN_LANE_CGROUP'] ?? '';
  process.env['LINKSPAN_FAULT_FILE'] = faultFile;
  await upLab({ folder, topology: planned, cgroupParent, managers: 0, withImage });
}
