import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineOf } from './changeLog.ts';

const event = (
  action: string,
  attributes: Readonly<Record<string, string>> = {},
  type: 'container' | 'network' = 'container',
) => lineOf({ type, action, actorId: 'abc', attributes: { name: 'web', image: 'busybox', ...attributes } });

test('a change of a container becomes a line that says why', () => {
  assert.deepEqual(event('die', { exitCode: '137' }), {
    fields: { container: 'web', id: 'abc', exitCode: 137 },
    message: 'a container ended',
  });
  assert.deepEqual(event('kill', { signal: '9' })?.fields, { container: 'web', id: 'abc', signal: 9 });
});

test('labels and command lines stay out of the log', () => {
  assert.doesNotMatch(JSON.stringify(event('create', { token: 'hush' })), /hush/);
  assert.equal(event('exec_create: sh -c hush'), undefined);
});

test('networks log their own changes', () => assert.equal(event('connect', {}, 'network'), undefined));
