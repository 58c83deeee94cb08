import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBind } from './mountRequest.ts';

test('binds are read with their options', () => {
  assert.deepEqual(parseBind('/a/../b:/c/:ro,rslave,z'), {
    type: 'bind',
    source: '/b',
    target: '/c',
    isReadOnly: true,
    propagation: 'rslave',
    createSource: true,
  });
});

for (const [source, code, message] of [
  ['/a:/b:rw:x', 'containerConfigInvalid', "invalid volume specification: '/a:/b:rw:x'"],
  [':/b', 'containerConfigInvalid', "invalid volume specification: ':/b'"],
  [
    '/a:b',
    'containerConfigInvalid',
    "invalid volume specification: '/a:b': invalid mount path: 'b' mount path must be absolute",
  ],
  [
    '/a:/',
    'containerConfigInvalid',
    "invalid volume specification: '/a:/': invalid specification: destination can't be '/'",
  ],
  ['/a:/b:foo', 'containerConfigInvalid', 'invalid mode: foo'],
  ['vol:/b', 'notImplemented', 'volumes are not supported yet: vol:/b names one; bind a directory'],
  ['/b', 'notImplemented', 'volumes are not supported yet: /b names one; bind a directory'],
] as const) {
  test(`bind ${source} is refused`, () => assert.throws(() => parseBind(source), { code, message }));
}
