import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { familiarReference, formatReference, parseReference, withDefaultTag } from './reference.ts';

const hex = 'a'.repeat(64);

test('parseReference takes what users type and gives the full form', () => {
  const table: readonly (readonly [string, string, string])[] = [
    ['busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36', 'busybox:1.36'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest', 'busybox:latest'],
    ['index.docker.io/library/x', 'docker.io/library/x:latest', 'x:latest'],
    ['me/app', 'docker.io/me/app:latest', 'me/app:latest'],
    ['library/a/b', 'docker.io/library/a/b:latest', 'library/a/b:latest'],
    ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
    ['localhost:5000/x:2', 'localhost:5000/x:2', 'localhost:5000/x:2'],
    ['[::1]:5000/x', '[::1]:5000/x:latest', '[::1]:5000/x:latest'],
    ['reg.example/a/b/c', 'reg.example/a/b/c:latest', 'reg.example/a/b/c:latest'],
    [`x@sha256:${hex}`, `docker.io/library/x@sha256:${hex}`, `x@sha256:${hex}`],
    [`x:t@sha256:${hex}`, `docker.io/library/x:t@sha256:${hex}`, `x:t@sha256:${hex}`],
    ['a__b/c-d', 'docker.io/a__b/c-d:latest', 'a__b/c-d:latest'],
  ];
  for (const [text, full, familiar] of table) {
    const reference = withDefaultTag(parseReference(text));
    assert.equal(formatReference(reference), full);
    assert.equal(familiarReference(reference), familiar);
  }
});

test('parseReference refuses what Docker refuses', () => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['', /^LinkspanError: invalid reference format$/],
    ['Busybox', /invalid reference format: repository name \(library\/Busybox\) must be lowercase/],
    ['a//b', /invalid reference format/],
    ['../x', /invalid reference format/],
    ['x:', /invalid reference format/],
    ['x:a b', /invalid reference format/],
    ['x@sha256:12', /invalid reference format/],
    ['-x', /invalid reference format/],
    [hex, /cannot specify 64-byte hexadecimal strings/],
    [`h.io/${'a'.repeat(260)}`, /must not be more than 255 characters/],
    [`x:${'t'.repeat(129)}`, /invalid reference format/],
  ];
  for (const [text, message] of table) assert.throws(() => parseReference(text), message, text);
});

test('parseReference: the full form and the familiar form name the same image', () => {
  const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), fc.option(word), (parts, tag) => {
      const text = parts.join('/') + (tag === null ? '' : `:${tag}`);
      const reference = parseReference(text);
      assert.deepEqual(parseReference(formatReference(reference)), reference);
      assert.deepEqual(parseReference(familiarReference(reference)), reference);
    }),
  );
});
