import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DetachScanner, defaultDetachKeys, parseDetachKeys } from './detachKeys.ts';

test('keys are characters and ctrl-x', () => {
  assert.deepEqual([...parseDetachKeys(defaultDetachKeys)], [16, 17]);
  assert.deepEqual([...parseDetachKeys('ctrl-@,a,ctrl-[,ctrl-\\,ctrl-_')], [0, 97, 27, 28, 31]);
  for (const text of ['ctrl-', 'ctrl-1', 'ab', 'a,,b', 'ctrl-A', '\u00e9']) {
    assert.throws(() => parseDetachKeys(text), /Invalid escape keys \(.*\) provided/);
  }
});

/** Feeds one byte after another. */
function type(keys: Buffer, input: Buffer): { readonly passed: Buffer; readonly isDetached: boolean } {
  const scanner = new DetachScanner(keys);
  const passed: Buffer[] = [];
  for (const byte of input) {
    const { pass, isDetached } = scanner.feed(Buffer.of(byte));
    passed.push(pass);
    if (isDetached) return { passed: Buffer.concat(passed), isDetached };
  }
  return { passed: Buffer.concat(passed), isDetached: false };
}

test('the sequence detaches, its beginning alone is passed on when something else follows', () => {
  const keys = parseDetachKeys(defaultDetachKeys);
  assert.deepEqual(type(keys, Buffer.from([97, 16, 17, 98])), {
    passed: Buffer.from([97]),
    isDetached: true,
  });
  assert.deepEqual(type(keys, Buffer.from([16, 97])), { passed: Buffer.from([16, 97]), isDetached: false });
  assert.deepEqual(type(keys, Buffer.from([16, 16, 17])), { passed: Buffer.from([16]), isDetached: true });
});

test('how the bytes are cut into chunks makes no difference', () => {
  const keys = Buffer.from([16, 17]);
  const input = fc.array(fc.constantFrom(16, 17, 97), { maxLength: 20 });
  fc.assert(
    fc.property(input, fc.nat(20), (bytes, at) => {
      const scanner = new DetachScanner(keys);
      const first = scanner.feed(Buffer.from(bytes.slice(0, at)));
      const second = first.isDetached
        ? { pass: Buffer.alloc(0), isDetached: true }
        : scanner.feed(Buffer.from(bytes.slice(at)));
      const whole = type(keys, Buffer.from(bytes));
      assert.deepEqual(Buffer.concat([first.pass, second.pass]), whole.passed);
      assert.equal(second.isDetached, whole.isDetached);
    }),
  );
});
