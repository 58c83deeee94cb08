import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gate } from './gate.ts';

test('a gate lets in so many at once, the others in order, also after a failure', async () => {
  const gate = new Gate(2);
  const log: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<void>>();
  const enter = (name: string): Promise<void> => {
    const end = Promise.withResolvers<void>();
    ends.set(name, end);
    return gate.run(async () => {
      log.push(`${name} in`);
      await end.promise;
    });
  };
  const done = ['a', 'b', 'c', 'd'].map(enter);
  await Promise.resolve();
  assert.deepEqual(log, ['a in', 'b in']);
  ends.get('b')?.reject(new Error('failed'));
  await assert.rejects(done[1] ?? Promise.resolve(), /failed/);
  assert.deepEqual(log.slice(2), ['c in']);
  ends.get('a')?.resolve();
  await done[0];
  assert.deepEqual(log.slice(3), ['d in']);
  for (const end of ends.values()) end.resolve();
  await Promise.all([done[2], done[3]]);
  await gate.run(() => Promise.resolve(void log.push('e in')));
  assert.equal(log.at(-1), 'e in');
});
