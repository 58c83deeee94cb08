/*
 * `run --init`: a small init is process 1, reaps orphans and passes signals on to the command.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

for (const engine of engines()) {
  describe(`init: ${engine.name}`, () => {
    const once = testOnce(engine);
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    test('the init is process 1, the command another, and inspect says so', async () => {
      const show = 'tr "\\0" " " </proc/1/cmdline; echo; [ $$ != 1 ] && echo other';
      await daemon.cli(['run', '--rm', '--init', 'busybox', 'sh', '-c', show], {
        stdout: `/sbin/docker-init -- sh -c ${show} \nother`,
      });
      await daemon.cli(['run', '--rm', '--init', 'busybox', 'sh', '-c', 'exit 7'], { exitCode: 7 });
      await daemon.cli(['run', '--rm', '--init', '--read-only', '-u', '1000', 'busybox', 'true']);
    });

    once('a command that takes no signals as process 1 ends by them, and orphans are reaped', async () => {
      const orphans = 'i=0; while [ $i -lt 3 ]; do (sleep 0.2 &); i=$((i+1)); done; exec sleep 600';
      await daemon.cli(['run', '-d', '--init', '--name', 'c1', 'busybox', 'sh', '-c', orphans]);
      assert.equal(
        (await daemon.cli(['inspect', '-f', '{{.HostConfig.Init}} {{.Path}}', 'c1'])).stdout,
        'true sh',
      );
      const count = async (): Promise<string> =>
        (
          await daemon.cli([
            'exec',
            'c1',
            'sh',
            '-c',
            'grep -l "^State:.Z\\|^Name:.sleep" /proc/[0-9]*/status | wc -l',
          ])
        ).stdout;
      assert.ok(await eventually(async () => (await count()) === '1', 20_000), 'orphans are gone');
      await daemon.cli(['stop', 'c1']);
      assert.equal((await daemon.cli(['inspect', '-f', '{{.State.ExitCode}}', 'c1'])).stdout, '143');
    });

    test('with the host’s process ids there is none', async () => {
      await daemon.cli([
        'run',
        '--rm',
        '--init',
        '--pid',
        'host',
        'busybox',
        'test',
        '!',
        '-e',
        '/sbin/docker-init',
      ]);
    });
  });
}
