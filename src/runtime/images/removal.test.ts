import assert from 'node:assert/strict';
import { test } from 'node:test';
import { familiarReference, parseReference } from './reference.ts';
import { planRemoval } from './removal.ts';

const digest = `sha256:${'d'.repeat(64)}`;
const imageId = `sha256:${'0123456789ab'.padEnd(64, 'c')}`;

/** `-` = given by id; users: `r` running, `s` stopped. */
function outcome(given: string, names: readonly string[], users: string, isForced = false): string {
  try {
    const plan = planRemoval({
      imageId,
      named: given === '-' ? undefined : parseReference(given),
      references: names.map(parseReference),
      users: users.split('').map((u) => ({ id: (u === 'r' ? 'e' : 'f').repeat(64), isRunning: u === 'r' })),
      isForced,
    });
    return [...plan.untag.map(familiarReference), plan.isDeleted ? 'deleted' : 'kept'].join(' ');
  } catch (error) {
    return (error as Error).message;
  }
}

test('planRemoval decides as Docker does', () => {
  const atDigest = `a@${digest}`;
  const running =
    'conflict: unable to delete 0123456789ab (cannot be forced) - image is being used by running container eeeeeeeeeeee';
  const stopped =
    'conflict: unable to delete 0123456789ab (must be forced) - image is being used by stopped container ffffffffffff';
  assert.equal(outcome('a:1', ['a:1'], ''), 'a:1 deleted');
  assert.equal(outcome('a:1', ['a:1', 'b:1'], ''), 'a:1 kept');
  assert.equal(outcome('a:1', ['a:1', 'b:1'], 'r'), 'a:1 kept');
  assert.equal(outcome('a:1', ['a:1', atDigest], ''), `a:1 ${atDigest} deleted`);
  assert.equal(outcome('a:1', ['a:1', 'a:2', atDigest], ''), 'a:1 kept');
  assert.equal(
    outcome('a:1', ['a:1'], 's'),
    'conflict: unable to remove repository reference "a:1" (must force) - container ffffffffffff is using its referenced image 0123456789ab',
  );
  assert.equal(outcome('a:1', ['a:1'], 's', true), 'a:1 deleted');
  assert.equal(outcome('a:1', ['a:1'], 'r', true), 'a:1 kept');
  assert.equal(outcome('-', ['a:1', atDigest], ''), `a:1 ${atDigest} deleted`);
  assert.equal(outcome('-', [], ''), 'deleted');
  assert.equal(outcome('-', ['a:1'], 's'), stopped);
  assert.equal(outcome('-', ['a:1'], 's', true), 'a:1 deleted');
  assert.equal(outcome('-', ['a:1'], 'r', true), running);
  assert.equal(
    outcome('-', ['a:1', 'b:1'], ''),
    'conflict: unable to delete 0123456789ab (must be forced) - image is referenced in multiple repositories',
  );
  assert.equal(outcome('-', ['a:1', 'b:1'], '', true), 'a:1 b:1 deleted');
});
