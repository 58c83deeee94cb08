/*
 * Networks and sandboxes as the daemon has them, with the reconciler over them, on the lane's own namespace: everything
 * but containers, whose place sandboxes take. Commands of the tests play the operator who breaks things.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyedMutex } from '../../src/base/mutex.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { type Repair, RepairLog } from '../../src/base/repairLog.ts';
import { openSeam } from '../../src/base/seam.ts';
import { type Dns, openDns } from '../../src/dns/openDns.ts';
import { createBridgeDriver } from '../../src/drivers/bridge/bridge.ts';
import { createMacvlanDriver } from '../../src/drivers/macvlan/macvlan.ts';
import type { Driver } from '../../src/drivers/interface.ts';
import { MemoryStore } from '../../src/engine/containers/fakes.ts';
import { EventLog } from '../../src/engine/events.ts';
import type { Container, ContainerId, Endpoint, Network, NetworkRequest } from '../../src/engine/model.ts';
import { SwarmClaims } from '../../src/engine/overlay/claims.ts';
import { FakeSwarm } from '../../src/engine/overlay/fakeSwarm.ts';
import { SwarmCreator } from '../../src/engine/overlay/swarmCreator.ts';
import { GatewayNetwork } from '../../src/engine/networks/gateway.ts';
import { LocalNetworks } from '../../src/engine/networks/networks.ts';
import {
  attachmentRequest,
  containerRecord,
  networkRequest,
} from '../../src/engine/networks/networkStand.ts';
import { NetworkTable } from '../../src/engine/networks/networkTable.ts';
import { Sandboxes } from '../../src/engine/networks/sandboxes.ts';
import { Reconciler, type ReconcilerDependencies } from '../../src/engine/reconcile/reconciler.ts';
import { feedNames } from '../../src/engine/resolver/nameFeed.ts';
import { ResolverFollower } from '../../src/engine/resolver/resolver.ts';
import { createFirewall, type Firewall } from '../../src/firewall/firewall.ts';
import { completeSources } from '../../src/ipam/pools.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { run, until } from './bridgeWorld.ts';

export interface Sandboxed {
  readonly container: Container;
  readonly endpoints: readonly Endpoint[];
}

export interface RepairWorld extends AsyncDisposable {
  readonly kernel: Kernel;
  readonly dns: Dns;
  readonly firewall: Firewall;
  /** The one that runs now. */
  readonly reconciler: Reconciler;
  readonly repairs: RepairLog;
  readonly networks: LocalNetworks;
  createNetwork(name: string, more?: Partial<NetworkRequest>): Promise<Network>;
  /** A sandbox at /run/netns/NAME on these networks. `isFree`: its container may change its network on purpose. */
  attach(name: string, networks: readonly string[], isFree?: boolean): Promise<Sandboxed>;
  /** A reconciler that knows nothing yet, as a daemon that adopts what is there has; resolves when it has looked. */
  restartReconciler(): Promise<void>;
  /** The container ends: its sandbox goes. */
  detach(name: string): Promise<void>;
  /** Waits until a repair fits that came after `since` ones; fails unless a notice led to it. */
  repaired(cause: RegExp, since?: number): Promise<Repair>;
}

/** A macvlan network on the link that `addParent` makes. */
export const macvlan: Partial<NetworkRequest> = {
  driver: 'macvlan',
  pools: [{ subnet: '10.71.9.0/24', gateway: '10.71.9.254' }],
  options: { parent: 'par0' },
};

export function addParent(): void {
  run(
    'host',
    'sh',
    '-c',
    'ip link add par0 type veth peer name par1; ip link set par0 up; ip link set par1 up',
  );
}

export function delParent(): void {
  run('host', 'ip', 'link', 'del', 'par0');
}

/** `hasNames`: sandboxes have resolvers. */
export async function openRepairWorld({
  hasNames = false,
}: {
  readonly hasNames?: boolean;
} = {}): Promise<RepairWorld> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  const seam = openSeam();
  const kernel = await openKernel({ seam, logger: silentLogger });
  const dns = openDns({ seam, logger: silentLogger, resolvConfPath: '/nonexistent' });
  const repairs = new RepairLog(systemClock);
  const firewall = createFirewall({
    kernel,
    logger: silentLogger,
    options: { onRepair: (repair) => repairs.record(repair) },
  });
  await firewall.start();
  const driverCommon = { kernel, logger: silentLogger, daemonId: 'test' };
  const drivers: ReadonlyMap<string, Driver> = new Map([
    ['bridge', createBridgeDriver({ ...driverCommon, firewall })],
    ['macvlan', createMacvlanDriver(driverCommon)],
  ]);
  const table = new NetworkTable(new MemoryStore());
  await table.load();
  const events = new EventLog();
  const common = { table, drivers, kernel, events, logger: silentLogger };
  const swarm = new FakeSwarm();
  const claims = new SwarmClaims({ table, swarm, logger: silentLogger });
  const networks = new LocalNetworks({
    ...common,
    swarm: new SwarmCreator({
      table,
      swarm,
      clock: systemClock,
      sources6: [],
      checkEncryption: async () => {},
      encryptedUnderlay: () => assert.fail('no network here is encrypted'),
    }),
    clock: systemClock,
    poolSources: completeSources([], 'test'),
    resolvConfPath: '/nonexistent',
    defaultOptions: {},
  });
  const folder = mkdtempSync(join(tmpdir(), 'lsr-'));
  const namespaceFolder = join(folder, 'netns');
  mkdirSync(namespaceFolder);
  mkdirSync('/run/netns', { recursive: true });
  const getNetwork = networks.get.bind(networks);
  feedNames(table, dns);
  const defaults = { dns: [], dnsSearch: [], dnsOptions: [] };
  const resolver = new ResolverFollower({
    ...{ dns, kernel, repairs, defaults, logger: silentLogger, resolvConfPath: '/nonexistent' },
  });
  const followers = hasNames ? [resolver] : [];
  const gateway = new GatewayNetwork({
    ...{ table, drivers, create: (request) => networks.create(request) },
    chooseBridge: () => Promise.resolve('docker_gwbridge'),
  });
  const sandboxes = new Sandboxes({ ...common, claims, gateway, namespaceFolder, getNetwork, followers });
  const mutex = new KeyedMutex();
  const live = new Map<ContainerId, { readonly container: Container; readonly isFree: boolean }>();
  const reconcilerDependencies = {
    ...{ table, drivers, kernel, repairs, clock: systemClock, logger: silentLogger },
    exclusive: {
      network: (id, work) => networks.whileReady(id, work),
      container: (id, work) =>
        mutex.run(id, async () => {
          const found = live.get(id);
          if (found !== undefined) await work(found.container, found.isFree);
        }),
    },
    onRepaired: (container) => sandboxes.repaired(container),
    repairKept: (container, extent) => sandboxes.repairKept(container, extent),
  } satisfies ReconcilerDependencies;
  let reconciler = new Reconciler(reconcilerDependencies);
  reconciler.start();

  async function detach(name: string): Promise<void> {
    const found = [...live.values()].find(({ container }) => container.name === name);
    if (found === undefined) return;
    live.delete(found.container.id);
    await sandboxes.release(found.container);
    await sandboxes.forget(found.container);
    rmSync(`/run/netns/${name}`, { force: true });
  }

  return {
    ...{ kernel, dns, firewall, repairs, networks, detach },
    get reconciler() {
      return reconciler;
    },
    restartReconciler: async () => {
      reconciler[Symbol.dispose]();
      reconciler = new Reconciler(reconcilerDependencies);
      reconciler.start();
      await reconciler.compare();
    },
    createNetwork: async (name, more = {}) => (await networks.create(networkRequest(name, more))).network,
    attach: async (name, names, isFree = false) => {
      const requests = names.map((network) => attachmentRequest(network));
      const record = containerRecord(name, requests);
      const bare = { ...record, spec: { ...record.spec, ...defaults } };
      return await mutex.run(bare.id, async () => {
        const { sandbox, endpoints } = await sandboxes.create(bare, requests, true);
        assert.ok(sandbox);
        const container = { ...bare, sandbox };
        live.set(container.id, { container, isFree });
        run('host', 'ln', '-s', sandbox.path, `/run/netns/${name}`);
        return { container, endpoints };
      });
    },
    repaired: async (cause, since = 0) => {
      const find = (): Repair | undefined =>
        repairs.recent.find((repair) => repair.id > since && cause.test(repair.cause));
      await until(`a repair like ${cause.source}`, () => find() !== undefined);
      const found = find();
      assert.equal(found?.trigger, 'event', found?.cause ?? '');
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      for (const { container } of [...live.values()]) await detach(container.name);
      reconciler[Symbol.dispose]();
      for (const { id } of networks.list()) await networks.remove(id);
      await firewall.stop();
      for (const family of ['inet', 'bridge']) run('host', 'nft', 'delete', 'table', family, 'linkspan');
      await dns[Symbol.asyncDispose]();
      await kernel[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
