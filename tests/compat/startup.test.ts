/*
 * Where the daemon cannot start it says why and touches nothing; where its containerd dies it brings it back.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createRunner, eventually } from './command.ts';
import { type Daemon, processes, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { ownEngines } from './reference.ts';

const linkspand = join(import.meta.dirname, '../../bin/linkspand');

const flags = (folder: string): readonly string[] => [
  ...['--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`, '--pidfile', `${folder}/pid2`],
  ...['-H', `unix://${folder}/sock2`],
];

/** Runs a command in a mount namespace in which no folder that programs are looked for in has an executable `name`. */
function without(name: string, command: readonly string[]): readonly string[] {
  const folders = '/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin';
  const script =
    `for folder in $(echo "$PATH" | tr : ' ') ${folders}; do ` +
    `[ ! -e "$folder/$0" ] || mount --bind /dev/null "$folder/$0" || exit 99; done; exec "$@"`;
  return ['unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', script, name, ...command];
}

function containerdPid(daemon: Daemon): number | undefined {
  return processes().find(
    ({ command }) => /(^|\/)containerd /.test(command) && command.includes(daemon.execRoot),
  )?.pid;
}

for (const engine of ownEngines('flags and texts of our own program', 'docker')) {
  describe(`start and stop: ${engine.name}`, () => {
    test('a second daemon on the same data root is refused and harms nothing', async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['run', '-d', '--name', 'w1', 'busybox', 'sleep', '99']);
      const before = await readHostState(daemon);
      const folder = join(daemon.execRoot, '..');
      await daemon.host([linkspand, ...flags(folder)], { exitCode: 1, stderr: /another daemon|already/i });
      await daemon.cli(['exec', 'w1', 'true']);
      assert.deepEqual(await readHostState(daemon), before);
    });

    test('without root it says so', async () => {
      const run = createRunner([], []);
      // In a user namespace without a mapping the user is nobody, but the checkout stays readable.
      await run(['unshare', '--user', '--', linkspand, ...flags('/run/compat/nobody')], {
        exitCode: 1,
        stderr: /root/,
      });
    });

    for (const name of ['containerd', 'containerd-shim-runc-v2', 'runc']) {
      test(`without ${name} it says so and leaves nothing running`, async () => {
        const run = createRunner([], []);
        const folder = `/run/compat/without-${name}`;
        await run(without(name, [linkspand, ...flags(folder)]), {
          exitCode: 1,
          stderr: new RegExp(`\\b${name} not found in .*apt install containerd runc`),
        });
        assert.deepEqual(
          processes().filter(({ command }) => command.includes(folder)),
          [],
        );
        await run(['sh', '-c', `! ls ${folder}/sock2 ${folder}/pid2`], { stderr: /No such file/ });
      });
    }

    test('with a containerd that is not there it says so', async () => {
      const run = createRunner([], []);
      const args = [linkspand, ...flags('/run/compat/nowhere'), '--containerd', '/run/compat/no.sock'];
      await run(args, { exitCode: 1, stderr: /containerd/ });
    });

    test('a flag that it does not know, or refuses, is named', async () => {
      const run = createRunner([], []);
      await run([linkspand, '--nonsense'], { exitCode: undefined, stderr: /nonsense/ });
    });

    test('its containerd dies: containers go on, and new ones start soon', async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['run', '-d', '--name', 'w1', 'busybox', 'sleep', '99']);
      const pid = containerdPid(daemon);
      assert.ok(pid !== undefined, 'no containerd below the exec-root');
      process.kill(pid, 'SIGKILL');
      const isBack = await eventually(async () => {
        const { exitCode } = await daemon.cli(['run', '--rm', 'busybox', 'true'], { exitCode: undefined });
        return exitCode === 0;
      }, 15_000);
      assert.ok(isBack, 'no container starts 15 s after containerd died');
      await daemon.cli(['exec', 'w1', 'true']);
      await daemon.cli(['stop', '-t', '0', 'w1']);
    });

    test('a restart leaves containers and their addresses as they were', async () => {
      await using daemon = await startDaemon(engine);
      await daemon.cli(['network', 'create', 'n1']);
      await daemon.cli(['run', '-d', '--name', 'w1', '--network', 'n1', 'busybox', 'sleep', '99']);
      const inspect = ['inspect', '-f', '{{.State.Pid}} {{json .NetworkSettings.Networks}}', 'w1'];
      const { stdout: before } = await daemon.cli(inspect);
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        await daemon.kill(signal);
        await daemon.start();
        await daemon.cli(inspect, { stdout: before });
        await daemon.cli(['exec', 'w1', 'true']);
      }
      await daemon.cli(['rm', '-f', 'w1']);
      await daemon.cli(['network', 'rm', 'n1']);
    });
  });
}
