import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import type { AttachmentRequest, Container, Endpoint } from '../model.ts';
import { endpointNameOf, gatewayNetworkName } from './gateway.ts';
import {
  attachmentRequest as attachment,
  containerRecord,
  type NetworkWorld,
  networkRequest,
  noWayOut,
  openNetworkWorld,
} from './networkStand.ts';

const done = (): Promise<void> => Promise.resolve();
const withoutWayOut = { options: { [noWayOut]: 'yes' } };

/** Overlays o1 and o2, an internal one oi, and bridges b1 and b6; the last with both families. */
async function openWorld(folder?: string): Promise<NetworkWorld> {
  const world = await openNetworkWorld(folder);
  const isNew = world.networks.list().length === 0;
  if (isNew) {
    await world.networks.create(networkRequest('o1', withoutWayOut));
    await world.networks.create(networkRequest('o2', withoutWayOut));
    await world.networks.create(networkRequest('oi', { ...withoutWayOut, isInternal: true }));
    await world.networks.create(networkRequest('b1'));
    await world.networks.create(networkRequest('b6', { ipv6: true }));
  }
  world.driver.log.length = 0;
  return world;
}

async function start(
  world: NetworkWorld,
  attachments: readonly AttachmentRequest[],
  name = 'c',
): Promise<Container> {
  const container = containerRecord(name, attachments);
  const { sandbox } = await world.sandboxes.create(container, attachments, true);
  assert.ok(sandbox);
  return { ...container, sandbox };
}

/** The same container with another record. */
function on(container: Container, ...names: readonly string[]): Container {
  const attachments = names.map((name) => attachment(name));
  return { ...container, spec: { ...container.spec, attachments } };
}

/** A line an endpoint: network, interface, families of the default route, state. */
function endpointsOf(world: NetworkWorld, container: Container): readonly string[] {
  return world.table
    .endpointsOfContainer(container.id)
    .toSorted((a, b) => (a.ordinal ?? 0) - (b.ordinal ?? 0))
    .map(({ networkId, interfaceName, defaultRoutes, state }) =>
      [world.table.find(networkId)?.name, interfaceName, defaultRoutes.join('+') || '-', state].join(' '),
    );
}

function endpointOn(world: NetworkWorld, container: Container, network: string): Endpoint {
  const { id } = world.networks.get(network);
  const found = world.table.endpointsOfContainer(container.id).find(({ networkId }) => networkId === id);
  assert.ok(found);
  return found;
}

function disconnect(
  world: NetworkWorld,
  container: Container,
  network: string,
  commit = done,
): Promise<void> {
  return world.containerNetwork.disconnect(container, world.networks.get(network), commit);
}

const emitted = ({ events }: NetworkWorld): readonly string[] =>
  events.kept().map(({ action, attributes }) => `${action} ${attributes['name'] ?? ''}`);

test('a container on an overlay network gets its way out on docker_gwbridge, made with the first', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  assert.deepEqual(w.driver.log, [
    'ensure docker_gwbridge',
    'attach eth0 to o1',
    'attach eth1 to docker_gwbridge with default route',
  ]);
  assert.deepEqual(endpointsOf(w, c), ['o1 eth0 - attached', 'docker_gwbridge eth1 4 attached']);
  const network = w.networks.get(gatewayNetworkName);
  assert.deepEqual([network.driver, network.isInternal, network.hasIpv6], ['bridge', false, false]);
  assert.deepEqual(network.options, {
    'com.docker.network.bridge.enable_icc': 'false',
    'com.docker.network.bridge.enable_ip_masquerade': 'true',
    'com.docker.network.bridge.name': 'docker_gwbridge',
  });
  assert.equal(endpointOn(w, c, 'o1').ipv4Gateway, undefined, 'the gateway of an overlay leads nowhere');
  await start(w, [attachment('o2')], 'd');
  assert.equal(w.driver.log.filter((line) => line.startsWith('ensure')).length, 1);
});

test('the hidden endpoint has no name, is none of the container’s, and tells nobody of itself', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1', { aliases: ['web'] })]);
  const hidden = endpointOn(w, c, gatewayNetworkName);
  assert.deepEqual(hidden.dnsNames, []);
  assert.deepEqual(
    w.containerNetwork.endpoints(c).map(({ interfaceName }) => interfaceName),
    ['eth0'],
  );
  assert.equal(endpointNameOf(hidden), `gateway_${c.sandbox?.id.slice(0, 12)}`);
  await w.sandboxes.renamed(c, 'd');
  assert.equal(endpointNameOf(endpointOn(w, c, gatewayNetworkName)), endpointNameOf(hidden));
  assert.equal(endpointNameOf(endpointOn(w, c, 'o1')), 'd');
  await w.sandboxes.release({ ...c, name: 'd' });
  assert.deepEqual(emitted(w).slice(-3), ['create docker_gwbridge', 'connect o1', 'disconnect o1']);
});

for (const [what, attachments, expected] of [
  ['an internal overlay', [attachment('oi')], ['oi eth0 - attached']],
  ['a bridge', [attachment('b1')], ['b1 eth0 4 attached']],
  [
    'two overlays',
    [attachment('o1'), attachment('o2')],
    ['o1 eth0 - attached', 'o2 eth1 - attached', 'docker_gwbridge eth2 4 attached'],
  ],
  [
    'an overlay and a bridge that comes last by its priority',
    [attachment('o1', { gatewayPriority: 7 }), attachment('b1', { gatewayPriority: -1 })],
    ['o1 eth0 - attached', 'b1 eth1 4 attached', 'docker_gwbridge eth2 - attached'],
  ],
  [
    'an overlay whose interface is to be called as the hidden one would be',
    [attachment('o1', { driverOptions: { 'com.docker.network.endpoint.ifname': 'eth0' } }), attachment('oi')],
    ['o1 eth0 - attached', 'oi eth1 - attached', 'docker_gwbridge eth2 4 attached'],
  ],
] as const) {
  test(`the endpoints of a container on ${what}`, async () => {
    await using w = await openWorld();
    assert.deepEqual(endpointsOf(w, await start(w, attachments)), expected);
    const isMade = expected.some((line) => line.startsWith(gatewayNetworkName));
    assert.equal(w.table.findByName(gatewayNetworkName) !== undefined, isMade);
  });
}

test('containers that start at the same time make the network once', async () => {
  await using w = await openWorld();
  await Promise.all(['c', 'd', 'e'].map((name) => start(w, [attachment('o1')], name)));
  assert.equal(w.table.endpointsOf(w.networks.get(gatewayNetworkName).id).length, 3);
});

test('a network of that name that a user made is taken as it is', async () => {
  await using w = await openWorld();
  const pools = [{ subnet: '10.11.0.0/16' }];
  await w.networks.create(networkRequest(gatewayNetworkName, { ipv6: true, pools }));
  const c = await start(w, [attachment('o1')]);
  assert.equal(endpointOn(w, c, gatewayNetworkName).ipv4, '10.11.0.2/16');
  assert.deepEqual(endpointOn(w, c, gatewayNetworkName).defaultRoutes, [4, 6]);
});

test('one that cannot be made fails the start and leaves nothing; the next start tries again', async () => {
  await using w = await openWorld();
  const before = (await w.store.list('')).entries.length;
  w.driver.failing = 'ensure docker_gwbridge';
  await assert.rejects(start(w, [attachment('o1')]), /cannot ensure docker_gwbridge/);
  assert.equal((await w.store.list('')).entries.length, before);
  assert.deepEqual(w.namespaces, []);
  w.driver.failing = undefined;
  await start(w, [attachment('o1')]);
});

test('a start whose hidden endpoint fails is taken back in reverse', async () => {
  await using w = await openWorld();
  w.driver.failing = 'attach eth1 to docker_gwbridge with default route';
  await assert.rejects(start(w, [attachment('o1')]), /cannot attach/);
  assert.deepEqual(w.driver.log.slice(-2), ['detach eth1 from docker_gwbridge', 'detach eth0 from o1']);
  assert.equal((await w.store.list('endpoints/')).entries.length, 0);
  assert.deepEqual(w.namespaces, []);
});

test('it keeps its address over a stop, and goes with the container', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  const { ipv4 } = endpointOn(w, c, gatewayNetworkName);
  await w.sandboxes.release(c);
  const d = await start(w, [attachment('o1')], 'd');
  assert.notEqual(endpointOn(w, d, gatewayNetworkName).ipv4, ipv4);
  const { sandbox } = await w.sandboxes.create(c, [attachment('o1')], true);
  assert.equal(endpointOn(w, c, gatewayNetworkName).ipv4, ipv4);
  assert.equal(endpointOn(w, c, gatewayNetworkName).gatewayOf, sandbox?.id);
  await w.sandboxes.release(c);
  await w.sandboxes.forget(c);
  assert.deepEqual(endpointsOf(w, c), []);
});

test('a start on other networks drops what an earlier one reserved', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  await w.sandboxes.release(c);
  await w.sandboxes.create(c, [attachment('b1')], true);
  assert.deepEqual(endpointsOf(w, c), ['b1 eth0 4 attached']);
});

test('connecting a container on a bridge to an overlay leaves its default route where it is', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('b1')]);
  w.driver.log.length = 0;
  await w.connections.connect(c, attachment('o1'), () => w.driver.do('commit'));
  assert.deepEqual(w.driver.log, [
    'ensure docker_gwbridge',
    'attach eth1 to o1',
    'attach eth2 to docker_gwbridge',
    'commit',
  ]);
  assert.equal(w.following.at(-1), 'c: b1 o1 docker_gwbridge');
  assert.equal(emitted(w).at(-1), 'connect o1');
});

test('the way out of a container without any comes with its first overlay', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('oi')]);
  w.driver.log.length = 0;
  await w.connections.connect(c, attachment('o1'), () => w.driver.do('commit'));
  assert.deepEqual(w.driver.log, [
    'ensure docker_gwbridge',
    'attach eth1 to o1',
    'attach eth2 to docker_gwbridge',
    'default via 172.23.0.1 dev eth2',
    'commit',
  ]);
  w.driver.log.length = 0;
  await w.connections.connect(c, attachment('o2'), done);
  assert.deepEqual(w.driver.log, ['attach eth3 to o2'], 'one is enough');
});

for (const failing of [
  'attach eth1 to o1',
  'attach eth2 to docker_gwbridge',
  'default via 172.23.0.1 dev eth2',
  'commit',
]) {
  test(`a connect that brings the way out is undone when a step fails: ${failing}`, async () => {
    await using w = await openWorld();
    const other = await start(w, [attachment('o2')], 'other');
    const c = await start(w, [attachment('oi')]);
    const before = (await w.store.list('')).entries.map(({ value }) => value);
    w.driver.failing = failing;
    const connect = (): Promise<void> =>
      w.connections.connect(c, attachment('o1'), () => w.driver.do('commit'));
    await assert.rejects(connect(), /^Error: cannot/);
    assert.deepEqual(w.driver.log.slice(-2), ['detach eth2 from docker_gwbridge', 'detach eth1 from o1']);
    assert.deepEqual(
      (await w.store.list('')).entries.map(({ value }) => value),
      before,
    );
    assert.equal(w.following.at(-1), 'c: oi');
    w.driver.failing = undefined;
    await connect();
    assert.equal(endpointOn(w, c, gatewayNetworkName).ipv4, '172.23.0.3/16');
    assert.equal(endpointOn(w, other, gatewayNetworkName).ipv4, '172.23.0.2/16');
  });
}

test('a bridge takes the default route over and gives it back, without a moment between', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  w.driver.log.length = 0;
  await w.connections.connect(c, attachment('b6'), done);
  const [attach, ...routes] = w.driver.log;
  assert.equal(attach, 'attach eth2 to b6');
  assert.deepEqual(
    routes.map((line) => line.replace(/via \S+/, '')),
    ['default  dev eth2', 'default  dev eth2'],
  );
  assert.deepEqual(endpointOn(w, c, gatewayNetworkName).defaultRoutes, []);
  w.driver.log.length = 0;
  await disconnect(w, on(c, 'o1', 'b6'), 'b6');
  assert.deepEqual(w.driver.log, ['default via 172.23.0.1 dev eth1', 'detach eth2 from b6']);
  assert.deepEqual(endpointsOf(w, c), ['o1 eth0 - attached', 'docker_gwbridge eth1 4 attached']);
});

test('it goes with the last network that needs it, after the default route has moved', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1'), attachment('o2')]);
  await disconnect(w, on(c, 'o1', 'o2'), 'o1');
  assert.deepEqual(endpointsOf(w, c), ['o2 eth1 - attached', 'docker_gwbridge eth2 4 attached']);
  await w.connections.connect(c, attachment('b1'), done);
  w.driver.log.length = 0;
  await disconnect(w, on(c, 'o2', 'b1'), 'o2', () => w.driver.do('commit'));
  assert.deepEqual(w.driver.log, ['commit', 'detach eth1 from o2', 'detach eth2 from docker_gwbridge']);
  assert.equal(w.following.at(-1), 'c: b1');
  assert.deepEqual(endpointsOf(w, c), ['b1 eth0 4 attached']);
  assert.equal(w.networks.endpoints(w.networks.get(gatewayNetworkName)).length, 0);
});

for (const failing of ['detach eth0 from o1', 'detach eth1 from docker_gwbridge']) {
  test(`a disconnect whose step fails twice can be asked for again: ${failing}`, async () => {
    await using w = await openWorld();
    const c = await start(w, [attachment('o1')]);
    w.driver.failing = failing;
    await assert.rejects(disconnect(w, c, 'o1'), /failed to leave network o1: cannot detach/);
    assert.equal(endpointsOf(w, c).length, 2);
    w.driver.failing = undefined;
    await disconnect(w, on(c), 'o1');
    assert.deepEqual(endpointsOf(w, c), []);
  });
}

test('disconnecting a stopped container drops what is reserved for its way out', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1'), attachment('b1')]);
  await w.sandboxes.release(c);
  await disconnect(w, on(c, 'o1', 'b1'), 'b1');
  assert.equal(endpointsOf(w, c).length, 2);
  await disconnect(w, on(c, 'o1'), 'o1');
  assert.deepEqual(endpointsOf(w, c), []);
});

test('removing the network is refused while it is in use, and prune leaves it alone', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  await assert.rejects(
    w.networks.remove(gatewayNetworkName),
    (e) =>
      hasCode(e, 'networkInUse') &&
      e.message.includes(`has active endpoints (name:"gateway_${c.sandbox?.id.slice(0, 12)}" id:`),
  );
  await w.sandboxes.release(c);
  const pruned = await w.networks.prune(() => true);
  assert.ok(!pruned.some(({ name }) => name === gatewayNetworkName));
  await w.networks.create(networkRequest('o1', withoutWayOut));
  await w.networks.remove(gatewayNetworkName);
  await w.sandboxes.create(c, [attachment('o1')], true);
  assert.equal(endpointsOf(w, c).length, 2, 'made anew');
});

test('a container that is on the network by its own wish needs no hidden endpoint, and keeps that one', async () => {
  await using w = await openWorld();
  await w.networks.create(networkRequest(gatewayNetworkName));
  const c = await start(w, [attachment('o1'), attachment(gatewayNetworkName)]);
  assert.deepEqual(endpointsOf(w, c), ['o1 eth0 - attached', 'docker_gwbridge eth1 4 attached']);
  assert.equal(endpointOn(w, c, gatewayNetworkName).gatewayOf, undefined);
  const record = on(c, 'o1', gatewayNetworkName);
  await assert.rejects(disconnect(w, record, gatewayNetworkName), (e) => hasCode(e, 'networkConflict'));
  await disconnect(w, record, 'o1');
  await disconnect(w, on(c, gatewayNetworkName), gatewayNetworkName);
  assert.deepEqual(endpointsOf(w, c), []);
});

test('connecting to the network by name is refused where the hidden endpoint is there', async () => {
  await using w = await openWorld();
  const c = await start(w, [attachment('o1')]);
  await assert.rejects(w.connections.connect(c, attachment(gatewayNetworkName), done), (e) =>
    hasCode(e, 'endpointExists'),
  );
});

test('what a crash leaves of a connect that brings the way out, or a disconnect that takes it, is taken back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-gateway-'));
  mkdirSync(join(folder, 'netns'));
  const records: Container[] = [];
  {
    await using w = await openWorld(folder);
    const cut = await start(w, [attachment('b1'), attachment('o1')], 'cut');
    const whole = await start(w, [attachment('o1'), attachment('b1')], 'whole');
    const stopped = await start(w, [attachment('o1')], 'stopped');
    records.push(on(cut, 'b1'), on(whole, 'o1', 'b1'), on(stopped));
  }
  await using w = await openWorld(folder);
  const [cut, whole, stopped] = records;
  assert.ok(cut && whole && stopped);
  await w.containerNetwork.sweep([cut, whole], [stopped]);
  assert.deepEqual(w.driver.log, [
    'sweep all but 6 networks, 4 endpoints',
    'detach eth1 from o1',
    'detach eth2 from docker_gwbridge',
    'default via 172.21.0.1 dev eth0',
  ]);
  assert.deepEqual(endpointsOf(w, cut), ['b1 eth0 4 attached']);
  assert.deepEqual(endpointsOf(w, whole), [
    'o1 eth0 - attached',
    'b1 eth1 4 attached',
    'docker_gwbridge eth2 - attached',
  ]);
  assert.deepEqual(endpointsOf(w, stopped), []);
  rmSync(folder, { recursive: true });
});
