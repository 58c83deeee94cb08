import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openSeam, parseFaultPlan, Seam } from '../base/seam.ts';
import { hasCode } from '../errors/linkspanError.ts';
import { openSqliteStore } from './sqliteStore.ts';
import type { StoreChange } from './store.ts';

function temporaryFile(): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-store-'));
  return {
    path: join(folder, 'state', 'store.db'),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

/** In the file itself, whatever its log has. */
function keysIn(path: string): readonly unknown[] {
  const copy = `${path}.copy`;
  copyFileSync(path, copy);
  const db = new DatabaseSync(copy);
  try {
    return db
      .prepare('SELECT key FROM entries')
      .all()
      .map(({ key }) => key);
  } finally {
    db.close();
  }
}

test('the store keeps what was written, in key order, across a reopen', async () => {
  using file = temporaryFile();
  {
    await using store = await openSqliteStore(file.path, openSeam());
    const first = await store.txn({
      write: [
        { key: 'n/b', put: { v: 1 } },
        { key: 'n/a', put: { v: 2 } },
      ],
    });
    assert.ok(first.ok);
    await store.txn({ write: [{ key: 'o/x', put: {} }] });
  }
  await using store = await openSqliteStore(file.path, openSeam());
  const { revision, entries } = await store.list('n/');
  assert.equal(revision, 2);
  assert.deepEqual(
    entries.map(({ key, value }) => [key, value]),
    [
      ['n/a', { v: 2 }],
      ['n/b', { v: 1 }],
    ],
  );
  assert.equal(await store.get('n/c'), undefined);
});

test('kill -9 takes nothing that was written, whatever else it was to survive', async () => {
  using file = temporaryFile();
  const urlOf = (name: string): string => JSON.stringify(join(import.meta.dirname, name));
  const program = `
    import { openSeam } from ${urlOf('../base/seam.ts')};
    import { openSqliteStore } from ${urlOf('sqliteStore.ts')};
    const store = await openSqliteStore(${JSON.stringify(file.path)}, openSeam());
    await store.txn({ write: [{ key: 'a', put: 1 }], survives: 'process' });
    await store.txn({ write: [{ key: 'b', put: 2 }], survives: 'machine' });
    await store.txn({ write: [{ key: 'c', put: 3 }], survives: 'process' });
    process.kill(process.pid, 'SIGKILL');`;
  const programPath = join(dirname(dirname(file.path)), 'program.mjs');
  writeFileSync(programPath, program);
  const { signal, stderr } = spawnSync(process.execPath, [programPath], { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
  await using store = await openSqliteStore(file.path, openSeam());
  const { entries } = await store.list('');
  assert.deepEqual(
    entries.map(({ key, value, revision }) => [key, value, revision]),
    [
      ['a', 1, 1],
      ['b', 2, 2],
      ['c', 3, 3],
    ],
  );
});

test('a sync resolves once for each who asks, while others are served, and before the store is closed', async () => {
  using file = temporaryFile();
  const order: string[] = [];
  {
    await using store = await openSqliteStore(file.path, openSeam());
    await store.txn({ write: [{ key: 'a', put: 1 }], survives: 'process' });
    const syncs = [1, 2].map((n) => store.sync().then(() => order.push(`sync ${n}`)));
    await store.txn({ write: [{ key: 'b', put: 2 }], survives: 'process' });
    await Promise.all(syncs);
    assert.deepEqual(order, ['sync 1', 'sync 2']);
    void store.sync().then(() => order.push('last'));
  }
  assert.equal(order.at(-1), 'last');
  await using store = await openSqliteStore(file.path, openSeam());
  await store.sync();
  assert.equal((await store.list('')).entries.length, 2);
});

test('a sync that the disk refuses is the last word: every change is refused, and nothing is, once it is opened anew', async () => {
  using file = temporaryFile();
  const reasons: string[] = [];
  {
    const seam = new Seam(parseFaultPlan('EIO@2'));
    await using store = await openSqliteStore(file.path, seam, (reason) => reasons.push(reason));
    seam.arm();
    await store.txn({ write: [{ key: 'a', put: 1 }], survives: 'process' });
    const isLast = (e: unknown): boolean =>
      hasCode(e, 'storeUnavailable') && /EIO.*started again/.test(e.message);
    await assert.rejects(store.sync(), isLast);
    assert.match(reasons.join(), /EIO/);
    // The kernel would say yes to each of them.
    await assert.rejects(store.sync(), isLast);
    for (const survives of ['process', 'machine'] as const)
      await assert.rejects(store.txn({ write: [{ key: 'a', put: 2 }], survives }), isLast);
    assert.equal((await store.get('a'))?.value, 1);
  }
  await using store = await openSqliteStore(file.path, openSeam());
  await store.txn({ write: [{ key: 'b', put: 1 }] });
  await store.sync();
  assert.equal((await store.list('')).entries.length, 2);
});

test('a sync for which there is no space is refused, and all is kept once there is some', async () => {
  using file = temporaryFile();
  const seam = new Seam(parseFaultPlan('ENOSPC@2'));
  await using store = await openSqliteStore(file.path, seam);
  seam.arm();
  await store.txn({ write: [{ key: 'a', put: 1 }], survives: 'process' });
  await assert.rejects(store.sync(), (e) => hasCode(e, 'store') && /ENOSPC/.test(e.message));
  await store.sync();
  // In the file itself, not in the log alone, whose pages the kernel may have dropped.
  assert.deepEqual(keysIn(file.path), ['a']);
  await store.txn({ write: [{ key: 'b', put: 1 }] });
});

/** As a daemon that was killed leaves it: with a log. */
async function leave(path: string, count: number): Promise<string> {
  await using store = await openSqliteStore(path, openSeam());
  await store.txn({ write: Array.from({ length: count }, (_, i) => ({ key: `k/${i}`, put: { i } })) });
  for (const end of ['', '-wal']) copyFileSync(`${path}${end}`, `${path}.left${end}`);
  return `${path}.left`;
}

test('what a daemon left that was killed is in the file itself once another has opened it', async () => {
  using file = temporaryFile();
  const left = await leave(file.path, 200);
  await using store = await openSqliteStore(left, openSeam());
  assert.deepEqual(keysIn(left).length, 200);
  assert.equal((await store.list('k/')).entries.length, 200);
});

test('a file that is damaged is not opened', async () => {
  using file = temporaryFile();
  {
    await using store = await openSqliteStore(file.path, openSeam());
    await store.txn({ write: Array.from({ length: 2000 }, (_, i) => ({ key: `k/${i}`, put: { i } })) });
  }
  const left = await leave(file.path, 1);
  const bytes = readFileSync(left);
  // The middle pages, of 4096 bytes.
  bytes.fill(0xff, 8 * 4096, 12 * 4096);
  writeFileSync(left, bytes);
  await assert.rejects(
    openSqliteStore(left, openSeam()),
    (e) => hasCode(e, 'store') && /damaged/.test(e.message),
  );
});

test('a transaction whose comparison fails writes nothing', async () => {
  using file = temporaryFile();
  await using store = await openSqliteStore(file.path, openSeam());
  const put = await store.txn({ compare: [{ key: 'k', is: 'absent' }], write: [{ key: 'k', put: 1 }] });
  assert.ok(put.ok);
  const again = await store.txn({
    compare: [{ key: 'k', is: 'absent' }],
    write: [
      { key: 'k', put: 2 },
      { key: 'j', put: 1 },
    ],
  });
  assert.equal(again.ok, false);
  assert.equal((await store.get('k'))?.value, 1);
  assert.equal(await store.get('j'), undefined);
  const stale = await store.txn({
    compare: [{ key: 'k', is: 'revision', revision: put.revision + 1 }],
    write: [{ key: 'k', del: true }],
  });
  assert.equal(stale.ok, false);
  assert.ok(
    (
      await store.txn({
        compare: [{ key: 'k', is: 'revision', revision: put.revision }],
        write: [{ key: 'k', del: true }],
      })
    ).ok,
  );
});

test('a second opener is refused, a newer schema too', async () => {
  using file = temporaryFile();
  {
    await using store = await openSqliteStore(file.path, openSeam());
    await assert.rejects(openSqliteStore(file.path, openSeam()), (e) => hasCode(e, 'daemonRunning'));
    assert.equal((await store.list('')).entries.length, 0);
  }
  const db = new DatabaseSync(file.path);
  db.exec('PRAGMA user_version = 99');
  db.close();
  await assert.rejects(
    openSqliteStore(file.path, openSeam()),
    (e) => hasCode(e, 'store') && /newer/.test(e.message),
  );
});

test('an injected disk failure leaves the store as it was and usable', async () => {
  using file = temporaryFile();
  const seam = new Seam(parseFaultPlan('ENOSPC@2'));
  await using store = await openSqliteStore(file.path, seam);
  seam.arm();
  await store.txn({ write: [{ key: 'a', put: 1 }] });
  await assert.rejects(
    store.txn({ write: [{ key: 'a', put: 2 }] }),
    (e) => hasCode(e, 'store') && /ENOSPC/.test(e.message),
  );
  assert.equal((await store.get('a'))?.value, 1);
  assert.ok((await store.txn({ write: [{ key: 'a', put: 3 }] })).ok);
});

test('whoever watches is told all again after a transaction that failed', async () => {
  using file = temporaryFile();
  const seam = new Seam(parseFaultPlan('ENOSPC@2'));
  await using store = await openSqliteStore(file.path, seam);
  seam.arm();
  const heard: StoreChange[] = [];
  using _ = store.watch('k/', (change) => heard.push(change));
  await store.txn({ write: [{ key: 'k/a', put: 1 }] });
  await assert.rejects(store.txn({ write: [{ key: 'k/a', put: 2 }] }));
  await store.txn({ write: [{ key: 'k/b', put: 3 }] });
  assert.deepEqual(
    heard.map(({ isAll, put, revision }) => [isAll, revision, put.map(({ key, value }) => [key, value])]),
    [
      [true, 0, []],
      [false, 1, [['k/a', 1]]],
      [true, 1, [['k/a', 1]]],
      [false, 2, [['k/b', 3]]],
    ],
  );
});
