import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShim } from './strays.ts';

const binary = '/usr/bin/containerd-shim-runc-v2';
const ours = ['-namespace', 'linkspan', '-id', 'abc', '-address', '/run/x.sock'];

function parse(...args: readonly string[]): ReturnType<typeof parseShim> {
  return parseShim(`${args.join('\0')}\0`, 7, 'linkspan', '/run/x.sock');
}

test('our shims are known by their command line, and nothing else is', () => {
  assert.deepEqual(parse(binary, ...ours), { pid: 7, binary, id: 'abc' });
  const others: readonly (readonly string[])[] = [
    [binary, ...ours, 'delete'],
    [binary, ...ours, '-bundle', '/b', 'start'],
    [binary, '-namespace', 'moby', '-id', 'abc', '-address', '/run/x.sock'],
    [binary, '-namespace', 'linkspan', '-id', 'abc', '-address', '/run/other.sock'],
    ['/usr/bin/vim', ...ours],
    [''],
  ];
  for (const args of others) assert.equal(parse(...args), undefined, args.join(' '));
});
