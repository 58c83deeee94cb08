/*
 * Modes of files as Go writes them: what the docker CLI reads from the header of an archive.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goMode } from './archiveRoutes.ts';

for (const [what, mode, expected] of [
  ['a file', 0o100644, 0o644],
  ['a program that changes the user', 0o104755, 0x800000 + 0o755],
  ['a program that changes the group', 0o102755, 0x400000 + 0o755],
  ['a folder', 0o040755, 0x80000000 + 0o755],
  ['a folder like /tmp', 0o041777, 0x80100000 + 0o777],
  ['a link', 0o120777, 0x8000000 + 0o777],
  ['a disk', 0o060660, 0x4000000 + 0o660],
  ['a terminal', 0o020620, 0x4200000 + 0o620],
  ['a FIFO', 0o010600, 0x2000000 + 0o600],
  ['a socket', 0o140700, 0x1000000 + 0o700],
] as const)
  test(`the mode of ${what} is Go's`, () => {
    assert.equal(goMode(mode), expected);
  });
