import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OutputHub } from './outputHub.ts';

/** A pipe that `head` writes `bytes` into, and the hub reads. */
async function withPipe(hub: OutputHub, bytes: number, work: () => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-hub-'));
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  spawn('head', ['-c', String(bytes), '/dev/zero'], { stdio: ['ignore', writer, 'ignore'] });
  closeSync(writer);
  hub.begin(fd);
  await work();
  hub.end();
  rmSync(folder, { recursive: true });
}

test('of several clients one that never reads is given up, and the others get everything', async () => {
  const hub = new OutputHub(undefined, { patienceMs: 1 });
  const stuck = hub.tap();
  const reading = hub.tap();
  let bytes = 0;
  reading.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await withPipe(hub, 2_000_000, () => hub.ended);
  assert.equal(bytes, 2_000_000);
  assert.ok(stuck.destroyed);
  assert.ok(!reading.destroyed);
});

test('one that has held nobody is given up once somebody comes whom it holds', async () => {
  const hub = new OutputHub(undefined, { patienceMs: 1 });
  const stuck = hub.tap();
  await withPipe(hub, 2_000_000, async () => {
    // Long after it filled up: a single watcher may take its time.
    await sleep(100);
    assert.ok(!stuck.destroyed);
    const reading = hub.tap();
    reading.resume();
    await hub.ended;
    assert.ok(stuck.destroyed);
    assert.ok(!reading.destroyed);
  });
});
