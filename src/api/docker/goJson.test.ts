import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bool, int, list, map, parseJson, pointer, struct, text, words } from './goJson.ts';

const body = struct('Body', {
  Name: text,
  Flag: bool,
  Count: int,
  Maybe: pointer(bool),
  Items: list(text),
  Labels: map(text),
  Cmd: words,
  Inner: struct('Inner', { Value: text }),
});

const zero = {
  Name: '',
  Flag: false,
  Count: 0,
  Maybe: undefined,
  Items: undefined,
  Labels: {},
  Cmd: undefined,
  Inner: { Value: '' },
};

test('missing, null and unknown fields give zero values', () => {
  assert.deepEqual(body({}, ''), zero);
  assert.deepEqual(body(undefined, ''), zero);
  assert.deepEqual(
    body({ Name: null, Flag: null, Items: null, Labels: null, Inner: null, Other: 7 }, ''),
    zero,
  );
});

test('keys match in any case, the exact one first', () => {
  assert.equal(body({ name: 'a' }, '').Name, 'a');
  assert.equal(body({ name: 'a', Name: 'b' }, '').Name, 'b');
  assert.equal(body({ INNER: { value: 'x' } }, '').Inner.Value, 'x');
});

test('a nil list differs from an empty one, and a command may be one word', () => {
  assert.deepEqual(body({ Items: [] }, '').Items, []);
  assert.deepEqual(body({ Cmd: 'ls' }, '').Cmd, ['ls']);
});

for (const [value, message] of [
  [{ Name: 7 }, 'cannot unmarshal number into Go struct field Body.Name of type string'],
  [{ Flag: 'yes' }, 'cannot unmarshal string into Go struct field Body.Flag of type bool'],
  [{ Count: 1.5 }, 'cannot unmarshal number 1.5 into Go struct field Body.Count of type int64'],
  [{ Items: 'x' }, 'cannot unmarshal string into Go struct field Body.Items of type []string'],
  [{ Inner: { Value: [] } }, 'cannot unmarshal array into Go struct field Inner.Value of type string'],
] as const) {
  test(`a wrong type is refused: ${JSON.stringify(value)}`, () => {
    assert.throws(() => body(value, ''), {
      code: 'requestInvalid',
      message: `invalid JSON: json: ${message}`,
    });
  });
}

for (const [source, message] of [
  ['{"Name":', 'invalid JSON: unexpected EOF'],
  ['{"Name":"x', 'invalid JSON: unexpected EOF'],
  ['{"Name":x}', "invalid JSON: invalid character 'x' looking for beginning of value"],
  ['{Name:1}', "invalid JSON: invalid character 'N' looking for beginning of object key string"],
  ['{"a":1 "b":2}', "invalid JSON: invalid character '\"' after object key:value pair"],
  ['{"a" 1}', "invalid JSON: invalid character '1' after object key"],
  ['[1 2]', "invalid JSON: invalid character '2' after array element"],
  ['{} {}', 'unexpected content after JSON'],
] as const) {
  test(`bad syntax has Go's text: ${source}`, () => {
    assert.throws(() => parseJson(source), { code: 'requestInvalid', message });
  });
}

test('whatever is sent, the answer is a value or code requestInvalid', () => {
  const isExpected = (error: unknown): boolean => (error as { code?: string }).code === 'requestInvalid';
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (source) => {
      try {
        body(parseJson(source), '');
      } catch (error) {
        assert.ok(isExpected(error), String(error));
      }
    }),
  );
});
