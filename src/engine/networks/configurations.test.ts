import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachmentRequest, containerRecord, networkRequest, openNetworkWorld } from './networkStand.ts';
import { NetworkTable } from './networkTable.ts';

const pools = [{ subnet: '10.8.0.0/24', ipRange: '10.8.0.128/25', gateway: '10.8.0.1' }];

test('a network takes what its configuration says, which stays as long as it is used', async () => {
  await using world = await openNetworkWorld();
  const { networks, driver } = world;
  const options = { mtu: '1400' };
  const { network: configuration } = await networks.create(
    networkRequest('c', { isConfigOnly: true, pools, options, labels: { a: 'b' } }),
  );
  assert.deepEqual([configuration.driver, configuration.pools, driver.log], ['null', [], []]);
  const { network } = await networks.create(networkRequest('n', { configFrom: 'c', isInternal: true }));
  assert.deepEqual(
    [network.pools[0]?.subnet, network.options, network.labels, network.configFrom, network.isInternal],
    ['10.8.0.0/24', options, { a: 'b' }, 'c', true],
  );
  await assert.rejects(networks.remove('c'), {
    code: 'networkInUse',
    message: 'configuration network "c" is in use',
  });
  assert.deepEqual(await networks.prune(() => true), [network], 'prune leaves configurations alone');
  await networks.remove('c');
  assert.deepEqual(networks.list(), []);
});

for (const [name, request, code, message] of [
  [
    'an operator’s field',
    { isConfigOnly: true, isInternal: true },
    'networkConflict',
    /can only contain network/,
  ],
  [
    'one from another',
    { isConfigOnly: true, configFrom: 'c' },
    'networkConflict',
    /cannot depend on another/,
  ],
  [
    'a bad subnet',
    { isConfigOnly: true, pools: [{ subnet: '10.0.0.1/24' }] },
    'networkConfigInvalid',
    /it should be 10.0.0.0/,
  ],
  ['own pools', { configFrom: 'c', pools }, 'networkConflict', /^user-specified configurations are not/],
  ['own IPv6', { configFrom: 'c', ipv6: true }, 'networkConflict', /^user-specified configurations are not/],
  ['own labels', { configFrom: 'c', labels: { a: '' } }, 'networkConflict', /^user-specified configurations/],
  [
    'own options',
    { configFrom: 'c', options: { a: '' } },
    'networkConflict',
    /^network driver options are not/,
  ],
  ['none of the name', { configFrom: 'x' }, 'networkNotFound', /^configuration network "x" not found$/],
  ['a network that is none', { configFrom: 'n' }, 'networkNotFound', /^configuration network "n" not found$/],
  ['a taken name', { isConfigOnly: true, name: 'n' }, 'networkNameTaken', /already exists/],
] as const) {
  test(`a configuration that cannot be is refused: ${name}`, async () => {
    await using world = await openNetworkWorld();
    await world.networks.create(networkRequest('c', { isConfigOnly: true }));
    await world.networks.create(networkRequest('n'));
    const before = world.networks.list();
    await assert.rejects(world.networks.create(networkRequest('new', request)), { code, message });
    assert.deepEqual(world.networks.list(), before);
  });
}

test('nothing can be attached to a configuration, and a restart keeps it', async () => {
  await using world = await openNetworkWorld();
  await world.networks.create(networkRequest('c', { isConfigOnly: true }));
  const { spec } = containerRecord('w', [attachmentRequest('c')]);
  assert.throws(() => world.containerNetwork.validate(spec), {
    code: 'networkConflict',
    message: 'cannot create endpoint on configuration-only network',
  });
  const table = new NetworkTable(world.store);
  await table.load();
  assert.deepEqual(table.findByName('c')?.configuration, []);
});

test('prune tells of itself, after what it removed', async () => {
  await using world = await openNetworkWorld();
  await world.networks.create(networkRequest('n'));
  await world.networks.prune(() => true);
  const told = world.events.kept().map(({ action, attributes }) => [action, attributes]);
  assert.deepEqual(told.slice(-2), [
    ['destroy', { name: 'n', type: 'bridge' }],
    ['prune', { reclaimed: '0' }],
  ]);
});

test('the status of a pool counts what is in use, and what is left in its range', async () => {
  await using world = await openNetworkWorld();
  const { network } = await world.networks.create(networkRequest('n', { pools }));
  const status = async (): Promise<unknown> => (await world.networks.poolStatus(network))[0];
  assert.deepEqual(await status(), { subnet: '10.8.0.0/24', inUse: 3n, available: 127n });
  const record = containerRecord('w', [attachmentRequest('n')]);
  await world.containerNetwork.prepare(record);
  assert.deepEqual(await status(), { subnet: '10.8.0.0/24', inUse: 4n, available: 126n });
});
