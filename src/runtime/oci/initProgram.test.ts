import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findInit } from './initProgram.ts';

test('an init is a program called docker-init, or tini built static; no script, and none is undefined', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'linkspan-init-')));
  try {
    const [one, two] = [join(folder, 'one'), join(folder, 'two')];
    for (const path of [one, two]) mkdirSync(path);
    assert.equal(findInit([one, two]), undefined);
    writeFileSync(join(one, 'docker-init'), '#!/bin/sh\n');
    writeFileSync(join(two, 'tini'), '\x7fELF');
    assert.equal(findInit([one, two]), undefined);
    writeFileSync(join(one, 'tini-static'), '\x7fELF');
    assert.equal(findInit([one, two]), join(one, 'tini-static'));
    symlinkSync(join(one, 'tini-static'), join(two, 'docker-init'));
    writeFileSync(join(one, 'tini-static'), '\x7fELF and more');
    assert.equal(findInit([two]), join(one, 'tini-static'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
