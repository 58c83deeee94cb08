/*
 * The private containerd: started detached under the daemon's exec-root, so that it outlives the daemon, and adopted
 * by the next one. Not for a containerd that somebody else runs (`--containerd`). Layout:
 *   <data root>/containerd          images, snapshots, its database
 *   <exec root>/containerd/         config.toml, containerd.sock, containerd.pid, containerd.log, state/
 */
import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../base/logger.ts';
import type { Seam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';

/** A unix socket's path holds 107 bytes (sun_path); containerd appends `.ttrpc` to ours for its second socket. */
const socketPathMaxBytes = 107 - '.ttrpc'.length;
const logMaxBytes = 4 << 20;
const stopTimeoutMs = 10_000;

/**
 * Plugins that we do not use: each costs memory, goroutines or a noisy warning. Names of 1.6 and of 2.x; unknown
 * names are ignored by both.
 */
const disabledPlugins = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.cri.v1.images',
  'io.containerd.cri.v1.runtime',
  'io.containerd.podsandbox.controller.v1.podsandbox',
  'io.containerd.nri.v1.nri',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs',
  'io.containerd.snapshotter.v1.zfs',
];

export interface DaemonProcessOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly logger: Logger;
  readonly seam: Seam;
}

export interface DaemonProcess {
  /** Path of its gRPC socket. */
  readonly address: string;
  /** Running as of now. */
  isAlive(): Promise<boolean>;
  /** Adopts the one that runs, or starts one. Does not wait until it answers. */
  ensure(): Promise<void>;
  /** Ends it with SIGTERM, after 10 s with SIGKILL; success if it does not run. */
  stop(): Promise<void>;
  /** The last lines it logged, for error messages. */
  lastWords(): Promise<string>;
}

/** Text of config.toml. Version 2 is what 1.6 and 1.7 read, and what 2.x migrates by itself. */
export function formatConfig(paths: {
  readonly root: string;
  readonly state: string;
  readonly address: string;
}): string {
  const quote = (text: string): string => JSON.stringify(text);
  return [
    'version = 2',
    `root = ${quote(paths.root)}`,
    `state = ${quote(paths.state)}`,
    `disabled_plugins = [${disabledPlugins.map(quote).join(', ')}]`,
    '[grpc]',
    `  address = ${quote(paths.address)}`,
    '[ttrpc]',
    `  address = ${quote(`${paths.address}.ttrpc`)}`,
    '',
  ].join('\n');
}

/** PATH of this process plus the sbin folders, where Debian keeps runc and which a plain user's PATH lacks. */
export function systemPath(): string {
  const own = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [
    ...new Set([...own, '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']),
  ].join(delimiter);
}

/** The path of an executable in `systemPath()`, or undefined. */
export async function findProgram(name: string): Promise<string | undefined> {
  for (const folder of systemPath().split(delimiter)) {
    const path = join(folder, name);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

/** Identity of a process that pid reuse cannot forge: field 22 of /proc/PID/stat; undefined if dead or a zombie. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces and parentheses itself: count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

async function hasArguments(pid: number, args: readonly string[]): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').slice(1, -1).join('\0') === args.join('\0');
}

interface Found {
  readonly pid: number;
  readonly startTime: string;
}

/** The private containerd of these roots. Touches nothing until `ensure`. */
export function openDaemonProcess(options: DaemonProcessOptions): DaemonProcess {
  const { logger, seam } = options;
  const folder = join(options.execRoot, 'containerd');
  const configPath = join(folder, 'config.toml');
  const pidPath = join(folder, 'containerd.pid');
  const logPath = join(folder, 'containerd.log');
  const address = join(folder, 'containerd.sock');
  const args = ['--config', configPath];
  /** Found once, then checked against /proc each time. */
  let known: Found | undefined;

  async function check(pid: number): Promise<Found | undefined> {
    // 0 and negative numbers would name process groups.
    if (!Number.isSafeInteger(pid) || pid <= 1) return undefined;
    const startTime = await startTimeOf(pid);
    return startTime !== undefined && (await hasArguments(pid, args)) ? { pid, startTime } : undefined;
  }

  /** By pid file, else by a look through /proc: the daemon may have died between the start and the pid file. */
  async function find(): Promise<Found | undefined> {
    if (known !== undefined && (await startTimeOf(known.pid)) === known.startTime) return known;
    known = await check(Number(await readFile(pidPath, 'utf8').catch(() => '')));
    if (known !== undefined) return known;
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      known = await check(Number(name));
      if (known !== undefined) return known;
    }
    return undefined;
  }

  async function start(): Promise<void> {
    const program = await findProgram('containerd');
    const missing = [
      ...(program === undefined ? ['containerd'] : []),
      ...((await findProgram('containerd-shim-runc-v2')) === undefined ? ['containerd-shim-runc-v2'] : []),
      ...((await findProgram('runc')) === undefined ? ['runc'] : []),
    ];
    if (program === undefined || missing.length > 0)
      throw new LinkspanError(
        'runtimeUnavailable',
        `${missing.join(', ')} not found in ${systemPath()}: install the packages containerd and runc ` +
          '(apt install containerd runc), or name a running containerd with --containerd',
      );
    if (Buffer.byteLength(address) > socketPathMaxBytes)
      throw new LinkspanError(
        'runtimeUnavailable',
        `${address} is longer than a unix socket's path may be; choose a shorter --exec-root`,
      );
    const root = join(options.dataRoot, 'containerd');
    const state = join(folder, 'state');
    await mkdir(root, { recursive: true, mode: 0o711 });
    await mkdir(state, { recursive: true, mode: 0o711 });
    await writeFile(configPath, formatConfig({ root, state, address }), { mode: 0o600 });
    const logSize = await stat(logPath).then(
      (info) => info.size,
      () => 0,
    );
    if (logSize > logMaxBytes) await rename(logPath, `${logPath}.1`);
    seam.step('start containerd');
    const log = openSync(logPath, 'a', 0o600);
    try {
      const child = spawn(program, args, {
        detached: true,
        stdio: ['ignore', log, log],
        cwd: '/',
        env: {
          ...process.env,
          PATH: systemPath(),
          NOTIFY_SOCKET: undefined,
          NODE_COMPILE_CACHE: undefined,
          LISTEN_FDS: undefined,
        },
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
      child.unref();
      const { pid } = child;
      if (pid === undefined) throw new LinkspanError('runtimeUnavailable', 'containerd could not be started');
      await writeFile(`${pidPath}.new`, `${pid}\n`);
      await rename(`${pidPath}.new`, pidPath);
      logger.info({ pid, address }, 'containerd started');
    } finally {
      closeSync(log);
    }
  }

  async function waitUntilGone(found: Found, timeoutMs: number): Promise<boolean> {
    for (const endMs = performance.now() + timeoutMs; performance.now() < endMs; await sleep(20))
      if ((await startTimeOf(found.pid)) !== found.startTime) return true;
    return false;
  }

  return {
    address,
    isAlive: async () => (await find()) !== undefined,
    ensure: async () => {
      const found = await find();
      if (found === undefined) await start();
      else logger.debug({ pid: found.pid }, 'containerd runs already');
    },
    stop: async () => {
      const found = await find();
      if (found !== undefined) {
        for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
          if ((await startTimeOf(found.pid)) !== found.startTime) break;
          process.kill(found.pid, signal);
          if (await waitUntilGone(found, stopTimeoutMs)) break;
        }
        known = undefined;
      }
      await Promise.all([pidPath, address, `${address}.ttrpc`].map((path) => rm(path, { force: true })));
    },
    lastWords: async () => {
      const text = await readFile(logPath, 'utf8').catch(() => '');
      return text.trimEnd().split('\n').slice(-3).join('\n');
    },
  };
}
