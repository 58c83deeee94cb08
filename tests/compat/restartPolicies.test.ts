/*
 * Restart policies as users type them: what comes back and what stays down, what ps and inspect show meanwhile, and what
 * a daemon that was killed does with them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, type Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

for (const engine of engines()) {
  describe(`restart policies: ${engine.name}`, () => {
    const once = testOnce(engine);
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const cli: Runner = (args, options) => daemon.cli(args, options);
    const run = (name: string, policy: string, script: string): Promise<unknown> =>
      cli(['run', '-d', '--name', name, `--restart=${policy}`, 'busybox', 'sh', '-c', script]);
    const look = async (name: string, format: string): Promise<string> =>
      (await cli(['inspect', '-f', format, name])).stdout;
    const until = async (name: string, format: string, wanted: RegExp): Promise<void> => {
      let last = '';
      const isSo = await eventually(async () => wanted.test((last = await look(name, format))), 20_000);
      assert.ok(isSo, `${name}: ${format} is ${last}`);
    };

    test('what ends comes back, with its address, and is counted', async () => {
      await cli(['network', 'create', 'n1']);
      const address = '{{.NetworkSettings.Networks.n1.IPAddress}}';
      await cli([
        ...['run', '-d', '--name', 'wa', '--restart=always', '--network', 'n1', '-p', '8080:80', 'busybox'],
        ...['sh', '-c', 'echo begin; exec httpd -f -p 80 -h /etc'],
      ]);
      const before = await look('wa', `${address} {{.State.Pid}}`);
      await daemon.host(['kill', '-9', before.split(' ')[1] ?? '']);
      await until('wa', '{{.RestartCount}} {{.State.Status}}', /^1 running$/);
      const [ip, pid] = (await look('wa', `${address} {{.State.Pid}}`)).split(' ');
      assert.equal(ip, before.split(' ')[0]);
      assert.notEqual(pid, before.split(' ')[1]);
      await cli(['logs', 'wa'], { stdout: 'begin\nbegin' });
      await daemon.host(['busybox', 'wget', '-qO-', 'http://127.0.0.1:8080/hostname']);
      assert.equal(
        await look('wa', '{{json .HostConfig.RestartPolicy}}'),
        '{"Name":"always","MaximumRetryCount":0}',
      );
      await cli(['stop', '-t', '0', 'wa']);
      assert.match(await look('wa', '{{.State.Status}} {{.State.Restarting}}'), /^exited false$/);
    });

    once(
      'one that fails again and again is shown as restarting, and can be stopped and removed then',
      async () => {
        await run('wb', 'unless-stopped', 'exit 7');
        await until('wb', '{{.RestartCount}}', /^[4-9]$/);
        await until(
          'wb',
          '{{.State.Status}} {{.State.Restarting}} {{.State.Running}} {{.State.ExitCode}}',
          /^restarting true true 7$/,
        );
        await cli(['ps', '--filter', 'status=restarting', '--format', '{{.Names}} {{.Status}}'], {
          stdout: /^wb Restarting \(7\) .* ago$/,
        });
        await cli(['exec', 'wb', 'true'], {
          exitCode: 1,
          stderr: /Container [0-9a-f]{64} is restarting, wait until the container is running/,
        });
        await cli(['rm', 'wb'], { exitCode: 1, stderr: /container is restarting|is running/ });
        await cli(['stop', 'wb']);
        assert.match(await look('wb', '{{.State.Status}}'), /^exited$/);
        await cli(['start', 'wb']);
        await until('wb', '{{.RestartCount}}', /^[1-9]$/);
        await cli(['rm', '-f', 'wb']);
        await cli(['inspect', 'wb'], { exitCode: 1 });
      },
    );

    once('on-failure ends with success, or with its last try', async () => {
      await run('wc', 'on-failure:2', 'exit 5');
      await until('wc', '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}', /^2 exited 5$/);
      await run('wd', 'on-failure', '[ -e /seen ] && exit 0; touch /seen; exit 1');
      await until('wd', '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}', /^1 exited 0$/);
    });

    once('a foreground run ends with the end of its first process, though another follows', async () => {
      await cli(['run', '--name', 'wf', '--restart=always', 'busybox', 'sh', '-c', 'sleep 1; exit 3'], {
        exitCode: 3,
      });
      await cli(['kill', 'wf'], { exitCode: 0 });
      await cli(['rm', '-f', 'wf']);
    });

    test('bad policies are refused', async () => {
      await cli(['run', '--rm', '--restart=always', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /conflicting options: cannot specify both --restart and --rm/,
      });
      await cli(['run', '--restart=sometimes', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /invalid restart policy/,
      });
      await cli(['run', '--restart=always:3', 'busybox', 'true'], {
        exitCode: 125,
        stderr: /maximum retry count can(not| only) be used with/,
      });
    });

    once('a daemon that comes back starts what ended meanwhile, but not what was stopped', async () => {
      await run('we', 'unless-stopped', 'sleep 999');
      await run('wf', 'unless-stopped', 'sleep 999');
      await run('wg', 'no', 'sleep 999');
      const pids = await Promise.all(['we', 'wg'].map((name) => look(name, '{{.State.Pid}}')));
      await cli(['stop', '-t', '0', 'wf']);
      if (daemon.isReference) return;
      await daemon.kill('SIGKILL');
      await daemon.host(['kill', '-9', ...pids]);
      await daemon.start();
      await until('we', '{{.State.Status}} {{.RestartCount}}', /^running 1$/);
      assert.match(await look('wf', '{{.State.Status}}'), /^exited$/);
      assert.match(await look('wg', '{{.State.Status}}'), /^exited$/);
    });
  });
}
