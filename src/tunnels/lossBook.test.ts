import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LossBook } from './lossBook.ts';

test('what is lost again and again waits longer, what lived long does not wait', () => {
  const book = new LossBook();
  assert.equal(book.waitMs('a', 0), 0);
  const waits: number[] = [];
  for (let nowMs = 0; waits.length < 8; nowMs += 50_000) {
    book.note('a', nowMs, nowMs + 20_000);
    waits.push(book.waitMs('a', nowMs + 20_000));
  }
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  assert.equal(book.waitMs('b', 0), 0);
  book.note('a', 1_000_000, 1_060_000);
  assert.equal(book.waitMs('a', 1_060_000), 0);
  book.note('a', 1_060_000, 1_070_000);
  assert.equal(book.waitMs('a', 1_070_000), 200);
  assert.equal(book.waitMs('a', 1_070_150), 50);
  assert.equal(book.waitMs('a', 1_080_000), 0);
  assert.equal(book.waitMs('a', 0), 200);
});
