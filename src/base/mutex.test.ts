import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyedMutex } from './mutex.ts';

test('KeyedMutex runs work of one key in order and of two keys together', async () => {
  const mutex = new KeyedMutex();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = mutex.run('a', async () => {
    log.push('a1 in');
    await gate.promise;
    log.push('a1 out');
  });
  const second = mutex.run('a', async () => {
    log.push('a2');
  });
  await mutex.run('b', async () => {
    log.push('b');
  });
  gate.resolve();
  await Promise.all([first, second]);
  assert.deepEqual(log, ['a1 in', 'b', 'a1 out', 'a2']);
});

test('KeyedMutex goes on after a failure', async () => {
  const mutex = new KeyedMutex();
  await assert.rejects(
    mutex.run('a', () => Promise.reject(new Error('no'))),
    /no/,
  );
  assert.equal(await mutex.run('a', () => Promise.resolve(7)), 7);
});
