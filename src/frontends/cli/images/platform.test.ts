import assert from 'node:assert/strict';
import { test } from 'node:test';
import { platformQuery } from './platform.ts';

test('platforms are sent in parts, `linux` alone as this machine', () => {
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  for (const [given, expected] of [
    ['linux/arm64', { architecture: 'arm64', os: 'linux' }],
    ['linux/arm64/v8', { architecture: 'arm64', os: 'linux', variant: 'v8' }],
    ['arm64', { architecture: 'arm64', os: 'linux' }],
    ['linux', { architecture: here, os: 'linux' }],
  ] as const)
    assert.deepEqual(JSON.parse(platformQuery(given) ?? ''), expected, given);
  assert.equal(platformQuery(''), undefined);
  assert.throws(() => platformQuery('linux/arm/v7/x'), {
    message: 'invalid platform: "linux/arm/v7/x": cannot parse platform specifier: invalid argument',
  });
});
