import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { LogQueue } from './logQueue.ts';

/** A queue to a log that takes nothing until `go`, and what it took. */
function stalledQueue(bufferBytes: number | undefined) {
  const gate = Promise.withResolvers<void>();
  const lines: string[] = [];
  const queue = new LogQueue({
    ...{ clock: systemClock, frameBytes: 0, bufferBytes, onWritten: () => {} },
    write: async (records) => {
      await gate.promise;
      lines.push(...records.map(({ data }) => data.toString().trim()));
    },
  });
  return { queue, lines, go: gate.resolve };
}

const line = (i: number, digits = 9): Buffer => Buffer.from(`${String(i).padStart(digits, '0')}\n`);

test('a process that does not wait for its log loses the newest lines, and has those that fit', async () => {
  const { queue, lines, go } = stalledQueue(2100);
  // The first is on its way to the log.
  for (let i = 0; i < 1000; i += 1) assert.equal(queue.append('stdout', line(i)), true);
  go();
  await queue.flush();
  queue.append('stdout', line(1000));
  await queue.end();
  assert.deepEqual(lines.map(Number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000]);
});

test('what lines take in memory counts, however short they are', async () => {
  const { queue, lines, go } = stalledQueue(1_000_000);
  for (let i = 0; i < 100; i += 1) queue.append('stdout', Buffer.alloc(10_000, '\n'));
  go();
  await queue.end();
  assert.ok(lines.length > 5000 && lines.length < 20_000, String(lines.length));
});

test('one line has room, however small the buffer', async () => {
  const { queue, lines, go } = stalledQueue(0);
  for (let i = 0; i < 5; i += 1) queue.append('stdout', line(i));
  go();
  await queue.end();
  assert.deepEqual(lines.map(Number), [0, 1]);
});

test('a process that waits is let go on only where the queue of its short lines has room', async () => {
  const chunk = Buffer.alloc(64 * 1024, '\n');
  let [appended, written, most, chunksLeft] = [0, 0, 0, 20];
  const append = (): void => {
    chunksLeft -= 1;
    appended += chunk.length;
    queue.append('stdout', chunk);
    most = Math.max(most, appended - written);
  };
  const queue = new LogQueue({
    ...{ clock: systemClock, frameBytes: 80, bufferBytes: undefined },
    write: (records) => {
      written += records.length;
      return Promise.resolve();
    },
    onWritten: (hasRoom) => {
      if (hasRoom && chunksLeft > 0) append();
    },
  });
  append();
  await queue.end();
  assert.deepEqual([chunksLeft, written], [0, appended]);
  assert.ok(most < 100_000, String(most));
});

test('a process that waits is told to, and loses nothing', async () => {
  const { queue, lines, go } = stalledQueue(undefined);
  let count = 0;
  while (queue.append('stdout', line(count, 9999))) count += 1;
  go();
  await queue.end();
  assert.deepEqual(
    lines.map(Number),
    Array.from({ length: count + 1 }, (_, i) => i),
  );
});
