import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OutputHub } from './outputHub.ts';

test('of several clients one that never reads is given up, and the others get everything', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-hub-'));
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  const hub = new OutputHub(undefined, { patienceMs: 1 });
  const stuck = hub.tap();
  const reading = hub.tap();
  let bytes = 0;
  reading.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  spawn('head', ['-c', '2000000', '/dev/zero'], { stdio: ['ignore', writer, 'ignore'] });
  closeSync(writer);
  hub.begin(fd);
  await hub.ended;
  assert.equal(bytes, 2_000_000);
  assert.ok(stuck.destroyed);
  assert.ok(!reading.destroyed);
  hub.end();
  rmSync(folder, { recursive: true });
});
