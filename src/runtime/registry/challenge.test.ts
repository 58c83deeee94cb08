import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from './challenge.ts';

test('parseChallenges reads schemes and parameters', () => {
  const table: readonly (readonly [string, unknown])[] = [
    ['', []],
    ['Basic realm="x"', [{ scheme: 'basic', parameters: { realm: 'x' } }]],
    [
      'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          parameters: {
            realm: 'https://auth.example/token',
            service: 'reg',
            scope: 'repository:a/b:pull,push',
          },
        },
      ],
    ],
    [
      'Negotiate, Basic realm="a \\"b\\"" , Bearer realm=plain, error = "insufficient_scope"',
      [
        { scheme: 'negotiate', parameters: {} },
        { scheme: 'basic', parameters: { realm: 'a "b"' } },
        { scheme: 'bearer', parameters: { realm: 'plain', error: 'insufficient_scope' } },
      ],
    ],
    // Nothing that a parameter could belong to.
    ['realm="x"', []],
    [
      'Bearer realm="never closed',
      [
        { scheme: 'bearer', parameters: {} },
        { scheme: 'realm', parameters: {} },
      ],
    ],
  ];
  for (const [header, expected] of table) assert.deepEqual(parseChallenges(header), expected, header);
});
