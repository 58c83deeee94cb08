/*
 * The log driver journald, with a real systemd-journald that has the lane's own /run: what journalctl shows of a
 * container, what `logs` reads back, and a journal that is not there or hangs.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';

const program = '/lib/systemd/systemd-journald';
const socketPath = '/run/systemd/journal/socket';
const journald = ['--log-driver', 'journald'];

/** Resolves when it takes entries. */
async function startJournal(): Promise<ChildProcess> {
  mkdirSync('/run/systemd/journald.conf.d', { recursive: true });
  writeFileSync(
    '/run/systemd/journald.conf.d/lane.conf',
    '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitIntervalSec=0\nForwardToSyslog=no\n',
  );
  const child = spawn(program, { stdio: 'ignore' });
  assert.ok(await eventually(() => Promise.resolve(existsSync(socketPath)), 10_000));
  return child;
}

/** Entries of the container with `name`, oldest first. */
function entriesOf(name: string): readonly Readonly<Record<string, unknown>>[] {
  return execFileSync('journalctl', ['-o', 'json', '--all', '--no-pager', `CONTAINER_NAME=${name}`], {
    maxBuffer: 64 << 20,
  })
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

for (const engine of engines('docker')) {
  const skip = existsSync(program) ? false : 'systemd-journald is not installed';
  describe(`journald: ${engine.name}`, { skip }, () => {
    let daemon: Daemon;
    let journal: ChildProcess | undefined;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      journal?.kill('SIGKILL');
      await daemon[Symbol.asyncDispose]();
    });

    test('without a journal the start is refused, and an unknown option the create', async () => {
      await daemon.cli(['create', ...journald, '--log-opt', 'max-size=1m', 'busybox'], {
        exitCode: 1,
        stderr: /unknown log opt 'max-size' for journald log driver/,
      });
      await daemon.cli(['run', '--name', 'early', ...journald, 'busybox', 'true'], {
        exitCode: 125,
        stderr: /failed to initialize logging driver: journald is not enabled on this host\.?(\n|$)/,
      });
      await daemon.cli(['rm', 'early']);
      journal = await startJournal();
    });

    test('the journal has the lines with their fields, and logs reads them back', async () => {
      const options = ['--label', 'com.example.l=v', '-e', 'STAGE=a b', '--log-opt', 'labels=com.example.l'];
      const script =
        'echo out; sleep 0.1; echo err >&2; sleep 0.1; printf "\\377 no text\\n"; sleep 0.1; printf rest';
      const more = ['--log-opt', 'env=STAGE', '--log-opt', 'tag={{.Name}}/x'];
      await daemon.cli([
        'run',
        '--name',
        'said',
        ...journald,
        ...options,
        ...more,
        'busybox',
        'sh',
        '-c',
        script,
      ]);
      await daemon.cli(['logs', 'said'], { stdout: /^out\n\ufffd no text\nrest$/, stderr: 'err' });
      const { stdout: id } = await daemon.cli(['inspect', '-f', '{{.Id}}', 'said']);
      const [first, second, third, last] = entriesOf('said');
      const expected = {
        MESSAGE: 'out',
        PRIORITY: '6',
        CONTAINER_ID: id.slice(0, 12),
        CONTAINER_ID_FULL: id,
        CONTAINER_NAME: 'said',
        CONTAINER_TAG: 'said/x',
        SYSLOG_IDENTIFIER: 'said/x',
        COM_EXAMPLE_L: 'v',
        STAGE: 'a b',
      };
      for (const [name, value] of Object.entries(expected)) assert.equal(first?.[name], value, name);
      assert.equal(second?.['PRIORITY'], '3');
      assert.deepEqual(third?.['MESSAGE'], [...Buffer.from('\xff no text', 'latin1')]);
      assert.equal(last?.['CONTAINER_PARTIAL_MESSAGE'], 'true');
      await daemon.cli(['logs', '--tail', '1', 'said'], { stdout: 'rest', stderr: '' });
      await daemon.cli(['logs', '--tail', '0', 'said'], { stdout: '', stderr: '' });
      await daemon.cli(['logs', '--until', '2020-01-01', 'said'], { stdout: '', stderr: '' });
      if (!daemon.isReference) {
        assert.equal(first?.['IMAGE_NAME'], 'busybox');
        await daemon.cli(['logs', '--details', '--tail', '1', 'said'], {
          stdout: 'COM_EXAMPLE_L=v,STAGE=a+b rest',
        });
        const { stdout } = await daemon.cli(['logs', '-t', 'said']);
        const [, time = ''] = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
        await daemon.cli(['logs', '--since', time, 'said'], { stdout: /^\ufffd no text\nrest$/, stderr: '' });
      }
      await daemon.cli(['inspect', '-f', '{{.LogPath}}|{{.HostConfig.LogConfig.Type}}', 'said'], {
        stdout: '|journald',
      });
      await daemon.cli(['rm', 'said']);
    });

    test('a line in parts and attributes beyond a datagram come back whole', async () => {
      const body = {
        Image: 'busybox',
        Cmd: ['sh', '-c', 'head -c 40000 /dev/zero | tr "\\0" x; echo; echo end'],
        Labels: Object.fromEntries(['a', 'b', 'c'].map((name) => [name, name.repeat(100_000)])),
        HostConfig: { LogConfig: { Type: 'journald', Config: { labels: 'a,b,c' } } },
      };
      const path = '/v1.41/containers/create?name=large';
      assert.equal((await callApi(daemon.socketPath, 'POST', path, JSON.stringify(body))).status, 201);
      await daemon.cli(['start', '-a', 'large']);
      await daemon.cli(['logs', 'large'], { stdout: `${'x'.repeat(40_000)}\nend` });
      const entries = entriesOf('large');
      assert.deepEqual(
        entries.map((entry) => entry['CONTAINER_PARTIAL_LAST']),
        ['false', 'false', 'true', undefined],
      );
      assert.ok(entries[3]?.['C'] === 'c'.repeat(100_000));
      await daemon.cli(['rm', 'large']);
    });

    test('it is followed to its end, with lines from before the start of following', async () => {
      const script = 'i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done; read x; echo $x';
      await daemon.cli(['create', '-i', '--name', 'lasting', ...journald, 'busybox', 'sh', '-c', script]);
      await daemon.cli(['start', 'lasting']);
      // Nothing says when dockerd's followers have begun.
      const followed = daemon.isReference ? {} : { stdout: '498\n499\nend' };
      const follow = daemon.cli(['logs', '-f', '--tail', '2', 'lasting'], followed);
      const all = daemon.cli(['logs', '-f', 'lasting'], {
        stdout: `${Array.from({ length: 500 }, (_, i) => i).join('\n')}\nend`,
      });
      const isFollowed = (): Promise<boolean> =>
        Promise.resolve(
          Number(execFileSync('sh', ['-c', 'grep -lz -- [-]-follow /proc/[0-9]*/cmdline | wc -l'])) >= 2,
        );
      if (!daemon.isReference) assert.ok(await eventually(isFollowed, 10_000));
      await daemon.cli(['attach', 'lasting'], { input: 'end\n' });
      await Promise.all([follow, all]);
      await daemon.cli(['rm', 'lasting']);
    });

    test('a journal that hangs holds up who waits for it, and not who does not', async (t) => {
      const pid = journal?.pid ?? 0;
      process.kill(pid, 'SIGSTOP');
      t.after(() => process.kill(pid, 'SIGCONT'));
      const script = `i=0; while [ $i -lt 3000 ]; do echo $i ${'x'.repeat(1000)}; i=$((i+1)); done; touch /done; sleep 1000`;
      const start = (name: string, options: readonly string[]): Promise<unknown> =>
        daemon.cli(['run', '-d', '--name', name, ...journald, ...options, 'busybox', 'sh', '-c', script]);
      const isDone = async (name: string): Promise<boolean> =>
        (await daemon.cli(['exec', name, 'test', '-e', '/done'], { exitCode: undefined })).exitCode === 0;
      await start('waits', ['--log-opt', 'mode=blocking']);
      await start('drops', ['--log-opt', 'mode=non-blocking', '--log-opt', 'max-buffer-size=100k']);
      assert.ok(await eventually(() => isDone('drops'), 8000));
      assert.equal(await isDone('waits'), false);
      assert.equal((await callApi(daemon.socketPath, 'GET', '/_ping')).status, 200);
      process.kill(pid, 'SIGCONT');
      assert.ok(await eventually(() => isDone('waits'), 10_000));
      assert.ok(await eventually(() => Promise.resolve(entriesOf('waits').length === 3000), 10_000));
      const kept = entriesOf('drops').length;
      assert.ok(kept > 50 && kept < 3000, String(kept));
      await daemon.cli(['rm', '-f', 'waits', 'drops']);
    });
  });
}
