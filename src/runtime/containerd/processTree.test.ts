import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStat, startedBy } from './processTree.ts';

test('a stat line is read past whatever a process is called', () => {
  assert.deepEqual(parseStat('42 (a) S 7 (b) S 40 42 41 0 -1'), { parent: 40, session: 41 });
  assert.equal(parseStat(''), undefined);
});

test('started by a process are its descendants, and its session where the process between is gone', () => {
  const stats = new Map(
    (
      [
        [10, 1, 10],
        [11, 10, 10],
        [12, 11, 10],
        [13, 1, 10],
        [14, 11, 14],
        [15, 14, 14],
        [16, 1, 16],
        [1, 0, 1],
      ] as const
    ).map(([pid, parent, session]) => [pid, { parent, session }] as const),
  );
  assert.deepEqual(
    [...startedBy(10, stats)].sort((a, b) => a - b),
    [11, 12, 13, 14, 15],
  );
});
