import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { copyFolder } from './rootfsCopy.ts';

const folder = mkdtempSync(join(tmpdir(), 'linkspan-copy-'));
const root = join(folder, 'root');
mkdirSync(join(root, 'data/deep'), { recursive: true });
mkdirSync(join(folder, 'secret'));
writeFileSync(join(folder, 'secret/key'), '');
writeFileSync(join(root, 'data/deep/f'), '');
writeFileSync(join(root, 'file'), '');
// Each would lead out of the root if the host resolved it.
symlinkSync(join(folder, 'secret'), join(root, 'absolute'));
symlinkSync('../secret', join(root, 'relative'));
symlinkSync('/../../../../data', join(root, 'above'));
symlinkSync('loop', join(root, 'loop'));
after(() => rmSync(folder, { recursive: true }));

for (const [path, outcome, copied] of [
  ['/data', 'copied', ['deep']],
  ['/data/../data/deep', 'copied', ['f']],
  ['/above/deep', 'copied', ['f']],
  ['/absolute', 'none', []],
  ['/relative', 'none', []],
  ['/../secret', 'none', []],
  ['/data/deep/f/x', 'none', []],
  ['/loop', 'none', []],
  ['/nothing', 'none', []],
  ['/file', 'file', []],
] as const) {
  test(`of ${path} a root file system gives ${outcome}`, async () => {
    const target = mkdtempSync(join(folder, 'target'));
    assert.equal(await copyFolder([root], path, target), outcome);
    assert.deepEqual(readdirSync(target), copied);
  });
}
