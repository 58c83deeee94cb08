import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import type { SwarmEndpoint } from '../../cluster/swarmNetworks.ts';
import type { NamedEndpoint } from '../../dns/names.ts';
import type { OverlayPeer } from '../../drivers/overlay/peerTable.ts';
import { hasCode } from '../../errors/linkspanError.ts';
import { formatIp } from '../../net/ip.ts';
import { formatPrefix } from '../../net/prefix.ts';
import type { Container, Network } from '../model.ts';
import {
  attachmentRequest as attachment,
  containerRecord,
  type NetworkWorld,
  networkRequest,
  openNetworkWorld,
} from '../networks/networkStand.ts';
import { SwarmFollower, type SwarmFollowerDependencies } from './swarmFollower.ts';

const overlay = (name: string, more = {}) => networkRequest(name, { driver: 'overlay', ...more });

interface Followed extends AsyncDisposable {
  readonly world: NetworkWorld;
  readonly clock: HandClock;
  /** What the driver was told, in words; it refuses `failing`. */
  readonly told: string[];
  readonly driver: { failing: string | undefined };
  /** Names of endpoints of other nodes. */
  readonly names: Map<string, readonly string[]>;
  /** Lets what was begun come to its end. */
  settle(): Promise<void>;
}

const addressText = ({ ip }: Pick<OverlayPeer, 'ip'>): string => formatIp(ip);

function recordingDriver(told: string[]): SwarmFollowerDependencies['driver'] & Followed['driver'] {
  const tell = (text: string): Promise<void> => {
    told.push(text);
    return text === driver.failing ? Promise.reject(new Error(`cannot ${text}`)) : Promise.resolve();
  };
  const via = (peers: readonly OverlayPeer[]): string =>
    peers.map((peer) => `${addressText(peer)} via ${formatIp(peer.vtep)}`).join(', ');
  const driver: SwarmFollowerDependencies['driver'] & Followed['driver'] = {
    failing: undefined,
    adopt: ({ name }, ids) => tell(`adopt ${name}: ${ids.length}`),
    setPeers: ({ name }, peers) => tell(`set ${name}: ${via(peers)}`),
    setBlocks: ({ name }, blocks) =>
      tell(
        `blocks ${name}: ${blocks.map(({ block, vtep }) => `${formatPrefix(block)} via ${formatIp(vtep)}`).join(', ')}`,
      ),
    addPeers: ({ name }, peers) => tell(`add ${name}: ${via(peers)}`),
    removePeers: ({ name }, peers) => tell(`remove ${name}: ${peers.map(addressText).join(', ')}`),
    forgetPeers: ({ name }) => void told.push(`forget ${name}`),
    removeNetwork: ({ name }) => tell(`remove network ${name}`),
  };
  return driver;
}

/** A node of a swarm, following it. */
async function open(): Promise<Followed> {
  const world = await openNetworkWorld();
  world.swarm.dataPath = { nodeId: 'self', address: '192.0.2.1', port: 4789 };
  const told: string[] = [];
  const names = new Map<string, readonly string[]>();
  const driver = recordingDriver(told);
  const clock = new HandClock();
  const { table, swarm, claims, events } = world;
  const follower = new SwarmFollower({
    ...{ table, swarm, claims, events, driver, clock, logger: silentLogger, isKnown: () => true },
    dns: {
      events: { on: () => ({ [Symbol.dispose]: () => {} }) } as never,
      put: (endpoints: readonly NamedEndpoint[]) => {
        for (const endpoint of endpoints) names.set(endpoint.id, endpoint.names);
      },
      del: (id) => void names.delete(id),
    },
    evict: async ({ id }: Network) => {
      told.push('evict');
      await table.delEndpoints(table.endpointsOf(id));
    },
  });
  await follower.start();
  return {
    ...{ world, told, names, driver, clock },
    settle: async (): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        await nextTurn();
        await Promise.all([claims.settled(), follower.settled()]);
      }
    },
    async [Symbol.asyncDispose]() {
      follower[Symbol.dispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

async function run(world: NetworkWorld, name: string, network: string, more = {}): Promise<Container> {
  const requests = [attachment(network, more)];
  const container = containerRecord(name, requests);
  const { sandbox } = await world.sandboxes.create(container, requests, true);
  assert.ok(sandbox);
  return { ...container, sandbox };
}

function rowOf(networkId: string, endpointId: string, ip: string, nodeId = 'two'): SwarmEndpoint {
  return {
    ...{ networkId, endpointId, nodeId, containerId: 'x', containerName: endpointId },
    ...{ mac: '02:00:00:00:00:09', dnsNames: [endpointId], ipv4: ip, isUp: true, revision: 1 },
  };
}

function nodeOf(id: string, vtep: string, isDown = false) {
  return { id, hostname: `host-${id}`, vtep, isDown };
}

test('without a swarm an overlay network is refused as Docker does, and nothing is there', async () => {
  await using world = await openNetworkWorld();
  await assert.rejects(world.networks.create(overlay('o')), (e) => hasCode(e, 'noSwarm'));
  await assert.rejects(
    world.networks.create(networkRequest('b', { scope: 'swarm' })),
    (e) =>
      hasCode(e, 'noSwarm') && e.message === 'cannot create a swarm scoped network when swarm is not active',
  );
  assert.deepEqual(world.networks.list(), []);
});

test('an encrypted network that asks for more than the tunnels take is refused with what they take', async () => {
  await using followed = await open();
  const { networks } = followed.world;
  const asking = (mtu: string) =>
    overlay('o', { options: { encrypted: '', 'com.docker.network.driver.mtu': mtu } });
  await assert.rejects(networks.create(asking('9000')), /invalid MTU value: 9000: .* take 1500 at most/);
  await networks.create(asking('1500'));
});

test('networks of the swarm get subnets and VNIs, the lowest that are free, and are found like any other', async () => {
  await using followed = await open();
  const { world } = followed;
  const made = [];
  for (const [name, more] of [
    ['one', {}],
    ['several', { pools: [{ subnet: '10.9.1.0/24' }, { subnet: '10.9.2.0/24' }] }],
    ['own', { options: { 'com.docker.network.driver.overlay.vxlanid_list': '7000' } }],
    ['two', {}],
  ] as const)
    made.push((await world.networks.create(overlay(name, more))).network);
  const vni = 'com.docker.network.driver.overlay.vxlanid_list';
  assert.deepEqual(
    made.map(({ name, pools, options }) => [name, pools.map(({ subnet }) => subnet).join(' '), options[vni]]),
    [
      ['one', '10.0.0.0/24', '4097'],
      ['several', '10.9.1.0/24 10.9.2.0/24', '4098,4099'],
      ['own', '10.0.1.0/24', '7000'],
      ['two', '10.0.2.0/24', '4100'],
    ],
  );
  assert.equal(world.networks.get('two').scope, 'global');
  const lists: readonly (readonly [given: string, subnets: readonly string[], vnis: string])[] = [
    ['5000', ['10.8.1.0/24', '10.8.2.0/24'], '5000,4101'],
    ['5010,5011', ['10.8.3.0/24'], '5010'],
  ];
  for (const [given, subnets, vnis] of lists) {
    const pools = subnets.map((subnet) => ({ subnet }));
    const { network } = await world.networks.create(
      overlay(`list-${vnis.length}`, { pools, options: { [vni]: given } }),
    );
    assert.equal(network.options[vni], vnis);
    await world.networks.remove(network.name);
  }
  const refuse = async (request: ReturnType<typeof overlay>, code: string): Promise<void> => {
    await assert.rejects(world.networks.create(request), (e) => hasCode(e, code as never), code);
  };
  await refuse(overlay('one'), 'networkNameTaken');
  await refuse(overlay('x', { pools: [{ subnet: '10.9.0.0/16' }] }), 'poolOverlap');
  await refuse(overlay('x', { ipv4: false, ipv6: true }), 'networkConfigInvalid');
  await refuse(overlay('x', { scope: 'local' }), 'networkConfigInvalid');
  await refuse(networkRequest('x', { scope: 'swarm' }), 'notImplemented');
  await refuse(networkRequest('one'), 'networkNameTaken');
  await world.networks.remove('one');
  assert.equal(world.table.findByName('one'), undefined);
  assert.equal((await world.networks.create(overlay('three'))).network.options[vni], '4097');
});

test('an endpoint has the address that the swarm gave it, tells of its end, and frees it when it goes', async () => {
  await using followed = await open();
  const { world, told } = followed;
  const { network } = await world.networks.create(overlay('o'));
  const c = await run(world, 'c', 'o', { aliases: ['db'] });
  const [endpoint] = world.table.endpointsOf(network.id);
  assert.ok(endpoint);
  assert.equal(endpoint.ipv4, '10.0.0.2/24');
  const row = (): SwarmEndpoint | undefined => world.swarm.rows.get(endpoint.id);
  assert.deepEqual(row()?.dnsNames, ['c', 'db', c.id.slice(0, 12)]);
  assert.equal(row()?.isUp, true);
  assert.deepEqual([...world.swarm.followed], [network.id]);
  await followed.settle();
  assert.deepEqual(told, ['set o: ']);

  await world.sandboxes.renamed(c, 'd');
  assert.equal(row()?.containerName, 'd');
  await world.sandboxes.release(c);
  assert.equal(row()?.isUp, false);
  assert.equal(row()?.ipv4, '10.0.0.2');
  assert.deepEqual([...world.swarm.followed], []);
  await followed.settle();
  assert.deepEqual(told, ['set o: ', 'forget o']);
  const macBefore = row()?.mac;
  await world.sandboxes.create({ ...c, name: 'd' }, c.spec.attachments, true);
  assert.equal(row()?.isUp, true);
  assert.equal(row()?.ipv4, '10.0.0.2');
  assert.notEqual(row()?.mac, macBefore, 'another for each start');
  await world.sandboxes.release(c);
  await world.containerNetwork.forget(c);
  assert.equal(row(), undefined);
});

test('a start that fails gives back what was claimed, and one that no manager answers leaves nothing', async () => {
  await using followed = await open();
  const { world } = followed;
  const { network } = await world.networks.create(overlay('o'));
  await assert.rejects(run(world, 'unlucky', 'o'), /cannot follow/);
  assert.equal(world.swarm.rows.size, 0);
  assert.deepEqual(world.table.endpointsOf(network.id), []);
  assert.deepEqual([...world.swarm.followed], []);
  world.swarm.refusal = 'managerUnreachable';
  await assert.rejects(run(world, 'c', 'o'), (e) => hasCode(e, 'managerUnreachable'));
  assert.deepEqual(world.table.endpointsOf(network.id), []);
  assert.deepEqual(world.namespaces, []);
});

test('connecting twice changes nothing of the first endpoint', async () => {
  await using followed = await open();
  const { world } = followed;
  const { network } = await world.networks.create(overlay('o'));
  const c = await run(world, 'c', 'o');
  const rows = [...world.swarm.rows.values()];
  await assert.rejects(
    world.connections.connect(c, attachment('o'), () => Promise.resolve()),
    (e) => hasCode(e, 'endpointExists'),
  );
  assert.deepEqual([...world.swarm.rows.values()], rows);
  assert.deepEqual([...world.swarm.followed], [network.id]);
});

test('a network that refuses containers says so as Docker does', async () => {
  await using followed = await open();
  const { world } = followed;
  await world.networks.create(overlay('o', { options: { 'linkspan.attachable': 'false' } }));
  await assert.rejects(
    run(world, 'c', 'o'),
    (e) =>
      hasCode(e, 'networkClosed') &&
      e.message ===
        'Could not attach to network o: rpc error: code = PermissionDenied desc = network o not manually attachable',
  );
  assert.equal(world.swarm.rows.size, 0);
});

test('peers and names come, change and go; those of a node that is down keep their entries and lose their names', async () => {
  await using followed = await open();
  const { world, told, names } = followed;
  const { swarm } = world;
  const { network } = await world.networks.create(overlay('o'));
  swarm.nodesById.set('two', nodeOf('two', '192.0.2.2'));
  const a = rowOf(network.id, 'a', '10.0.0.10');
  swarm.rows.set('a', a);
  await run(world, 'c', 'o');
  await followed.settle();
  assert.deepEqual(told.splice(0), ['set o: 10.0.0.10 via 192.0.2.2']);
  assert.deepEqual([...names], [['a', ['a']]]);

  const b = rowOf(network.id, 'b', '10.0.0.11');
  swarm.rows.set('b', b);
  swarm.events.emit('peers', { networkId: network.id, isSnapshot: false, added: [b], removed: [a] });
  swarm.rows.delete('a');
  await followed.settle();
  assert.deepEqual(told.splice(0), ['remove o: 10.0.0.10', 'add o: 10.0.0.11 via 192.0.2.2']);
  assert.deepEqual([...names], [['b', ['b']]]);

  swarm.nodesById.set('two', nodeOf('two', '192.0.2.2', true));
  swarm.events.emit('nodes', { changed: ['two'] });
  await followed.settle();
  assert.deepEqual(told.splice(0), ['set o: 10.0.0.11 via 192.0.2.2']);
  assert.deepEqual([...names], []);
  swarm.nodesById.set('two', nodeOf('two', '192.0.2.22'));
  swarm.events.emit('nodes', { changed: ['two'] });
  await followed.settle();
  assert.deepEqual(told.splice(0), ['set o: 10.0.0.11 via 192.0.2.22']);
  assert.deepEqual([...names], [['b', ['b']]]);
});

test('of a network with blocks the driver is told of other nodes’ blocks, and their endpoints have but names', async () => {
  await using followed = await open();
  const { world, told, names } = followed;
  const { swarm } = world;
  const options = { 'linkspan.host-prefix': '26' };
  const { network } = await world.networks.create(overlay('o', { options }));
  assert.equal(swarm.networks[0]?.blockBits, 6);
  swarm.nodesById.set('two', nodeOf('two', '192.0.2.2'));
  const hold = (block: string, nodeId: string): void => {
    swarm.held = [...swarm.held, { networkId: network.id, block, nodeId }];
    swarm.events.emit('blocks', { networkId: network.id });
  };
  hold('10.0.0.0/26', 'self');
  await run(world, 'c', 'o');
  await followed.settle();
  told.length = 0;
  hold('10.0.0.64/26', 'two');
  await followed.settle();
  assert.deepEqual(told.splice(0), ['blocks o: 10.0.0.64/26 via 192.0.2.2']);
  const a = rowOf(network.id, 'a', '10.0.0.70');
  swarm.rows.set('a', a);
  swarm.events.emit('peers', { networkId: network.id, isSnapshot: false, added: [a], removed: [] });
  await followed.settle();
  assert.deepEqual(told, []);
  assert.deepEqual([...names], [['a', ['a']]]);
  swarm.nodesById.set('two', nodeOf('two', '192.0.2.22'));
  swarm.events.emit('nodes', { changed: ['two'] });
  await followed.settle();
  assert.deepEqual(told, ['blocks o: 10.0.0.64/26 via 192.0.2.22']);
});

for (const [options, more, text] of [
  [
    { 'linkspan.host-prefix': '24' },
    {},
    /a block of 256 addresses must be smaller than the subnet 10\.0\.0\.0\/24$/,
  ],
  [
    { 'linkspan.host-prefix': '26' },
    { pools: [{ subnet: '10.9.0.0/24', ipRange: '10.9.0.0/27' }] },
    /the ip-range 10\.9\.0\.0\/27 has no room for a block of 64 addresses$/,
  ],
  [
    { 'linkspan.host-prefix': '26' },
    { pools: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.64' }] },
    /the gateway 10\.9\.0\.64 cannot be the first address of a block/,
  ],
] as const)
  test(`blocks that do not fit: ${text.source}`, async () => {
    await using followed = await open();
    await assert.rejects(
      followed.world.networks.create(overlay('o', { options, ...more })),
      (error) => hasCode(error, 'networkConfigInvalid') && text.test(error.message),
    );
    assert.deepEqual(followed.world.swarm.networks, []);
  });

test('where the kernel refuses, all that is known is set again a moment later', async () => {
  await using followed = await open();
  const { world, told, driver, clock } = followed;
  const { swarm } = world;
  const { network } = await world.networks.create(overlay('o'));
  await run(world, 'c', 'o');
  await followed.settle();
  swarm.nodesById.set('two', nodeOf('two', '192.0.2.2'));
  const a = rowOf(network.id, 'a', '10.0.0.10');
  swarm.rows.set('a', a);
  driver.failing = 'add o: 10.0.0.10 via 192.0.2.2';
  told.length = 0;
  swarm.events.emit('peers', { networkId: network.id, isSnapshot: false, added: [a], removed: [] });
  await followed.settle();
  await clock.advance(1000);
  await followed.settle();
  assert.deepEqual(told, ['add o: 10.0.0.10 via 192.0.2.2', 'set o: 10.0.0.10 via 192.0.2.2']);
});

test('a network that is gone from the swarm takes its endpoints along', async () => {
  await using followed = await open();
  const { world, told } = followed;
  const { network } = await world.networks.create(overlay('o'));
  await run(world, 'c', 'o');
  await followed.settle();
  told.length = 0;
  await world.swarm.removeNetwork(network.id);
  await followed.settle();
  assert.deepEqual(told, ['evict', 'remove network o']);
  assert.equal(world.table.find(network.id), undefined);
});

for (const [name, why] of [
  ['bad name', 'name must be valid as a DNS name component'],
  ['-', 'name must be valid as a DNS name component'],
  ['a.b', 'name must be valid as a DNS name component'],
  ['a-', 'name must be valid as a DNS name component'],
  // Quickly.
  [`${'a'.repeat(50)}!`, 'name must be valid as a DNS name component'],
  ['a'.repeat(64), 'name must be 63 characters or fewer'],
] as const)
  test(`${name} is no name for a network of a swarm`, async () => {
    await using followed = await open();
    await assert.rejects(followed.world.networks.create(overlay(name)), {
      code: 'networkConfigInvalid',
      message: `rpc error: code = InvalidArgument desc = ${why}`,
    });
    assert.deepEqual(followed.world.swarm.networks, []);
  });
