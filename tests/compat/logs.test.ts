/*
 * Logs of containers: drivers and their options, rotation while they are read and followed and over a daemon that is
 * killed, output that is no text or one endless line, clients that do not read.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { notAsked } from '../arch/skips.ts';
import { testOnce } from './reference.ts';

const rotating = ['--log-opt', 'max-size=4k', '--log-opt', 'max-file=200', '--log-opt', 'compress=true'];

/** Lines 0 to `count` - 1, then `end`. */
const counting = (count: number, end: string): readonly string[] => [
  ...['busybox', 'sh', '-c', `i=0; while [ $i -lt ${count} ]; do echo $i; i=$((i+1)); done; ${end}`],
];

const numbers = (count: number): string => Array.from({ length: count }, (_, i) => i).join('\n');

for (const engine of engines()) {
  describe(`logs: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine, ['--log-opt', 'env=STAGE']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const once = testOnce(engine);

    test('drivers and options that are none are refused by create', async () => {
      for (const [args, stderr] of [
        [['--log-driver', 'foo'], /error looking up logging plugin foo: plugin "foo" not found/],
        [['--log-opt', 'foo=1'], /unknown log opt 'foo' for json-file log driver/],
        [['--log-driver', 'local', '--log-opt', 'foo=1'], /unknown log opt 'foo' for log driver local/],
      ] as const)
        await daemon.cli(['create', ...args, 'busybox'], { exitCode: 1, stderr });
      const { stderr } = await daemon.cli(['run', '--log-opt', 'max-size=0', 'busybox', 'true'], {
        exitCode: 125,
      });
      assert.match(stderr, /failed to initialize logging driver: max-size must be a positive number/);
    });

    test('what is asked for, with what the daemon says of all, is what inspect shows and the lines carry', async () => {
      const options = [
        '-e',
        'STAGE=a b',
        '--label',
        'l=v',
        '--log-opt',
        'labels=l',
        '--log-opt',
        'tag={{.Name}}',
      ];
      await daemon.cli(['run', '--name', 'tagged', ...options, 'busybox', 'echo', 'hi']);
      await daemon.cli(['inspect', '-f', '{{json .HostConfig.LogConfig}}', 'tagged'], {
        stdout: '{"Type":"json-file","Config":{"env":"STAGE","labels":"l","tag":"{{.Name}}"}}',
      });
      await daemon.cli(['logs', '--details', 'tagged'], { stdout: 'STAGE=a+b,l=v,tag=tagged hi' });
      await daemon.cli(['logs', 'tagged'], { stdout: 'hi' });
      await daemon.cli(['info', '-f', '{{.LoggingDriver}}'], { stdout: 'json-file' });
      await daemon.cli(['rm', 'tagged']);
    });

    test('the driver none keeps nothing, local keeps bytes; neither tells of a file', async () => {
      await daemon.cli(['run', '--name', 'none', '--log-driver', 'none', 'busybox', 'echo', 'hi'], {
        stdout: 'hi',
      });
      await daemon.cli(['logs', 'none'], {
        exitCode: 1,
        stderr: 'Error response from daemon: configured logging driver does not support reading',
      });
      const { status } = await callApi(daemon.socketPath, 'GET', '/v1.41/containers/none/logs?stdout=1');
      assert.equal(status, 501);
      await daemon.cli([
        'run',
        '--name',
        'bytes',
        '--log-driver',
        'local',
        'busybox',
        'printf',
        '\\377\\0\\n',
      ]);
      const { body } = await callApi(
        daemon.socketPath,
        'GET',
        '/v1.41/containers/bytes/logs?stdout=1',
        undefined,
        {},
        20_000,
      );
      // The length in the frame's head: U+FFFD in their place would be five bytes.
      assert.equal(body.charCodeAt(7), 3);
      await daemon.cli(['inspect', '-f', '{{.LogPath}}|{{json .HostConfig.LogConfig}}', 'bytes'], {
        stdout: '|{"Type":"local","Config":{}}',
      });
      await daemon.cli(['rm', 'none', 'bytes']);
    });

    test('rotated and compressed files are read as one, and followed through', async () => {
      await daemon.cli(['create', '--name', 'turning', ...rotating, ...counting(3000, 'sleep 1')]);
      await daemon.cli(['start', 'turning']);
      // dockerd 20.10 loses some where it is that fast.
      const whole = daemon.isReference ? {} : { stdout: numbers(3000) };
      await daemon.cli(['logs', '-f', 'turning'], whole);
      await daemon.cli(['logs', 'turning'], { stdout: numbers(3000) });
      const last = (count: number): string => numbers(3000).split('\n').slice(-count).join('\n');
      for (const count of [3, 500])
        await daemon.cli(['logs', '--tail', String(count), 'turning'], { stdout: last(count) });
      const { stdout: path } = await daemon.cli(['inspect', '-f', '{{.LogPath}}', 'turning']);
      assert.ok(readdirSync(dirname(path)).filter((name) => name.endsWith('.gz')).length > 10);
      await daemon.cli(['rm', 'turning']);
      assert.throws(() => readdirSync(dirname(path)), { code: 'ENOENT' });
    });

    once('a daemon that was killed goes on in the files where they were', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('its containers end with it'));
      const pausing = 'while [ ! -e /go ]; do sleep 0.1; done';
      await daemon.cli([
        'run',
        '-d',
        '--name',
        'kept',
        ...rotating,
        ...counting(2000, `${pausing}; echo end`),
      ]);
      const isWritten = async (): Promise<boolean> =>
        (await daemon.cli(['logs', '--tail', '1', 'kept'])).stdout === '1999';
      assert.ok(await eventually(isWritten, 10_000));
      await daemon.kill('SIGKILL');
      await daemon.start();
      await daemon.cli(['exec', 'kept', 'touch', '/go']);
      await daemon.cli(['wait', 'kept']);
      await daemon.cli(['logs', 'kept'], { stdout: `${numbers(2000)}\nend` });
      await daemon.cli(['rm', 'kept']);
    });

    once('short lines that come faster than they are written take no memory', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('its memory is not ours'));
      const proc = `/proc/${daemon.pid()}`;
      const peakKb = (): number =>
        Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`${proc}/status`, 'utf8'))?.[1]);
      // The peak is what it is now.
      writeFileSync(`${proc}/clear_refs`, '5');
      const before = peakKb();
      const bounds = ['--log-driver', 'json-file', '--log-opt', 'max-size=1m'];
      await daemon.cli([
        'create',
        '--name',
        'short',
        ...bounds,
        'busybox',
        'sh',
        '-c',
        'yes | head -c 2000000',
      ]);
      await daemon.cli(['start', 'short']);
      await daemon.cli(['wait', 'short'], { stdout: '0' });
      const grownKb = peakKb() - before;
      assert.ok(grownKb < 150_000, `${grownKb} kB`);
      await daemon.cli(['rm', 'short']);
    });

    once('an endless line takes no memory, and who does not read it holds nobody up', async () => {
      const endless = `head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end`;
      const bounds = ['--log-opt', 'max-size=1m', '--log-opt', 'max-file=3'];
      const idle = connect(daemon.socketPath);
      await daemon.cli(['create', '--name', 'endless', ...bounds, 'busybox', 'sh', '-c', endless]);
      await daemon.cli(['start', 'endless']);
      idle.write('GET /v1.41/containers/endless/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n');
      idle.pause();
      await daemon.cli(['wait', 'endless'], { stdout: '0' });
      await daemon.cli(['logs', '--tail', '1', 'endless'], { stdout: 'end' });
      const { stdout } = await daemon.cli(['logs', 'endless']);
      assert.ok(stdout.length > 1_000_000 && stdout.length < 4_000_000, String(stdout.length));
      idle.destroy();
      await daemon.cli(['rm', 'endless']);
    });
  });
}
