import assert from 'node:assert/strict';
import { fstatSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { openSeam } from '../base/seam.ts';
import { parseIp } from '../net/ip.ts';
import type { Libc } from './libc.ts';
import { PathProber } from './pathProbe.ts';

test('a probe whose socket cannot be waited for closes it', async () => {
  let fd = -1;
  const done = (): number => 0;
  const libc = {
    ...{ setsockopt: done, bind: done, errno: done },
    socket: () => (fd = openSync('/dev/null', 'r')),
    poll: () => {
      throw new Error('too many open files');
    },
  } as unknown as Libc;
  using prober = new PathProber({ libc, seam: openSeam() } as ConstructorParameters<typeof PathProber>[0]);
  const [from, to] = [parseIp('192.0.2.1'), parseIp('192.0.2.2')];
  assert.ok(from && to);
  await assert.rejects(prober.probe({ from, to, sizes: [128], isWhole: true, timeoutMs: 10 }), /too many/);
  assert.throws(() => fstatSync(fd), { code: 'EBADF' });
});
