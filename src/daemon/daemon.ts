/*
 * The composition root: opens every part in order and hands each what it needs. Disposing the result closes them in
 * reverse; containers, their networks and containerd (while containers run) go on.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { ApiServer } from '../api/docker/apiServer.ts';
import { createApiServer } from '../api/docker/server.ts';
import { createMetrics } from '../api/metrics/metrics.ts';
import { systemClock } from '../base/clock.ts';
import { ConditionBook } from '../base/conditionBook.ts';
import type { Condition } from '../base/condition.ts';
import type { Logger } from '../base/logger.ts';
import { RepairLog } from '../base/repairLog.ts';
import type { Seam } from '../base/seam.ts';
import { openBuilder } from '../builder/openBuilder.ts';
import { LocalSwarm } from '../cluster/localSwarm.ts';
import { openDns } from '../dns/openDns.ts';
import { type LocalContainers, openContainers } from '../engine/containers/containers.ts';
import { examine } from '../engine/doctor/doctor.ts';
import { findLeaks, type LeakSources } from '../engine/doctor/leaks.ts';
import type { Encryption, Engine, EngineInfo } from '../engine/engine.ts';
import { EventLog } from '../engine/events.ts';
import { withImageEvents } from '../engine/imageEvents.ts';
import { dropOrphans } from '../engine/networks/recover.ts';
import { LocalVolumes } from '../engine/volumes/volumes.ts';
import type { SwarmFollower } from '../engine/overlay/swarmFollower.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { openKernel } from '../kernel/openKernel.ts';
import { loadLibraries } from '../runtime/containerd/client.ts';
import { openRuntime } from '../runtime/containerd/openRuntime.ts';
import { openHostMounts } from '../runtime/hostMounts.ts';
import { openContent } from '../runtime/images/content.ts';
import { openImages } from '../runtime/images/openImages.ts';
import type { SpecHost } from '../runtime/oci/spec.ts';
import { readSpecHost } from '../runtime/oci/specHost.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { openSqliteStore } from '../store/sqliteStore.ts';
import { logChanges } from './changeLog.ts';
import type { DaemonConfig, ListenAddress } from './config.ts';
import {
  dnsDefaultsOf,
  type NetworkHalf,
  namespaceFolderOf,
  openNetworkHalf,
  overlayFolderOf,
  ownerOf,
} from './engineNetworks.ts';
import { findGroupId } from './groups.ts';
import { Identity } from './identity.ts';
import { describeNode, systemAddresses } from './node.ts';
import { takeStock } from './stock.ts';
import { openStoreMembers } from './storeMembers.ts';
import { openSwarmStore } from './swarmStore.ts';

export interface DaemonDependencies {
  readonly config: DaemonConfig;
  readonly logger: Logger;
  readonly seam: Seam;
}

export const version = '0.1.0';

function infoOf(
  config: DaemonConfig,
  { cgroupVersion, limitSupport, appArmor }: SpecHost,
  identity: Identity,
  runtime: Runtime,
  encryption: Encryption,
): () => Promise<EngineInfo> {
  return async () => {
    const [versions, tunnels] = await Promise.all([runtime.versions(), encryption.engine()]);
    return {
      id: identity.id,
      name: hostname(),
      dataRoot: config.dataRoot,
      containerdVersion: versions.containerd,
      containerd: runtime.containerd,
      runcVersion: versions.runc,
      cgroupDriver: 'cgroupfs',
      cgroupVersion,
      limitSupport,
      hasAppArmor: appArmor !== undefined,
      warnings: [],
      loggingDriver: config.containerLog.driver,
      isDebug: config.logLevel === 'debug',
      labels: [
        ...config.labels,
        `linkspan.encryption=${tunnels.engine === undefined ? `none: ${tunnels.reason}` : `WireGuard, ${tunnels.engine}`}`,
      ],
    };
  };
}

function openContainerHalf(
  deps: DaemonDependencies,
  parts: Pick<Engine, 'images' | 'events'> & {
    store: Awaited<ReturnType<typeof openSqliteStore>>;
    runtime: Runtime;
    kernel: Kernel;
    host: SpecHost;
    half: NetworkHalf;
    volumes: LocalVolumes;
  },
): Promise<LocalContainers> {
  const { config, logger } = deps;
  const { store, runtime, images, events, half, kernel, host, volumes } = parts;
  return openContainers({
    store,
    runtime,
    images,
    events,
    network: half.network,
    volumes,
    clock: systemClock,
    logger,
    host,
    makeFifo: (path) => kernel.makeFifo(path),
    openDatagrams: (path) => kernel.openDatagrams(path),
    dataFolder: join(config.dataRoot, 'containers'),
    fifoFolder: join(config.execRoot, 'containers'),
    shmFolder: join(config.execRoot, 'shm'),
    subpathFolder: join(config.execRoot, 'subpaths'),
    hostMounts: openHostMounts(deps.seam),
    defaultIpcMode: config.defaultIpcMode,
    hostsPath: '/etc/hosts',
    resolvConfPath: '/etc/resolv.conf',
    dnsDefaults: dnsDefaultsOf(config),
    hostname: () => hostname(),
    defaultLog: config.containerLog,
  });
}

async function listen(
  api: ApiServer,
  address: ListenAddress,
  config: DaemonConfig,
  logger: Logger,
): Promise<void> {
  if (address.type === 'tcp') {
    logger.info({ address: await api.listen({ host: address.host, port: address.port }) }, 'listening');
    return;
  }
  const gid = findGroupId(config.group ?? 'linkspan');
  if (gid === undefined && config.group !== undefined)
    throw new LinkspanError('requestInvalid', `there is no group ${config.group}`);
  const socket = { socketPath: address.path, mode: 0o660, ...(gid === undefined ? {} : { gid }) };
  logger.info({ address: await api.listen(socket) }, 'listening');
}

function makeRoots(config: DaemonConfig): void {
  for (const [folder, mode] of [
    [config.dataRoot, 0o710],
    [config.execRoot, 0o711],
  ] as const) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, mode);
  }
}

/** Resolves when the API answers. Rejects, with everything closed again, when a part cannot be opened. */
export async function startDaemon(deps: DaemonDependencies): Promise<AsyncDisposable> {
  const { config, logger, seam } = deps;
  await using parts = new AsyncDisposableStack();
  makeRoots(config);
  const { dataRoot, execRoot, containerd } = config;
  const metrics = createMetrics();
  // What takes long and touches nothing begins at once. The rest waits for the store: its lock keeps a second daemon
  // from touching anything of this data root.
  const conditionsOfStore = new ConditionBook({ clock: systemClock, logger });
  const opening = [
    openSqliteStore(join(dataRoot, 'state.db'), seam, (text) =>
      conditionsOfStore.report('sync', [{ id: 'store.sync', severity: 'error', text }]),
    ),
    openKernel({ seam, logger, onOperation: (operation) => metrics.observeKernel(operation) }),
  ] as const;
  const libraries = loadLibraries();
  // Whoever needs them says so; until then a failure is nobody's.
  libraries.catch(() => {});
  for (const outcome of await Promise.allSettled(opening))
    if (outcome.status === 'fulfilled') parts.use(outcome.value);
  const [store, kernel] = await Promise.all(opening);
  const dns = parts.use(openDns({ seam, logger, resolvConfPath: '/etc/resolv.conf' }));
  const address = containerd === undefined ? {} : { address: containerd };
  const runtime = parts.use(await openRuntime({ dataRoot, execRoot, seam, logger, libraries, ...address }));
  const events = new EventLog();
  const registries = { insecure: config.insecureRegistries, mirrors: config.registryMirrors };
  const plainImages = await openImages({ client: runtime.client, seam, logger, registries });
  const images = withImageEvents(plainImages, events);
  const identity = await Identity.open(store);
  parts.use(logChanges(events, logger));
  const repairs = new RepairLog(systemClock);
  // Each needs the other: the swarm asks once both are there.
  const engineParts: { half?: NetworkHalf; follower?: SwarmFollower } = {};
  const elsewhere =
    config.store === undefined ? undefined : parts.use(await openSwarmStore(config.store, seam));
  const swarm = parts.use(
    await LocalSwarm.open({
      ...{ store, logger, clock: systemClock },
      ...(elsewhere === undefined
        ? { members: openStoreMembers({ dataRoot, execRoot, logger, seam }) }
        : { elsewhere }),
      describe: () => describeNode(version, config.labels),
      systemAddresses: () => systemAddresses(engineParts.half?.table.subnets ?? []),
      ownEndpoints: () => engineParts.half?.claims.own() ?? [],
      vacate: async () => engineParts.follower?.vacate(),
      settled: async () => engineParts.follower?.settled(),
    }),
  );
  const half = await openNetworkHalf({
    ...{ config, kernel, dns, store, identity, events, logger, repairs, seam },
    swarm: swarm.networks,
  });
  engineParts.half = half;
  parts.use(half.listeners);
  parts.defer(() => half.firewall.stop());
  parts.defer(() => half.ports.close());
  const host = readSpecHost(config.cgroupParent);
  const volumes = new LocalVolumes({
    ...{ store, events, logger, seam, clock: systemClock },
    hostMounts: openHostMounts(seam),
    folder: join(dataRoot, 'volumes'),
  });
  const containers = parts.use(
    await openContainerHalf(deps, { store, runtime, images, events, kernel, host, half, volumes }),
  );
  await dropOrphans(half.table, new Set(containers.list().map(({ id }) => id)));
  const reconciler = parts.use(half.openReconciler(containers));
  const isKnown = (): boolean => !['error', 'locked'].includes(swarm.status().state);
  const follower = parts.use(half.openFollower(containers, isKnown));
  engineParts.follower = follower;
  swarm.start();
  half.encryption.start(isKnown);
  half.probes.start();
  half.pulse.start();
  await follower.start();
  const engine: Engine = {
    networks: half.networks,
    containers,
    volumes,
    images,
    swarm,
    events,
    encryption: half.encryption,
    info: infoOf(config, host, identity, runtime, half.encryption),
  };
  const records = (): ReturnType<LeakSources['records']> => ({
    networks: half.table.networks,
    endpoints: half.table.endpoints,
    containers: containers.list(),
  });
  const leakSources: LeakSources = {
    kernel,
    runtime,
    clock: systemClock,
    namespaceFolder: namespaceFolderOf(config),
    overlayFolder: overlayFolderOf(config),
    ownerOf: (alias) => ownerOf(alias, identity.id),
    records,
  };
  const conditions = (): readonly Condition[] => [
    ...conditionsOfStore.list(),
    ...half.firewall.conditions,
    ...half.ports.conditions,
    ...reconciler.conditions,
    ...half.encryption.conditions,
    ...half.plainPaths.conditions,
    ...half.probes.conditions,
    ...half.pulse.conditions,
  ];
  metrics.readFrom(async () =>
    takeStock({
      ...records(),
      bindings: containers.list().flatMap(({ id }) => half.ports.bindings(id)),
      conditions: conditions(),
      // A dead worker has told the log; the other figures must not go with it.
      dns: await dns.statistics().catch(() => undefined),
      repairs,
    }),
  );
  const api = parts.use(
    createApiServer({
      engine,
      builder:
        config.builder === undefined
          ? undefined
          : openBuilder({ address: config.builder, images, content: openContent(runtime.client) }),
      logger,
      clock: systemClock,
      metrics,
      dumpFirewall: () => half.firewall.dump(),
      doctor: () =>
        examine({
          kernel,
          cgroupVersion: host.cgroupVersion,
          conditions,
          repairs,
          findLeaks: () => findLeaks(leakSources),
        }),
      conditions,
      build: { version, gitCommit: '', buildTime: '' },
    }),
  );
  for (const address of config.listen) await listen(api, address, config, logger);
  reconciler.start();
  return parts.move();
}
