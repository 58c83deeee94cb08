/*
 * The disk that holds the data root is full: what has to be written is refused with an error that says so, nothing is
 * left half made, what runs goes on, and once there is space again everything works.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { eventually } from './command.ts';
import { startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';
import { ownEngines } from './reference.ts';
import { startRegistries } from './registries.ts';

const disk = '/run/small-disk';
const filler = `${disk}/filler`;

function makeDisk(): AsyncDisposable {
  mkdirSync(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', disk]);
  return {
    [Symbol.asyncDispose]: () => {
      execFileSync('umount', ['--lazy', disk]);
      return Promise.resolve();
    },
  };
}

/** Leaves not one byte. */
function fillDisk(): void {
  const file = openSync(filler, 'a');
  try {
    for (let size = 1 << 20; size >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(size));
      } catch {
        size >>= 1;
      }
    }
  } finally {
    closeSync(file);
  }
}

for (const engine of ownEngines('what a full disk does to its state is not compared', 'docker')) {
  describe(`full disk: ${engine.name}`, () => {
    test('changes are refused and leave nothing; space brings everything back', {
      timeout: 300_000,
    }, async () => {
      await using _disk = makeDisk();
      await using daemon = await startDaemon(engine, ['--data-root', `${disk}/data`]);
      using registries = await startRegistries();
      registries.fill('lib/six', '1');
      const six = '127.0.0.1:5000/lib/six:1';
      const sleeper = ['--network', 'n1', 'busybox', 'sleep', '999'];
      await daemon.cli(['network', 'create', 'n1']);
      const empty = await readHostState(daemon);
      await daemon.cli(['run', '-d', '--name', 'w1', ...sleeper]);
      await daemon.cli(['create', '--name', 'w2', ...sleeper]);
      const before = await readHostState(daemon);

      fillDisk();
      const refused = { exitCode: undefined, stderr: /full|no space left/i };
      for (const args of [
        ['network', 'create', 'n2'],
        ['run', '-d', '--name', 'w3', ...sleeper],
        ['create', '--name', 'w4', ...sleeper],
        ['start', 'w2'],
        ['network', 'rm', 'n1'],
        ['rm', 'w2'],
      ]) {
        const { exitCode } = await daemon.cli(args, args[1] === 'rm' ? { exitCode: undefined } : refused);
        assert.notEqual(exitCode, 0, args.join(' '));
      }
      assert.deepEqual(await readHostState(daemon), before, daemon.logTail());
      await daemon.cli(['ps', '-a', '--format', '{{.Names}} {{.State}}'], {
        stdout: 'w2 created\nw1 running',
      });
      await daemon.cli(['network', 'ls', '--format', '{{.Name}}'], { stdout: 'bridge\nhost\nn1\nnone' });
      await daemon.cli(['exec', 'w1', 'ping', '-c', '1', '-W', '5', '172.18.0.1']);

      // Room for the first blobs, and not for all.
      for (const freeBytes of [0, 300_000, 800_000]) {
        truncateSync(filler, statSync(filler).size - freeBytes);
        await daemon.cli(['pull', six], { exitCode: 1, stderr: /no space left on device/ });
      }
      await daemon.cli(['images', '--format', '{{.Repository}}'], { stdout: 'busybox' });
      await daemon.cli(['images', '-aq', '--no-trunc'], { stdout: /^sha256:[0-9a-f]{64}$/ });

      rmSync(filler);
      await daemon.cli(['run', '--rm', six, 'cat', '/layer0'], { stdout: /^0\n0\n/ });
      await daemon.cli(['rmi', six]);
      await daemon.cli(['start', 'w2']);
      await daemon.cli(['run', '-d', '--name', 'w3', ...sleeper]);
      await daemon.cli(['stop', '-t', '0', 'w1']);
      await daemon.cli(['rm', '-f', 'w1', 'w2', 'w3']);
      let state: HostState | undefined;
      await eventually(async () => {
        state = await readHostState(daemon);
        return isDeepStrictEqual(state, empty);
      });
      assert.deepEqual(state, empty, daemon.logTail());
      await daemon.cli(['network', 'rm', 'n1']);
    });
  });
}
