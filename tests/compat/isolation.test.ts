/*
 * How far a container is from its host: what a profile forbids, what of /proc and /sys is hidden, whose namespaces it
 * shares, and mounts that appear on the other side. And the files that `run` reads and writes for that.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

const folder = '/run/compat/isolation';

for (const engine of engines('docker')) {
  describe(`isolation: ${engine.name}`, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      mkdirSync(folder, { recursive: true });
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    });
    const run = async (flags: readonly string[], line: string): Promise<string> => {
      const words = ['run', '--rm', ...flags, 'busybox', 'sh', '-c', line];
      return (await daemon.cli(words)).stdout;
    };
    const refuse = async (flags: readonly string[], stderr: RegExp): Promise<void> => {
      await daemon.cli(['create', ...flags, 'busybox'], { exitCode: undefined, stderr, stdout: '' });
    };

    test('a seccomp profile from a file forbids what it names; none is unconfined', async () => {
      const mode = 'grep ^Seccomp: /proc/self/status | tr -d "[:space:]"';
      assert.equal(await run([], mode), 'Seccomp:2');
      assert.equal(await run(['--security-opt', 'seccomp=unconfined'], mode), 'Seccomp:0');
      const profile = `${folder}/profile.json`;
      const errno = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
      };
      writeFileSync(profile, JSON.stringify(errno, undefined, 2));
      const line = 'mkdir /tmp/x 2>&1 || true; touch /tmp/y && echo made';
      assert.match(await run(['--security-opt', `seccomp=${profile}`], line), /not permitted\s+made/);
      await refuse(
        ['--security-opt', `seccomp=${folder}/none`],
        /opening seccomp profile .* failed: open .*: no such file or directory/,
      );
      writeFileSync(profile, '{');
      await refuse(['--security-opt', `seccomp=${profile}`], /compacting json for seccomp profile .* failed/);
      await refuse(['--security-opt', 'seccomp'], /[Ii]nvalid --security-opt/);
    });

    test('paths of /proc and /sys are hidden, but for who asks, and for a privileged container', async () => {
      const line =
        'head -c1 /proc/timer_list | wc -c; test -w /proc/sys/kernel && touch /proc/sys/kernel 2>/dev/null && echo open || echo kept';
      assert.match(await run([], line), /^0\s+kept$/);
      assert.match(await run(['--security-opt', 'systempaths=unconfined'], line), /^1\s+open$/);
      assert.match(await run(['--privileged'], line), /^1\s+open$/);
      await daemon.cli(['create', '--name', 'open', '--security-opt', 'systempaths=unconfined', 'busybox']);
      const paths = '{{.HostConfig.SecurityOpt}} {{.HostConfig.MaskedPaths}} {{.HostConfig.ReadonlyPaths}}';
      await daemon.cli(['inspect', '-f', paths, 'open'], { stdout: '[] [] []' });
      await daemon.cli(['rm', 'open']);
    });

    test('no-new-privileges, and capabilities that are given and taken', async () => {
      assert.match(
        await run(['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status'),
        /1$/,
      );
      const effective = 'grep CapEff /proc/self/status';
      assert.match(await run(['--cap-drop', 'ALL', '--cap-add', 'chown'], effective), /\t0+1$/);
      const most = await daemon.host(['grep', 'CapBnd', '/proc/self/status']);
      assert.equal((await run(['--privileged'], effective)).slice(7), most.stdout.slice(7));
    });

    test('namespaces of the host, where they are asked for', async () => {
      const namespaces = 'for one in uts pid cgroup; do readlink /proc/self/ns/$one; done';
      const own = (await daemon.host(['sh', '-c', namespaces])).stdout.split('\n');
      const flags = ['--uts', 'host', '--pid', 'host', '--cgroupns', 'host'];
      assert.deepEqual((await run(flags, namespaces)).split('\n'), own);
      const apart = (await run(['--cgroupns', 'private'], namespaces)).split('\n');
      assert.equal(apart.filter((one) => own.includes(one)).length, 0, apart.join());
    });

    testOnce(engine)(
      'mounts made in a shared bind appear on the host, and the host’s in a slave',
      async () => {
        const shared = `${folder}/shared`;
        mkdirSync(shared);
        await daemon.host(['mount', '-t', 'tmpfs', 'shared', shared]);
        try {
          const refused = /path .* is mounted on .* but it is not a shared mount/;
          await daemon.cli(['run', '--rm', '-v', `${shared}:/s:rshared`, 'busybox', 'true'], {
            exitCode: undefined,
            stderr: refused,
          });
          await daemon.host(['mount', '--make-shared', shared]);
          await daemon.host(['mkdir', `${shared}/in`, `${shared}/out`]);
          const flags = [
            '-d',
            '--name',
            'both',
            '--privileged',
            '-v',
            `${shared}:/s:rshared`,
            '-v',
            `${shared}:/r:rslave`,
          ];
          await daemon.cli(['run', ...flags, 'busybox', 'sleep', '99']);
          await daemon.cli(['exec', 'both', 'sh', '-c', 'mount -t tmpfs one /s/in && echo seen >/s/in/file']);
          await daemon.host(['cat', `${shared}/in/file`], { stdout: 'seen' });
          await daemon.host(['mount', '-t', 'tmpfs', 'two', `${shared}/out`]);
          await daemon.host(['touch', `${shared}/out/there`]);
          await daemon.cli(['exec', 'both', 'ls', '/r/out'], { stdout: 'there' });
          await daemon.cli(['rm', '-f', 'both']);
        } finally {
          await daemon.host(['umount', '-R', shared], { exitCode: undefined });
        }
      },
    );

    test('files of the command line: the id’s, labels, variables', async () => {
      const id = `${folder}/id-${engine.cli.length}`;
      writeFileSync(`${folder}/labels`, '# one\na=1\nb\n');
      writeFileSync(`${folder}/env`, 'X=from file\nHOME\n');
      const flags = [
        '--name',
        'files',
        '--cidfile',
        id,
        '--label-file',
        `${folder}/labels`,
        '--env-file',
        `${folder}/env`,
      ];
      const { stdout } = await daemon.cli([
        'run',
        '-d',
        ...flags,
        'busybox',
        'sh',
        '-c',
        'echo "$X"; sleep 99',
      ]);
      assert.equal(readFileSync(id, 'utf8').trim(), stdout);
      await daemon.cli(['inspect', '-f', '{{.Config.Labels}}', 'files'], { stdout: 'map[a:1]' });
      assert.ok(await eventually(async () => (await daemon.cli(['logs', 'files'])).stdout === 'from file'));
      await refuse(
        ['--cidfile', id],
        /container ID file found, make sure the other container isn't running or delete/,
      );
      await daemon.cli(['rm', '-f', 'files']);
    });

    test('events of images', async () => {
      const since = new Date().toISOString();
      await daemon.cli(['tag', 'busybox', 'busybox:two']);
      await daemon.cli(['rmi', 'busybox:two']);
      const tar = `${folder}/image.tar`;
      await daemon.cli(['tag', 'busybox', 'without/latest:1']);
      await daemon.cli(['save', '-o', tar, 'without/latest']);
      await daemon.cli(['load', '-i', tar]);
      const format = '{{.Type}} {{.Action}}';
      const until = new Date().toISOString();
      const words = [
        'events',
        '--since',
        since,
        '--until',
        until,
        '--filter',
        'type=image',
        '--format',
        format,
      ];
      const { stdout } = await daemon.cli(words);
      assert.deepEqual(
        stdout.split('\n'),
        ['tag', 'untag', 'tag', 'save', 'load'].map((action) => `image ${action}`),
      );
      await daemon.cli(['rmi', 'without/latest:1']);
    });
  });
}
