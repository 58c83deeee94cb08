import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codeMappings } from './startupPages.ts';

test('only the code of mapped files is let go of', () => {
  const maps = [
    '00400000-01000000 r--p 00000000 fe:00 123                                /usr/bin/node',
    '01000000-02000000 r-xp 00c00000 fe:00 123                                /usr/bin/node',
    '02000000-02100000 rw-p 01c00000 fe:00 123                                /usr/bin/node',
    '02100000-02200000 rw-p 00000000 00:00 0                                  [heap]',
    '7f0000000000-7f0000001000 r-xp 00000000 00:00 0                          [vdso]',
    '7f0000002000-7f0000003000 r--s 00000000 fe:00 9                          /some/cache',
    '7f0000004000-7f0000005000 r-xp 00000000 00:00 0 ',
  ].join('\n');
  assert.deepEqual(
    codeMappings(maps).map(({ start, length }) => `${start.toString(16)}+${length.toString(16)}`),
    ['1000000+1000000'],
  );
});
