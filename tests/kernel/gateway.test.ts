/*
 * The way out of containers on overlay networks, on the real kernel: the sandboxes and connections of the engine over
 * the bridge and overlay drivers, one host alone. What swarms add is in tests/cluster.
 *
 *   [c] eth0 ── overlay (namespace of its own)
 *   [c] eth1 ── docker_gwbridge ── host 192.0.2.1 (up0) ── 192.0.2.2 client C, without a route back
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { Driver } from '../../src/drivers/interface.ts';
import { createPlainCarrier } from '../../src/drivers/overlay/carrier.ts';
import { createOverlayDriver } from '../../src/drivers/overlay/overlay.ts';
import { PublishedPorts } from '../../src/engine/bindings/publishedPorts.ts';
import { MemoryStore } from '../../src/engine/containers/fakes.ts';
import { EventLog } from '../../src/engine/events.ts';
import type { Container, Network, PortRequest } from '../../src/engine/model.ts';
import { Connections } from '../../src/engine/networks/connections.ts';
import { toDriverNetwork } from '../../src/engine/networks/driverValues.ts';
import { GatewayNetwork, gatewayNetworkName } from '../../src/engine/networks/gateway.ts';
import { LocalNetworks } from '../../src/engine/networks/networks.ts';
import {
  attachmentRequest,
  containerRecord,
  networkRequest,
} from '../../src/engine/networks/networkStand.ts';
import { NetworkTable } from '../../src/engine/networks/networkTable.ts';
import { Sandboxes } from '../../src/engine/networks/sandboxes.ts';
import { SwarmClaims } from '../../src/engine/overlay/claims.ts';
import { FakeSwarm } from '../../src/engine/overlay/fakeSwarm.ts';
import { SwarmCreator } from '../../src/engine/overlay/swarmCreator.ts';
import { createTunnelGuard } from '../../src/firewall/tunnelGuard.ts';
import { completeSources } from '../../src/ipam/pools.ts';
import {
  addressSeenBy,
  clientAddress,
  expectClosed,
  expectOpen,
  hostAddress,
  openWorld,
  run,
  setBridgeFiltering,
} from './bridgeWorld.ts';
import { serve } from './portWorld.ts';

interface GatewayWorld extends AsyncDisposable {
  readonly networks: LocalNetworks;
  createOverlay(name: string, vni: number, isInternal?: boolean): Promise<Network>;
  /** In /run/netns/NAME. */
  start(name: string, networks: readonly string[], ports?: readonly PortRequest[]): Promise<Container>;
  connect(container: Container, network: string): Promise<void>;
  disconnect(container: Container, network: string): Promise<void>;
}

async function openGatewayWorld(): Promise<GatewayWorld> {
  await using parts = new AsyncDisposableStack();
  const { kernel, firewall, driver: bridge } = parts.use(await openWorld());
  const folder = mkdtempSync(join(tmpdir(), 'lsg-'));
  parts.defer(() => rmSync(folder, { recursive: true }));
  const [namespaceFolder, overlayFolder] = [join(folder, 'netns'), join(folder, 'overlays')];
  mkdirSync(namespaceFolder);
  const underlay = { address: { family: 4 as const, bits: 0xc0000201n }, mtuBytes: 1500, port: 4789 };
  const guard = parts.use(
    createTunnelGuard({ kernel, clock: systemClock, logger: silentLogger, port: () => 4789 }),
  );
  const plain = createPlainCarrier(guard, () => underlay);
  const overlay = createOverlayDriver({
    ...{ kernel, logger: silentLogger, carriers: { plain, encrypted: plain } },
    ...{ daemonId: 'test', namespaceFolder: overlayFolder },
  });
  parts.defer(() => overlay.sweep({ links: [], addresses: [] }, { networks: [], endpoints: [] }));
  const drivers = new Map<string, Driver>([bridge, overlay].map((driver) => [driver.name, driver]));
  const store = new MemoryStore();
  const table = new NetworkTable(store);
  await table.load();
  const common = { table, drivers, kernel, events: new EventLog(), logger: silentLogger };
  const swarm = new FakeSwarm();
  const claims = new SwarmClaims({ table, swarm, logger: silentLogger });
  const networks = new LocalNetworks({
    ...common,
    ...{ clock: systemClock, poolSources: completeSources([], 'test') },
    ...{ resolvConfPath: '/nonexistent', defaultOptions: {} },
    swarm: new SwarmCreator({
      table,
      swarm,
      clock: systemClock,
      sources6: [],
      checkEncryption: async () => {},
      encryptedUnderlay: () => assert.fail('no network here is encrypted'),
    }),
  });
  const ports = new PublishedPorts({ ...common, store, firewall, clock: systemClock });
  const gateway = new GatewayNetwork({
    ...{ table, drivers, create: (request) => networks.create(request) },
    chooseBridge: () => Promise.resolve('docker_gwbridge'),
  });
  const getNetwork = networks.get.bind(networks);
  const rest = { getNetwork, gateway, claims, followers: [ports] };
  const sandboxes = new Sandboxes({ ...common, ...rest, namespaceFolder });
  const connections = new Connections({ ...common, ...rest, sandboxes });
  const live = new Set<Container>();
  parts.defer(async () => {
    for (const container of live) {
      await sandboxes.release(container);
      rmSync(`/run/netns/${container.name}`);
    }
    for (const { id } of networks.list()) await networks.remove(id);
  });
  const open = parts.move();
  return {
    networks,
    createOverlay: async (name, vni, isInternal = false) => {
      const network: Network = {
        // Of no swarm, which would give out its addresses.
        ...{ id: newId<'network'>(), name, driver: 'overlay', scope: 'local', state: 'ready' },
        ...{ createdAt: '', isInternal, isAttachable: true, isPredefined: false },
        ...{ hasIpv4: true, hasIpv6: false, ipamDriver: 'default', ipamOptions: {}, labels: {} },
        pools: [{ subnet: `10.0.${vni}.0/24`, gateway: `10.0.${vni}.1`, auxAddresses: {} }],
        options: { 'com.docker.network.driver.overlay.vxlanid_list': String(vni) },
      };
      await table.putNetwork(network);
      await overlay.ensureNetwork(toDriverNetwork(network));
      return network;
    },
    start: async (name, names, wanted = []) => {
      const requests = names.map((network) => attachmentRequest(network));
      const record = containerRecord(name, requests);
      const bare = { ...record, spec: { ...record.spec, ports: wanted } };
      const { sandbox } = await sandboxes.create(bare, requests, true);
      assert.ok(sandbox);
      symlinkSync(sandbox.path, `/run/netns/${name}`);
      const container = { ...bare, sandbox };
      live.add(container);
      return container;
    },
    connect: (container, network) =>
      connections.connect(container, attachmentRequest(network), () => Promise.resolve()),
    disconnect: async (container, name) => {
      const network = networks.get(name);
      const endpoint = table
        .endpointsOfContainer(container.id)
        .find(({ networkId }) => networkId === network.id);
      assert.ok(endpoint);
      await connections.disconnect(container, endpoint, network, () => Promise.resolve());
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

/** Interfaces but for loopback. */
function linksIn(where: string): readonly string[] {
  const links = JSON.parse(run(where, 'ip', '-json', 'link')) as readonly { readonly ifname: string }[];
  // Endpoints are attached side by side, so that either may be the first.
  return links.flatMap(({ ifname }) => (ifname === 'lo' ? [] : ifname)).toSorted();
}

/** The device of each default route. */
function waysOut(where: string): readonly string[] {
  const routes = JSON.parse(run(where, 'ip', '-json', 'route', 'show', 'default')) as readonly {
    readonly dev: string;
  }[];
  return routes.map(({ dev }) => dev);
}

const port = (hostPort: number): PortRequest => ({
  ...{ proto: 'tcp', port: 80, count: 1, hostIp: '', sources: [] },
  hostPorts: { first: hostPort, last: hostPort },
});

test('a container of an overlay network reaches the outside as its host, and publishes its ports', async () => {
  await using world = await openGatewayWorld();
  await world.createOverlay('o1', 71);
  await world.start('w1', ['o1'], [port(8080)]);
  await world.start('w2', ['o1']);
  assert.deepEqual(linksIn('w1'), ['eth0', 'eth1']);
  assert.deepEqual(waysOut('w1'), ['eth1']);
  assert.equal(addressSeenBy('w1', clientAddress), hostAddress, 'masqueraded');
  await using _server = await serve('w1', [80]);
  assert.equal(addressSeenBy('C', hostAddress, 8080), clientAddress, 'who calls is seen');
  // With it on they do not, as on any bridge with icc=false (docs/differences.md).
  setBridgeFiltering(false);
  for (const from of ['w1', 'w2'])
    assert.notEqual(addressSeenBy(from, hostAddress, 8080), undefined, `${from} by the host’s address`);
  const [network] = JSON.parse(run('host', 'ip', '-json', 'address', 'show', 'docker_gwbridge')) as [
    { readonly addr_info: readonly { readonly family: string; readonly local: string }[] },
  ];
  const gateway = network.addr_info.find(({ family }) => family === 'inet')?.local ?? '';
  const neighbour = gateway.replace(/\.1$/, '.3');
  await expectOpen(['w1', '10.0.71.3'], ['w1', gateway]);
  await expectClosed(['w1', neighbour, 'containers are isolated from each other on docker_gwbridge']);
});

test('an internal overlay network leads nowhere', async () => {
  await using world = await openGatewayWorld();
  await world.createOverlay('oi', 72, true);
  await world.start('w1', ['oi']);
  assert.deepEqual(linksIn('w1'), ['eth0']);
  assert.deepEqual(waysOut('w1'), []);
  assert.throws(() => world.networks.get(gatewayNetworkName));
});

test('the way out moves to a bridge and back, with what is published, and goes with the last overlay network', async () => {
  await using world = await openGatewayWorld();
  await world.createOverlay('o1', 73);
  await world.networks.create(networkRequest('b1'));
  const w1 = await world.start('w1', ['o1'], [port(8080)]);
  await using _server = await serve('w1', [80]);
  const isReached = (): boolean =>
    addressSeenBy('C', hostAddress, 8080) === clientAddress &&
    addressSeenBy('w1', clientAddress) === hostAddress;
  assert.ok(isReached());
  await world.connect(w1, 'b1');
  assert.deepEqual(waysOut('w1'), ['eth2']);
  assert.ok(isReached());
  await world.disconnect(w1, 'b1');
  assert.deepEqual(waysOut('w1'), ['eth1']);
  assert.ok(isReached());
  await world.connect(w1, 'b1');
  await world.disconnect(w1, 'o1');
  assert.deepEqual(linksIn('w1'), ['eth2']);
  assert.ok(isReached());
  assert.equal(world.networks.endpoints(world.networks.get(gatewayNetworkName)).length, 0);
});
