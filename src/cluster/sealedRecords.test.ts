/*
 * Secrets of a swarm in real stores: sealed where managers write them, sealed anew where a daemon of before left them
 * clear, and refused by a manager that has not the key.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { openSeam } from '../base/seam.ts';
import { openSqliteStore } from '../store/sqliteStore.ts';
import type { Store } from '../store/store.ts';
import { isSealed, newKey, openSwarm } from './identity/vault.ts';
import { LocalSwarm } from './localSwarm.ts';
import { type SelfRecord, selfKey, type SwarmRecord, swarmKey } from './membership/records.ts';
import type { InitRequest } from './swarm.ts';

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function request(isAutolocked: boolean): Promise<InitRequest> {
  const address = `127.0.0.1:${await freePort()}`;
  return {
    ...{ listen: address, advertise: address, dataPath: '', availability: 'active', isForcedNew: false },
    ...{ dataPathPort: 0, addressPools: [], subnetLength: 0 },
    spec: {
      ...{ name: 'default', labels: {}, taskHistoryLimit: 5, snapshotInterval: 10_000, maxSnapshots: 0 },
      ...{ heartbeatMs: 5000, certificateLifeMs: 7_776_000_000, isAutolocked },
    },
  };
}

const description = {
  ...{ hostname: 'a', architecture: 'x86_64', os: 'linux', nanoCpus: 1e9, memoryBytes: 1 << 30 },
  ...{ engineVersion: '0.1.0', engineLabels: {} },
};

const openSwarmIn = (store: Store): Promise<LocalSwarm> =>
  LocalSwarm.open({
    ...{ store, clock: systemClock, logger: silentLogger, describe: () => description },
    ...{ systemAddresses: () => [], ownEndpoints: () => [] },
    ...{ vacate: () => Promise.resolve(), settled: () => Promise.resolve() },
  });

/** The store and what is in it, as long as `work` takes. */
async function withStore(work: (store: Store) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-sealed-'));
  try {
    await using store = await openSqliteStore(join(folder, 'state.db'), openSeam());
    await work(store);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function read<T>(store: Store, key: string): Promise<T> {
  const entry = await store.get(key);
  assert.ok(entry !== undefined, key);
  return entry.value as T;
}

test('what managers share has no secret; what a daemon of before left clear is sealed at the next start', async () => {
  await withStore(async (store) => {
    let swarm = await openSwarmIn(store);
    await swarm.init(await request(false));
    const { tokens } = swarm.cluster();
    await swarm[Symbol.asyncDispose]();
    const { sealKey = '', ...self } = await read<SelfRecord>(store, selfKey);
    const stored = await read<SwarmRecord>(store, swarmKey);
    assert.equal(isSealed(stored), true);
    assert.equal(JSON.stringify(stored).includes('PRIVATE KEY'), false);
    // As version 0.1 had it.
    await store.txn({
      write: [
        { key: selfKey, put: self },
        { key: swarmKey, put: openSwarm(sealKey, stored) },
      ],
    });
    swarm = await openSwarmIn(store);
    assert.equal(swarm.status().state, 'active');
    assert.deepEqual(swarm.cluster().tokens, tokens);
    const own = await read<SelfRecord>(store, selfKey);
    assert.ok(own.sealKey !== undefined && own.sealKey !== sealKey);
    assert.equal(isSealed(await read(store, swarmKey)), true);
    await swarm[Symbol.asyncDispose]();
    // Once more: there is nothing left to do.
    const { version } = openSwarm(own.sealKey, await read(store, swarmKey));
    swarm = await openSwarmIn(store);
    assert.equal(swarm.cluster().version, version);
    await swarm[Symbol.asyncDispose]();
  });
});

test('a manager that has not the key says so, and makes none up', async () => {
  await withStore(async (store) => {
    let swarm = await openSwarmIn(store);
    await swarm.init(await request(false));
    await swarm[Symbol.asyncDispose]();
    const { sealKey: _, ...self } = await read<SelfRecord>(store, selfKey);
    for (const own of [self, { ...self, sealKey: newKey() }]) {
      await store.txn({ write: [{ key: selfKey, put: own }] });
      const before = await store.get(swarmKey);
      swarm = await openSwarmIn(store);
      const { state, error } = swarm.status();
      assert.equal(state, 'error');
      assert.match(error, /sealed with a key that this node has not/);
      await swarm[Symbol.asyncDispose]();
      assert.deepEqual(await read(store, selfKey), own);
      assert.deepEqual(await store.get(swarmKey), before);
    }
  });
});

test('locked at the start: managers’ commands are refused until the key comes; then it is as before', async () => {
  await withStore(async (store) => {
    let swarm = await openSwarmIn(store);
    await swarm.init(await request(true));
    const [key, { tokens }] = [swarm.unlockKey(), swarm.cluster()];
    await swarm[Symbol.asyncDispose]();
    assert.equal(JSON.stringify(await read(store, selfKey)).includes('PRIVATE KEY'), false);
    swarm = await openSwarmIn(store);
    assert.equal(swarm.status().state, 'locked');
    assert.throws(() => swarm.cluster(), { code: 'swarmLocked' });
    assert.throws(() => swarm.nodes(), { code: 'swarmLocked' });
    assert.throws(() => swarm.unlockKey(), { code: 'swarmLocked' });
    await assert.rejects(swarm.leave(false), { code: 'swarmLocked' });
    await assert.rejects(swarm.init(await request(false)), { code: 'swarmActive' });
    await assert.rejects(swarm.unlock('nonsense'), { code: 'requestInvalid' });
    await assert.rejects(swarm.unlock(`SWMKEY-1-${'A'.repeat(43)}`), { code: 'unlockKeyInvalid' });
    assert.equal(swarm.status().state, 'locked');
    await swarm.unlock(key);
    assert.deepEqual([swarm.status().state, swarm.cluster().tokens], ['active', tokens]);
    await assert.rejects(swarm.unlock(key), { code: 'swarmNotLocked' });
    await swarm[Symbol.asyncDispose]();
  });
});
