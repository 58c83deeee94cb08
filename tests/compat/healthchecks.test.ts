/*
 * Healthchecks as users meet them: the states that ps, inspect and the events tell, probes that hang, the image's
 * HEALTHCHECK, and a daemon that is killed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually, type Runner } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

interface HealthShape {
  readonly Status: string;
  readonly FailingStreak: number;
  readonly Log: readonly { readonly ExitCode: number; readonly Output: string; readonly Start: string }[];
}

for (const engine of engines()) {
  describe(`healthchecks: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const once = testOnce(engine);
    const cli: Runner = (args, options) => daemon.cli(args, options);

    const run = async (name: string, command: string, ...flags: readonly string[]): Promise<void> => {
      const health = ['--health-cmd', command, '--health-interval', '300ms', ...flags];
      await cli(['run', '-d', '--name', name, ...health, 'busybox', 'sleep', '600']);
    };
    const inspect = async (name: string, template: string): Promise<string> =>
      (await cli(['inspect', '-f', template, name])).stdout;
    const healthOf = async (name: string): Promise<HealthShape> =>
      JSON.parse(await inspect(name, '{{json .State.Health}}')) as HealthShape;
    const until = async (name: string, holds: (health: HealthShape) => boolean): Promise<HealthShape> => {
      let last = await healthOf(name);
      const isSo = await eventually(async () => holds((last = await healthOf(name))), 20_000);
      assert.ok(isSo, `${name} is ${JSON.stringify(last)}`);
      return last;
    };
    const status = async (name: string): Promise<string> =>
      (await cli(['ps', '-a', '--filter', `name=^${name}$`, '--format', '{{.Status}}'])).stdout;

    test('from starting to healthy to unhealthy, in ps, inspect and the events', async () => {
      await run('web', 'cat /ok', '--health-retries', '2');
      assert.equal((await healthOf('web')).Status, 'starting');
      assert.match(await status('web'), /^Up .* \((health: starting|unhealthy)\)$/);
      await cli(['exec', 'web', 'sh', '-c', 'echo fine >/ok']);
      const healthy = await until('web', ({ Status }) => Status === 'healthy');
      assert.equal(healthy.FailingStreak, 0);
      assert.equal(healthy.Log.at(-1)?.Output, 'fine\n');
      assert.equal(healthy.Log.at(-1)?.ExitCode, 0);
      assert.match(await status('web'), /^Up .* \(healthy\)$/);
      await cli(['ps', '--filter', 'health=healthy', '--format', '{{.Names}}'], { stdout: 'web' });
      await cli(['exec', 'web', 'rm', '/ok']);
      const unhealthy = await until('web', ({ Status, Log }) => Status === 'unhealthy' && Log.length === 5);
      assert.ok(unhealthy.FailingStreak >= 2);
      assert.match(unhealthy.Log.at(-1)?.Output ?? '', /can't open '\/ok'/);
      assert.match(await status('web'), /^Up .* \(unhealthy\)$/);
      const events = ['events', '--since', '1h', '--until', '0s', '--filter', 'container=web'];
      const changes = async (): Promise<string> =>
        [
          ...(await cli([...events, '--filter', 'event=health_status'])).stdout.matchAll(
            /health_status: (\w+)/g,
          ),
        ]
          .map(([, word]) => word)
          .join(' ');
      assert.ok(
        await eventually(async () => /(^| )healthy unhealthy$/.test(await changes())),
        await changes(),
      );
      await cli(['stop', '-t', '0', 'web']);
      assert.match(await status('web'), /^Exited \(137\)/);
      assert.equal((await healthOf('web')).Status, 'unhealthy');
    });

    once('a probe that hangs is killed at its time, with what it started', async () => {
      await run('slow', 'echo thinking; sleep 1111 & sleep 1112', '--health-timeout', '400ms');
      const { Log } = await until('slow', (health) => health.Log.length >= 4);
      assert.equal(Log[0]?.ExitCode, -1);
      assert.match(Log[0]?.Output ?? '', /^Health check exceeded timeout \(400ms\)/);
      if (daemon.isReference) return;
      assert.match(Log[0]?.Output ?? '', /: thinking\n$/);
      const count = 'grep -lz "^111" /proc/[0-9]*/cmdline | wc -l';
      assert.ok(
        await eventually(async () => Number((await cli(['exec', 'slow', 'sh', '-c', count])).stdout) <= 2),
        'hung probes pile up',
      );
      await cli(['rm', '-f', 'slow']);
    });

    once('what a probe says is cut, failures of the start period do not count', async () => {
      // 20.10 knows no interval of its own for that time.
      const often = daemon.isReference ? [] : ['--health-start-interval', '200ms', '--health-interval', '1h'];
      const say = 'head -c 5000 /dev/zero | tr "\\\\0" x; exit 3';
      await run('loud', say, '--health-start-period', '1h', ...often);
      const { Log, Status, FailingStreak } = await until('loud', (health) => health.Log.length === 5);
      assert.deepEqual([Status, FailingStreak, Log[0]?.ExitCode], ['starting', 0, 3]);
      assert.equal(Log[0]?.Output, `${'x'.repeat(4096)}...`);
      assert.match(await status('loud'), /\(health: starting\)$/);
      await cli(['rm', '-f', 'loud']);
    });

    once('the image’s healthcheck, one’s own over it, and none', async () => {
      const archive = (
        await daemon.host([
          'sh',
          '-c',
          'd=$(mktemp -d); mkdir -p $d/bin; cp $(command -v busybox) $d/bin/; ln -s busybox $d/bin/sh; ln -s busybox $d/bin/sleep; tar -C $d -cf $d.tar .; echo $d.tar',
        ])
      ).stdout;
      const change = 'HEALTHCHECK --interval=250ms --retries=5 CMD echo image';
      await cli(['import', '-c', change, '-c', 'CMD ["sleep","600"]', archive, 'checked']);
      await cli(['run', '-d', '--name', 'own', 'checked']);
      const own = await until('own', ({ Status }) => Status === 'healthy');
      assert.equal(own.Log[0]?.Output, 'image\n');
      assert.equal(
        await inspect('own', '{{json .Config.Healthcheck}}'),
        '{"Test":["CMD-SHELL","echo image"],"Interval":250000000,"Retries":5}',
      );
      await cli(['run', '-d', '--name', 'other', '--health-cmd', 'echo mine', 'checked']);
      assert.equal((await until('other', ({ Status }) => Status === 'healthy')).Log[0]?.Output, 'mine\n');
      assert.match(
        await inspect('other', '{{json .Config.Healthcheck}}'),
        /echo mine.*250000000.*"Retries":5/,
      );
      await cli(['run', '-d', '--name', 'none', '--no-healthcheck', 'checked']);
      assert.equal(await inspect('none', '{{json .State.Health}}'), 'null');
      await cli(['ps', '--filter', 'health=none', '--format', '{{.Names}}'], { stdout: 'none' });
      await cli(['rm', '-f', 'own', 'other', 'none']);
      await daemon.host(['rm', '-rf', archive, archive.replace('.tar', '')]);
    });

    once('a daemon that was killed goes on asking', async () => {
      if (daemon.isReference) return;
      await run('kept', 'cat /ok', '--health-retries', '1');
      await cli(['exec', 'kept', 'touch', '/ok']);
      await until('kept', ({ Status }) => Status === 'healthy');
      await daemon.kill('SIGKILL');
      await daemon.start();
      assert.equal((await healthOf('kept')).Status, 'healthy');
      await cli(['exec', 'kept', 'rm', '/ok']);
      await until('kept', ({ Status }) => Status === 'unhealthy');
      await cli(['restart', '-t', '0', 'kept']);
      await cli(['exec', 'kept', 'touch', '/ok']);
      await until('kept', ({ Status }) => Status === 'healthy');
      await cli(['rm', '-f', 'kept']);
    });

    once('what cannot be asked for is refused', async () => {
      for (const [healthcheck, message] of [
        ['{"Test":["CMD","true"],"Interval":5}', /Interval in Healthcheck cannot be less than 1ms/],
        ['{"Test":["CMD","true"],"Retries":-1}', /Retries in Healthcheck cannot be negative/],
      ] as const) {
        const body = `{"Image":"busybox","Healthcheck":${healthcheck}}`;
        const answer = await callApi(daemon.socketPath, 'POST', '/containers/create', body);
        assert.equal(answer.status, 400);
        assert.match(answer.message, message);
      }
    });
  });
}
