/*
 * The etcd that managers run themselves: real processes at loopback addresses, one a manager. How a cluster grows and
 * shrinks while it is written to, and how its processes outlive their deaths and their daemons'.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { hasCode } from '../../src/errors/linkspanError.ts';
import { EtcdClient } from '../../src/store/etcd/etcdClient.ts';
import { EtcdMembers } from '../../src/store/etcd/etcdMembers.ts';
import { type EtcdCertificates, EtcdProcess, type EtcdStart } from '../../src/store/etcd/etcdProcess.ts';
import { EtcdStore } from '../../src/store/etcd/etcdStore.ts';
import { eventually } from '../compat/command.ts';
import { StoreAuthority } from './storeCertificates.ts';

let authority: StoreAuthority;
before(async () => {
  // Of somebody who runs an etcd of his own.
  process.env['ETCD_MAX_TXN_OPS'] = '1';
  authority = await StoreAuthority.create('store');
});

const seen = async (isSo: () => Promise<boolean>, timeoutMs = 15_000): Promise<void> =>
  assert.ok(await eventually(() => isSo().catch(() => false), timeoutMs));

/** A manager's part of the store. */
class Manager implements AsyncDisposable {
  readonly address: string;
  readonly folder: string;
  process: EtcdProcess;
  #client: EtcdClient | undefined;
  #certificates: EtcdCertificates | undefined;

  constructor(address: string) {
    this.address = address;
    this.folder = mkdtempSync('/run/manager');
    this.process = this.newDaemon();
  }

  /** What the next daemon has in hand. */
  newDaemon(): EtcdProcess {
    return new EtcdProcess({
      ...{ name: this.address, peerListen: `${this.address}:2378`, allowedName: 'swarm-manager' },
      ...{ dataFolder: join(this.folder, 'data'), folder: join(this.folder, 'run') },
      ...{ clock: systemClock, logger: silentLogger, seam: openSeam() },
    });
  }

  async certificates(): Promise<EtcdCertificates> {
    this.#certificates ??= await authority.issue(this.address);
    return this.#certificates;
  }

  async ensure(start: Omit<EtcdStart, 'certificates'>): Promise<void> {
    await this.process.ensure({ ...start, certificates: await this.certificates() });
    this.#client?.[Symbol.dispose]();
    this.#client = await this.clientWith(await this.certificates());
  }

  async clientWith({ certificatePem, keyPem, caPem }: EtcdCertificates): Promise<EtcdClient> {
    const [ca, certificate, key] = [caPem, certificatePem, keyPem].map((pem) => Buffer.from(pem)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const endpoints = [this.process.endpoint];
    return await EtcdClient.open({ endpoints, tls: { ca, certificate, key } }, systemClock);
  }

  get members(): EtcdMembers {
    return new EtcdMembers(this.client, systemClock);
  }

  get client(): EtcdClient {
    assert.ok(this.#client !== undefined);
    return this.#client;
  }

  get store(): EtcdStore {
    return new EtcdStore(this.client, openSeam(), '/linkspan/v1/x/');
  }

  get url(): string {
    return `${this.address}=${this.process.peerUrl}`;
  }

  get pid(): number {
    return Number(readFileSync(join(this.folder, 'run/etcd.pid'), 'utf8'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.[Symbol.dispose]();
    await this.process.stop();
  }
}

async function first(address: string): Promise<Manager> {
  const manager = new Manager(address);
  await manager.ensure({ initialCluster: [manager.url], state: 'new' });
  await seen(async () => (await manager.members.status()).leaderId !== undefined);
  return manager;
}

/** Joins with `others`, of which the first is asked. */
async function join_(manager: Manager, others: readonly Manager[]): Promise<string> {
  const [asked] = others;
  assert.ok(asked !== undefined);
  const { id, isLearner } = await asked.members.addLearner(manager.process.peerUrl);
  assert.ok(isLearner);
  // What an attempt left behind is found.
  assert.equal((await asked.members.addLearner(manager.process.peerUrl)).id, id);
  await manager.ensure({ initialCluster: [...others, manager].map(({ url }) => url), state: 'existing' });
  await asked.members.promote(id);
  await asked.members.promote(id);
  return id;
}

/** Writes one key after the other; resolves with their number when told to stop. Rejects when one fails. */
function writeOn({ store }: Manager): () => Promise<number> {
  const over = new AbortController();
  const writing = (async () => {
    let i = 0;
    for (; !over.signal.aborted; i += 1) {
      const key = `w/${String(i).padStart(6, '0')}`;
      assert.ok((await store.txn({ compare: [{ key, is: 'absent' }], write: [{ key, put: i }] })).ok);
    }
    return i;
  })();
  writing.catch(() => {});
  return () => {
    over.abort();
    return writing;
  };
}

test('a second and a third manager join while it is written, and no write fails; one leaves', async () => {
  await using a = await first('127.0.0.1');
  await using b = new Manager('127.0.0.2');
  await using c = new Manager('127.0.0.3');
  for (const path of ['data', 'run', 'run/key.pem'])
    assert.equal(statSync(join(a.folder, path)).mode & 0o077, 0, `${path} is its owner's alone`);
  const stop = writeOn(a);
  const idOfB = await join_(b, [a]);
  const idOfC = await join_(c, [a, b]);
  await sleep(300);
  const written = await stop();
  assert.ok(written > 20);
  for (const { store } of [a, b, c]) assert.equal((await store.list('w/')).entries.length, written);
  const status = await c.members.status();
  assert.equal(status.memberId, idOfC);
  assert.ok(!status.isLearner && status.leaderId !== undefined && status.fileBytes >= status.usedBytes);
  assert.deepEqual(
    (await a.members.list())
      .map(({ name, peerUrls, isLearner }) => [name, peerUrls, isLearner])
      .toSorted(([x], [y]) => ((x ?? '') < (y ?? '') ? -1 : 1)),
    ['127.0.0.1', '127.0.0.2', '127.0.0.3'].map((at) => [at, [`https://${at}:2378`], false]),
  );

  await seen(async () => {
    await a.members.remove(idOfB);
    return true;
  });
  await a.members.remove(idOfB);
  assert.equal((await c.members.list()).length, 2);
  await b.process.wipe();
  assert.ok(!existsSync(join(b.folder, 'data')) && !existsSync(join(b.folder, 'run')));
  // It comes again, as another member.
  assert.notEqual(await join_(b, [c, a]), idOfB);
  assert.equal((await b.store.list('w/')).entries.length, written);
});

test('a learner that never starts harms nobody, and keeps others out only until it is removed', async () => {
  await using a = await first('127.0.0.1');
  await using b = new Manager('127.0.0.2');
  const { id } = await a.members.addLearner('https://127.0.0.9:2378');
  await assert.rejects(
    a.members.promote(id, 500),
    (e) => hasCode(e, 'store') && /^etcd refused: .*in sync with leader$/.test(e.message),
  );
  await assert.rejects(
    a.members.addLearner(b.process.peerUrl, 500),
    (e) => hasCode(e, 'store') && /too many learner members/.test(e.message),
  );
  assert.ok((await a.store.txn({ write: [{ key: 'a', put: 1 }] })).ok);
  const unborn = (await a.members.list()).find(({ isLearner }) => isLearner);
  assert.deepEqual(unborn, { id, peerUrls: ['https://127.0.0.9:2378'], isLearner: true });
  await a.members.remove(id);
  await join_(b, [a]);
  assert.equal((await b.store.get('a'))?.value, 1);
});

test('kill -9: it comes back by itself; the next daemon adopts it, and keeps it running in turn', async () => {
  await using a = await first('127.0.0.1');
  const start = { initialCluster: [a.url], state: 'new' } as const;
  assert.doesNotMatch(readFileSync(`/proc/${a.pid}/environ`, 'utf8'), /ETCD_/);
  await a.store.txn({ write: [{ key: 'a', put: 1 }] });
  const { pid, process: former } = a;
  process.kill(pid, 'SIGKILL');
  await seen(async () => (await a.store.get('a'))?.value === 1 && a.pid !== pid);

  const second = a.pid;
  const { endpoint } = former;
  former[Symbol.dispose]();
  a.process = a.newDaemon();
  await a.ensure(start);
  assert.equal(a.process.endpoint, endpoint);
  assert.equal(a.pid, second);
  assert.equal((await a.store.get('a'))?.value, 1);
  process.kill(second, 'SIGKILL');
  await seen(async () => (await a.store.get('a'))?.value === 1 && a.pid !== second);

  // Also where nobody wrote down its pid.
  const third = a.pid;
  a.process[Symbol.dispose]();
  writeFileSync(join(a.folder, 'run/etcd.pid'), '');
  a.process = a.newDaemon();
  assert.ok(await a.process.isAlive());
  await a.ensure(start);
  await a.process.stop();
  assert.throws(() => process.kill(third, 0));
  await sleep(1500);
  assert.ok(!(await a.process.isAlive()), 'who was stopped stays so');
  await a.ensure(start);
  await seen(async () => (await a.store.get('a'))?.value === 1);
});

test('one of three dies: the others go on; of what is left of two, one can be made a cluster of its own', async () => {
  await using a = await first('127.0.0.1');
  await using b = new Manager('127.0.0.2');
  await join_(b, [a]);
  await a.store.txn({ write: [{ key: 'a', put: 1 }] });
  await a.process.stop();
  await assert.rejects(b.store.txn({ write: [{ key: 'a', put: 2 }] }), (e) => hasCode(e, 'storeUnavailable'));
  await seen(async () => (await b.members.status()).leaderId === undefined);
  const start = { initialCluster: [a.url, b.url], state: 'existing' } as const;
  await b.ensure({ ...start, isForcedNew: true });
  await seen(async () => (await b.store.txn({ write: [{ key: 'a', put: 3 }] })).ok);
  assert.deepEqual(
    (await b.members.list()).map(({ name }) => name),
    ['127.0.0.2'],
  );
  // For one start only.
  const { pid } = b;
  process.kill(pid, 'SIGKILL');
  await seen(async () => b.pid !== pid && (await b.store.get('a'))?.value === 3);
  assert.ok(!readFileSync(`/proc/${b.pid}/cmdline`, 'utf8').includes('force-new-cluster'));
});

test('only who has a certificate of the right authority and name is let in', async () => {
  await using a = await first('127.0.0.1');
  const stranger = await StoreAuthority.create('other');
  const { caPem } = authority;
  for (const certificates of [
    { ...(await stranger.issue('127.0.0.1')), caPem },
    await authority.issue('127.0.0.1', 'swarm-worker'),
  ]) {
    using client = await a.clientWith(certificates);
    await assert.rejects(new EtcdMembers(client, systemClock).status(), (e) =>
      hasCode(e, 'storeUnavailable'),
    );
  }
  // Nor among its peers.
  const { id } = await a.members.addLearner('https://127.0.0.2:2378');
  await using b = new Manager('127.0.0.2');
  b.certificates = () => authority.issue('127.0.0.2', 'swarm-worker');
  await b.ensure({ initialCluster: [a.url, b.url], state: 'existing' });
  await assert.rejects(a.members.promote(id, 2000), (e) => hasCode(e, 'store'));
  await a.members.remove(id);

  // New ones count for the next connection; another authority for the next start.
  await a.process.setCertificates(await authority.issue('127.0.0.1'));
  using again = await a.clientWith(await authority.issue('127.0.0.1'));
  assert.equal((await new EtcdMembers(again, systemClock).list()).length, 1);
  const { pid } = a;
  const both = { ...(await a.certificates()), caPem: `${caPem}\n${stranger.caPem}` };
  await a.process.ensure({ initialCluster: [a.url], state: 'new', certificates: both });
  assert.notEqual(a.pid, pid);
  using welcome = await a.clientWith({ ...(await stranger.issue('127.0.0.1')), caPem });
  await seen(async () => (await new EtcdMembers(welcome, systemClock).list()).length === 1);
});
