import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountPointOf, rootPropagation } from './propagation.ts';

const mountinfo = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /mnt rw - tmpfs tmpfs rw
31 30 0:26 / /mnt/with\\040space rw shared:7 master:3 - tmpfs tmpfs rw
32 22 0:27 / /slave rw,nosuid master:4 - tmpfs tmpfs rw
33 22 0:28 / /mnt rw shared:9 - tmpfs tmpfs rw
`;
const findMount = (path: string): ReturnType<typeof mountPointOf> => mountPointOf(path, mountinfo);

test('the mount of a path is the innermost, and of several on one another the last', () => {
  assert.deepEqual(findMount('/etc'), { path: '/', isShared: true, isSlave: false });
  assert.deepEqual(findMount('/mnt/a'), { path: '/mnt', isShared: true, isSlave: false });
  assert.deepEqual(findMount('/mntx'), { path: '/', isShared: true, isSlave: false });
  assert.deepEqual(findMount('/mnt/with space/b'), {
    path: '/mnt/with space',
    isShared: true,
    isSlave: true,
  });
  assert.deepEqual(findMount('/slave'), { path: '/slave', isShared: false, isSlave: true });
});

test('the root is as shared as the binds need it', () => {
  const of = (...binds: readonly (readonly [string, string?])[]): string | undefined =>
    rootPropagation(
      binds.map(([source, propagation]) => ({ source, ...(propagation && { propagation }) })),
      findMount,
    );
  assert.equal(of(['/slave'], ['/etc', 'rprivate']), undefined);
  assert.equal(of(['/etc', 'rslave']), 'rslave');
  assert.equal(of(['/slave', 'slave']), 'rslave');
  assert.equal(of(['/slave', 'slave'], ['/etc', 'rshared']), 'shared');
  assert.throws(() => of(['/slave/a', 'rshared']), {
    code: 'runtimeFailed',
    message: 'path /slave/a is mounted on /slave but it is not a shared mount',
  });
  assert.throws(() => rootPropagation([{ source: '/x', propagation: 'rslave' }], () => undefined), {
    message: 'path /x is mounted on / but it is not a shared or slave mount',
  });
});
