/*
 * Machines for the cluster checks, made inside a lane (scripts/lane): network namespaces on one segment, each with a
 * daemon of its own and a host name of its own.
 *
 *     [A] eth0 192.0.2.11/24 ─┐
 *     [B] eth0 192.0.2.12/24 ─┼─ underlay (a bridge of the lane)
 *     [C] eth0 192.0.2.13/24 ─┘
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRunner, eventually, type Runner, type Transcript } from '../compat/command.ts';
import { ping, stopContainerd } from '../compat/daemonFixture.ts';

const root = join(import.meta.dirname, '../..');

/** The command lines that the checks are made with. */
export const commandLines: readonly (readonly [name: string, program: string])[] = [
  ['docker CLI', 'docker'],
  ['linkspan CLI', join(root, 'bin/linkspan')],
];

export const hostNames = ['A', 'B', 'C'] as const;
export type HostName = (typeof hostNames)[number];

export const addressOf = (host: HostName): string => `192.0.2.${11 + hostNames.indexOf(host)}`;

const inHost = (host: HostName): readonly string[] => ['nsenter', `--net=/run/netns/${host}`, '--'];

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function makeNamespaces(): void {
  if (process.env['LINKSPAN_LANE'] !== '1') throw new Error('run this inside scripts/lane');
  ip('link', 'add', 'underlay', 'type', 'bridge');
  ip('link', 'set', 'underlay', 'up');
  for (const host of hostNames) {
    ip('netns', 'add', host);
    ip('link', 'add', `to${host}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host);
    ip('link', 'set', `to${host}`, 'master', 'underlay', 'up');
    ip('-n', host, 'link', 'set', 'lo', 'up');
    ip('-n', host, 'address', 'add', `${addressOf(host)}/24`, 'dev', 'eth0');
    ip('-n', host, 'link', 'set', 'eth0', 'up');
  }
}

function removeNamespaces(): void {
  for (const host of hostNames) ip('netns', 'del', host);
  ip('link', 'del', 'underlay');
}

/** A machine with its daemon. */
export class Host {
  readonly name: HostName;
  /** The command line at this host's daemon. */
  readonly cli: Runner;
  readonly #folder: string;
  #child: ChildProcess | undefined;

  constructor(name: HostName, program: string, transcript: Transcript) {
    this.name = name;
    this.#folder = mkdtempSync(`/run/cluster/${name}`);
    const env = { DOCKER_CONFIG: join(this.#folder, 'config'), DOCKER_HOST: '', HOME: this.#folder };
    const words = [...inHost(name), program, '-H', `unix://${join(this.#folder, 'sock')}`];
    this.cli = createRunner(words, transcript, { env, shown: `${name}:`, hint: () => this.#logTail() });
  }

  async start(): Promise<void> {
    const folder = this.#folder;
    const words = [
      ...inHost(this.name),
      ...['unshare', '--uts', 'sh', '-c', 'hostname "$0" && exec "$@"', `host-${this.name}`],
      join(root, 'bin/linkspand'),
      ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['--pidfile', join(folder, 'pid'), '-H', `unix://${join(folder, 'sock')}`],
      ...['--cgroup-parent', `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-cluster'}`],
    ];
    const output = openSync(join(folder, 'log'), 'a');
    const [program = '', ...args] = words;
    const child = spawn(program, args, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#child = child;
    const isUp = await eventually(
      async () => child.exitCode !== null || (await ping(join(folder, 'sock'))),
      30_000,
    );
    if (!isUp || child.exitCode !== null) throw new Error(`${this.name} did not come up\n${this.#logTail()}`);
  }

  /** Resolves once the process is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
    });
    child.kill(signal);
    await gone;
  }

  async end(): Promise<void> {
    await this.kill('SIGTERM');
    stopContainerd(join(this.#folder, 'exec'));
  }

  #logTail(): string {
    try {
      return readFileSync(join(this.#folder, 'log'), 'utf8').split('\n').slice(-8).join('\n');
    } catch {
      return '';
    }
  }
}

export interface Cluster extends AsyncDisposable {
  readonly hosts: Readonly<Record<HostName, Host>>;
}

/** Three hosts whose daemons run, in no swarm yet. `program`: the command line. */
export async function openCluster(program: string): Promise<Cluster> {
  makeNamespaces();
  mkdirSync('/run/cluster', { recursive: true });
  const transcript: Transcript = [];
  const all = hostNames.map((name) => new Host(name, program, transcript));
  const [A, B, C] = all as [Host, Host, Host];
  const end = async (): Promise<void> => {
    await Promise.all(all.map((host) => host.end()));
    removeNamespaces();
  };
  try {
    await Promise.all(all.map((host) => host.start()));
  } catch (error) {
    await end();
    throw error;
  }
  return { hosts: { A, B, C }, [Symbol.asyncDispose]: end };
}
