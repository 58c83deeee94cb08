/*
 * Who has which key and number, by two managers on one real store; and what of a node's words is taken for an offer.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import { openSeam } from '../../base/seam.ts';
import { Mirror } from '../../store/mirror.ts';
import { openSqliteStore } from '../../store/sqliteStore.ts';
import type { Store } from '../../store/store.ts';
import { formatHostPort } from '../../net/hostPort.ts';
import { type Ip, parseIp } from '../../net/ip.ts';
import type { TunnelOffer } from '../swarmNetworks.ts';
import type { Writer } from './endpointBook.ts';
import { TunnelBook } from './tunnelBook.ts';
import { readRequest } from './wire.ts';

const address = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const always: Writer = { check: () => [] };
const newKey = (): string => randomBytes(32).toString('base64');
const offerOf = (publicKey: string, more: Partial<TunnelOffer> = {}): TunnelOffer => ({
  ...{ publicKey, mtuBytes: 1500, endpoints: ['192.0.2.11:51820'], ...more },
});

async function during(
  work: (books: readonly [TunnelBook, TunnelBook], store: Store) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-tunnels-'));
  try {
    await using store = await openSqliteStore(join(folder, 'state.db'), openSeam());
    const clock = new HandClock();
    const open = (): Promise<Mirror> => Mirror.open(store, 'cluster/', clock);
    using one = await open();
    using other = await open();
    await work([new TunnelBook(one), new TunnelBook(other)], store);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a number is one node’s, whichever manager is asked, and stays', async () => {
  await during(async ([one, other]) => {
    const nodes = ['a', 'b', 'c', 'd', 'e', 'f'];
    const told = await Promise.all(
      nodes.map((node, i) => (i % 2 === 0 ? one : other).publish(node, offerOf(newKey()), always)),
    );
    assert.equal(new Set(told.map(({ number }) => number)).size, nodes.length);
    const again = await other.publish('a', offerOf(newKey(), { mtuBytes: 1400 }), always);
    assert.equal(again.number, told[0]?.number);
    assert.equal(other.find('a')?.mtuBytes, 1400);
  });
});

test('a key that another node has is refused', async () => {
  await during(async ([one, other]) => {
    const [key, next] = [newKey(), newKey()];
    await one.publish('a', offerOf(key), always);
    await assert.rejects(other.publish('b', offerOf(key), always), { code: 'nodeRefused' });
    assert.equal(other.find('b'), undefined);
    // It has changed it: the old one is nobody's.
    await one.publish('a', offerOf(next), always);
    await other.publish('b', offerOf(key), always);
    assert.equal(other.find('b')?.publicKey, key);
  });
});

test('what a node had is free when it is gone', async () => {
  await during(async ([one, other], store) => {
    const key = newKey();
    const { number } = await one.publish('a', offerOf(key), always);
    await one.publish('b', offerOf(newKey()), always);
    const changed: string[] = [];
    one.events.on('changed', ({ nodes }) => changed.push(...nodes));
    await one.dropNodes((node) => node === 'a');
    assert.deepEqual(changed, ['a']);
    assert.equal((await store.list('cluster/tunnel')).entries.length, 3);
    const taken = await other.publish('c', offerOf(key), always);
    assert.equal(taken.number, number);
  });
});

test('a node whose session comes from none of its addresses is behind NAT, until one does', async () => {
  await during(async ([one, other]) => {
    const offer = offerOf(newKey(), { endpoints: ['192.0.2.11:51820', '[2001:db8::b]:51820'] });
    const from = async (text: string): Promise<string | undefined> =>
      (await one.publish('a', offer, always, { from: address(text) })).seenAs;
    assert.equal(await from('192.0.2.11'), undefined);
    assert.equal(await from('203.0.113.9'), '203.0.113.9');
    assert.equal(other.find('a')?.seenAs, '203.0.113.9');
    assert.equal(await from('2001:db8::b'), undefined);
    // Within a manager's own process.
    assert.equal((await one.publish('a', offer, always)).seenAs, undefined);
  });
});

for (const [what, endpoints, from, advertised, expected] of [
  [
    'within the network of a manager that others reach',
    ['10.1.0.2'],
    '10.1.0.2',
    '203.0.113.9',
    '203.0.113.9',
  ],
  ['the same, by way of the router', ['10.1.0.2'], '10.1.0.254', '203.0.113.9', '203.0.113.9'],
  ['with an address that others know', ['10.1.0.2', '203.0.113.8'], '10.1.0.2', '203.0.113.9', undefined],
  ['all within one network', ['10.1.0.2'], '10.1.0.2', '10.1.0.1', undefined],
  ['elsewhere', ['10.1.0.2'], '203.0.113.7', '203.0.113.9', '203.0.113.7'],
  ['with a unique local address', ['fd00::2'], 'fd00::2', '2001:db8::9', '2001:db8::9'],
] as const)
  test(`whether a node is behind NAT: ${what}`, async () => {
    await during(async ([one]) => {
      const texts = endpoints.map((text) => formatHostPort({ ip: address(text), port: 51_820 }));
      const sighting = { from: address(from), advertised: address(advertised) };
      const { seenAs } = await one.publish('a', offerOf(newKey(), { endpoints: texts }), always, sighting);
      assert.equal(seenAs, expected);
    });
  });

test('a session that counts no more stores nothing', async () => {
  await during(async ([one], store) => {
    const over: Writer = { check: () => [{ key: 'cluster/nodes/a', is: 'revision', revision: 7 }] };
    await assert.rejects(one.publish('a', offerOf(newKey()), over));
    assert.equal((await store.list('cluster/tunnel')).entries.length, 0);
  });
});

test('an offer is read strictly', () => {
  const good = offerOf(newKey(), { endpoints: ['192.0.2.1:1', '[2001:db8::1]:65535'] });
  const call = (offer: object): unknown =>
    readRequest({ type: 'call', id: 1, method: 'tunnel', params: { offer } });
  assert.deepEqual(call(good), { type: 'call', id: 1, method: 'tunnel', params: { offer: good } });
  const relay = { ...good, sees: { n1: '203.0.113.10:7' } };
  assert.deepEqual(call(relay), { type: 'call', id: 1, method: 'tunnel', params: { offer: relay } });
  for (const more of [{ sees: {} }, { lacks: 'no module' }])
    assert.deepEqual(call({ ...good, ...more }), {
      ...{ type: 'call', id: 1, method: 'tunnel', params: { offer: { ...good, ...more } } },
    });
  for (const bad of [
    { lacks: 7 },
    { lacks: 'x'.repeat(501) },
    { publicKey: 'short' },
    { publicKey: `${'A'.repeat(42)}B=` },
    { mtuBytes: -1 },
    { mtuBytes: 1279 },
    { mtuBytes: 65_537 },
    { endpoints: ['192.0.2.1'] },
    { endpoints: ['192.0.2.1:0'] },
    { endpoints: ['example.org:51820'] },
    { sees: [] },
    { sees: { n1: 'nowhere' } },
    { sees: { 'a/b': '203.0.113.10:7' } },
    { endpoints: Array.from({ length: 17 }, () => '192.0.2.1:51820') },
  ])
    assert.equal(call({ ...good, ...bad }), 'malformed', JSON.stringify(bad));
});
