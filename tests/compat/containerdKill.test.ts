/*
 * containerd is killed with SIGKILL while containers run and while they are being started: the daemon brings it back,
 * what is asked for meanwhile waits or is answered with an error, and nothing is left once everything is removed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { eventually } from './command.ts';
import { type Daemon, processes, startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';
import { ownEngines } from './reference.ts';

function killContainerd({ execRoot }: Daemon): void {
  const found = processes().find(
    ({ command }) => /(^|\/)containerd /.test(command) && command.includes(execRoot),
  );
  assert.ok(found, 'no containerd below the exec-root');
  process.kill(found.pid, 'SIGKILL');
}

async function assertState(daemon: Daemon, expected: HostState): Promise<void> {
  let state: HostState | undefined;
  await eventually(async () => {
    state = await readHostState(daemon);
    return isDeepStrictEqual(state, expected);
  }, 10_000);
  assert.deepEqual(state, expected, daemon.logTail());
}

async function removeAll(daemon: Daemon): Promise<void> {
  const { stdout } = await daemon.cli(['ps', '-aq']);
  const ids = stdout.split('\n').filter((id) => id !== '');
  if (ids.length > 0) await daemon.cli(['rm', '-f', ...ids], { timeoutMs: 120_000 });
}

for (const engine of ownEngines('its containerd is its own', 'docker')) {
  describe(`kill -9 of containerd: ${engine.name}`, () => {
    test('with containers running: stop, rm, exec and run asked for at once still work', async () => {
      await using daemon = await startDaemon(engine);
      const run = ['run', '-d', '--network', 'n1'];
      await daemon.cli(['network', 'create', 'n1']);
      const before = await readHostState(daemon);
      for (const name of ['w1', 'w2', 'w3'])
        await daemon.cli([...run, '--name', name, 'busybox', 'sleep', '999']);
      killContainerd(daemon);
      await Promise.all([
        daemon.cli(['stop', '-t', '0', 'w1']),
        daemon.cli(['rm', '-f', 'w2']),
        daemon.cli([...run, '--name', 'w4', 'busybox', 'sleep', '999']),
      ]);
      await daemon.cli(['exec', 'w3', 'ping', '-c', '1', '-W', '5', '172.18.0.1']);
      await daemon.cli(['ps', '-a', '--format', '{{.Names}} {{.State}}'], {
        stdout: 'w4 running\nw3 running\nw1 exited',
      });
      await daemon.cli(['start', 'w1']);
      await daemon.cli(['inspect', '-f', '{{.State.ExitCode}}', 'w1'], { stdout: '0' });
      await removeAll(daemon);
      await assertState(daemon, before);
      await daemon.cli(['network', 'rm', 'n1']);
    });

    test('during starts: each is answered, and nothing is left', { timeout: 300_000 }, async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['network', 'create', 'n1']);
      const before = await readHostState(daemon);
      for (let round = 0; round < 2; round++) {
        const starts = ['r1', 'r2', 'r3', 'r4', 'r5', 'r6'].map((name) =>
          daemon.cli(['run', '-d', '--name', name, '--network', 'n1', 'busybox', 'sleep', '999'], {
            exitCode: undefined,
          }),
        );
        // As soon as the first of them runs, the others are under way.
        await Promise.race(starts);
        killContainerd(daemon);
        const answers = await Promise.all(starts);
        assert.ok(
          answers.some(({ exitCode }) => exitCode === 0),
          answers.map(({ stderr }) => stderr).join('\n'),
        );
        for (const { exitCode, stderr, command } of answers)
          assert.ok(exitCode === 0 || stderr !== '', `${command} failed without a word`);
        await daemon.cli(['run', '--rm', '--network', 'n1', 'busybox', 'true']);
        await removeAll(daemon);
        await assertState(daemon, before);
      }
      // Every lease is free again: the next container gets the first address.
      await daemon.cli(['run', '--rm', '--network', 'n1', 'busybox', 'ip', '-4', 'addr', 'show', 'eth0'], {
        stdout: /inet 172\.18\.0\.2\/16/,
      });
    });
  });
}
