/*
 * Wires the network half of the engine: firewall, drivers, records, the predefined networks.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allDone } from '../base/allDone.ts';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { RepairLog } from '../base/repairLog.ts';
import type { Seam } from '../base/seam.ts';
import type { SwarmNetworks } from '../cluster/swarmNetworks.ts';
import type { Dns } from '../dns/openDns.ts';
import { createBridgeDriver } from '../drivers/bridge/bridge.ts';
import { chooseDefaultBridge, chooseGatewayBridge, probeDocker } from '../drivers/bridge/defaultBridge.ts';
import { createHostDriver } from '../drivers/host/host.ts';
import type { Driver } from '../drivers/interface.ts';
import { createIpvlanDriver } from '../drivers/ipvlan/ipvlan.ts';
import { createMacvlanDriver } from '../drivers/macvlan/macvlan.ts';
import { createNoneDriver } from '../drivers/none/none.ts';
import { createPlainCarrier } from '../drivers/overlay/carrier.ts';
import { OnDemandOverlay } from '../drivers/overlay/onDemand.ts';
import { createOverlayDriver } from '../drivers/overlay/overlay.ts';
import type { Underlay } from '../drivers/overlay/segments.ts';
import { UnderlayView } from '../drivers/overlay/underlayView.ts';
import { parseOwnerMark } from '../drivers/ownerMark.ts';
import { PublishedPorts } from '../engine/bindings/publishedPorts.ts';
import type { LocalContainers } from '../engine/containers/containers.ts';
import type { DnsSettings } from '../engine/containers/etcFiles.ts';
import type { EventLog } from '../engine/events.ts';
import type { Network } from '../engine/model.ts';
import { Connections } from '../engine/networks/connections.ts';
import { ContainerNetwork } from '../engine/networks/containerNetwork.ts';
import type { SandboxFollower } from '../engine/networks/follower.ts';
import { GatewayNetwork } from '../engine/networks/gateway.ts';
import { LocalNetworks } from '../engine/networks/networks.ts';
import { emitSwarmEvents } from '../engine/networks/networkEvents.ts';
import { NetworkTable } from '../engine/networks/networkTable.ts';
import { recoverNetworks } from '../engine/networks/recover.ts';
import { Sandboxes } from '../engine/networks/sandboxes.ts';
import type { EncryptedCarrier } from '../engine/overlay/encryptedCarrier.ts';
import { SwarmClaims } from '../engine/overlay/claims.ts';
import { PathPulse } from '../engine/overlay/pathPulse.ts';
import { PathProbes } from '../engine/overlay/pathProbes.ts';
import { SwarmCreator } from '../engine/overlay/swarmCreator.ts';
import { PlainPaths } from '../engine/overlay/plainPaths.ts';
import { SwarmFollower } from '../engine/overlay/swarmFollower.ts';
import { Reconciler } from '../engine/reconcile/reconciler.ts';
import { feedNames } from '../engine/resolver/nameFeed.ts';
import { ResolvConfFollower } from '../engine/resolver/resolvConfFollower.ts';
import { ResolverFollower } from '../engine/resolver/resolver.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { createFirewall, type Firewall } from '../firewall/firewall.ts';
import { createTunnelGuard } from '../firewall/tunnelGuard.ts';
import { completeSources } from '../ipam/pools.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { parseIp } from '../net/ip.ts';
import type { IpWithLength } from '../net/prefix.ts';
import type { Store } from '../store/store.ts';
import type { DaemonConfig } from './config.ts';
import { openEncryption } from './encryption.ts';
import type { Identity } from './identity.ts';
import { bridgeRequest, hostRequest, noneRequest } from './predefined.ts';

export interface NetworkHalf {
  readonly table: NetworkTable;
  readonly networks: LocalNetworks;
  /** What containers are handed. */
  readonly network: ContainerNetwork;
  readonly firewall: Firewall;
  readonly ports: PublishedPorts;
  readonly claims: SwarmClaims;
  readonly encryption: EncryptedCarrier;
  readonly plainPaths: PlainPaths;
  /** To be started once the swarm is taken up. */
  readonly probes: PathProbes;
  readonly pulse: PathPulse;
  /** What hears of changes as long as the daemon runs. */
  readonly listeners: DisposableStack;
  /** To be started with the containers, once they are there and the swarm is taken up. */
  readonly openFollower: (containers: LocalContainers, isKnown: () => boolean) => SwarmFollower;
  /** To be started with the containers, once they are there. */
  readonly openReconciler: (containers: LocalContainers) => Reconciler;
}

export interface NetworkHalfDependencies {
  readonly config: DaemonConfig;
  readonly kernel: Kernel;
  readonly dns: Dns;
  readonly store: Store;
  readonly identity: Identity;
  readonly swarm: SwarmNetworks;
  readonly events: EventLog;
  readonly logger: Logger;
  readonly repairs: RepairLog;
  readonly seam: Seam;
}

/** What the daemon's flags say about name servers. */
export function dnsDefaultsOf({ dns, dnsSearch, dnsOptions }: DaemonConfig): DnsSettings {
  return { dns, dnsSearch, dnsOptions };
}

/** IPv4 address of a bridge that is there and is not ours; undefined otherwise. */
async function foreignAddress(
  kernel: Kernel,
  name: string,
  daemonId: string,
): Promise<IpWithLength | undefined> {
  const link = (await kernel.links()).find((candidate) => candidate.name === name);
  if (link === undefined || parseOwnerMark(link.alias)?.daemonId === daemonId) return undefined;
  return (await kernel.addresses()).find(({ ifindex, ip }) => ifindex === link.ifindex && ip.family === 4);
}

async function ensurePredefined(networks: LocalNetworks, deps: NetworkHalfDependencies): Promise<void> {
  const { config, kernel, identity } = deps;
  await networks.ensurePredefined(hostRequest);
  await networks.ensurePredefined(noneRequest);
  if (config.bridge === 'none') return;
  const bridge = chooseDefaultBridge(await probeDocker(await kernel.links(), identity.id), config.bridge);
  const existing = await foreignAddress(kernel, bridge, identity.id);
  await networks.ensurePredefined(bridgeRequest(config, bridge, existing));
}

/** Where sandboxes are mounted. */
export function namespaceFolderOf({ execRoot }: Pick<DaemonConfig, 'execRoot'>): string {
  return join(execRoot, 'netns');
}

/** Where the namespaces of overlay networks are mounted. */
export function overlayFolderOf({ execRoot }: Pick<DaemonConfig, 'execRoot'>): string {
  return join(execRoot, 'overlays');
}

/** Id of the network or endpoint whose link has this alias; undefined if the link is not this daemon's. */
export function ownerOf(alias: string | undefined, daemonId: string): string | undefined {
  const mark = parseOwnerMark(alias);
  return mark?.daemonId === daemonId ? mark.objectId : undefined;
}

/** This host's end of the tunnels, as the swarm has it. */
function underlayOf(swarm: SwarmNetworks, view: UnderlayView): () => Underlay {
  return () => {
    const { dataPath } = swarm;
    const address = parseIp(dataPath?.address ?? '');
    if (dataPath === undefined || address === undefined)
      throw new LinkspanError('noSwarm', 'this node is in no swarm');
    return { address, mtuBytes: view.mtuOf(address), port: dataPath.port };
  };
}

/** Everything is in the kernel when it resolves, but for containers: those come next. The caller stops the firewall. */
export async function openNetworkHalf(deps: NetworkHalfDependencies): Promise<NetworkHalf> {
  const { config, kernel, dns, store, identity, events, logger } = deps;
  const namespaceFolder = namespaceFolderOf(config);
  mkdirSync(namespaceFolder, { recursive: true, mode: 0o755 });
  const firewall = createFirewall({
    kernel,
    logger,
    options: {
      integratesForeign: config.firewallIntegration === 'auto',
      switchesForwarding: config.ipForward,
      guardsForwarding: !config.ipForwardNoDrop,
      asksHost: config.publishPolicy === 'host-input',
      forwarding: identity.forwarding,
      saveForwarding: (record) => identity.saveForwarding(record),
      onRepair: (repair) => deps.repairs.record(repair),
    },
  });
  const listeners = new DisposableStack();
  const [view] = await Promise.all([UnderlayView.open(kernel), firewall.start()]);
  const underlay = underlayOf(deps.swarm, listeners.use(view));
  const guard = listeners.use(
    createTunnelGuard({
      ...{ kernel, logger, clock: systemClock },
      port: () => underlay().port,
      onRepair: (repair) => deps.repairs.record(repair),
    }),
  );
  const table = new NetworkTable(store);
  const encryption = listeners.use(
    openEncryption({ ...deps, underlay, daemonId: identity.id, ownNetworks: () => table.subnets }),
  );
  const carriers = { plain: createPlainCarrier(guard, underlay), encrypted: encryption };
  const probes = listeners.use(
    new PathProbes({ kernel, carriers, logger, swarm: deps.swarm, clock: systemClock }),
  );
  const pulse = listeners.use(
    new PathPulse({ kernel, carriers, logger, swarm: deps.swarm, clock: systemClock }),
  );
  const overlay = new OnDemandOverlay(
    createOverlayDriver({
      ...{ kernel, logger, daemonId: identity.id },
      carriers,
      namespaceFolder: overlayFolderOf(config),
    }),
  );
  const all = [
    createBridgeDriver({ kernel, firewall, logger, daemonId: identity.id }),
    createMacvlanDriver({ kernel, logger, daemonId: identity.id }),
    createIpvlanDriver({ kernel, logger, daemonId: identity.id }),
    overlay,
    createHostDriver(),
    createNoneDriver(),
  ];
  const drivers = new Map<string, Driver>(all.map((driver) => [driver.name, driver]));
  await table.load();
  listeners.use(feedNames(table, dns));
  const common = { table, drivers, kernel, events, logger };
  const { swarm } = deps;
  listeners.use(emitSwarmEvents(events, swarm));
  const claims = listeners.use(new SwarmClaims({ table, swarm, logger }));
  listeners.use(claims.events.on('left', () => probes.lookAgain()));
  const poolSources = completeSources(config.poolSources, identity.id);
  const sources6 = poolSources.filter(({ base }) => base.base.family === 6);
  const networks = new LocalNetworks({
    ...common,
    clock: systemClock,
    poolSources,
    swarm: new SwarmCreator({
      ...{ table, swarm, sources6, clock: systemClock },
      checkEncryption: () => encryption.check(),
      encryptedUnderlay: () => encryption.underlay(),
    }),
    resolvConfPath: '/etc/resolv.conf',
    defaultOptions: config.networkOptions,
  });
  const ports = new PublishedPorts({ store, drivers, kernel, firewall, clock: systemClock, logger });
  const getNetwork = (ref: string): Network => networks.get(ref);
  const resolving = { defaults: dnsDefaultsOf(config), resolvConfPath: '/etc/resolv.conf' };
  const followers: readonly SandboxFollower[] = [
    ports,
    new ResolverFollower({ ...resolving, dns, kernel, logger, repairs: deps.repairs }),
    new ResolvConfFollower(resolving),
  ];
  const gateway = new GatewayNetwork({
    ...{ table, drivers, create: (request) => networks.create(request) },
    chooseBridge: async () => chooseGatewayBridge(await probeDocker(await kernel.links(), identity.id)),
  });
  const attaching = { ...common, claims, gateway, getNetwork, followers };
  const sandboxes = new Sandboxes({ ...attaching, namespaceFolder });
  const connections = new Connections({ ...attaching, sandboxes });
  const recover = { table, networks, drivers, kernel, logger, namespaceFolder };
  await recoverNetworks(recover);
  await ensurePredefined(networks, deps);
  const { hostGatewayIps } = config;
  const network = new ContainerNetwork({
    table,
    networks,
    sandboxes,
    connections,
    claims,
    gateway,
    kernel,
    recover,
    ports,
    hostGatewayIps,
  });
  const openReconciler = (containers: LocalContainers): Reconciler =>
    new Reconciler({
      ...{ table, drivers, kernel, repairs: deps.repairs, logger, clock: systemClock },
      exclusive: {
        network: (id, work) => networks.whileReady(id, work),
        container: (id, work) => containers.whileRunning(id, work),
      },
      onRepaired: (container) => sandboxes.repaired(container),
      repairKept: (container, extent) => sandboxes.repairKept(container, extent),
    });
  const openFollower = (containers: LocalContainers, isKnown: () => boolean): SwarmFollower =>
    new SwarmFollower({
      ...{ table, swarm, isKnown, claims, dns, events, logger, driver: overlay, clock: systemClock },
      evict: async ({ id }) => {
        // One that has stopped stays as its user made it, as with networks of this host alone.
        await table.delEndpoints(table.endpointsOf(id).filter(({ state }) => state === 'reserved'));
        const endpoints = table.endpointsOf(id);
        await allDone(endpoints.map(({ containerId }) => containers.disconnect(containerId, id, true)));
      },
    });
  const plainPaths = listeners.use(
    new PlainPaths({ swarm, claims, table, tunnels: encryption, clock: systemClock, logger }),
  );
  return {
    ...{ table, networks, network, firewall, ports, claims, encryption, plainPaths, probes, pulse },
    ...{ listeners, openFollower, openReconciler },
  };
}
