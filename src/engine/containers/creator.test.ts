import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStand } from './containerStand.ts';

const data = {
  type: 'volume',
  source: 'data',
  target: '/d',
  isReadOnly: false,
  copies: false,
  mode: '',
} as const;

test('who has the volumes of another container is one of their users, also after a restart', async () => {
  await using stand = await openStand();
  await stand.create('true', 'c1', { mounts: [{ ...data, driver: '' }] });
  const b = await stand.create('true', 'c2', { volumesFrom: ['c1'] });
  await stand.containers.remove('c1', { isForced: false, removesVolumes: true });
  assert.deepEqual(stand.volumes.users('data'), [b]);
  await assert.rejects(stand.volumes.remove('data', false), { code: 'volumeInUse' });
  await stand.open();
  assert.deepEqual(stand.volumes.users('data'), [b]);
  await stand.containers.remove('c2', { isForced: false, removesVolumes: true });
  await stand.volumes.remove('data', false);
});

test('a create that fails is no user of another container’s volumes', async () => {
  await using stand = await openStand();
  const a = await stand.create('true', 'c1', { mounts: [{ ...data, driver: '' }] });
  const bad = { ...data, source: 'bad!', target: '/bad', driver: '' };
  await assert.rejects(stand.create('true', 'c2', { volumesFrom: ['c1'], mounts: [bad] }), {
    code: 'volumeInvalid',
  });
  assert.deepEqual(stand.volumes.users('data'), [a]);
});
