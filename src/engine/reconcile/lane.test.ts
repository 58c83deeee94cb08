import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandClock } from '../../base/handClock.ts';
import type { RepairTrigger } from '../../base/repairLog.ts';
import { Lane, type Outcome } from './lane.ts';

interface Stand {
  readonly clock: HandClock;
  readonly lane: Lane;
  readonly looks: RepairTrigger[];
  readonly outcomes: Outcome[];
  readonly stopping: AbortController;
  result: boolean | Error;
}

function openStand(): Stand {
  const clock = new HandClock();
  const looks: RepairTrigger[] = [];
  const outcomes: Outcome[] = [];
  const stopping = new AbortController();
  const lane = new Lane({
    clock,
    stopping: stopping.signal,
    look: (trigger) => {
      looks.push(trigger);
      return stand.result instanceof Error ? Promise.reject(stand.result) : Promise.resolve(stand.result);
    },
    report: (outcome) => outcomes.push(outcome),
  });
  const stand: Stand = { clock, lane, looks, outcomes, stopping, result: false };
  return stand;
}

test('a burst of notices is one look, and a notice counts more than the compare', async () => {
  const { clock, lane, looks } = openStand();
  void lane.request('compare');
  for (let i = 0; i < 5; i++) void lane.request('event');
  void lane.request('compare');
  assert.equal(lane.isAtRest, false);
  await clock.advance(30);
  assert.deepEqual(looks, ['event']);
  await lane.settled();
  assert.equal(lane.isAtRest, true);
});

test('what fails is looked at again, later and later, and is at rest when it went well', async () => {
  const stand = openStand();
  stand.result = new Error('no');
  await Promise.all([stand.lane.request('event'), stand.clock.advance(30)]);
  for (const [waitMs, count] of [
    [1000, 2],
    [2000, 3],
    [4000, 4],
  ] as const) {
    await stand.clock.advance(waitMs - 1);
    assert.equal(stand.looks.length, count - 1, `not before ${waitMs} ms`);
    await stand.clock.advance(1);
    await stand.clock.advance(30);
    assert.equal(stand.looks.length, count);
  }
  assert.equal(stand.lane.isAtRest, false);
  stand.result = false;
  await stand.clock.advance(8000);
  await stand.clock.advance(30);
  assert.equal(stand.outcomes.at(-1)?.type, 'sound');
  assert.equal(stand.lane.isAtRest, true);
});

test('who undoes repairs again and again waits for the next', async () => {
  const stand = openStand();
  stand.result = true;
  for (let i = 0; i < 6; i++) await Promise.all([stand.lane.request('event'), stand.clock.advance(30)]);
  assert.deepEqual(stand.outcomes.at(-1), { type: 'repaired', isContested: true });
  void stand.lane.request('event');
  await stand.clock.advance(9_000);
  assert.equal(stand.looks.length, 6);
  await stand.clock.advance(1_000);
  assert.equal(stand.looks.length, 7);
  assert.deepEqual(stand.outcomes.at(-1), { type: 'repaired', isContested: false });
});

test('stopping ends the wait and tells nobody', async () => {
  const stand = openStand();
  const asked = stand.lane.request('event');
  stand.stopping.abort();
  await asked;
  assert.deepEqual(stand.looks, []);
});
