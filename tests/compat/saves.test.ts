/*
 * Saving images: what is in the archive, and that every engine loads it, a real dockerd too.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openSeam } from '../../src/base/seam.ts';
import { openClient } from '../../src/runtime/containerd/client.ts';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { busyboxImage, type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { inHost } from './hosts.ts';
import { testOnce } from './reference.ts';

const dockerdSocket = '/run/compat/reference.sock';

/** A real dockerd beside the engine, to load what that saved. */
async function startReference(): Promise<{ readonly end: () => void }> {
  const folder = mkdtempSync('/run/compat/d');
  const words = [
    ...[...inHost('A'), 'dockerd', '-H', `unix://${dockerdSocket}`, '--pidfile', join(folder, 'pid')],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--bridge', 'none'],
    ...['--iptables=false', '--ip6tables=false', '--ip-forward=false'],
  ];
  const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'ignore' });
  const isUp = await eventually(
    () =>
      callApi(dockerdSocket, 'GET', '/_ping').then(
        () => true,
        () => false,
      ),
    30_000,
  );
  assert.ok(isUp, 'dockerd does not come up; scripts/test-tools unpacks it');
  return { end: () => void child.kill('SIGTERM') };
}

for (const engine of engines()) {
  const once = testOnce(engine);

  describe(`save: ${engine.name}`, () => {
    let daemon: Daemon;
    let folder: string;

    before(async () => {
      daemon = await startDaemon(engine);
      folder = mkdtempSync('/run/compat/saves');
      await daemon.cli(['run', '--name', 'made', 'busybox', 'sh', '-c', 'echo two >/two']);
      await daemon.cli(['commit', '-c', 'CMD ["cat", "/two"]', 'made', 'two:1']);
      await daemon.cli(['rm', 'made']);
      await daemon.cli(['tag', 'two:1', 'two:other']);
      await daemon.cli(['tag', 'two:1', 'reg.example:5000/x/y:3']);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const list = (tar: string): readonly string[] =>
      execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).trim().split('\n');
    const read = (tar: string, name: string): string =>
      execFileSync('tar', ['-xOf', tar, name], { encoding: 'utf8' });
    const tagsOf = (tar: string): readonly (readonly string[] | null)[] =>
      (JSON.parse(read(tar, 'manifest.json')) as { RepoTags: readonly string[] | null }[]).map(
        ({ RepoTags }) => RepoTags?.toSorted() ?? null,
      );

    test('one comes back as it went, with all its tags where the name had none', async () => {
      const tar = join(folder, 'two.tar');
      await daemon.cli(['save', '-o', tar, 'two']);
      assert.deepEqual(tagsOf(tar), [['two:1', 'two:other']]);
      const { stdout: id } = await daemon.cli(['images', '-q', '--no-trunc', 'two:1']);
      await daemon.cli(['rmi', 'two:1', 'two:other', 'reg.example:5000/x/y:3']);
      await daemon.cli(['load', '-i', tar], { stdout: /Loaded image: two:1\nLoaded image: two:other/ });
      await daemon.cli(['images', '-q', '--no-trunc', 'two:other'], { stdout: id });
      await daemon.cli(['run', '--rm', 'two:1'], { stdout: 'two' });
      await daemon.cli(['tag', 'two:1', 'reg.example:5000/x/y:3']);
    });

    test('several in one archive share their layers; stdout is an archive too', async () => {
      const words = [...inHost('A'), engine.cli, '-H', `unix://${daemon.socketPath}`];
      const args = [...words.slice(1), 'save', 'two:1', 'busybox', 'reg.example:5000/x/y:3'];
      const bytes = execFileSync(words[0] ?? '', args, { maxBuffer: 64 << 20 });
      const tar = join(folder, 'several.tar');
      writeFileSync(tar, bytes);
      assert.deepEqual(tagsOf(tar), [['reg.example:5000/x/y:3', 'two:1'], ['busybox:latest']]);
      const blobs = list(tar).filter((name) => /layer\.tar$|^blobs\/sha256\/./.test(name));
      assert.equal(new Set(blobs).size, blobs.length, 'each blob once');
      await daemon.cli(['load'], { stdout: /Loaded image: busybox:latest/, ...{ input: bytes } });
    });

    test('history has the sizes of the layers', async () => {
      const { stdout } = await daemon.cli(['history', '-H=false', '--format', '{{.Size}}', 'two:1']);
      const [added = 0, base = 0] = stdout.split('\n').map(Number);
      assert.ok(added > 0 && added < 100_000 && base > 1_000_000, stdout);
    });

    test('an id goes without a name', async () => {
      const { stdout: id } = await daemon.cli(['images', '-q', '--no-trunc', 'two:1']);
      const tar = join(folder, 'id.tar');
      await daemon.cli(['save', '-o', tar, id]);
      assert.deepEqual(tagsOf(tar), [null]);
      await daemon.cli(['load', '-i', tar], { stdout: `Loaded image ID: ${id}` });
    });

    test('what is not there is an error, and no file is left', async () => {
      const tar = join(folder, 'none.tar');
      const refused = { exitCode: 1 };
      await daemon.cli(['save', '-o', tar, 'nosuch'], { ...refused, stderr: /No such image: nosuch$/ });
      await daemon.cli(['save', '-o', tar, 'busybox', 'two:none'], {
        ...refused,
        stderr: /reference does not exist$/,
      });
      assert.throws(() => readFileSync(tar), { code: 'ENOENT' });
    });

    if (engine.kind === 'dockerd') return;

    test('another platform is an error', async () => {
      await daemon.cli(['save', '--platform', 'linux/s390x', '-o', join(folder, 'none.tar'), 'busybox'], {
        exitCode: 1,
        stderr:
          /image with reference busybox was found but its platform \(linux\/\w+\) does not match the specified platform \(linux\/s390x\)/,
      });
    });

    once('a real dockerd loads it and saves what we load', async () => {
      const tar = join(folder, 'ours.tar');
      await daemon.cli(['save', '-o', tar, 'two:1', 'busybox']);
      const { end } = await startReference();
      try {
        const dockerd = (...args: readonly string[]): Promise<{ readonly stdout: string }> =>
          daemon.host(['docker', '-H', `unix://${dockerdSocket}`, ...args]);
        const { stdout } = await dockerd('load', '-i', tar);
        assert.match(stdout, /Loaded image: two:1\nLoaded image: busybox:latest/);
        const { stdout: theirs } = await dockerd('images', '-q', '--no-trunc');
        const { stdout: ours } = await daemon.cli(['images', '-q', '--no-trunc']);
        assert.deepEqual(new Set(theirs.split('\n')), new Set(ours.split('\n')));
        const back = join(folder, 'theirs.tar');
        await dockerd('save', '-o', back, 'two:1');
        await daemon.cli(['rmi', 'two:1']);
        await daemon.cli(['load', '-i', back], { stdout: 'Loaded image: two:1' });
        await daemon.cli(['run', '--rm', 'two:1'], { stdout: 'two' });
      } finally {
        end();
      }
    });

    once('a client that leaves in the middle, or an image that goes meanwhile, holds nothing', async () => {
      await daemon.cli(['load', '-i', busyboxImage()]);
      const path = join(folder, 'pipe');
      await daemon.host(['mkfifo', path]);
      const words = [
        'curl',
        '-sN',
        '--unix-socket',
        daemon.socketPath,
        'http://d/images/two/get',
        '-o',
        path,
      ];
      const reader = spawn('sh', ['-c', `exec 3<${path}; head -c 512 <&3; sleep 100`], { stdio: 'ignore' });
      const child = spawn(words[0] ?? '', words.slice(1), { stdio: 'ignore' });
      try {
        await daemon.cli(['rmi', '-f', 'two:1', 'two:other', 'reg.example:5000/x/y:3']);
        child.kill('SIGKILL');
        await daemon.cli(['images', '-q', 'two'], { stdout: '' });
      } finally {
        reader.kill('SIGKILL');
      }
      using client = await openClient(daemon.containerd.socketPath, openSeam());
      const isFree = async (): Promise<boolean> =>
        (await client.call('Leases.List', { filters: [] })).leases.length === 0;
      assert.ok(await eventually(isFree, 10_000), 'no lease is left');
      await daemon.cli(['run', '--rm', 'busybox', 'true']);
    });
  });
}
