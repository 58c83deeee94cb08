/*
 * An etcd that a manager runs for its swarm: started detached, so that it outlives the daemon, adopted by the next one,
 * and started again when it dies. Not for the etcd that --store names, which is its user's. Layout:
 *   <data folder>             what etcd keeps
 *   <folder>/                 etcd.pid, etcd.log, cert.pem, key.pem, ca.pem, port
 * Who may connect is decided by certificates alone, at both listeners. etcd reads its certificate and key anew for each
 * connection, the authorities only when it starts.
 */
import { randomInt } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { DetachedProcess } from '../../base/detachedProcess.ts';
import type { Logger } from '../../base/logger.ts';
import { findProgram, systemPath } from '../../base/programs.ts';
import type { Seam } from '../../base/seam.ts';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';

/** Between a death and the next start; doubled each time. */
const pauseMs = { least: 200, most: 10_000 } as const;
/** Who lived as long is started at once when he dies. */
const longLifeMs = 60_000;
/** How often its log is looked at. */
const trimMs = 60_000;
/**
 * For clients on this machine. Below the ports that Linux takes for connections (net.ipv4.ip_local_port_range), or a
 * client that tries again and again would one day meet itself there.
 */
const clientPorts = { first: 20_000, last: 32_000 } as const;

/** PEM texts. */
export interface EtcdCertificates {
  /**
   * For servers and clients (both uses), with the addresses of the peer URL and 127.0.0.1 among its names: etcd asks
   * for them.
   */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Of all who may connect; several one after the other. */
  readonly caPem: string;
}

export interface EtcdProcessOptions {
  /** As `initialCluster` has it: the node's id. */
  readonly name: string;
  /** Made with 0700. */
  readonly dataFolder: string;
  /** Made with 0700. */
  readonly folder: string;
  /** Where other members' connections are taken: `192.0.2.21:2378` or `[2001:db8::1]:2378`. */
  readonly peerListen: string;
  /** Where others reach that; default the same. */
  readonly peerAdvertise?: string;
  /** A DNS name that a certificate must have to be let in, beside an authority's signature; default none. */
  readonly allowedName?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly seam: Seam;
}

export interface EtcdStart {
  readonly certificates: EtcdCertificates;
  /** `name=https://192.0.2.21:2378` of each member, this one among them. Counts only where there is no data yet. */
  readonly initialCluster: readonly string[];
  /** `existing` for one that was added to a cluster. */
  readonly state: 'new' | 'existing';
  /** What it has becomes a cluster of this member alone. For this start only; one that runs is ended first. */
  readonly isForcedNew?: boolean;
}

export class EtcdProcess implements Disposable {
  readonly #options: EtcdProcessOptions;
  readonly #process: DetachedProcess;
  #start: EtcdStart | undefined;
  #port = 0;
  /** Fires when nobody keeps it running any more. */
  #over = new AbortController();
  /** Settled when nothing is started any more after that. */
  #supervising: Promise<void> = Promise.resolve();

  constructor(options: EtcdProcessOptions) {
    this.#options = options;
    const { folder, dataFolder, logger, seam } = options;
    this.#process = new DetachedProcess({
      ...{ name: 'etcd', logger, seam },
      pidPath: join(folder, 'etcd.pid'),
      logPath: join(folder, 'etcd.log'),
      // Each of its flags can be set by one of these.
      hidden: /^ETCD_/,
      isOurs: (args) => args[args.indexOf('--data-dir') + 1] === dataFolder && args.includes('--data-dir'),
    });
  }

  /** `https://192.0.2.21:2378`, as members know it. */
  get peerUrl(): string {
    return `https://${this.#options.peerAdvertise ?? this.#options.peerListen}`;
  }

  /** For an EtcdClient on this machine, `127.0.0.1:21234`. After `ensure`; stays the same until it is stopped. */
  get endpoint(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async isAlive(): Promise<boolean> {
    return (await this.#process.find()) !== undefined;
  }

  /**
   * Adopts the one that runs, or starts one, and keeps it running from then on. Does not wait until it answers. One that
   * trusts other authorities than `start` says is started anew. Code etcdMissing where there is no such program.
   */
  async ensure(start: EtcdStart): Promise<void> {
    await this.#leaveAlone();
    this.#over = new AbortController();
    const { folder, dataFolder, logger } = this.#options;
    for (const path of [folder, dataFolder]) await mkdir(path, { recursive: true, mode: 0o700 });
    const isTrustChanged = (await this.#read('ca.pem')) !== start.certificates.caPem;
    await this.setCertificates(start.certificates);
    this.#start = start;
    const running = await this.#process.find();
    if (running !== undefined && !isTrustChanged && start.isForcedNew !== true)
      logger.debug({ pid: running.pid }, 'etcd runs already');
    else await this.#process.stop();
    const isRunning = (await this.#process.find()) !== undefined;
    await this.#choosePort(isRunning);
    if (!isRunning) await this.#run(start.isForcedNew === true);
    this.#supervising = this.#supervise(this.#over.signal);
    void this.#cutLog(this.#over.signal);
  }

  /** Its connections from now on have these; authorities count from the next `ensure`. */
  async setCertificates({ certificatePem, keyPem, caPem }: EtcdCertificates): Promise<void> {
    this.#options.seam.step('write etcd certificates');
    await this.#write('key.pem', keyPem);
    await this.#write('cert.pem', certificatePem);
    await this.#write('ca.pem', caPem);
  }

  /** Ends it, with SIGTERM and after 10 s with SIGKILL; success if it does not run. */
  async stop(): Promise<void> {
    await this.#leaveAlone();
    await this.#process.stop();
  }

  /** Stops it and removes all that it had. */
  async wipe(): Promise<void> {
    await this.stop();
    this.#options.seam.step('remove etcd data');
    await rm(this.#options.dataFolder, { recursive: true, force: true });
    await rm(this.#options.folder, { recursive: true, force: true });
  }

  /** The last lines it logged, for error messages. */
  lastWords(): Promise<string> {
    return this.#process.lastWords();
  }

  /** It runs on, for the next daemon, and is not started again by this one. */
  [Symbol.dispose](): void {
    this.#over.abort();
  }

  async #run(isForcedNew: boolean): Promise<void> {
    const start = this.#start;
    if (start === undefined) throw new TypeError('etcd was never to run');
    await this.#process.start(await findEtcd(), this.#arguments(start, isForcedNew));
  }

  #arguments({ initialCluster, state }: EtcdStart, isForcedNew: boolean): readonly string[] {
    const { name, dataFolder, folder, peerListen, allowedName } = this.#options;
    const client = `https://${this.endpoint}`;
    const [certificate, key, ca] = ['cert.pem', 'key.pem', 'ca.pem'].map((file) => join(folder, file)) as [
      string,
      string,
      string,
    ];
    return [
      ...['--name', name, '--data-dir', dataFolder],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', `https://${peerListen}`, '--initial-advertise-peer-urls', this.peerUrl],
      ...['--initial-cluster', initialCluster.join(','), '--initial-cluster-state', state],
      ...['--cert-file', certificate, '--key-file', key, '--trusted-ca-file', ca, '--client-cert-auth'],
      ...['--peer-cert-file', certificate, '--peer-key-file', key, '--peer-trusted-ca-file', ca],
      // The address that a member's connection comes from may be any of its machine's.
      ...['--peer-client-cert-auth', '--experimental-peer-skip-client-san-verification'],
      ...(allowedName === undefined
        ? []
        : ['--client-cert-allowed-hostname', allowedName, '--peer-cert-allowed-hostname', allowedName]),
      // A watch may be behind by as much.
      ...['--auto-compaction-mode', 'revision', '--auto-compaction-retention', '10000'],
      ...['--quota-backend-bytes', String(2 ** 31)],
      // Who comes back from a partition does not take the leader down.
      ...['--pre-vote', '--logger', 'zap'],
      ...(isForcedNew ? ['--force-new-cluster'] : []),
    ];
  }

  async #leaveAlone(): Promise<void> {
    this.#over.abort();
    await this.#supervising;
  }

  /** Starts it again whenever it is gone, until `signal` fires. */
  async #supervise(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    let pause: number = pauseMs.least;
    while (!signal.aborted)
      try {
        const sinceMs = performance.now();
        const running = await this.#process.find();
        if (running !== undefined) await this.#process.gone(running, signal);
        if (performance.now() - sinceMs > longLifeMs) pause = pauseMs.least;
        logger.warn({ err: await this.lastWords() }, 'etcd ended and is started again');
        await clock.sleep(pause, signal);
        pause = Math.min(2 * pause, pauseMs.most);
        await this.#run(false);
      } catch (error) {
        if (signal.aborted) return;
        logger.error({ err: messageOf(error) }, 'etcd cannot be started');
        await clock.sleep(pauseMs.least, signal).catch(() => {});
      }
  }

  async #cutLog(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    while (!signal.aborted)
      try {
        await clock.sleep(trimMs, signal);
        await this.#process.trimLog();
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: messageOf(error) }, "etcd's log cannot be cut");
      }
  }

  /** That of the one that runs; else that of last time if it is free, or another. */
  async #choosePort(isRunning: boolean): Promise<void> {
    const last = Number(await this.#read('port'));
    if (last > 0 && (isRunning || (await isFree(last)))) {
      this.#port = last;
      return;
    }
    do this.#port = randomInt(clientPorts.first, clientPorts.last);
    while (!(await isFree(this.#port)));
    await this.#write('port', String(this.#port));
  }

  /** Undefined if there is no such file. */
  #read(file: string): Promise<string | undefined> {
    return readFile(join(this.#options.folder, file), 'utf8').catch(() => undefined);
  }

  async #write(file: string, text: string): Promise<void> {
    const path = join(this.#options.folder, file);
    await writeFile(`${path}.new`, text, { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

/** Its path. Code etcdMissing where there is no such program. */
export async function findEtcd(): Promise<string> {
  const program = await findProgram('etcd');
  if (program !== undefined) return program;
  throw new LinkspanError(
    'etcdMissing',
    `etcd not found in ${systemPath()}: install the package etcd-server, needed from the second manager on ` +
      '(apt install etcd-server)',
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  return await promise;
}
