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

test('what is no path of the host is a volume, and a lone path an anonymous one', () => {
  const volume = { type: 'volume', isReadOnly: false, copies: true, mode: '', driver: '' };
  assert.deepEqual(parseBind('data:/c'), { ...volume, source: 'data', target: '/c' });
  assert.deepEqual(parseBind('/c/'), { ...volume, source: '', target: '/c' });
  assert.deepEqual(parseBind('data:/c:nocopy,ro,Z', 'local'), {
    ...volume,
    ...{
      source: 'data',
      target: '/c',
      isReadOnly: true,
      copies: false,
      mode: 'nocopy,ro,Z',
      driver: 'local',
    },
  });
});

for (const [source, message] of [
  ['/a:/b:rw:x', "invalid volume specification: '/a:/b:rw:x'"],
  [':/b', "invalid volume specification: ':/b'"],
  ['/a:ro', "invalid volume specification: '/a:ro'"],
  [
    '/a:b',
    "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
  ],
  [
    'a:/',
    "invalid volume specification: 'a:/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'",
  ],
  ['/a:/b:foo', 'invalid mode: foo'],
  ['/a:/b:ro,rw', 'invalid mode: ro,rw'],
  [
    'a:/b:rshared',
    'invalid volume specification: \'a:/b:rshared\': invalid mount config for type "volume": field BindOptions must not be specified',
  ],
  [
    '/a:/b:nocopy',
    'invalid volume specification: \'/a:/b:nocopy\': invalid mount config for type "bind": field VolumeOptions must not be specified',
  ],
] as const) {
  test(`bind ${source} is refused`, () =>
    assert.throws(() => parseBind(source), { code: 'containerConfigInvalid', message }));
}
