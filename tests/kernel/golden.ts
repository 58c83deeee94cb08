/*
 * Texts compared with committed files.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const goldens = join(import.meta.dirname, 'goldens');

/** Compares with a committed file; UPDATE_GOLDEN=1 writes it. */
export async function matchGolden(name: string, text: string): Promise<void> {
  const path = join(goldens, `${name}.nft`);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    await mkdir(goldens, { recursive: true });
    await writeFile(path, text);
  }
  assert.ok(existsSync(path), `no golden ${path}: run with UPDATE_GOLDEN=1 and read the diff`);
  assert.equal(text, await readFile(path, 'utf8'));
}
