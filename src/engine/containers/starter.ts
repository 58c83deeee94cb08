/*
 * Starts containers. Order: durable intent (`starting`), network ∥ account files, /etc files, FIFOs, task, process,
 * durable end (`running`). A failure undoes what was done in reverse and leaves the container as it was, with the
 * error and an exit code in its record.
 */
import { access, mkdir } from 'node:fs/promises';
import { timestamp } from '../../base/timestamp.ts';
import { LinkspanError, originOf } from '../../errors/linkspanError.ts';
import { formatIp } from '../../net/ip.ts';
import { parseIpWithLength } from '../../net/prefix.ts';
import type { MountRequest } from '../../runtime/oci/mounts.ts';
import { buildSpec, prepareAppArmor, type SpecNetwork, type SpecStart } from '../../runtime/oci/spec.ts';
import { resolveUser } from '../../runtime/oci/users.ts';
import type { ExitStatus } from '../../runtime/runtime.ts';
import type { Container, ContainerId, Endpoint, MountPoint, Sandbox } from '../model.ts';
import type { BoundParts } from '../volumes/subpaths.ts';
import { emitContainerEvent } from './containerEvents.ts';
import { checkLogDriver, openContainerIo } from './containerIo.ts';
import type { ContainersContext } from './dependencies.ts';
import { firstHealth } from './healthChecks.ts';
import {
  formatHosts,
  formatResolvConf,
  ownNames,
  readText,
  resolvConfKind,
  withDefaults,
  writeInPlace,
  writeResolvConf,
} from './etcFiles.ts';
import { type LinkedContainer, linkEnvironment, linkHosts, parseLink } from './links.ts';
import type { LiveContainer } from './liveContainer.ts';
import { findJoined, findPeer, ownsNetwork } from './sharing.ts';
import { mountsOf, requestFor } from './mountPlan.ts';
import { ownHostname, specOptionsOf } from './specValues.ts';
import { type StartFailure, translateStartError } from './startError.ts';

/** What a start has settled about the surroundings of the process. */
interface Surroundings {
  readonly network: SpecNetwork;
  readonly sandbox: Sandbox | undefined;
  readonly hostname: string;
}

/** The plain addresses of endpoints, in attach order. */
export function addressesOf(endpoints: readonly Endpoint[]): readonly string[] {
  return endpoints.flatMap(({ ipv4, ipv6 }) =>
    [ipv4, ipv6].flatMap((text) => {
      const parsed = text === undefined ? undefined : parseIpWithLength(text);
      return parsed === undefined ? [] : formatIp(parsed.ip);
    }),
  );
}

function refuse(message: string): never {
  throw new LinkspanError('containerState', message);
}

/** Told of each run: `exit` settles when its process ends. */
export type WatchRun = (live: LiveContainer, exit: Promise<ExitStatus>) => void;

export class Starter {
  readonly #context: ContainersContext;
  readonly #watch: WatchRun;

  constructor(context: ContainersContext, watch: WatchRun) {
    this.#context = context;
    this.#watch = watch;
  }

  /**
   * Called with the container's mutex held. No-op if it runs. `byPolicy`: nobody asked for it, so what the restart policy
   * has counted stands. Rejects with Docker's texts.
   */
  async start(live: LiveContainer, byPolicy = false): Promise<void> {
    switch (live.record.state) {
      case 'running':
        return;
      case 'paused':
        refuse('cannot start a paused container, try unpause instead');
        break;
      case 'removing':
      case 'dead':
        refuse('container is marked for removal and cannot be started');
        break;
      case 'created':
      case 'exited':
      case 'restarting':
      case 'starting':
        await this.#startStopped(live, byPolicy);
    }
  }

  async #startStopped(live: LiveContainer, byPolicy: boolean): Promise<void> {
    const before = live.record;
    if (!byPolicy) {
      live.restart?.abort();
      live.restartDelayMs = 0;
    }
    const peer = findPeer(this.#context.table, before);
    await this.#context.table.update(live, {
      state: 'starting',
      error: '',
      wasOomKilled: false,
      // Between two runs of a restart policy the last one's is shown.
      ...(byPolicy ? {} : { exitCode: 0, restartCount: 0, wasStopped: false }),
      // Whose network it is, his are the files.
      ...(peer === undefined ? {} : etcPathsOf(peer)),
    });
    const undo = new AsyncDisposableStack();
    try {
      await this.#run(live, peer, undo);
      undo.move();
    } catch (error) {
      await this.#undo(live, undo);
      const failure = translateStartError(error, before.process.args[0] ?? '', 128);
      await this.#recordFailure(live, before, failure);
      throw failure.error;
    }
  }

  /** As it was before, with why it did not start. A refused write leaves `starting`, which the next daemon undoes. */
  async #recordFailure(live: LiveContainer, before: Container, failure: StartFailure): Promise<void> {
    const { exitCode, error } = failure;
    const change = { state: before.state, exitCode, error: error.message };
    try {
      await this.#context.table.update(live, change);
    } catch (cause) {
      live.record = { ...live.record, ...change };
      this.#context.logger.error({ ...live.logFields, err: cause }, 'could not record a failed start');
    }
  }

  async #undo(live: LiveContainer, undo: AsyncDisposableStack): Promise<void> {
    try {
      await undo.disposeAsync();
    } catch (error) {
      this.#context.logger.error({ ...live.logFields, err: error }, 'could not undo a failed start');
    }
  }

  async #run(live: LiveContainer, peer: Container | undefined, undo: AsyncDisposableStack): Promise<void> {
    const { runtime, accounts, table, events, host, clock, volumes, sharedMemory, subpaths } = this.#context;
    const { id, spec, process } = live.record;
    // Also before anything is made of it; the process may be another once that is done.
    this.#joined(live.record);
    undo.defer(() => volumes.end(live.record));
    await volumes.begin(live.record);
    undo.defer(() => sharedMemory.unmount(live.record));
    await sharedMemory.mount(live.record);
    const [surroundings, files] = await Promise.all([
      this.#prepareNetwork(live, peer, undo),
      accounts.read(live.record),
    ]);
    const linked = this.#linked(live.record);
    if (peer === undefined) this.#writeEtc(live.record, surroundings.hostname, linked);
    const mounts = mountsOf(live.record);
    await makeBindSources(mounts);
    checkLogDriver(this.#context, live.record);
    const io = (live.io ??= openContainerIo(this.#context, live.record));
    undo.defer(async () => {
      live.io = undefined;
      await io.finish();
    });
    const parts = subpaths.open(id);
    undo.defer(() => this.#unbind(live, parts));
    const requests = await this.#requests(id, mounts, parts);
    const own = specOptionsOf(live.record, surroundings.hostname, requests);
    const options = withLinks(own, live.record, linked);
    const { hostsPath, hostnamePath, resolvConfPath } = live.record;
    const ociSpec = buildSpec(
      options,
      {
        network: surroundings.network,
        user: resolveUser(process.user, spec.groupAdd, files),
        etc: { hosts: hostsPath, hostname: hostnamePath, resolvConf: resolvConfPath },
        ...this.#joined(live.record),
        ...withShm(sharedMemory.pathOf(table, live.record)),
      },
      host,
    );
    await prepareAppArmor(options, host);
    undo.defer(() => runtime.deleteTask(id));
    const { pid } = await this.#createTask(id, ociSpec, io.open());
    await this.#unbind(live, parts);
    io.begin();
    const exit = runtime.waitTask(id);
    // Handed to the watcher below; until then a failure must not count as unhandled.
    exit.catch(() => {});
    await runtime.startTask(id);
    io.connected();
    const { sandbox } = surroundings;
    await table.update(live, {
      state: 'running',
      pid,
      exitCode: 0,
      startedAt: timestamp(clock),
      ...firstHealth(live),
      ...(sandbox === undefined ? {} : { sandbox }),
    });
    emitContainerEvent(events, live.record, 'start');
    this.#watch(live, exit);
  }

  /** What stays of it is found by the daemon's next start. */
  async #unbind(live: LiveContainer, parts: BoundParts): Promise<void> {
    try {
      await parts[Symbol.asyncDispose]();
    } catch (error) {
      this.#context.logger.warn({ ...live.logFields, err: error }, 'could not unbind parts of volumes');
    }
  }

  async #requests(
    id: ContainerId,
    mounts: readonly MountPoint[],
    parts: BoundParts,
  ): Promise<readonly MountRequest[]> {
    const { volumes, runtime } = this.#context;
    const requests: MountRequest[] = [];
    let images = 0;
    for (const mount of mounts) {
      const view = mount.type === 'image' ? await runtime.viewMount(id, images++) : undefined;
      const part =
        mount.type === 'volume' && mount.subpath !== undefined
          ? await parts.bind(volumes.pathOf(mount.name), mount.subpath)
          : undefined;
      requests.push(requestFor(mount, (name) => part ?? volumes.pathOf(name), view));
    }
    return requests;
  }

  /** Throws Docker's texts for a container whose namespace cannot be had. */
  #joined({ spec }: Container): Pick<SpecStart, 'pidPath' | 'ipcPath'> {
    const { table, sharedMemory } = this.#context;
    const pid = findJoined(table, 'PID', spec.pidMode);
    const ipc = findJoined(table, 'IPC', spec.ipcMode);
    if (ipc !== undefined && sharedMemory.pathOf(table, ipc) === undefined)
      throw new LinkspanError(
        'containerConfigInvalid',
        `failed to join IPC namespace: container ${ipc.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
      );
    return {
      ...(pid === undefined ? {} : { pidPath: `/proc/${pid.pid}/ns/pid` }),
      ...(ipc === undefined ? {} : { ipcPath: `/proc/${ipc.pid}/ns/ipc` }),
    };
  }

  async #createTask(
    ...args: Parameters<ContainersContext['runtime']['createTask']>
  ): Promise<{ readonly pid: number }> {
    try {
      return await this.#context.runtime.createTask(...args);
    } catch (error) {
      throw withPrefix(error, 'failed to create task for container');
    }
  }

  /** The sandbox, and who takes it down again if something later fails. */
  async #prepareNetwork(
    live: LiveContainer,
    peer: Container | undefined,
    undo: AsyncDisposableStack,
  ): Promise<Surroundings> {
    const { record } = live;
    const hostname = ownHostname(peer?.id ?? record.id, peer?.spec ?? record.spec, this.#context.hostname);
    if (!ownsNetwork(record)) {
      const path = peer?.sandbox?.path;
      const network: SpecNetwork =
        path === undefined ? { type: 'host' } : { type: 'namespace', path, isPrivate: false };
      return { network, sandbox: undefined, hostname };
    }
    const sandbox = await this.#prepareOwn(record);
    live.record = { ...record, ...(sandbox === undefined ? {} : { sandbox }) };
    undo.defer(async () => {
      await this.#context.network.release(live.record);
      const { sandbox: _gone, ...rest } = live.record;
      live.record = rest;
    });
    if (sandbox === undefined) return { network: { type: 'host' }, sandbox, hostname };
    return { network: { type: 'namespace', path: sandbox.path, isPrivate: true }, sandbox, hostname };
  }

  async #prepareOwn(record: Container): Promise<Sandbox | undefined> {
    try {
      return (await this.#context.network.prepare(record)).sandbox;
    } catch (error) {
      throw withPrefix(error, 'failed to set up container networking');
    }
  }

  /** The containers that this one is linked to on the default network. Throws containerStartFailed with Docker's texts. */
  #linked(record: Container): readonly LinkedContainer[] {
    const { table, network } = this.#context;
    const request = record.spec.attachments.find((one) => one.network === 'bridge');
    const own = network.endpoints(record).find(({ dnsNames }) => dnsNames.length === 0);
    return (request?.links ?? []).map(parseLink).map(({ target, alias }) => {
      const other = table.findByRef(target);
      const name = other?.record.name ?? target;
      if (other?.isRunning !== true)
        throw new LinkspanError(
          'containerStartFailed',
          `Cannot link to a non running container: /${name} AS /${record.name}/${alias}`,
        );
      const endpoint = network.endpoints(other.record).find(({ networkId }) => networkId === own?.networkId);
      const [address] = endpoint === undefined ? [] : addressesOf([endpoint]);
      if (address === undefined)
        throw new LinkspanError(
          'containerStartFailed',
          `Cannot link to /${name}, as it does not belong to the default network`,
        );
      return { alias, container: other.record, address };
    });
  }

  #writeEtc(record: Container, hostname: string, linked: readonly LinkedContainer[]): void {
    const { spec } = record;
    const { network, hostsPath, resolvConfPath, dnsDefaults } = this.#context;
    const endpoints = network.endpoints(record);
    const hasHostNetwork = spec.networkMode.type === 'host';
    const hosts = formatHosts({
      ...(hasHostNetwork ? { head: readText(hostsPath) } : {}),
      extraHosts: spec.extraHosts,
      hostGatewayIps: network.hostGatewayIps(),
      linkLines: linked.map(linkHosts),
      addresses: hasHostNetwork ? [] : addressesOf(endpoints),
      names: ownNames(hostname, spec.domainname ?? ''),
    });
    writeInPlace(record.hostsPath, hosts);
    writeInPlace(record.hostnamePath, `${hostname}\n`);
    const settings = withDefaults(spec, dnsDefaults);
    const kind = resolvConfKind(spec, endpoints);
    writeResolvConf(record.resolvConfPath, formatResolvConf(readText(resolvConfPath), settings, kind));
  }
}

function withShm(shmPath: string | undefined): Pick<SpecStart, 'shmPath'> {
  return shmPath === undefined ? {} : { shmPath };
}

/** What links add to the environment; the container's own variables win. */
function withLinks(
  options: ReturnType<typeof specOptionsOf>,
  { name, process }: Container,
  linked: readonly LinkedContainer[],
): ReturnType<typeof specOptionsOf> {
  if (linked.length === 0) return options;
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? '';
  const own = new Set(process.env.map(nameOf));
  const added = linked
    .flatMap((one) => linkEnvironment(name, one))
    .filter((entry) => !own.has(nameOf(entry)));
  return { ...options, env: [...added, ...options.env] };
}

/** `-v /no/such:/x` makes the folder, as Docker does. */
async function makeBindSources(mounts: readonly MountPoint[]): Promise<void> {
  for (const mount of mounts) {
    if (mount.type !== 'bind' || !mount.createSource) continue;
    const { source } = mount;
    await access(source).catch(() => mkdir(source, { recursive: true, mode: 0o755 }));
  }
}

function etcPathsOf({ hostsPath, hostnamePath, resolvConfPath }: Container): Partial<Container> {
  return { hostsPath, hostnamePath, resolvConfPath };
}

/** The same error with Docker's words before its text; the code stays. */
function withPrefix(thrown: unknown, prefix: string): unknown {
  const error = originOf(thrown);
  if (error instanceof LinkspanError) {
    return new LinkspanError(error.code, `${prefix}: ${error.message}`, {
      cause: error,
      details: error.details,
    });
  }
  return error instanceof Error
    ? new LinkspanError('runtimeFailed', `${prefix}: ${error.message}`, { cause: error })
    : error;
}
