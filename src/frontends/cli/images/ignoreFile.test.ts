/* .dockerignore's patterns, after the examples of Docker's documentation. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIgnoreFile } from './ignoreFile.ts';

for (const [file, ignored, kept] of [
  ['*/temp*', 'a/temporary.txt a/temp a/temp/x', 'temp a/b/temp'],
  ['*/*/temp*', 'a/b/temporary', 'a/temp'],
  ['temp?', 'tempa tempb/x', 'temp tempab'],
  ['**/*.go', 'a.go a/b/c.go', 'a.gob a.go.txt'],
  ['a/**', 'a/b a/b/c', 'a b/a'],
  ['*.md\n!README.md', 'a.md', 'README.md a.txt'],
  ['*.md\n!README*.md\nREADME-secret.md', 'README-secret.md x.md', 'README-a.md'],
  ['# note\n\n  /node_modules/  \n./a/../b', 'node_modules node_modules/x b', 'a x/node_modules'],
  ['[a-c]x\n\\!odd\n[^q]y', 'ax bx/1 !odd zy', 'dx odd qy'],
  ['folder\n!folder/kept', 'folder folder/a', 'folder/kept folder/kept/x folders'],
  ['*', 'a b/c', 'Dockerfile'],
  ['a+(b).c', 'a+(b).c', 'aab.c'],
] as const)
  test(`.dockerignore ${JSON.stringify(file)}`, () => {
    const rules = parseIgnoreFile(file, ['Dockerfile']);
    for (const path of ignored.split(' ')) assert.equal(rules.ignores(path), true, path);
    for (const path of kept.split(' ')) assert.equal(rules.ignores(path), false, path);
  });

test('.dockerignore: a pattern without its end is refused', () => {
  assert.throws(() => parseIgnoreFile('a[b'), /syntax error in pattern/);
});
