/*
 * Networks with blocks between a manager and its nodes, in one process over real stores: who gets which block, addresses
 * that nodes choose alone, what managers hear of it later, and blocks that go back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { SwarmNetworkSpec } from '../swarmNetworks.ts';
import { claimOf, type Node, World } from './networksWorld.ts';

/** Four blocks of four addresses: the router's, and the gateway's in the first. */
const blocky = (n: number): Partial<SwarmNetworkSpec> => ({
  pools: [{ subnet: `10.0.${n}.0/28`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
  blockBits: 2,
});

const addresses = async (world: World, id: string): Promise<readonly string[]> =>
  (await world.holders(id)).flatMap((text) => text.split(' ')[0] ?? []).sort();

/** As an engine: what was claimed is written down. */
async function add(
  node: Node,
  id: string,
  name: string,
  more: Parameters<typeof claimOf>[2] = {},
): Promise<string> {
  const { nodeId: _node, revision: _revision, ...row } = await node.networks.claim(claimOf(id, name, more));
  node.own = [...node.own, row];
  return row.ipv4 ?? '';
}

async function remove(node: Node, name: string): Promise<void> {
  const [gone] = node.own.filter(({ endpointId }) => endpointId === name);
  assert.ok(gone);
  node.own = node.own.filter((one) => one !== gone);
  await node.networks.release([gone]);
}

const refusal =
  (code: string, text: RegExp) =>
  (error: unknown): boolean =>
    error instanceof LinkspanError && error.code === code && text.test(error.message);

test('each node has a block, gets another where that is full, and hears of the others’', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1, blocky(1));
  for (const node of [a, b]) await node.networks.follow(id);
  assert.deepEqual(
    [await add(a, id, 'a1'), await add(b, id, 'b1'), await add(a, id, 'a2')],
    [...['10.0.1.2', '10.0.1.5', '10.0.1.3']],
  );
  assert.equal(await add(a, id, 'a3'), '10.0.1.9', 'of a second block');
  await world.settle();
  assert.deepEqual(b.networks.blocks(id), [
    { block: '10.0.1.4/30', nodeId: 'b' },
    { block: '10.0.1.0/30', nodeId: 'a' },
    { block: '10.0.1.8/30', nodeId: 'a' },
  ]);
  assert.deepEqual(
    b.networks.peers(id).map(({ endpointId }) => endpointId),
    ['a1', 'a2', 'a3'],
    'blocks are no peers',
  );
  assert.deepEqual(
    (await b.networks.endpoints(id)).flatMap((row) => (row.block === undefined ? row.endpointId : [])).sort(),
    ['a1', 'a2', 'a3', 'b1'],
  );
  assert.deepEqual(await addresses(world, id), [
    ...['10.0.1.0', '10.0.1.2', '10.0.1.3', '10.0.1.4', '10.0.1.5', '10.0.1.8', '10.0.1.9'],
  ]);
});

test('addresses by name: of a block of the node or of nobody, else the other node is named; and all gone is said', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1, blocky(1));
  for (const node of [a, b]) await node.networks.follow(id);
  assert.equal(await add(a, id, 'a1', { ipv4: '10.0.1.10' }), '10.0.1.10');
  await world.settle();
  for (const [ipv4, code, text] of [
    ['10.0.1.9', 'addressTaken', /10\.0\.1\.9 is in the block 10\.0\.1\.8\/30 of node a, /],
    ['10.0.1.10', 'addressTaken', /block 10\.0\.1\.8\/30 of node a, /],
    ['10.0.1.1', 'addressTaken', /^Address already in use$/],
    ['10.0.1.4', 'addressInvalid', /the first of a block/],
    ['10.0.9.4', 'addressInvalid', /no configured subnet contains IP address 10\.0\.9\.4/],
  ] as const)
    await assert.rejects(add(b, id, 'x', { ipv4 }), refusal(code, text), ipv4);
  await assert.rejects(
    add(a, id, 'x', { ipv4: '10.0.1.10' }),
    refusal('addressTaken', /^Address already in use$/),
  );
  // The gateway's block came with asking for it.
  for (const [i, ip] of ['10.0.1.2', '10.0.1.3', '10.0.1.5', '10.0.1.6', '10.0.1.7'].entries())
    assert.equal(await add(b, id, `b${i}`), ip);
  assert.equal(await add(a, id, 'a2'), '10.0.1.9');
  assert.equal(await add(a, id, 'a3'), '10.0.1.11');
  assert.equal(await add(a, id, 'a4'), '10.0.1.13');
  assert.equal(await add(a, id, 'a5'), '10.0.1.14');
  await assert.rejects(
    add(b, id, 'x'),
    refusal(
      'networkFull',
      /^network n has no free address for this node: all its blocks of 4 addresses are held.*node rm/,
    ),
  );
});

test('a node that is cut off goes on, its daemon’s restart included, and managers hear of it afterwards', async () => {
  await using world = await World.open();
  const local = await world.openStore('b');
  const [a, b] = [await world.addNode('a'), await world.addNode('b', local)];
  const id = await world.create('n', 1, blocky(1));
  for (const node of [a, b]) await node.networks.follow(id);
  assert.equal(await add(b, id, 'b1'), '10.0.1.2');
  b.link?.drop();
  await world.settle();
  assert.equal(await add(b, id, 'b2'), '10.0.1.3');
  const refused = refusal(
    'managerUnreachable',
    /has no free address on network n: only a manager can give it a block/,
  );
  const asking = assert.rejects(add(b, id, 'b3'), refused);
  await world.settle();
  await world.clock.advance(6000);
  await asking;
  assert.deepEqual(await addresses(world, id), ['10.0.1.0', '10.0.1.2']);
  await b.networks.close();

  // Another daemon, on what it has stored.
  await remove(b, 'b1');
  const again = await world.addNode('b', local);
  again.link?.drop();
  await world.settle();
  again.own = b.own;
  assert.equal(await add(again, id, 'b4'), '10.0.1.2');
  await world.connect(again);
  await world.settle();
  assert.deepEqual(await addresses(world, id), ['10.0.1.0', '10.0.1.2', '10.0.1.3']);
  assert.deepEqual(again.refused, []);
  assert.deepEqual(
    a.networks
      .peers(id)
      .map(({ endpointId }) => endpointId)
      .sort(),
    ['b2', 'b4'],
  );
  await local[Symbol.asyncDispose]();
});

test('a block without endpoints goes back after a while, not while nobody hears it, and rests', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1, blocky(1));
  assert.equal(await add(a, id, 'a1'), '10.0.1.2');
  await remove(a, 'a1');
  await world.settle();
  assert.deepEqual(await addresses(world, id), ['10.0.1.0']);
  assert.equal(await add(a, id, 'a2'), '10.0.1.3', 'what was given back rests');
  await remove(a, 'a2');
  a.link?.drop();
  for (let i = 0; i < 6; i += 1) {
    await world.clock.advance(75_000);
    await world.settle();
  }
  assert.deepEqual(await addresses(world, id), ['10.0.1.0']);
  await world.connect(a);
  for (let i = 0; i < 40 && (await addresses(world, id)).length > 0; i += 1) {
    await world.clock.advance(10_000);
    await world.settle();
  }
  assert.deepEqual(await addresses(world, id), []);
  assert.deepEqual(a.networks.blocks(id), []);
  assert.equal(await add(b, id, 'b1'), '10.0.1.5', 'another one first');
});

test('a node that is removed loses its blocks, a network that is removed all of them, and a manager believes no liar', async () => {
  await using world = await World.open();
  const [a, b] = [await world.addNode('a'), await world.addNode('b')];
  const id = await world.create('n', 1, blocky(1));
  await add(a, id, 'a1');
  await add(b, id, 'b1');
  assert.deepEqual(await addresses(world, id), ['10.0.1.0', '10.0.1.2', '10.0.1.4', '10.0.1.5']);
  // A node that says it has an address of another's block.
  b.own = [...b.own, claimOf(id, 'lie', { ipv4: '10.0.1.3' })];
  await world.connect(b);
  await world.settle();
  assert.deepEqual(b.refused, ['lie']);
  b.own = b.own.filter(({ endpointId }) => endpointId !== 'lie');
  await world.roster.remove('a');
  await world.settle();
  assert.deepEqual(await addresses(world, id), ['10.0.1.4', '10.0.1.5']);
  await remove(b, 'b1');
  await world.settle();
  await world.book.remove(id);
  await world.settle();
  assert.deepEqual((await world.store.list(`cluster/ips/${id}`)).entries, []);
  assert.deepEqual(b.networks.blocks(id), []);
});
