/*
 * The private containerd: started detached under the daemon's exec-root, so that it outlives the daemon, and adopted
 * by the next one. Not for a containerd that somebody else runs (`--containerd`). Layout:
 *   <data root>/containerd          images, snapshots, its database
 *   <exec root>/containerd/         config.toml, containerd.sock, containerd.pid, containerd.log, state/
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedProcess } from '../../base/detachedProcess.ts';
import type { Logger } from '../../base/logger.ts';
import { findProgram, systemPath } from '../../base/programs.ts';
import type { Seam } from '../../base/seam.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';

/** A unix socket's path holds 107 bytes (sun_path); containerd appends `.ttrpc` to ours for its second socket. */
const socketPathMaxBytes = 107 - '.ttrpc'.length;

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

/** The private containerd of these roots. Touches nothing until `ensure`. */
export function openDaemonProcess(options: DaemonProcessOptions): DaemonProcess {
  const { logger, seam } = options;
  const folder = join(options.execRoot, 'containerd');
  const configPath = join(folder, 'config.toml');
  const address = join(folder, 'containerd.sock');
  const args = ['--config', configPath];
  const daemon = new DetachedProcess({
    ...{ name: 'containerd', logger, seam },
    pidPath: join(folder, 'containerd.pid'),
    logPath: join(folder, 'containerd.log'),
    isOurs: (theirs) => theirs.join('\0') === args.join('\0'),
  });

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
    await daemon.start(program, args);
  }

  return {
    address,
    isAlive: async () => (await daemon.find()) !== undefined,
    ensure: async () => {
      const found = await daemon.find();
      if (found === undefined) await start();
      else logger.debug({ pid: found.pid }, 'containerd runs already');
    },
    stop: async () => {
      await daemon.stop();
      await Promise.all([address, `${address}.ttrpc`].map((path) => rm(path, { force: true })));
    },
    lastWords: () => daemon.lastWords(),
  };
}
