import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCodes } from '../../src/errors/codes.ts';
import {
  machinePaths,
  missingFiles,
  oddLogFields,
  tooLong,
  undocumentedCodes,
  undocumentedDependencies,
  unknownCommands,
  withoutOpeningComment,
} from './house.ts';
import type { SourceFile } from './layers.ts';
import { unlistedSkips } from './skips.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  dependencies: Record<string, string>;
  scripts: Record<string, string>;
};
const scripts = Object.keys(manifest.scripts);

/** What git tracks or would add, so that caches and builds stay out. */
function trackedFiles(): readonly string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard'];
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' })
    .split('\n')
    .filter((path) => path !== '' && existsSync(join(root, path)));
}

const isScript = (path: string): boolean => /^(scripts|bin|\.ci)\//.test(path);
const files: readonly SourceFile[] = trackedFiles()
  .filter((path) => !/testdata|package-lock|LICENSE|\.(png|gz|tar|bin|golden\.json)$/.test(path))
  .map((path) => ({ path, text: read(path) }));
const code = files.filter(({ path }) => path.endsWith('.ts') || isScript(path));
const documents = ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md'];

test('no file is longer than one reading', () => {
  assert.deepEqual(tooLong(code), []);
  assert.equal(tooLong([{ path: 'a.ts', text: 'x\n'.repeat(601) }]).length, 1);
});

test('every source file and script opens with a comment', () => {
  assert.deepEqual(withoutOpeningComment(code), []);
  assert.equal(withoutOpeningComment([{ path: 'a.ts', text: "import './b.ts';\n" }]).length, 1);
  assert.equal(withoutOpeningComment([{ path: 'scripts/a', text: '#!/bin/sh\nexit 0\n' }]).length, 1);
});

test('every runtime dependency has its reason in docs/dependencies.md, and no other', () => {
  assert.deepEqual(
    undocumentedDependencies(Object.keys(manifest.dependencies), read('docs/dependencies.md')),
    [],
  );
  assert.match(undocumentedDependencies(['left-pad'], '')[0] ?? '', /add its row/);
  assert.match(undocumentedDependencies([], '| `left-pad` | pads |')[0] ?? '', /remove it/);
});

for (const path of documents) {
  test(`${path} names only commands and files that exist`, () => {
    assert.deepEqual(unknownCommands(read(path), path, scripts), []);
    assert.deepEqual(
      missingFiles(read(path), path, (file) => existsSync(join(root, file))),
      [],
    );
  });
}

test('the README check finds a planted command and a planted file', () => {
  assert.match(
    unknownCommands('type `npm run nonsense`', 'README.md', scripts)[0] ?? '',
    /'npm run nonsense'/,
  );
  assert.match(missingFiles('see `scripts/nonsense`', 'README.md', () => false)[0] ?? '', /does not exist/);
});

test('every error code has its row in docs/errors.md, with its kind', () => {
  assert.deepEqual(undocumentedCodes(errorCodes, read('docs/errors.md')), []);
  assert.equal(undocumentedCodes({ newCode: 'invalid' }, '| `oldCode` | invalid | x |').length, 2);
});

test('no file names a path of one machine', () => {
  assert.deepEqual(machinePaths(files), []);
  const planted = ['', 'home', 'alice', 'linkspan'].join('/');
  assert.equal(machinePaths([{ path: 'a.ts', text: `const x = '${planted}';` }]).length, 1);
});

test('the fields of log lines have the names that they have everywhere', () => {
  assert.deepEqual(oddLogFields(files.filter(({ path }) => path.startsWith('src/'))), []);
  const planted = 'this.#logger.warn(\n  { container: name, error },\n';
  assert.equal(oddLogFields([{ path: 'a.ts', text: planted }]).length, 1);
});

test('a skip that no row allows is found', () => {
  const skip = { file: 'tests/kernel/a.test.ts', name: 'x', reason: 'the kernel lacks ipvlan' };
  assert.equal(unlistedSkips([skip], []).length, 1);
  assert.deepEqual(unlistedSkips([skip], [{ file: skip.file, feature: 'ipvlan' }]), []);
  const notOfDockerd = { ...skip, reason: 'dockerd 20.10: needs Docker 27' };
  assert.equal(unlistedSkips([notOfDockerd], []).length, 1);
  assert.deepEqual(unlistedSkips([notOfDockerd], [], true), []);
  assert.equal(unlistedSkips([skip], [], true).length, 1);
});
