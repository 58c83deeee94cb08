/*
 * Secrets of a swarm in real stores: sealed where managers write them, sealed anew where a daemon of before left them
 * clear, and refused by a manager that has not the key.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSeam } from '../base/seam.ts';
import { openSqliteStore } from '../store/sqliteStore.ts';
import type { Store } from '../store/store.ts';
import { isSealed, newKey, openSwarm } from './identity/vault.ts';
import type { LocalSwarm } from './localSwarm.ts';
import { type SelfRecord, selfKey, type SwarmRecord, swarmKey } from './membership/records.ts';
import type { InitRequest } from './swarm.ts';
import { freeAddress, initRequest, openNode } from './swarmStand.ts';

const request = async (isAutolocked: boolean): Promise<InitRequest> =>
  initRequest(await freeAddress(), { isAutolocked });

const openSwarmIn = (store: Store): Promise<LocalSwarm> => openNode('a', store);

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
