import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration, parseMoment, parseRfc3339 } from './timestamps.ts';

const second = 1_000_000_000n;
const nowMs = 1_795_470_905_000;

for (const [source, expected] of [
  ['1136073600.000000001', 1136073600n * second + 1n],
  ['1136073600', 1136073600n * second],
  ['0', 0n],
  ['10m', BigInt(nowMs) * 1_000_000n - 600n * second],
  ['1h30m1.5s', BigInt(nowMs) * 1_000_000n - 5401n * second - second / 2n],
  ['2006-01-02T15:04:05.5Z', 1136214245n * second + second / 2n],
  ['2006-01-02T15:04:05+01:00', 1136210645n * second],
  ['2006-01-02T15:04', 1136214240n * second],
  ['2006-01-02', 1136160000n * second],
] as const) {
  test(`${source} is a moment`, () => assert.equal(parseMoment(source, 'since', nowMs), expected));
}

for (const bad of ['yesterday', '5 m', '2006-13-01', '1h-5m']) {
  test(`${bad} is refused`, () => {
    assert.throws(() => parseMoment(bad, 'since', nowMs), { code: 'requestInvalid', message: /"since"/ });
  });
}

test('an empty text is no moment, and parts are told apart', () => {
  assert.equal(parseMoment('', 'since', nowMs), undefined);
  assert.equal(parseDuration('-5ms'), -5_000_000n);
  assert.equal(parseDuration('5'), undefined);
  assert.equal(parseRfc3339('5m'), undefined);
});
