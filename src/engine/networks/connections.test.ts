import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import type { AttachmentRequest, Container, Endpoint } from '../model.ts';
import {
  attachmentRequest as attachment,
  containerRecord,
  type NetworkWorld,
  networkRequest,
  openNetworkWorld,
} from './networkStand.ts';

const done = (): Promise<void> => Promise.resolve();

/** Networks n1, n2, n3 and a container that runs on `attachments`. */
async function running(
  world: NetworkWorld,
  attachments: readonly AttachmentRequest[],
  name = 'c',
): Promise<Container> {
  for (const network of ['n1', 'n2', 'n3'])
    if (!world.networks.list().some((one) => one.name === network))
      await world.networks.create(networkRequest(network, { ipv6: network === 'n3' }));
  const container = containerRecord(name, attachments);
  const { sandbox } = await world.sandboxes.create(container, attachments, true);
  assert.ok(sandbox);
  world.driver.log.length = 0;
  world.following.length = 0;
  return { ...container, sandbox };
}

function endpointOn(world: NetworkWorld, network: string): Endpoint {
  const { id } = world.networks.get(network);
  const endpoint = world.table.endpoints.find(({ networkId }) => networkId === id);
  assert.ok(endpoint);
  return endpoint;
}

const actionsOf = ({ events }: NetworkWorld): readonly string[] =>
  events.kept().flatMap(({ action, attributes }) => `${action} ${attributes['name'] ?? ''}`);

test('connect attaches, moves the default route, tells the followers, then commits', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n2')]);
  await w.connections.connect(c, attachment('n1', { aliases: ['db'] }), () => w.driver.do('commit'));
  assert.deepEqual(w.driver.log, ['attach eth1 to n1', 'default via 172.17.0.1 dev eth1', 'commit']);
  assert.deepEqual(w.following, ['c: n2 n1']);
  assert.deepEqual(endpointOn(w, 'n1').defaultRoutes, [4]);
  assert.deepEqual(endpointOn(w, 'n2').defaultRoutes, []);
  assert.deepEqual(endpointOn(w, 'n1').dnsNames, ['c', 'db', c.id.slice(0, 12)]);
  assert.equal(actionsOf(w).at(-1), 'connect n1');
});

test('a network that would not give the default route leaves it where it is', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n2', { gatewayPriority: 1 })]);
  await w.connections.connect(c, attachment('n1'), done);
  assert.deepEqual(w.driver.log, ['attach eth1 to n1']);
});

test('each family has its own default route', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n1', { gatewayPriority: 1 })]);
  await w.connections.connect(c, attachment('n3'), done);
  assert.deepEqual(endpointOn(w, 'n1').defaultRoutes, [4]);
  assert.deepEqual(endpointOn(w, 'n3').defaultRoutes, [6]);
  assert.match(w.driver.log.at(-1) ?? '', /^default via fd[0-9a-f:]+::1 dev eth1$/);
});

test('connecting twice is refused, and a name that is taken too', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n1')]);
  await assert.rejects(
    w.connections.connect(c, attachment('n1'), done),
    (e) => hasCode(e, 'endpointExists') && e.message === 'endpoint with name c already exists in network n1',
  );
  const named = attachment('n2', { driverOptions: { 'com.docker.network.endpoint.ifname': 'eth0' } });
  await assert.rejects(w.connections.connect(c, named, done), (e) => hasCode(e, 'containerConfigInvalid'));
  assert.deepEqual(w.driver.log, []);
});

for (const failing of ['attach eth1 to n1', 'default via 172.17.0.1 dev eth1', 'commit']) {
  test(`a connect whose step fails is undone: ${failing}`, async () => {
    await using w = await openNetworkWorld();
    const c = await running(w, [attachment('n2')]);
    const before = (await w.store.list('')).entries.map(({ value }) => value);
    w.driver.failing = failing;
    await assert.rejects(
      w.connections.connect(c, attachment('n1'), () => w.driver.do('commit')),
      /^Error: cannot/,
    );
    const steps = ['attach eth1 to n1', 'default via 172.17.0.1 dev eth1', 'commit'];
    assert.deepEqual(w.driver.log, [
      ...steps.slice(0, steps.indexOf(failing) + 1),
      ...['default via 172.19.0.1 dev eth0', 'detach eth1 from n1'],
    ]);
    assert.deepEqual(
      (await w.store.list('')).entries.map(({ value }) => value),
      before,
    );
    assert.equal(w.following.at(-1), 'c: n2');
    assert.ok(!actionsOf(w).includes('connect n1'));
    // The address is free again.
    w.driver.failing = undefined;
    await w.connections.connect(c, attachment('n1', { ipv4: '172.17.0.2' }), done);
  });
}

test('disconnect commits, moves the default route before the interface goes, and frees the address', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n1'), attachment('n2')]);
  const network = w.networks.get('n1');
  await w.connections.disconnect(c, endpointOn(w, 'n1'), network, () => w.driver.do('commit'));
  assert.deepEqual(w.driver.log, ['commit', 'default via 172.19.0.1 dev eth1', 'detach eth0 from n1']);
  assert.deepEqual(w.following, ['c: n2']);
  assert.deepEqual(endpointOn(w, 'n2').defaultRoutes, [4]);
  assert.equal(actionsOf(w).at(-1), 'disconnect n1');
  const other = await w.sandboxes.create(containerRecord('d'), [attachment('n1')], true);
  assert.equal(other.endpoints[0]?.ipv4, '172.17.0.2/16');
});

test('a disconnect that is refused durability changes nothing', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n1')]);
  const refuse = (): Promise<void> => Promise.reject(new Error('disk full'));
  await assert.rejects(
    w.connections.disconnect(c, endpointOn(w, 'n1'), w.networks.get('n1'), refuse),
    /disk full/,
  );
  assert.deepEqual(w.driver.log, []);
});

test('a disconnect goes on when a step fails, tries it again, and keeps the record if that fails too', async () => {
  await using w = await openNetworkWorld();
  const c = await running(w, [attachment('n1'), attachment('n2')]);
  w.driver.failing = 'detach eth0 from n1';
  const leave = (): Promise<void> =>
    w.connections.disconnect(c, endpointOn(w, 'n1'), w.networks.get('n1'), done);
  await assert.rejects(leave(), /failed to leave network n1: cannot detach eth0 from n1$/);
  assert.deepEqual(w.driver.log.slice(-2), ['detach eth0 from n1', 'detach eth0 from n1']);
  w.driver.failing = undefined;
  await leave();
  assert.equal(w.table.endpointsOfContainer(c.id).length, 1);
});

test('what a crash leaves of a connect or disconnect is taken back at the next start', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-connections-'));
  mkdirSync(join(folder, 'netns'));
  let alive: Container;
  const stopped = containerRecord('stopped', [attachment('n2')]);
  {
    await using w = await openNetworkWorld(folder);
    // Its record names n2 only: n1 is what is in between.
    const both = await running(w, [attachment('n1'), attachment('n2')]);
    alive = { ...both, spec: { ...both.spec, attachments: [attachment('n2')] } };
    await w.sandboxes.create(stopped, [attachment('n1'), attachment('n2')], true);
  }
  await using w = await openNetworkWorld(folder);
  await w.containerNetwork.sweep([alive], [stopped]);
  assert.deepEqual(w.driver.log, [
    'sweep all but 3 networks, 1 endpoints',
    'detach eth0 from n1',
    'default via 172.19.0.1 dev eth1',
  ]);
  assert.deepEqual(
    w.table.endpoints
      .map(({ containerName, state, networkId, defaultRoutes }) =>
        [containerName, state, w.table.find(networkId)?.name, defaultRoutes.length].join(' '),
      )
      .toSorted(),
    ['c attached n2 1', 'stopped reserved n2 0'],
  );
  rmSync(folder, { recursive: true });
});

test('a restart keeps the order in which the networks of a container came', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-order-'));
  const names = (world: NetworkWorld, id: Container['id']): readonly string[] =>
    world.table.endpointsOfContainer(id).map(({ interfaceName }) => interfaceName);
  try {
    const ids: Container['id'][] = [];
    {
      await using world = await openNetworkWorld(folder);
      // Ids are random: five times the wrong order by chance is one in 7776.
      for (let i = 0; i < 5; i++) {
        const container = await running(world, [attachment('n2'), attachment('n1')], `c${i}`);
        ids.push(container.id);
        await world.connections.connect(container, attachment('n3'), done);
        assert.deepEqual(names(world, container.id), ['eth0', 'eth1', 'eth2']);
      }
    }
    await using again = await openNetworkWorld(folder);
    for (const id of ids) assert.deepEqual(names(again, id), ['eth0', 'eth1', 'eth2']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
