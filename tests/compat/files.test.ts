/*
 * The files of containers: diff, export and commit.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

interface ImageDocument {
  readonly Author: string;
  readonly Comment: string;
  readonly Config: Readonly<Record<string, unknown>>;
  readonly RootFS: { readonly Layers: readonly string[] };
}

for (const engine of engines()) {
  describe(engine.name, () => {
    let daemon: Daemon;
    let folder: string;
    const out = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;
    const image = async (name: string): Promise<ImageDocument> =>
      (JSON.parse(await out('image', 'inspect', name)) as ImageDocument[])[0] as ImageDocument;
    /** The entry of a tar as tar shows it: mode, owner, and name with target. */
    const entry = (tar: string, name: string): string =>
      execFileSync('tar', ['--numeric-owner', '-tvf', tar, name], { encoding: 'utf8' })
        .trim()
        .replace(/\s+\d+ \d{4}-\d\d-\d\d \d\d:\d\d /, ' ');

    before(async () => {
      daemon = await startDaemon(engine);
      folder = mkdtempSync('/run/compat/files');
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const changes =
      'mkdir -p /new/dir && echo one >/new/dir/f && chown 12:34 /new/dir/f && chmod 4750 /new/dir/f; ' +
      'ln /new/dir/f /new/hard; ln -s ../nowhere /new/soft; mkfifo /new/fifo; ' +
      'rm /bin/httpd; rm -r /var/www; echo two >/etc/more; echo kept >/vol/f';

    test('export has all files of a container, running or not, and none of its volumes', async () => {
      await daemon.cli(['run', '--name', 'e1', '-v', 'v1:/vol', 'busybox', 'sh', '-c', changes]);
      const tar = join(folder, 'e1.tar');
      await daemon.cli(['export', '-o', tar, 'e1']);
      assert.equal(entry(tar, 'new/dir/f'), '-rwsr-x--- 12/34 new/dir/f');
      assert.match(entry(tar, 'new/soft'), / new\/soft -> \.\.\/nowhere$/);
      assert.match(entry(tar, 'new/hard'), / new\/hard link to new\/dir\/f$/);
      assert.match(entry(tar, 'new/fifo'), /^p/);
      const names = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).split('\n');
      assert.ok(names.includes('bin/sh'), 'what the image has');
      assert.ok(!names.includes('bin/httpd'), 'but not what was removed');
      assert.deepEqual(
        names.filter((name) => name.startsWith('vol/')),
        ['vol/'],
      );
      // What comes out goes in again.
      await daemon.cli(['import', tar, 'again']);
      assert.equal(await out('run', '--rm', 'again', 'cat', '/new/hard'), 'one');
      await daemon.cli(['run', '-d', '--name', 'e2', 'busybox', 'sh', '-c', 'echo live >/f; sleep 1000']);
      assert.ok(await eventually(async () => (await out('exec', 'e2', 'ls', '/')).includes('f')));
      const live = join(folder, 'e2.tar');
      await daemon.cli(['export', '-o', live, 'e2']);
      assert.equal(execFileSync('tar', ['-xOf', live, 'f'], { encoding: 'utf8' }), 'live\n');
      await daemon.cli(['export', 'nope'], { exitCode: 1, stderr: /No such container: nope/ });
      await daemon.cli(['rm', '-f', 'e1', 'e2']);
      await daemon.cli(['rmi', 'again']);
      await daemon.cli(['volume', 'rm', 'v1']);
    });

    testOnce(engine)('diff tells what a container has beside its image', async () => {
      const image =
        'mkdir -p /d/kept /d/gone/deep /d/made && touch /d/kept/f /d/kept/g /d/gone/deep/f /d/made/old /d/file; ln -s x /d/link';
      await daemon.cli(['run', '--name', 'base', 'busybox', 'sh', '-c', image]);
      await daemon.cli(['commit', 'base', 'based']);
      await daemon.cli(['rm', 'base']);
      await daemon.cli(['create', '--name', 'd1', 'based', 'sleep', '1000']);
      await daemon.cli(['diff', 'd1'], { stdout: '' });
      await daemon.cli(['start', 'd1']);
      await daemon.cli(['diff', 'd1'], { stdout: '' });
      const change =
        'echo x >/d/kept/f; rm -r /d/gone; rm -r /d/made; mkdir /d/made; touch /d/made/new; chmod 600 /d/file; ' +
        'rm /d/link; mkdir /d/link; touch /d/link/f; mkdir -p /a/b; ln -s /etc /a/b/l; rm /bin/httpd; touch /etc/x; rm /etc/x';
      await daemon.cli(['exec', 'd1', 'sh', '-c', change]);
      const expected = [
        ...['A /a', 'A /a/b', 'A /a/b/l', 'C /bin', 'D /bin/httpd'],
        ...['C /d', 'C /d/file', 'D /d/gone', 'C /d/kept', 'C /d/kept/f', 'C /d/link', 'A /d/link/f'],
        ...['C /d/made', 'A /d/made/new', 'D /d/made/old', 'C /etc'],
      ];
      const lines = async (): Promise<readonly string[]> =>
        (await out('diff', 'd1')).split('\n').sort((a, b) => (a.slice(2) < b.slice(2) ? -1 : 1));
      assert.deepEqual(await lines(), expected);
      await daemon.cli(['kill', 'd1']);
      await daemon.cli(['wait', 'd1']);
      assert.deepEqual(await lines(), expected);
      await daemon.cli(['diff', 'nope'], { exitCode: 1, stderr: /No such container: nope/ });
      await daemon.cli(['rm', 'd1']);
      await daemon.cli(['rmi', 'based']);
    });

    testOnce(engine)(
      'diff of a container that changes its folders to links says nothing of the host',
      async () => {
        const swap = 'cd /; while :; do mkdir -p s/in; touch s/in/own; rm -rf s; ln -s /etc s; rm s; done';
        await daemon.cli(['run', '-d', '--name', 's1', 'busybox', 'sh', '-c', swap]);
        const seen = new Set<string>();
        for (let i = 0; i < 8; i++)
          for (const line of (await out('diff', 's1')).split('\n')) seen.add(line.slice(2));
        assert.deepEqual(
          [...seen].filter((path) => path.startsWith('/s/') && !/^\/s\/in(\/own)?$/.test(path)),
          [],
        );
        assert.ok(seen.has('/s'));
        await daemon.cli(['rm', '-f', 's1']);
      },
    );

    test('commit makes an image of what a container changed', async () => {
      await daemon.cli([
        ...['run', '--name', 'c1', '-v', 'v1:/vol', '-e', 'A=1', '-e', 'B=2', '-l', 'from=container'],
        ...['-w', '/new', '-u', '0:0', '--expose', '81', 'busybox', 'sh', '-c', changes],
      ]);
      const id = await out('commit', '-a', 'Me <me@example.com>', '-m', 'said', 'c1', 'mine:1');
      assert.match(id, /^sha256:[0-9a-f]{64}$/);
      const made = await image('mine:1');
      const base = await image('busybox');
      assert.deepEqual(made.RootFS.Layers.slice(0, -1), base.RootFS.Layers);
      assert.deepEqual([made.Author, made.Comment], ['Me <me@example.com>', 'said']);
      const { Env, Cmd, WorkingDir, User, ExposedPorts, Labels } = made.Config;
      // The docker CLI sends them in any order.
      assert.deepEqual((Env as string[]).slice(0, 2).sort(), ['A=1', 'B=2']);
      assert.deepEqual(Cmd, ['sh', '-c', changes]);
      assert.deepEqual([WorkingDir, User], ['/new', '0:0']);
      assert.deepEqual(ExposedPorts, { '81/tcp': {} });
      assert.deepEqual(Labels, { from: 'container' });
      const top = (
        await out('history', '--no-trunc', '--format', '{{.CreatedBy}}|{{.Comment}}', 'mine:1')
      ).split('\n')[0];
      assert.equal(top, `sh -c ${changes}|said`);
      const look =
        'stat -c "%u:%g %a %h" dir/f; cat hard; readlink soft; ls -d /bin/httpd /var/www 2>&1; ls /vol';
      assert.equal(
        await out('run', '--rm', 'mine:1', 'sh', '-c', look),
        '12:34 4750 2\none\n../nowhere\nls: /bin/httpd: No such file or directory\nls: /var/www: No such file or directory',
      );
      await daemon.cli(['rm', 'c1']);
      // The image outlives its container and the daemon, and one can stand on it.
      await daemon.kill('SIGKILL');
      await daemon.start();
      await daemon.cli(['run', '--name', 'c2', 'mine:1', 'rm', '/new/hard']);
      const second = await out('commit', 'c2');
      assert.equal(await out('run', '--rm', second, 'ls', '/new'), 'dir\nfifo\nsoft');
      assert.deepEqual((await image(second)).RootFS.Layers.slice(0, -1), made.RootFS.Layers);
      await daemon.cli(['rm', 'c2']);
      await daemon.cli(['rmi', second, 'mine:1']);
      await daemon.cli(['volume', 'rm', 'v1']);
    });

    testOnce(engine)('commit --change says how the image runs', async () => {
      await daemon.cli(['create', '--name', 'g1', '-e', 'A=1', 'busybox', 'sh', '-c', 'true']);
      const made = async (...changes: readonly string[]): Promise<ImageDocument['Config']> =>
        (await image(await out('commit', ...changes.flatMap((change) => ['-c', change]), 'g1'))).Config;
      assert.deepEqual((await made('CMD ["a", "b"]'))['Cmd'], ['a', 'b']);
      const entered = await made('ENTRYPOINT ["e"]');
      assert.deepEqual([entered['Entrypoint'], entered['Cmd']], [['e'], null]);
      const both = await made('CMD c', 'ENTRYPOINT ["e"]');
      assert.deepEqual([both['Entrypoint'], both['Cmd']], [['e'], ['/bin/sh', '-c', 'c']]);
      const before = (await made())['Env'] as string[];
      assert.deepEqual((await made('ENV A=2 B=3'))['Env'], [
        ...before.map((each) => (each === 'A=1' ? 'A=2' : each)),
        'B=3',
      ]);
      const more = await made('EXPOSE 80/udp', 'LABEL k=v', 'USER 5', 'VOLUME /d', 'WORKDIR /w');
      assert.deepEqual(more['ExposedPorts'], { '80/udp': {} });
      assert.deepEqual(more['Labels'], { k: 'v' });
      assert.deepEqual(more['Volumes'], { '/d': {} });
      assert.deepEqual([more['User'], more['WorkingDir']], ['5', '/w']);
      await daemon.cli(['commit', '-c', 'RUN x', 'g1'], {
        exitCode: 1,
        stderr: /run is not a valid change command/,
      });
      await daemon.cli(['commit', '-c', 'NONE x', 'g1'], {
        exitCode: 1,
        stderr: /unknown instruction: NONE/,
      });
      await daemon.cli(['commit', 'g1', 'UPPER'], { exitCode: 1, stderr: /must be lowercase/ });
      await daemon.cli(['commit', 'nope'], { exitCode: 1, stderr: /No such container: nope/ });
      await daemon.cli(['rm', 'g1']);
      await daemon.cli(['image', 'prune', '-f']);
    });

    testOnce(engine)('commit holds a running container still, or not, and it runs on', async () => {
      await daemon.cli(['run', '-d', '--name', 'p1', 'busybox', 'sleep', '1000']);
      const since = String(Math.floor(Date.now() / 1000) - 1);
      await daemon.cli(['commit', 'p1', 'held']);
      await daemon.cli(['commit', '--pause=false', 'p1', 'unheld']);
      const until = String(Math.floor(Date.now() / 1000) + 1);
      const filters = ['--filter', 'container=p1', '--filter', 'type=container', '--format', '{{.Action}}'];
      const actions = (await out('events', '--since', since, '--until', until, ...filters)).split('\n');
      const wanted = ['pause', 'unpause', 'commit'];
      assert.deepEqual(actions.filter((action) => wanted.includes(action)).sort(), [
        'commit',
        'commit',
        'pause',
        'unpause',
      ]);
      assert.equal(await out('exec', 'p1', 'echo', 'alive'), 'alive');
      // One that somebody has paused stays so.
      await daemon.cli(['pause', 'p1']);
      await daemon.cli(['commit', 'p1', 'held']);
      assert.equal(await out('inspect', '-f', '{{.State.Status}}', 'p1'), 'paused');
      await daemon.cli(['rm', '-f', 'p1']);
      await daemon.cli(['rmi', 'held', 'unheld']);
    });

    testOnce(engine)('an API client may say in the body how the image runs', async () => {
      await daemon.cli(['create', '--name', 'b1', '-e', 'A=1', '-l', 'l=1', 'busybox', 'true']);
      const body = JSON.stringify({ Cmd: ['own'], Env: ['B=2'], Labels: { m: '2' } });
      const answer = await callApi(daemon.socketPath, 'POST', '/commit?container=b1&repo=body', body);
      assert.equal(answer.status, 201);
      const { Cmd, Env, Labels } = (await image('body')).Config;
      assert.deepEqual(Cmd, ['own']);
      assert.deepEqual((Env as string[]).slice(0, 2), ['B=2', 'A=1']);
      assert.deepEqual(Labels, { l: '1', m: '2' });
      await daemon.cli(['rm', 'b1']);
      await daemon.cli(['rmi', 'body']);
    });

    testOnce(engine)('a container is paused no longer when the daemon dies in a commit', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('its end is the end of its containers'));
      await daemon.cli([
        'run',
        '-d',
        '--name',
        'k1',
        'busybox',
        'sh',
        '-c',
        'dd if=/dev/zero of=/big bs=1M count=150; sleep 1000',
      ]);
      assert.ok(await eventually(async () => (await out('exec', 'k1', 'ps')).includes('sleep')));
      const committing = daemon.cli(['commit', 'k1', 'never'], { exitCode: undefined });
      const id = await out('inspect', '-f', '{{.Id}}', 'k1');
      const isPaused = async (): Promise<boolean> =>
        (
          await daemon.host([
            'ctr',
            '-a',
            daemon.containerd.socketPath,
            '-n',
            daemon.containerd.namespace,
            'tasks',
            'ls',
          ])
        ).stdout
          .split('\n')
          .some((line) => line.startsWith(id) && line.includes('PAUSED'));
      assert.ok(await eventually(isPaused));
      await daemon.kill('SIGKILL');
      await committing;
      await daemon.start();
      assert.equal(await out('inspect', '-f', '{{.State.Status}}', 'k1'), 'running');
      assert.equal(await out('exec', 'k1', 'echo', 'alive'), 'alive');
      assert.equal(await isPaused(), false);
      await daemon.cli(['rm', '-f', 'k1']);
    });

    testOnce(engine)('an export that nobody reads to its end leaves nothing', async (t) => {
      if (daemon.isReference) return t.skip(notAsked('it keeps no copies of what it exports'));
      await daemon.cli([
        'run',
        '--name',
        'x1',
        'busybox',
        'dd',
        'if=/dev/urandom',
        'of=/big',
        'bs=1M',
        'count=64',
      ]);
      const blobs = async (): Promise<string> =>
        (
          await daemon.host([
            ...['ctr', '-a', daemon.containerd.socketPath, '-n', daemon.containerd.namespace],
            ...['content', 'ls', '-q'],
          ])
        ).stdout;
      const before = await blobs();
      await new Promise<void>((resolve, reject) => {
        const call = request({ socketPath: daemon.socketPath, path: '/containers/x1/export' }, (answer) => {
          answer.once('data', () => {
            answer.destroy();
            resolve();
          });
          answer.once('error', () => undefined);
        });
        call.once('error', reject);
        call.end();
      });
      assert.ok(await eventually(async () => (await blobs()) === before), 'the copy is gone');
      // While one that is read slowly goes on.
      await daemon.cli(['export', '-o', join(folder, 'x1.tar'), 'x1']);
      assert.equal(
        execFileSync('tar', ['-xOf', join(folder, 'x1.tar'), 'big'], { maxBuffer: 128 << 20 }).length,
        64 << 20,
      );
      assert.ok(await eventually(async () => (await blobs()) === before));
      await daemon.cli(['rm', 'x1']);
    });
  });
}
