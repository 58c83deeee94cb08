/*
 * Tunnels by wireguard-go, for kernels without WireGuard: a process of its own session for each device, which outlives
 * the daemon and is taken over by the next one. It makes a tun device in the daemon's namespace, which is moved to that
 * of the spec; its UDP socket stays. When it ends, the device and all that is bound to it vanish: nothing leaves in the
 * clear. Files in `folder`: NAME.pid, NAME.log; its socket is where wireguard-go puts it (uapiClient.ts).
 *
 * What it knows of its device after the move, it learns by trying to write to it once a second: so the device must not
 * be up before the move (it might miss that it went down on the way, and that it is up again), and of a changed MTU it
 * does not hear.
 */
import { open, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DetachedProcess } from '../base/detachedProcess.ts';
import { findProgram } from '../base/programs.ts';
import type { WireguardChange, WireguardState } from '../codec/wireguard/device.ts';
import { messageOf } from '../errors/linkspanError.ts';
import { type Kernel, KernelError } from '../kernel/kernel.ts';
import type { Engine, TunnelContext, TunnelDevice } from './device.ts';
import { findFault, portTaken, setUpLink } from './linkSetup.ts';
import type { TunnelSpec } from './tunnel.ts';
import { UapiClient, uapiPathOf } from './uapiClient.ts';

/** For its socket to answer, and for its UDP port to be open once the device is up. */
const startTimeoutMs = 10_000;
const lookMs = 20;
/** What wireguard-go gives a device (device.DefaultMTU). */
const bornMtuBytes = 1420;
/** For it to take in a new MTU, while its device is in its own namespace still. It does that in a millisecond. */
const mtuMs = 250;
/**
 * The system's 208 KB take some 90 packets, which a sender of one connection overruns: one packet in eight was lost
 * that way, and with them a third of the throughput. Releases from 2023 on ask for 7 MB themselves, and work off ten
 * times as many packets: by the one of Debian 12 these would wait for half a second.
 */
const receiveBytes = 2 << 20;
/** After its device is up again it may open its sockets anew, by the looks it takes once a second. */
const reopenMs = 3000;
const reopenLookMs = 500;
const tunDevice = '/dev/net/tun';

function makeProcess({ folder, logger, seam }: TunnelContext, name: string): DetachedProcess {
  return new DetachedProcess({
    ...{ name: 'wireguard-go', logger, seam },
    pidPath: join(folder, `${name}.pid`),
    logPath: join(folder, `${name}.log`),
    isOurs: (args) => args.at(-2) === '-f' && args.at(-1) === name,
    hidden: /^(WG_|LOG_LEVEL$)/,
    // The second keeps it from advertising the kernel's WireGuard in its log.
    variables: { LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' },
  });
}

/** By the names of their devices; each one's stays the same, since it knows what it started. */
class Processes {
  readonly context: TunnelContext;
  readonly #made = new Map<string, DetachedProcess>();

  constructor(context: TunnelContext) {
    this.context = context;
  }

  of(name: string): DetachedProcess {
    const found = this.#made.get(name) ?? makeProcess(this.context, name);
    this.#made.set(name, found);
    return found;
  }

  /** Ends it by its pid, and removes what is left of it; its device goes with it. */
  async remove(name: string): Promise<void> {
    await this.of(name).stop();
    const log = join(this.context.folder, `${name}.log`);
    for (const path of [uapiPathOf(name), log, `${log}.1`]) await rm(path, { force: true });
  }
}

/** Who has a UDP port in the namespace that a process is in: itself, or another one; undefined if nobody has. */
async function findPortOwner(pid: number, port: number): Promise<'own' | 'other' | undefined> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes: string[] = [];
  for (const table of ['udp', 'udp6']) {
    const text = await readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '');
    // `12: 00000000:CA6C 00000000:0000 07 …`: the second word is the socket's own address, the tenth its inode.
    for (const line of text.split('\n')) {
      const words = line.trim().split(/\s+/);
      if (words[1]?.endsWith(suffix) === true) inodes.push(`socket:[${words[9]}]`);
    }
  }
  if (inodes.length === 0) return undefined;
  for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => []))
    if (inodes.includes(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''))) return 'own';
  return 'other';
}

async function growBuffers(kernel: Kernel, process: DetachedProcess): Promise<void> {
  const running = await process.find();
  if (running !== undefined) await kernel.growReceiveBuffers(running.pid, receiveBytes);
}

class GoOpening {
  readonly #context: TunnelContext;
  readonly #spec: TunnelSpec;
  readonly #process: DetachedProcess;
  readonly #client: UapiClient;

  constructor(processes: Processes, spec: TunnelSpec, client: UapiClient) {
    this.#context = processes.context;
    this.#spec = spec;
    this.#process = processes.of(spec.name);
    this.#client = client;
  }

  /** True if one that an earlier daemon set up runs, and can become what is wanted. */
  async adopt(): Promise<boolean> {
    const { name, namespace, mtuBytes } = this.#spec;
    if ((await this.#process.find()) === undefined) return false;
    const link = await this.#context.kernel.findLink(name, namespace);
    return link?.kind === 'tun' && link.mtuBytes === mtuBytes && (await this.#client.connect());
  }

  /** The device is in its namespace then, down. */
  async start(): Promise<void> {
    const { kernel, clock, wireguardGo } = this.#context;
    const { name, namespace, mtuBytes } = this.#spec;
    const [program, ...args] = wireguardGo ?? [(await findProgram('wireguard-go')) ?? 'wireguard-go'];
    await this.#process.start(program ?? '', [...args, '-f', name]);
    await this.#until('to answer', () => this.#client.connect());
    await this.#hasPort();
    if (mtuBytes !== bornMtuBytes) {
      await kernel.setLink(name, { mtuBytes });
      await clock.sleep(mtuMs);
    }
    await kernel.moveLink(name, namespace);
  }

  async waitForPort(): Promise<void> {
    await this.#until('to open its port', () => this.#hasPort());
    const { kernel, logger } = this.#context;
    await growBuffers(kernel, this.#process).catch((error: unknown) => {
      const reason = messageOf(error);
      logger.warn({ reason }, 'wireguard-go keeps its small receive buffer, and is slower for it');
    });
  }

  /** It does not say that it could not have the port: code tunnelPortTaken where another program has it. */
  async #hasPort(): Promise<boolean> {
    const running = await this.#process.find();
    const { port } = this.#spec;
    const owner = running === undefined ? undefined : await findPortOwner(running.pid, port);
    if (owner === 'other') throw portTaken(port);
    return owner === 'own';
  }

  async #until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const { clock } = this.#context;
    for (const endMs = clock.nowMs() + startTimeoutMs; !(await isSo()); await clock.sleep(lookMs)) {
      const isDead = (await this.#process.find()) === undefined;
      if (!isDead && clock.nowMs() < endMs) continue;
      const words = await this.#process.lastWords();
      const why = isDead ? 'it ended' : `it took more than ${startTimeoutMs / 1000} s`;
      throw new KernelError(`waiting for wireguard-go ${what}`, 'ECHILD', `${why}: ${words}`);
    }
  }
}

class GoDevice implements TunnelDevice {
  readonly engine = 'wireguard-go' as const;
  readonly gone: Promise<string>;
  readonly #processes: Processes;
  readonly #spec: TunnelSpec;
  readonly #client: UapiClient;
  readonly #over = new AbortController();

  constructor(processes: Processes, spec: TunnelSpec, client: UapiClient) {
    this.#processes = processes;
    this.#spec = spec;
    this.#client = client;
    this.gone = client.gone.then(() => 'wireguard-go ended');
  }

  /** What others change on the device is put back from now on, and the log kept short. */
  async watch(): Promise<void> {
    const { kernel, clock } = this.#processes.context;
    const id = await kernel.numberNamespace(this.#spec.namespace);
    const listener = kernel.events.on('farLoss', ({ namespaceId, isPairOnly }) => {
      if (namespaceId === id && !isPairOnly) void this.#repair();
    });
    this.#over.signal.addEventListener('abort', () => listener[Symbol.dispose]());
    const child = this.#processes.of(this.#spec.name);
    const trim = async (): Promise<void> => {
      for (;;) {
        await clock.sleep(trimMs, this.#over.signal);
        await child.trimLog();
      }
    };
    trim().catch(() => {});
  }

  async #repair(): Promise<void> {
    const { kernel, clock } = this.#processes.context;
    const fault = await findFault(kernel, this.#spec).catch(() => undefined);
    if (this.#over.signal.aborted || fault === undefined || fault === 'gone') return;
    await setUpLink(kernel, this.#spec).catch(() => {});
    for (let waitedMs = 0; waitedMs <= reopenMs; waitedMs += reopenLookMs) {
      // Told of when it was opened, if it cannot be.
      await growBuffers(kernel, this.#processes.of(this.#spec.name)).catch(() => {});
      await clock.sleep(reopenLookMs, this.#over.signal).catch(() => {});
    }
  }

  set(change: WireguardChange): Promise<void> {
    return this.#client.set(change);
  }

  state(): Promise<WireguardState> {
    return this.#client.state();
  }

  async remove(): Promise<void> {
    this.release();
    await this.#processes.remove(this.#spec.name);
  }

  release(): void {
    this.#over.abort();
    this.#client[Symbol.dispose]();
  }
}

/** How often its log is looked at. */
const trimMs = 600_000;

async function findTunObstacle(): Promise<string | undefined> {
  try {
    await (await open(tunDevice, 'r+')).close();
    return undefined;
  } catch (error) {
    return `wireguard-go needs ${tunDevice}, which cannot be opened (${messageOf(error)})`;
  }
}

export function createGoEngine(context: TunnelContext): Engine {
  const processes = new Processes(context);
  return {
    engine: 'wireguard-go',
    findObstacle: async () => {
      if (context.wireguardGo === undefined && (await findProgram('wireguard-go')) === undefined)
        return 'wireguard-go is not installed (apt install wireguard-go)';
      return await findTunObstacle();
    },
    exists: async (name) => (await processes.of(name).find()) !== undefined,
    open: async (spec) => {
      const { name, port, privateKey } = spec;
      await using undo = new AsyncDisposableStack();
      const client = undo.use(new UapiClient(name, context.seam));
      const opening = new GoOpening(processes, spec, client);
      const isAdopted = await opening.adopt();
      if (!isAdopted) {
        await processes.remove(name);
        undo.defer(() => processes.remove(name).catch(() => {}));
        await opening.start();
      }
      try {
        await client.set({ privateKey: privateKey.reveal(), port });
      } catch (error) {
        // Where it is up already.
        if (error instanceof KernelError && error.code === 'EADDRINUSE') throw portTaken(port, error);
        throw error;
      }
      await setUpLink(context.kernel, spec);
      await opening.waitForPort();
      const device = new GoDevice(processes, spec, client);
      await device.watch();
      undo.move();
      return device;
    },
    remove: (name) => processes.remove(name),
  };
}
