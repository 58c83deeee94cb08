import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readOnlyMounts } from './rootfsDiff.ts';

const mount = { type: 'overlay', source: 'overlay', target: '' };
const bind = (source: string): object => ({ type: 'bind', source, target: '', options: ['ro', 'rbind'] });
const overlay = (...options: readonly string[]): object => ({ ...mount, options });

for (const [what, given, whole, parent] of [
  [
    'several layers',
    { ...mount, options: ['index=off', 'workdir=/3/work', 'upperdir=/3/fs', 'lowerdir=/2/fs:/1/fs'] },
    [overlay('index=off', 'lowerdir=/3/fs:/2/fs:/1/fs')],
    [overlay('index=off', 'lowerdir=/2/fs:/1/fs')],
  ],
  [
    'one layer',
    { ...mount, options: ['workdir=/2/work', 'upperdir=/2/fs', 'lowerdir=/1/fs'] },
    [overlay('lowerdir=/2/fs:/1/fs')],
    [bind('/1/fs')],
  ],
  ['no layer', { type: 'bind', source: '/1/fs', target: '', options: ['rw', 'rbind'] }, [bind('/1/fs')], []],
] as const) {
  test(`the mounts of a snapshot over ${what} are made read-only`, () => {
    assert.deepEqual(readOnlyMounts([given]), { whole, parent });
  });
}
