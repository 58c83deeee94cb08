import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileMappings } from './startupPages.ts';

const entry = (header: string, anonymousKb = 0): string =>
  `${header}\nRss:                 100 kB\nAnonymous:      ${String(anonymousKb).padStart(8)} kB\nVmFlags: rd mr\n`;

test('only what a file still holds is let go of', () => {
  const smaps = [
    entry('00400000-01000000 r--p 00000000 fe:00 123                                /usr/bin/node'),
    entry('01000000-02000000 r-xp 00c00000 fe:00 123                                /usr/bin/node'),
    entry('02000000-02100000 r--p 01c00000 fe:00 123                                /usr/bin/node', 64),
    entry('02100000-02200000 rw-p 01d00000 fe:00 123                                /usr/bin/node'),
    entry('02200000-02300000 rw-p 00000000 00:00 0                                  [heap]', 800),
    entry('7f0000000000-7f0000001000 r-xp 00000000 00:00 0                          [vdso]'),
    entry('7f0000002000-7f0000003000 r--s 00000000 fe:00 9                          /some/cache'),
    entry('7f0000004000-7f0000005000 r-xp 00000000 00:00 0 '),
  ].join('');
  assert.deepEqual(
    fileMappings(smaps).map(({ start, length }) => `${start.toString(16)}+${length.toString(16)}`),
    ['400000+c00000', '1000000+1000000'],
  );
});
