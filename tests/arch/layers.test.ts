import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLayers, readSources, violations } from './layers.ts';

const root = join(import.meta.dirname, '../../src');

test('every import follows the layer table', () => {
  assert.deepEqual(violations(readLayers(root), readSources(root)), []);
});

for (const [what, path, text, expected] of [
  [
    'an upward import',
    'kernel/planted.ts',
    "import { x } from '../engine/engine.ts';",
    /layer 2\) imports engine/,
  ],
  [
    'an import of a sibling layer',
    'ipam/planted.ts',
    "import '../store/store.ts';",
    /layer 3\) imports store/,
  ],
  ['a dynamic upward import', 'base/planted.ts', "await import('../net/ip.ts');", /layer 0\) imports net/],
  [
    'a driver importing another',
    'drivers/none/planted.ts',
    "import '../bridge/index.ts';",
    /imports its sibling/,
  ],
  [
    'a front end reaching into the engine',
    'frontends/cli/planted.ts',
    "import '../../engine/engine.ts';",
    /may import only/,
  ],
  ['a folder without a row', 'utils/planted.ts', '', /does not name/],
] as const) {
  test(`the layer check finds ${what}`, () => {
    const found = violations(readLayers(root), [...readSources(root), { path, text }]);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found[0] ?? '', expected);
  });
}
