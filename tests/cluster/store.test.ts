/*
 * The two stores keep one contract: the same checks over SQLite and over a real etcd. Then what only etcd can do to us:
 * die, hang, lose its majority, compact, ask for certificates.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { openSeam, parseFaultPlan, Seam } from '../../src/base/seam.ts';
import { hasCode } from '../../src/errors/linkspanError.ts';
import { EtcdClient, type EtcdTls } from '../../src/store/etcd/etcdClient.ts';
import { EtcdStore, mostOperations } from '../../src/store/etcd/etcdStore.ts';
import { openSqliteStore } from '../../src/store/sqliteStore.ts';
import type { Store } from '../../src/store/store.ts';
import { eventually } from '../compat/command.ts';
import { Etcd } from './etcd.ts';
import { Hearer } from './hearer.ts';

type Client = EtcdClient;

let etcd: Etcd;
let client: Client;
let count = 0;

/** Of a call; the daemon waits longer. */
const patienceMs = 1000;

const clientOf = (endpoints: readonly string[], tls?: EtcdTls): Promise<Client> =>
  EtcdClient.open({ endpoints, ...(tls === undefined ? {} : { tls }) }, systemClock, patienceMs);
/** Empty, in the etcd of all. Pages of `page` entries. */
function newEtcdStore(page?: number, seam = openSeam()): Store {
  count += 1;
  return new EtcdStore(client, seam, `/linkspan/v1/test${count}/`, page);
}

before(async () => {
  etcd = await Etcd.start({ firstPort: 21_001 });
  client = await clientOf(etcd.endpoints);
});
after(async () => {
  client[Symbol.dispose]();
  await etcd[Symbol.asyncDispose]();
});

const stores: readonly (readonly [name: string, open: (seam?: Seam) => Promise<Store>])[] = [
  ['SQLite', (seam = openSeam()) => openSqliteStore(join(mkdtempSync('/run/store'), 'store.db'), seam)],
  ['etcd', (seam) => Promise.resolve(newEtcdStore(3, seam))],
];

for (const [name, open] of stores) {
  describe(`store: ${name}`, () => {
    test('a list has what starts with the prefix, in key order, with revisions that grow', async () => {
      await using store = await open();
      const first = await store.txn({
        write: ['n/c', 'n/a', 'n/b', 'n/e', 'n/d', 'n', 'n0', 'm/z'].map((key) => ({ key, put: { key } })),
      });
      const second = await store.txn({ write: [{ key: 'n/b', put: { v: 'ü' } }] });
      assert.ok(first.ok && second.ok && second.revision > first.revision);
      const { entries, revision } = await store.list('n/');
      assert.equal(revision, second.revision);
      const old = ['n/a', 'n/c', 'n/d', 'n/e'].map((key) => ({
        key,
        value: { key },
        revision: first.revision,
      }));
      assert.deepEqual(
        entries,
        [...old, { key: 'n/b', value: { v: 'ü' }, revision: second.revision }].toSorted((a, b) =>
          a.key < b.key ? -1 : 1,
        ),
      );
      assert.deepEqual(await store.get('n/b'), { key: 'n/b', value: { v: 'ü' }, revision: second.revision });
      assert.equal(await store.get('n/'), undefined);
      assert.deepEqual((await store.list('x/')).entries, []);
    });

    test('all comparisons hold, or nothing is written', async () => {
      await using store = await open();
      const put = await store.txn({ compare: [{ key: 'k', is: 'absent' }], write: [{ key: 'k', put: 1 }] });
      assert.ok(put.ok);
      for (const compare of [
        { key: 'k', is: 'absent' },
        { key: 'k', is: 'revision', revision: put.revision + 1 },
        { key: 'j', is: 'revision', revision: put.revision },
      ] as const) {
        const done = await store.txn({
          compare: [{ key: 'k', is: 'revision', revision: put.revision }, compare],
          write: [
            { key: 'k', put: 2 },
            { key: 'j', put: 2 },
          ],
        });
        assert.deepEqual(done, { ok: false });
      }
      assert.deepEqual((await store.list('')).entries, [{ key: 'k', value: 1, revision: put.revision }]);
      const gone = await store.txn({
        compare: [{ key: 'k', is: 'revision', revision: put.revision }],
        write: [{ key: 'k', del: true }],
      });
      assert.ok(gone.ok);
      assert.ok((await store.txn({ compare: [{ key: 'k', is: 'absent' }], write: [] })).ok);
    });

    test('of two writes of one key in a transaction the last one stays', async () => {
      await using store = await open();
      const done = await store.txn({
        write: [
          { key: 'a', del: true },
          { key: 'a', put: 1 },
          { key: 'b', put: 1 },
          { key: 'b', put: 2 },
          { key: 'c', put: 1 },
          { key: 'c', del: true },
        ],
      });
      assert.ok(done.ok);
      assert.deepEqual(
        (await store.list('')).entries.map(({ key, value }) => [key, value]),
        [
          ['a', 1],
          ['b', 2],
        ],
      );
    });

    test('one of many who claim a key has it, and counted by comparison nothing is lost', async () => {
      await using store = await open();
      const claims = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          store.txn({ compare: [{ key: 'ip', is: 'absent' }], write: [{ key: 'ip', put: { i } }] }),
        ),
      );
      assert.equal(claims.filter(({ ok }) => ok).length, 1);
      await store.txn({ write: [{ key: 'n', put: 0 }] });
      const addOne = async (): Promise<void> => {
        for (let isDone = false; !isDone; ) {
          const entry = await store.get('n');
          const revision = entry?.revision ?? 0;
          const write = [{ key: 'n', put: (entry?.value as number) + 1 }];
          isDone = (await store.txn({ compare: [{ key: 'n', is: 'revision', revision }], write })).ok;
        }
      };
      await Promise.all(Array.from({ length: 10 }, addOne));
      assert.equal((await store.get('n'))?.value, 10);
    });

    test('a list is of one revision, whatever is written meanwhile', async () => {
      await using store = await open();
      const keys = Array.from({ length: 10 }, (_, i) => `k/${i}`);
      const writeAll = (v: number) => store.txn({ write: keys.map((key) => ({ key, put: v })) });
      await writeAll(0);
      const over = new AbortController();
      const writing = (async () => {
        for (let v = 1; !over.signal.aborted; v += 1) await writeAll(v);
      })();
      for (let i = 0; i < 30; i += 1) {
        const { entries, revision } = await store.list('k/');
        assert.equal(entries.length, keys.length);
        assert.equal(new Set(entries.map(({ value }) => value)).size, 1);
        assert.ok(entries.every((entry) => entry.revision <= revision));
      }
      over.abort();
      await writing;
    });

    test('a watch tells all that is there, then each transaction that touches it, by itself', async () => {
      await using store = await open();
      const put = (key: string, value: unknown) => ({ key, put: value });
      await store.txn({ write: [put('n/a', 1), put('n/b', 1), put('m/x', 1)] });
      await using heard = await Hearer.start(store, 'n/');
      using deaf = store.watch('n/', () => assert.fail('it was disposed'));
      deaf[Symbol.dispose]();
      const first = await store.txn({ write: [put('n/c', 1), { key: 'n/a', del: true }, put('m/y', 1)] });
      if (name === 'SQLite')
        assert.equal(heard.changes.length, 2, 'it is told before the transaction resolves');
      await store.txn({ write: [put('m/x', 2)] });
      await store.txn({ compare: [{ key: 'n/c', is: 'absent' }], write: [put('n/c', 2)] });
      const last = await store.txn({
        write: [put('n/c', 3), { key: 'n/b', del: true }, put('n/c', { v: 4 })],
      });
      assert.ok(first.ok && last.ok);
      await heard.until(last.revision);
      assert.deepEqual(
        heard.changes.map(({ isAll, put, del }) => [isAll, put.map(({ key, value }) => [key, value]), del]),
        [
          [
            true,
            [
              ['n/a', 1],
              ['n/b', 1],
            ],
            [],
          ],
          [false, [['n/c', 1]], ['n/a']],
          [false, [['n/c', { v: 4 }]], ['n/b']],
        ],
      );
      assert.deepEqual(
        heard.changes.slice(1).map(({ revision }) => revision),
        [first.revision, last.revision],
      );
      await heard.assertKnows();
    });

    test('of what is written while a watch begins nothing is missed and nothing is told twice', async () => {
      await using store = await open();
      const write = (i: number) =>
        store.txn({
          write: [
            { key: `k/${i % 7}`, put: i },
            { key: `j/${i}`, put: i },
          ],
        });
      const before = Array.from({ length: 30 }, (_, i) => write(i));
      const hearing = Hearer.start(store, 'k/');
      const after = Array.from({ length: 30 }, (_, i) => write(30 + i));
      await using heard = await hearing;
      const done = await Promise.all([...before, ...after]);
      const revisions = done.map((one) => (one.ok ? one.revision : 0)).toSorted((a, b) => a - b);
      await heard.until(revisions.at(-1) ?? 0);
      const [all, ...rest] = heard.changes.map(({ revision }) => revision);
      assert.deepEqual(
        rest,
        revisions.filter((revision) => revision > (all ?? 0)),
      );
      await heard.assertKnows();
    });

    test('a failed step writes nothing and spoils nothing', async () => {
      const seam = new Seam(parseFaultPlan('ENOSPC@2'));
      await using store = await open(seam);
      seam.arm();
      await store.txn({ write: [{ key: 'a', put: 1 }] });
      const failed = store.txn({ write: [{ key: 'a', put: 2 }] });
      await assert.rejects(failed, (e) => hasCode(e, 'store') && /ENOSPC/.test(e.message));
      assert.equal((await store.get('a'))?.value, 1);
      assert.ok((await store.txn({ write: [{ key: 'a', put: 3 }] })).ok);
    });
  });
}

describe('store: etcd itself', () => {
  /** Writes one key after the other until told to stop; resolves with those that were acknowledged. */
  function writeOn(store: Store): () => Promise<readonly string[]> {
    const over = new AbortController();
    const writing = (async () => {
      const acknowledged: string[] = [];
      for (let i = 0; !over.signal.aborted; i += 1) {
        const key = `w/${String(i).padStart(6, '0')}`;
        try {
          await store.txn({ compare: [{ key, is: 'absent' }], write: [{ key, put: { i } }] });
          acknowledged.push(key);
        } catch (error) {
          assert.ok(hasCode(error, 'storeUnavailable'), String(error));
          assert.match(error.message, /^the swarm's store does not answer \(etcd at 127\.0\.0\.1:/);
        }
      }
      return acknowledged;
    })();
    return () => {
      over.abort();
      return writing;
    };
  }

  async function assertKept(store: Store, acknowledged: readonly string[]): Promise<void> {
    const kept = new Set((await store.list('w/')).entries.map(({ key }) => key));
    assert.deepEqual(
      acknowledged.filter((key) => !kept.has(key)),
      [],
    );
  }

  test('thousands of entries come in pages; swarms of one etcd do not see each other', async () => {
    const [store, other] = [newEtcdStore(), newEtcdStore()];
    const keys = Array.from({ length: 2500 }, (_, i) => `k/${String(i).padStart(4, '0')}`);
    for (let i = 0; i < keys.length; i += mostOperations)
      await store.txn({ write: keys.slice(i, i + mostOperations).map((key) => ({ key, put: {} })) });
    assert.deepEqual(
      (await store.list('')).entries.map(({ key }) => key),
      keys,
    );
    assert.deepEqual((await other.list('')).entries, []);
    assert.equal(await other.get('k/0000'), undefined);
  });

  test('a transaction of more than etcd takes is refused, and nothing of it written', async () => {
    const store = newEtcdStore();
    const keys = Array.from({ length: mostOperations + 1 }, (_, i) => `k/${i}`);
    await assert.rejects(
      store.txn({ write: keys.map((key) => ({ key, put: {} })) }),
      (e) => hasCode(e, 'store') && /^129 writes in one transaction: etcd takes 128$/.test(e.message),
    );
    const compare = keys.map((key) => ({ key, is: 'absent' as const }));
    await assert.rejects(store.txn({ compare, write: [] }), (e) => hasCode(e, 'store'));
    assert.deepEqual((await store.list('')).entries, []);
    const most = keys.slice(1).map((key) => ({ key, put: {} }));
    assert.ok((await store.txn({ compare: compare.slice(1), write: most })).ok);
  });

  test('a list that a compaction cuts short begins anew', async () => {
    const written = newEtcdStore();
    const prefix = `/linkspan/v1/test${count}/`;
    for (let i = 0; i < 5; i += 1) await written.txn({ write: [{ key: `k/${i}`, put: i }] });
    let calls = 0;
    const compacting: Pick<Client, 'call' | 'stream' | 'clock'> = {
      clock: systemClock,
      stream: (...all) => client.stream(...all),
      call: async (method, request) => {
        calls += 1;
        if (calls === 2) {
          const { revision } = await written.list('');
          await written.txn({ write: [{ key: 'k/9', put: 9 }] });
          const body = JSON.stringify({ revision: revision + 1, physical: true });
          const url = `http://${etcd.endpoints[0]}/v3/kv/compaction`;
          assert.equal((await fetch(url, { method: 'POST', body })).status, 200);
        }
        return await client.call(method, request);
      },
    };
    const { entries } = await new EtcdStore(compacting, openSeam(), prefix, 2).list('k/');
    assert.deepEqual(
      entries.map(({ value }) => value),
      [0, 1, 2, 3, 4, 9],
    );
    assert.ok(calls > 3);
  });

  test('kill -9: what was acknowledged is there, what was not failed clearly, and it goes on by itself', async () => {
    const store = newEtcdStore();
    const stop = writeOn(store);
    await sleep(300);
    await etcd.kill(0);
    etcd.spawn(0);
    await etcd.ready();
    // Asked while nobody may be connected yet: reads wait.
    assert.ok((await store.list('w/')).entries.length > 0);
    const before = (await store.list('w/')).entries.length;
    await sleep(300);
    const acknowledged = await stop();
    assert.ok(acknowledged.length > before - 3);
    await assertKept(store, acknowledged);
    assert.ok((await store.list('w/')).entries.length > before);
  });

  test('an etcd that hangs is given up on in time, with the reason, and used again when it goes on', async () => {
    const store = newEtcdStore();
    await store.txn({ write: [{ key: 'a', put: 1 }] });
    await etcd.hold(0);
    const outcomes = await Promise.allSettled([
      store.txn({ write: [{ key: 'a', put: 2 }] }),
      store.get('a'),
      store.list(''),
    ]);
    for (const outcome of outcomes)
      assert.ok(outcome.status === 'rejected' && hasCode(outcome.reason, 'storeUnavailable'));
    etcd.signal(0, 'SIGCONT');
    // Nobody knows whether it was done.
    assert.ok([1, 2].includes((await store.get('a'))?.value as number));
    assert.ok((await store.txn({ write: [{ key: 'a', put: 3 }] })).ok);
  });

  test('with certificates: ours is asked for, theirs is checked', async () => {
    const folder = mkdtempSync('/run/tls');
    const [certificate, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
        ...[
          '-subj',
          '/CN=etcd',
          '-addext',
          'subjectAltName=IP:127.0.0.1',
          '-keyout',
          key,
          '-out',
          certificate,
        ],
      ],
      { stdio: 'ignore' },
    );
    await using secured = await Etcd.start({ firstPort: 21_021, tls: { certificate, key } });
    const [ca, ownKey] = [readFileSync(certificate), readFileSync(key)];
    const use = async (tls?: EtcdTls): Promise<unknown> => {
      using one = await clientOf(secured.endpoints, tls);
      return await new EtcdStore(one, openSeam(), '/linkspan/v1/x/').txn({ write: [{ key: 'a', put: 1 }] });
    };
    const isRefused = (e: unknown): boolean => hasCode(e, 'storeUnavailable');
    const [known, ...refused] = await Promise.allSettled([
      use({ ca, certificate: ca, key: ownKey }),
      use({ ca }),
      use({ certificate: ca, key: ownKey }),
      use(),
    ]);
    assert.equal(known.status, 'fulfilled', String((known as PromiseRejectedResult).reason));
    for (const outcome of refused) assert.ok(outcome.status === 'rejected' && isRefused(outcome.reason));
    assert.match(String((refused[1] as PromiseRejectedResult).reason), /self-signed certificate/);
  });

  test('of three members one may die at any time; without a majority writes fail with the reason', async () => {
    await using three = await Etcd.start({ firstPort: 21_041, members: 3 });
    using shared = await clientOf(three.endpoints);
    const store = new EtcdStore(shared, openSeam(), '/linkspan/v1/x/');
    const stop = writeOn(store);
    await sleep(200);
    await three.kill(0);
    // Others take over; an election may take longer than one call.
    const isBack = (): Promise<boolean> =>
      store.txn({ write: [{ key: 'a', put: 1 }] }).then(
        () => true,
        () => false,
      );
    assert.ok(await eventually(isBack, 10_000));
    await sleep(200);
    await three.kill(1);
    const acknowledged = await stop();
    await assert.rejects(store.txn({ write: [{ key: 'a', put: 2 }] }), (e) => hasCode(e, 'storeUnavailable'));
    three.spawn(0);
    await three.ready();
    assert.ok(await eventually(isBack, 10_000));
    await assertKept(store, acknowledged);
  });
});
