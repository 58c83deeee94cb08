/*
 * Starts the engine under test in host A and gives runners for its command line, so that one script judges three:
 * linkspand with the stock docker CLI, linkspand with our own CLI, and a real dockerd, whose answers the expectations
 * were taken from. LINKSPAN_COMPAT_ENGINE picks them: `docker`, `linkspan`, `dockerd`, or several with commas;
 * LINKSPAN_TEST_DOCKERD is the path of another dockerd than that of the PATH.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { createRunner, eventually, type Runner, type Transcript } from './command.ts';
import { inHost, makeHosts, removeHosts } from './hosts.ts';

const root = join(import.meta.dirname, '../..');

export interface Engine {
  /** As the tests' names show it. */
  readonly name: string;
  readonly kind: 'linkspand' | 'dockerd';
  readonly cli: string;
}

const known: Readonly<Record<string, Engine>> = {
  docker: { name: 'docker CLI at linkspand', kind: 'linkspand', cli: 'docker' },
  linkspan: { name: 'linkspan CLI at linkspand', kind: 'linkspand', cli: join(root, 'bin/linkspan') },
  dockerd: { name: 'docker CLI at dockerd', kind: 'dockerd', cli: 'docker' },
};

/** The engines that this run judges: ours with both command lines unless LINKSPAN_COMPAT_ENGINE says otherwise. */
export function engines(fallback = 'docker,linkspan'): readonly Engine[] {
  return (process.env['LINKSPAN_COMPAT_ENGINE'] ?? fallback).split(',').map((name) => {
    const engine = known[name];
    if (engine === undefined)
      throw new Error(`LINKSPAN_COMPAT_ENGINE knows ${Object.keys(known).join(', ')}`);
    return engine;
  });
}

export interface Daemon extends AsyncDisposable {
  readonly engine: Engine;
  /** A real dockerd 20.10: some texts and rules are older there. */
  readonly isReference: boolean;
  readonly socketPath: string;
  readonly execRoot: string;
  /** Its containerd namespace and socket, for leak checks. */
  readonly containerd: { readonly socketPath: string; readonly namespace: string };
  readonly transcript: Transcript;
  /** The engine's command line. */
  readonly cli: Runner;
  /** A command in host A. */
  readonly host: Runner;
  /** A command in host C. */
  readonly client: Runner;
  /** Starts the process again on the same roots, after `kill`. */
  start(): Promise<void>;
  /** Resolves once the process is gone (reaped, not only dead). */
  kill(signal: NodeJS.Signals): Promise<void>;
  pid(): number;
  logTail(): string;
  /** Everything that it wrote to stderr. */
  log(): string;
}

/** Below /run, which in a lane is a tmpfs that vanishes with it. */
function makeFolder(): string {
  mkdirSync('/run/compat', { recursive: true });
  return mkdtempSync('/run/compat/e');
}

/** Removed by the lane at its end. */
const cgroupParent = `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-compat'}`;

function commandLine(engine: Engine, folder: string, extra: readonly string[]): readonly string[] {
  const other = engine.kind === 'dockerd' ? process.env['LINKSPAN_TEST_DOCKERD'] : undefined;
  const program = engine.kind === 'dockerd' ? (other ?? 'dockerd') : join(root, 'bin/linkspand');
  return [
    ...inHost('A'),
    program,
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
    ...['--pidfile', join(folder, 'pid'), '-H', `unix://${join(folder, 'sock')}`],
    ...['--cgroup-parent', cgroupParent],
    ...(other === undefined ? [] : ['--userland-proxy-path', join(dirname(other), 'docker-proxy')]),
    ...extra,
  ];
}

/** True if a daemon answers there. */
export function ping(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path: '/_ping', timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.once('error', () => resolve(false));
    call.once('timeout', () => call.destroy(new Error('timeout')));
    call.end();
  });
}

/** Makes hosts A and C and starts the engine with the busybox image loaded; disposing undoes it. */
export async function startDaemon(engine: Engine, extra: readonly string[] = []): Promise<Daemon> {
  makeHosts();
  const folder = makeFolder();
  const log = join(folder, 'log');
  const socketPath = join(folder, 'sock');
  const transcript: Transcript = [];
  let child: ChildProcess | undefined;

  const logTail = (): string => {
    try {
      const lines = readFileSync(log, 'utf8').split('\n');
      const loud = lines.filter((line) => !/level=info|"level":(20|30|"info")|^$/.test(line));
      return `the daemon's last warnings and errors:\n${loud.slice(-8).join('\n')}`;
    } catch {
      return '';
    }
  };

  const start = async (): Promise<void> => {
    const [program = '', ...args] = commandLine(engine, folder, extra);
    const output = openSync(log, 'a');
    const started = spawn(program, args, { stdio: ['ignore', output, output] });
    closeSync(output);
    child = started;
    let isGone = false;
    started.once('exit', () => {
      isGone = true;
    });
    const isUp = await eventually(async () => isGone || (await ping(socketPath)), 30_000);
    if (isGone || !isUp) throw new Error(`${engine.name} did not come up\n${logTail()}`);
  };

  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    const victim = child;
    if (victim === undefined || victim.exitCode !== null || victim.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => {
      victim.once('exit', () => resolve());
    });
    victim.kill(signal);
    const stubborn = setTimeout(() => victim.kill('SIGKILL'), 30_000);
    await gone;
    clearTimeout(stubborn);
  };

  const env = { DOCKER_CONFIG: join(folder, 'config'), DOCKER_HOST: '', HOME: folder };
  const runner = (prefix: readonly string[], shown: string): Runner =>
    createRunner(prefix, transcript, { env, shown, hint: logTail });
  const name = engine.cli === 'docker' ? 'docker' : 'linkspan';
  const cli = runner([...inHost('A'), engine.cli, '-H', `unix://${socketPath}`], name);
  const isReference = engine.kind === 'dockerd';
  try {
    await start();
    await cli(['load', '-i', busyboxImage()], { stdout: /Loaded image: busybox:latest/ });
  } catch (error) {
    await kill('SIGKILL');
    stopContainerd(join(folder, 'exec'));
    removeHosts();
    throw error;
  }
  return {
    engine,
    isReference,
    socketPath,
    execRoot: join(folder, 'exec'),
    containerd: {
      socketPath: join(folder, 'exec/containerd/containerd.sock'),
      namespace: isReference ? 'moby' : 'linkspan',
    },
    transcript,
    cli,
    host: runner(inHost('A'), 'A:'),
    client: runner(inHost('C'), 'C:'),
    start,
    kill,
    pid: () => child?.pid ?? 0,
    logTail,
    log: () => readFileSync(log, 'utf8'),
    [Symbol.asyncDispose]: async () => {
      await removeContainers(cli);
      await kill('SIGTERM');
      stopContainerd(join(folder, 'exec'));
      removeHosts();
    },
  };
}

/** The busybox archive, built once a lane. */
export function busyboxImage(): string {
  const path = '/run/compat/busybox.tar';
  mkdirSync('/run/compat', { recursive: true });
  if (!readdirSync('/run/compat').includes('busybox.tar'))
    execFileSync(join(root, 'scripts/node'), [
      join(root, 'src/frontends/lab/busyboxImage.ts'),
      '--save',
      path,
    ]);
  return path;
}

async function removeContainers(cli: Runner): Promise<void> {
  const { stdout } = await cli(['ps', '-aq'], { exitCode: undefined });
  const ids = stdout.split('\n').filter((id) => id !== '');
  if (ids.length > 0) await cli(['rm', '-f', ...ids], { exitCode: undefined });
}

/** A private containerd may outlive its daemon on purpose; here it must not. */
export function stopContainerd(execRoot: string): void {
  for (const { pid, command } of processes()) {
    if (command.includes(execRoot) && command.includes('containerd')) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended meanwhile
      }
    }
  }
}

/** Every process that the lane sees, with its command line (spaces between words). */
export function processes(): readonly { readonly pid: number; readonly command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return command === '' ? [] : [{ pid: Number(name), command }];
      } catch {
        return [];
      }
    });
}
