/*
 * Names on the real kernel when what answers them is taken away: the DNS worker's thread dies, somebody deletes the
 * table in a sandbox or a socket of the resolver.
 *
 *   [a] ── 127.0.0.11:53 ── table linkspan-dns ── resolver's sockets in [a] (DNS worker)
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { NamedEndpoint } from '../../src/dns/names.ts';
import { run, until } from './bridgeWorld.ts';
import { addParent, macvlan, openRepairWorld, type RepairWorld } from './repairWorld.ts';

async function openPair(): Promise<RepairWorld> {
  const world = await openRepairWorld({ hasNames: true });
  await world.createNetwork('n1', { pools: [{ subnet: '10.71.0.0/24' }] });
  for (const name of ['a', 'b']) await world.attach(name, ['n1']);
  return world;
}

function resolves(from: string, name: string): boolean {
  const words = [`--net=/run/netns/${from}`, '--', 'busybox', 'nslookup', '-type=a', name, '127.0.0.11'];
  const { stdout } = spawnSync('nsenter', words, { encoding: 'utf8', timeout: 3000 });
  return /Address: 10\.71\.\d/.test(stdout);
}

const table = (from: string): string => run(from, 'nft', 'list', 'table', 'ip', 'linkspan-dns');

test('the DNS worker dies: names are answered again at once, on the same ports, also by what came later', async () => {
  await using world = await openPair();
  assert.ok(resolves('a', 'b'));
  const before = table('a');
  // What no caller can do by the types: the thread meets an exception that nobody catches.
  world.dns.put([undefined as unknown as NamedEndpoint]);
  const startMs = performance.now();
  await until('the repair is recorded', () => world.repairs.counts.resolver === 1);
  assert.ok(resolves('a', 'b') && resolves('b', 'a'));
  assert.ok(performance.now() - startMs < 20_000);
  assert.equal(table('a'), before);
  assert.match(
    world.repairs.recent.at(-1)?.cause ?? '',
    /^it died \(.+\): started again, with the resolvers of 2 /,
  );
  await world.attach('c', ['n1']);
  assert.ok(resolves('c', 'a') && resolves('a', 'c'));
  const { sandboxes, endpoints } = await world.dns.statistics();
  assert.deepEqual([sandboxes, endpoints], [3, 3]);
  // Again, and again: later and later, but each time.
  for (const count of [2, 3]) {
    world.dns.put([undefined as unknown as NamedEndpoint]);
    await until('the repair is recorded', () => world.repairs.counts.resolver === count);
  }
  assert.ok(resolves('a', 'b'));
  assert.equal(table('a'), before);
});

for (const [what, words, cause] of [
  [
    'the table is deleted',
    ['nft', 'delete', 'table', 'ip', 'linkspan-dns'],
    /which leads to its resolver, was gone: made again$/,
  ],
  [
    'the ruleset is flushed',
    ['nft', 'flush', 'ruleset'],
    /which leads to its resolver, was gone: made again$/,
  ],
  [
    'a chain is flushed',
    ['nft', 'flush', 'chain', 'ip', 'linkspan-dns', 'answers'],
    /was changed: made again$/,
  ],
] as const)
  test(`${what}: it is as before at once, because the kernel said so`, async () => {
    await using world = await openPair();
    const before = table('a');
    run('a', ...words);
    const { kind, object } = await world.repaired(cause);
    assert.equal(`${kind} ${object}`, 'resolver container a');
    assert.equal(table('a'), before);
    assert.ok(resolves('a', 'b'));
    // The repair itself is no reason for another look, and one finds nothing more.
    await world.reconciler.compare();
    assert.equal(world.repairs.recent.length, 1);
  });

test('a container that is on a parent alone has its table put back at once too', async () => {
  await using world = await openRepairWorld({ hasNames: true });
  addParent();
  await world.createNetwork('m1', macvlan);
  for (const name of ['a', 'b']) await world.attach(name, ['m1']);
  const before = table('b');
  run('b', 'nft', 'flush', 'ruleset');
  const { object } = await world.repaired(/which leads to its resolver, was gone/);
  assert.equal(object, 'container b');
  assert.equal(table('b'), before);
  assert.ok(resolves('b', 'a'));
});

test('the TCP socket is taken away: the slow compare puts it back', async () => {
  await using world = await openPair();
  await world.reconciler.compare();
  assert.equal(world.repairs.recent.length, 0);
  const before = table('a');
  run('a', 'ss', '-K', '-l', '-t', 'src', '127.0.0.11');
  await world.reconciler.compare();
  assert.deepEqual(
    world.repairs.recent.map(({ kind, object }) => `${kind} ${object}`),
    ['resolver container a'],
  );
  assert.match(world.repairs.recent[0]?.cause ?? '', /^the sockets of its resolver/);
  assert.ok(resolves('a', 'b'));
  assert.equal(table('a'), before);
  assert.match(run('a', 'ss', '-H', '-l', '-n', '-t'), /127\.0\.0\.11:/);
});

test('a container that may change its network keeps its changes', async () => {
  await using world = await openPair();
  await world.attach('c', ['n1'], true);
  run('c', 'nft', 'delete', 'table', 'ip', 'linkspan-dns');
  run('a', 'nft', 'delete', 'table', 'ip', 'linkspan-dns');
  await world.repaired(/was gone/);
  await world.reconciler.compare();
  assert.deepEqual(
    world.repairs.recent.map(({ object }) => object),
    ['container a'],
  );
});
