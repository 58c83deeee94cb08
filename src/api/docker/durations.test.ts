import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Container, zeroTime } from '../../engine/model.ts';
import { formatDuration, formatStatus } from './durations.ts';

const second = 1000;
const hour = 3600 * second;
const day = 24 * hour;

for (const [ms, expected] of [
  [-5, 'Less than a second'],
  [999, 'Less than a second'],
  [second, '1 second'],
  [59 * second, '59 seconds'],
  [60 * second, 'About a minute'],
  [119 * second, 'About a minute'],
  [120 * second, '2 minutes'],
  [46 * 60 * second, '46 minutes'],
  [60 * 60 * second, 'About an hour'],
  [89 * 60 * second, 'About an hour'],
  [90 * 60 * second, '2 hours'],
  [47 * hour, '47 hours'],
  [48 * hour, '2 days'],
  [14 * day, '2 weeks'],
  [60 * day, '2 months'],
  [730 * day, '2 years'],
] as const) {
  test(`${ms} ms read ${expected}`, () => assert.equal(formatDuration(ms), expected));
}

const base = {
  exitCode: 3,
  startedAt: '2026-11-23T21:55:05Z',
  finishedAt: '2026-11-23T21:55:06Z',
} as unknown as Container;
const nowMs = Date.parse('2026-11-23T21:55:08Z');

for (const [change, expected] of [
  [{ state: 'running' }, 'Up 3 seconds'],
  [{ state: 'paused' }, 'Up 3 seconds (Paused)'],
  [{ state: 'exited' }, 'Exited (3) 2 seconds ago'],
  [{ state: 'starting' }, 'Exited (3) 2 seconds ago'],
  [{ state: 'starting', startedAt: zeroTime }, 'Created'],
  [{ state: 'created', startedAt: zeroTime }, 'Created'],
  [{ state: 'removing' }, 'Removal In Progress'],
  [{ state: 'dead' }, 'Dead'],
] as const) {
  test(`a container that is ${JSON.stringify(change)} reads ${expected}`, () => {
    assert.equal(formatStatus({ ...base, ...change }, nowMs), expected);
  });
}
