/*
 * Watches and live keys over a real etcd that dies, hangs, is cut off or compacts meanwhile. What both stores keep is in
 * store.test.ts.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import { openSeam } from '../../src/base/seam.ts';
import { EtcdClient } from '../../src/store/etcd/etcdClient.ts';
import { EtcdStore } from '../../src/store/etcd/etcdStore.ts';
import type { Store } from '../../src/store/store.ts';
import { eventually } from '../compat/command.ts';
import { Etcd } from './etcd.ts';
import { Hearer } from './hearer.ts';

let etcd: Etcd;
let client: EtcdClient;
let count = 0;

const clientOf = (endpoints: readonly string[]): Promise<EtcdClient> =>
  EtcdClient.open({ endpoints }, systemClock, 1000);
const storeOf = (one: EtcdClient): EtcdStore => new EtcdStore(one, openSeam(), `/linkspan/v1/w${count}/`);

before(async () => {
  etcd = await Etcd.start({ firstPort: 21_061 });
  client = await clientOf(etcd.endpoints);
});
after(async () => {
  client[Symbol.dispose]();
  await etcd[Symbol.asyncDispose]();
});

/** Stands before a port; can be deaf, or hang up and refuse. */
class Proxy implements Disposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isClosed = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(port: number, to: string): Promise<Proxy> {
    const [host = '', toPort = ''] = to.split(':');
    const server = createServer({ allowHalfOpen: true });
    const proxy = new Proxy(server);
    server.on('connection', (near) => {
      if (proxy.#isClosed) return void near.destroy();
      const far = connect(Number(toPort), host);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        proxy.#sockets.add(one);
        one.on('data', (bytes) => other.write(bytes));
        one.on('close', () => {
          proxy.#sockets.delete(one);
          other.destroy();
        });
        one.on('error', () => {});
      }
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  /** The connections that there are transport nothing from now on, and do not end. */
  deafen(): void {
    for (const socket of this.#sockets) socket.pause().removeAllListeners('data');
  }

  hangUp(): void {
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  reopen(): void {
    this.#isClosed = false;
  }

  [Symbol.dispose](): void {
    this.hangUp();
    this.#server.close();
  }
}

async function put(store: Store, key: string, value: unknown = 1): Promise<number> {
  const done = await store.txn({ write: [{ key, put: value }] });
  assert.ok(done.ok);
  return done.revision;
}

test('two stores see what each other writes, in one order', async () => {
  count += 1;
  using other = await clientOf(etcd.endpoints);
  const [a, b] = [storeOf(client), storeOf(other)];
  await using atA = await Hearer.start(a, 'k/');
  await using atB = await Hearer.start(b, 'k/');
  const revisions = await Promise.all(
    Array.from({ length: 60 }, (_, i) => put(i % 2 === 0 ? a : b, `k/${i % 5}`, i)),
  );
  const last = Math.max(...revisions);
  await atA.until(last);
  await atB.until(last);
  const heard = ({ changes }: Hearer) => changes.flatMap((one) => one.put.map(({ value }) => value));
  assert.deepEqual(heard(atA), heard(atB));
  assert.equal(heard(atA).length, 60);
  await atA.assertKnows();
  await atB.assertKnows();
});

test('etcd is killed and comes back: the watch goes on where it was', async () => {
  count += 1;
  const store = storeOf(client);
  await using heard = await Hearer.start(store, 'k/');
  for (let round = 0; round < 3; round += 1) {
    await put(store, `k/${round}`, round);
    await etcd.kill(0);
    etcd.spawn(0);
    await etcd.ready();
    const key = `k/after${round}`;
    assert.ok(
      await eventually(
        () =>
          put(store, key).then(
            () => true,
            () => false,
          ),
        10_000,
      ),
    );
  }
  await heard.until(await put(store, 'k/last'));
  await heard.assertKnows();
  assert.equal(heard.changes.filter(({ isAll }) => isAll).length, 1);
});

test('a connection that died silently is noticed, and what was missed comes, however much it is', async () => {
  count += 1;
  using proxy = await Proxy.start(21_071, etcd.endpoints[0] ?? '');
  using behind = await clientOf(['127.0.0.1:21071']);
  const direct = storeOf(client);
  await using heard = await Hearer.start(storeOf(behind), 'k/');
  await heard.until(await put(direct, 'k/before'));
  proxy.deafen();
  // More than one answer may hold.
  for (let i = 0; i < 40; i += 1) await put(direct, `k/${i % 3}`, 'x'.repeat(1_300_000));
  const last = await put(direct, 'k/last');
  // Idle for 6 s, and no answer to a ping for 5 s.
  await heard.until(last, 15_000);
  await heard.assertKnows();
  assert.equal(heard.changes.filter(({ isAll }) => isAll).length, 1);
  assert.equal(heard.changes.length, 43);
});

test('what was compacted during an outage is told as a whole', async () => {
  count += 1;
  using proxy = await Proxy.start(21_072, etcd.endpoints[0] ?? '');
  using behind = await clientOf(['127.0.0.1:21072']);
  const direct = storeOf(client);
  await put(direct, 'k/gone');
  await using heard = await Hearer.start(storeOf(behind), 'k/');
  proxy.hangUp();
  await direct.txn({ write: [{ key: 'k/gone', del: true }] });
  await put(direct, 'k/a', 1);
  const revision = await put(direct, 'k/a', 2);
  const body = JSON.stringify({ revision, physical: true });
  const url = `http://${etcd.endpoints[0]}/v3/kv/compaction`;
  assert.equal((await fetch(url, { method: 'POST', body })).status, 200);
  proxy.reopen();
  await heard.until(revision);
  assert.deepEqual(
    heard.changes.map(({ isAll, put: entries }) => [isAll, entries.map(({ key }) => key)]),
    [
      [true, ['k/gone']],
      [true, ['k/a']],
    ],
  );
  await heard.until(await put(direct, 'k/b'));
  await heard.assertKnows();
});

test('live keys follow what is wanted, and go with their store', async () => {
  count += 1;
  using other = await clientOf(etcd.endpoints);
  const seen = storeOf(client);
  await using heard = await Hearer.start(seen, 'live/');
  const is = (wanted: Record<string, unknown>): Promise<boolean> =>
    eventually(() => Promise.resolve(isDeepStrictEqual(heard.known, new Map(Object.entries(wanted)))), 5000);
  {
    await using store = storeOf(other);
    store.live.set('live/a', 1);
    store.live.set('live/b', { at: 'here' });
    assert.ok(await is({ 'live/a': 1, 'live/b': { at: 'here' } }));
    store.live.set('live/a', 2);
    store.live.delete('live/b');
    store.live.set('live/c', 1);
    store.live.delete('live/c');
    store.live.delete('live/never');
    assert.ok(await is({ 'live/a': 2 }));
    // Another's key is not deleted with ours.
    store.live.set('live/d', 1);
    assert.ok(await is({ 'live/a': 2, 'live/d': 1 }));
    await put(seen, 'live/d', 'theirs');
    store.live.delete('live/d');
    store.live.set('live/e', 1);
    assert.ok(await is({ 'live/a': 2, 'live/d': 'theirs', 'live/e': 1 }));
  }
  assert.ok(await is({ 'live/d': 'theirs' }));
});

test('live keys outlast outages, come back when their lease was lost, and vanish after a death', async () => {
  count += 1;
  using proxy = await Proxy.start(21_073, etcd.endpoints[0] ?? '');
  using behind = await clientOf(['127.0.0.1:21073']);
  await using store = storeOf(behind);
  await using heard = await Hearer.start(storeOf(client), 'live/');
  const has = (key: string, isThere = true, timeoutMs = 8000): Promise<boolean> =>
    eventually(() => Promise.resolve(heard.known.has(key) === isThere), timeoutMs);
  proxy.hangUp();
  store.live.set('live/a', 1);
  await sleep(1500);
  assert.ok(!heard.known.has('live/a'));
  proxy.reopen();
  assert.ok(await has('live/a'));
  // Longer than a life.
  await sleep(17_000);
  assert.equal(heard.changes.length, 2, 'it was renewed all the time');
  const url = `http://${etcd.endpoints[0]}/v3/lease`;
  const { leases } = (await (await fetch(`${url}/leases`, { method: 'POST', body: '{}' })).json()) as {
    readonly leases: readonly { readonly ID: string }[];
  };
  for (const { ID } of leases) await fetch(`${url}/revoke`, { method: 'POST', body: JSON.stringify({ ID }) });
  assert.ok(await has('live/a', false));
  assert.ok(await has('live/a'));
  // Nothing of it is heard again.
  proxy.hangUp();
  behind[Symbol.dispose]();
  assert.ok(await has('live/a', false, 17_000));
});
