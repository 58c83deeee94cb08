/* Which images of a session are for our store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImportBook, sendMethod } from './imports.ts';

const byId = (id: string): object => ({ 'buildkit-attachable-exporter-id': id });

test('ImportBook: what is expected, until the last solve that expects it has ended', () => {
  const book = new ImportBook();
  const isExpected = (headers: object, session = 's', method = sendMethod): boolean =>
    book.isExpected(session, method, { ...headers });
  const none = book.expect('s', []);
  assert.ok(!isExpected({}));
  const [first, second] = [book.expect('s', [0, 2]), book.expect('s', [0])];
  none[Symbol.dispose]();
  assert.ok(isExpected({}) && isExpected(byId('0')) && isExpected(byId('2')));
  assert.ok(!isExpected(byId('1')) && !isExpected({}, 'other') && !isExpected({}, 's', '/x/Y'));
  first[Symbol.dispose]();
  assert.ok(isExpected(byId('0')) && !isExpected(byId('2')));
  second[Symbol.dispose]();
  assert.ok(!isExpected({}) && !isExpected(byId('0')));
});
