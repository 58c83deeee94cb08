/*
 * What is sealed opens with its key alone, and locked records with theirs; formats of keys as Docker's users know them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SelfRecord, SwarmRecord } from '../membership/records.ts';
import { formatUnlockKey, isLocked, lockSelf, parseUnlockKey, unlockSelf } from './autolock.ts';
import { isSealed, newKey, openSwarm, seal, sealSwarm, unseal } from './vault.ts';

const swarm = {
  ...{ id: 's'.repeat(25), version: 7, createdAt: '', updatedAt: '' },
  root: { certificatePem: 'root', keyPem: 'root key' },
  rotation: { root: { certificatePem: 'next', keyPem: 'next key' }, crossPem: 'cross' },
  secrets: { worker: 'worker secret', manager: 'manager secret' },
  unlockKey: 'unlock key',
} as unknown as SwarmRecord;
const secrets = ['root key', 'next key', 'worker secret', 'manager secret', 'unlock key'];

const self = {
  ...{ nodeId: 'n'.repeat(25), swarmId: 's'.repeat(25), rootPem: 'root', isManager: true, managers: [] },
  ...{ keys: { certificatePem: 'own', keyPem: 'own key' }, sealKey: 'seal key' },
} as unknown as SelfRecord;

test('nothing secret of the swarm’s record is in the store, all else is; it comes back as it was', () => {
  const key = newKey();
  const stored = sealSwarm(key, swarm);
  const text = JSON.stringify(stored);
  for (const secret of secrets) assert.equal(text.includes(secret), false, secret);
  for (const open of ['root', 'next', 'cross']) assert.equal(text.includes(`"${open}"`), true, open);
  assert.deepEqual(openSwarm(key, stored), swarm);
  assert.deepEqual([isSealed(stored), isSealed(swarm)], [true, false]);
  assert.notEqual(JSON.stringify(sealSwarm(key, swarm)), text, 'the same text is never sealed to the same');
});

test('a record of before is read as it is; fields that it has not are not made up', () => {
  assert.deepEqual(openSwarm(newKey(), swarm), swarm);
  const { rotation: _, unlockKey: _key, ...plain } = swarm;
  const key = newKey();
  assert.deepEqual(openSwarm(key, sealSwarm(key, plain)), plain);
});

test('another key, another place, or a changed byte: it does not open', () => {
  const key = newKey();
  const sealed = seal(key, 'here', 'secret');
  assert.equal(unseal(key, 'here', sealed), 'secret');
  assert.equal(unseal(newKey(), 'here', sealed), undefined);
  assert.equal(unseal(key, 'there', sealed), undefined);
  for (const wrong of ['', 'sealed.1.', 'sealed.1.AAAA', sealed.slice(0, -8), sealed.replace('.1.', '.2.')])
    assert.equal(unseal(key, 'here', wrong), undefined, wrong);
  const bytes = Buffer.from(sealed.slice('sealed.1.'.length), 'base64');
  for (let i = 0; i < bytes.length; i += 1) {
    const changed = Buffer.from(bytes);
    changed[i] = (changed[i] ?? 0) ^ 1;
    assert.equal(unseal(key, 'here', `sealed.1.${changed.toString('base64')}`), undefined, `byte ${i}`);
  }
  const stored = sealSwarm(key, swarm) as SwarmRecord;
  const exchanged = {
    ...stored,
    secrets: { worker: stored.secrets.manager, manager: stored.secrets.worker },
  };
  assert.throws(() => openSwarm(key, exchanged), {
    code: 'store',
    message: /sealed with a key.*secrets\.worker/,
  });
  assert.throws(() => openSwarm(newKey(), stored), { code: 'store' });
});

test('an unlock key looks like Docker’s, and is read back; other texts are none', () => {
  const key = newKey();
  assert.match(formatUnlockKey(key), /^SWMKEY-1-[A-Za-z0-9+/]{43}$/);
  assert.equal(parseUnlockKey(formatUnlockKey(key)), key);
  for (const text of ['', 'SWMKEY-1-', 'SWMKEY-2-abc', key, 'SWMKEY-1-a b', 'SWMTKN-1-a-b'])
    assert.throws(
      () => parseUnlockKey(text),
      { code: 'requestInvalid', message: 'invalid key string' },
      text,
    );
});

test('a locked record says who the node is and nothing that it could do; the right key opens it', () => {
  const key = newKey();
  const locked = lockSelf(self, key);
  assert.ok(isLocked(locked));
  assert.deepEqual(Object.keys(locked).sort(), [
    'isManager',
    'locked',
    'managers',
    'nodeId',
    'rootPem',
    'swarmId',
  ]);
  assert.deepEqual(unlockSelf(locked, key), self);
  assert.throws(() => unlockSelf(locked, undefined), { code: 'swarmLocked', message: /docker swarm unlock/ });
  for (const wrong of [newKey(), 'AAAA', ''])
    assert.throws(() => unlockSelf(locked, wrong), {
      code: 'unlockKeyInvalid',
      message: 'swarm could not be unlocked: invalid key provided',
    });
  assert.throws(() => unlockSelf({ ...locked, swarmId: 'x' }, key), { code: 'unlockKeyInvalid' });
  assert.equal(lockSelf(self, undefined), self);
  assert.equal(unlockSelf(self, undefined), self);
});
