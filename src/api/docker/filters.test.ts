import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  booleanFilter,
  matchesExactly,
  matchesLabels,
  matchesPattern,
  parseFilters,
  untilFilter,
} from './filters.ts';

const accepted = ['name', 'label', 'label!', 'dangling', 'until', 'driver'];
const parse = (value: unknown): ReturnType<typeof parseFilters> =>
  parseFilters(JSON.stringify(value), accepted);

test('both forms of filters are read alike', () => {
  assert.deepEqual(parse({ name: { a: true, b: true } }), parse({ name: ['a', 'b'] }));
  assert.equal(parseFilters('', accepted).size, 0);
});

for (const [source, message] of [
  ['{', 'invalid filter'],
  ['[]', 'invalid filter'],
  ['{"name":7}', 'invalid filter'],
  ['{"foo":["x"]}', "invalid filter 'foo'"],
] as const) {
  test(`filters ${source} are refused`, () => {
    assert.throws(() => parseFilters(source, accepted), { code: 'requestInvalid', message });
  });
}

test('names match by part or pattern, drivers only whole', () => {
  const filters = parse({ name: ['^n[12]$', '('], driver: ['bridge'] });
  assert.ok(matchesPattern(filters, 'name', 'n1'));
  assert.ok(!matchesPattern(filters, 'name', 'n12'));
  assert.ok(matchesPattern(parse({ name: ['n'] }), 'name', 'an1'));
  assert.ok(matchesExactly(filters, 'driver', 'bridge') && !matchesExactly(filters, 'driver', 'bridge2'));
  assert.ok(matchesExactly(filters, 'label', 'anything'), 'a key that is not there filters nothing');
});

test('all labels must be there, and none of the unwanted', () => {
  const labels = { a: 'b=c', empty: '' };
  assert.ok(matchesLabels(parse({ label: ['a', 'a=b=c', 'empty', 'empty='] }), labels));
  assert.ok(!matchesLabels(parse({ label: ['a', 'nope'] }), labels));
  assert.ok(!matchesLabels(parse({ label: ['a=b'] }), labels));
  assert.ok(!matchesLabels(parse({ 'label!': ['a'] }), labels));
  assert.ok(!matchesLabels(parse({ label: ['toString'] }), labels), 'inherited names are no labels');
});

test('a truth filter takes four words', () => {
  assert.equal(booleanFilter(parse({ dangling: ['1'] }), 'dangling'), true);
  assert.equal(booleanFilter(parse({ dangling: { false: true } }), 'dangling'), false);
  assert.equal(booleanFilter(parse({}), 'dangling'), undefined);
  assert.throws(() => booleanFilter(parse({ dangling: ['maybe'] }), 'dangling'), {
    message: "invalid filter 'dangling=[maybe]'",
  });
});

test('until is a moment, once', () => {
  assert.equal(untilFilter(parse({ until: ['10m'] }), 600_000), 0n);
  assert.equal(untilFilter(parse({}), 0), undefined);
  assert.throws(() => untilFilter(parse({ until: ['1', '2'] }), 0), /more than one until filter/);
});
