import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RunEnd } from './runEnd.ts';

function start(t: TestContext): RunEnd {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  return new RunEnd();
}

test('a run that goes on has no end, however long nothing comes', (t) => {
  using end = start(t);
  end.waits(true);
  t.mock.timers.tick(100_000);
  assert.equal(end.signal.aborted, false);
});

test('of a run that ended everything is read that comes without a long pause', (t) => {
  using end = start(t);
  end.ended(false);
  for (let entry = 0; entry < 10; entry += 1) {
    t.mock.timers.tick(900);
    end.waits(false);
    end.waits(true);
  }
  assert.equal(end.signal.aborted, false);
  t.mock.timers.tick(1000);
  assert.equal(end.signal.aborted, true);
});

test('the time that the lines take where they go does not count', (t) => {
  using end = start(t);
  end.waits(false);
  end.ended(false);
  t.mock.timers.tick(100_000);
  assert.equal(end.signal.aborted, false);
  end.waits(true);
  t.mock.timers.tick(1000);
  assert.equal(end.signal.aborted, true);
});

test('with its last entry read, nothing is waited for', (t) => {
  using end = start(t);
  end.ended(true);
  assert.equal(end.signal.aborted, true);
});
