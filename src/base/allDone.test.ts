import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allDone } from './allDone.ts';

test('waits for all, also after a failure, and tells the first of the list', async () => {
  const late = Promise.withResolvers<void>();
  let isOver = false;
  const all = allDone([
    late.promise,
    Promise.reject(new Error('second of the list, first to fail')),
    Promise.reject(new Error('third')),
  ]).finally(() => {
    isOver = true;
  });
  all.catch(() => {});
  await new Promise((resolve) => void setImmediate(resolve));
  assert.equal(isOver, false);
  late.resolve();
  await assert.rejects(all, /second of the list/);
});

test('resolves when none failed', async () => {
  await allDone([Promise.resolve(1), Promise.resolve('two')]);
  await allDone([]);
});
