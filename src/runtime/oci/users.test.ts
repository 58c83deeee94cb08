import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import { resolveUser } from './users.ts';

const files = {
  passwd: '# a comment\nroot:x:0:0:root:/root:/bin/sh\n\nwww:x:33:34::/var/www:\nbroken\n',
  group: 'root:x:0:\nwheel:x:10:root\nwww-data:x:34:\nadm:x:4:www,root\n',
};

test('users and groups by name and number', () => {
  const table: readonly [
    spec: string,
    uid: number,
    gid: number,
    additional: readonly number[],
    home: string,
  ][] = [
    ['', 0, 0, [0, 10, 4], '/root'],
    ['root', 0, 0, [0, 10, 4], '/root'],
    ['www', 33, 34, [34, 4], '/var/www'],
    ['33', 33, 34, [34, 4], '/var/www'],
    ['www:adm', 33, 4, [4], '/var/www'],
    ['www:50', 33, 50, [50], '/var/www'],
    ['1000', 1000, 0, [0], '/'],
    ['1000:1001', 1000, 1001, [1001], '/'],
    [':adm', 0, 4, [4], '/root'],
  ];
  for (const [spec, uid, gid, additionalGids, home] of table) {
    assert.deepEqual(resolveUser(spec, [], files), { uid, gid, additionalGids, home }, spec);
  }
});

test('--group-add takes names and numbers, once each', () => {
  assert.deepEqual(resolveUser('www', ['adm', '99', '34'], files).additionalGids, [34, 4, 99]);
});

test('an image without account files knows root and numbers', () => {
  const none = { passwd: '', group: '' };
  assert.deepEqual(resolveUser('', [], none), { uid: 0, gid: 0, additionalGids: [0], home: '/' });
  assert.equal(resolveUser('5:6', [], none).gid, 6);
});

test('unknown names and numbers out of range are refused with Docker\u2019s texts', () => {
  const refused: readonly [string, readonly string[], RegExp][] = [
    ['nobody', [], /^unable to find user nobody: no matching entries in passwd file$/],
    ['www:nogroup', [], /^unable to find group nogroup: no matching entries in group file$/],
    ['www', ['nogroup'], /^unable to find group nogroup/],
    ['4294967295', [], /uids and gids must be in range 0-2147483647/],
  ];
  for (const [spec, groups, text] of refused) {
    assert.throws(
      () => resolveUser(spec, groups, files),
      (error) => hasCode(error, 'containerStartFailed') && text.test(error.message),
    );
  }
});
