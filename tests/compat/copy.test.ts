/*
 * `cp`: files out of containers and into them, running or not, their volumes included; and containers that would have the
 * host's files copied.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOnce } from './reference.ts';

for (const engine of engines('docker')) {
  describe(engine.name, () => {
    let daemon: Daemon;
    let folder: string;
    const out = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;

    before(async () => {
      daemon = await startDaemon(engine);
      folder = mkdtempSync('/run/compat/copy');
      mkdirSync(join(folder, 'tree/sub'), { recursive: true });
      writeFileSync(join(folder, 'tree/sub/file'), 'from the host');
      chownSync(join(folder, 'tree/sub/file'), 12, 34);
      chmodSync(join(folder, 'tree/sub/file'), 0o4750);
      utimesSync(join(folder, 'tree/sub/file'), 1e9, 1e9);
      symlinkSync('sub/file', join(folder, 'tree/link'));
      writeFileSync(join(folder, 'one'), 'one');
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    const make =
      'mkdir -p /d/sub; echo own >/d/sub/f; chown 5:6 /d/sub/f; chmod 600 /d/sub/f; ln -s sub/f /d/l; ln -s /d /alias';

    for (const state of ['created', 'running', 'stopped'] as const) {
      test(`files go into a ${state} container and out of it`, async () => {
        const run = [
          '--name',
          state,
          '-v',
          `${state}:/vol`,
          'busybox',
          'sh',
          '-c',
          `${make}; exec sleep 1000`,
        ];
        await daemon.cli([
          state === 'created' ? 'create' : 'run',
          ...(state === 'created' ? [] : ['-d']),
          ...run,
        ]);
        if (state === 'stopped') await daemon.cli(['kill', state]);
        const target = mkdtempSync(join(folder, 'out'));
        await daemon.cli(['cp', join(folder, 'tree'), `${state}:/in`]);
        await daemon.cli(['cp', join(folder, 'one'), `${state}:/vol/one`]);
        await daemon.cli(['cp', `${folder}/tree/.`, `${state}:/vol`]);
        await daemon.cli(['cp', `${state}:/in`, target]);
        const info = lstatSync(join(target, 'in/sub/file'));
        assert.deepEqual([info.mode & 0o7777, info.mtimeMs], [0o4750, 1e12]);
        assert.equal(readFileSync(join(target, 'in/sub/file'), 'utf8'), 'from the host');
        assert.equal(readlinkSync(join(target, 'in/link')), 'sub/file');
        await daemon.cli(['cp', `${state}:/vol/.`, join(target, 'vol')]);
        assert.deepEqual(readdirSync(join(target, 'vol')).sort(), ['link', 'one', 'sub']);
        await daemon.cli(['cp', `${state}:/vol/link`, join(target, 'asLink')]);
        assert.equal(readlinkSync(join(target, 'asLink')), 'sub/file');
        await daemon.cli(['cp', '-L', `${state}:/vol/link`, join(target, 'asFile')]);
        assert.equal(readFileSync(join(target, 'asFile'), 'utf8'), 'from the host');
        const nope = {
          exitCode: 1,
          stderr: new RegExp(`Could not find the file /nope in container ${state}`),
        };
        await daemon.cli(['cp', `${state}:/nope`, target], nope);
        // As a tar, both ways.
        const tar = execFileSync('tar', ['-C', folder, '-cf', '-', 'one']);
        await daemon.cli(['cp', '-', `${state}:/in`], { input: tar });
        const piped = await out('cp', `${state}:/in/one`, '-');
        assert.match(piped, /^one\0/);
        if (state === 'created') await daemon.cli(['start', state]);
        if (state === 'stopped') await daemon.cli(['start', state]);
        assert.equal(
          await out(
            'exec',
            state,
            'sh',
            '-c',
            'stat -c "%u:%g %a" /in/sub/file; cat /in/one /vol/one; ls /vol',
          ),
          '12:34 4750\noneonelink\none\nsub',
        );
        if (state !== 'created') {
          await daemon.cli(['cp', `${state}:/alias/sub/f`, join(target, 'f')]);
          assert.equal(readFileSync(join(target, 'f'), 'utf8'), 'own\n');
          assert.equal(lstatSync(join(target, 'f')).mode & 0o777, 0o600);
        }
        await daemon.cli(['rm', '-f', state]);
        await daemon.cli(['volume', 'rm', state]);
      });
    }

    test('nothing replaces a folder, nor a folder anything, and a read-only place is one', async () => {
      await daemon.cli(['run', '-d', '--name', 'k1', '-v', 'v1:/vol:ro', 'busybox', 'sleep', '1000']);
      await daemon.cli(['cp', join(folder, 'one'), 'k1:/vol/x'], {
        exitCode: 1,
        stderr: /mounted volume is marked read-only/,
      });
      await daemon.cli(['cp', join(folder, 'tree'), 'k1:/etc/passwd'], {
        exitCode: 1,
        stderr: /cannot copy directory/,
      });
      const tar = execFileSync('tar', [
        '-C',
        join(folder, 'tree'),
        '--transform',
        's/^link$/etc/',
        '-cf',
        '-',
        'link',
      ]);
      await daemon.cli(['cp', '-', 'k1:/'], {
        input: tar,
        exitCode: 1,
        stderr: /cannot overwrite directory "\/etc" with non-directory "\/"/,
      });
      await daemon.cli(['cp', '-', 'k1:/etc/passwd'], {
        input: tar,
        exitCode: 1,
        stderr: /must be a directory/,
      });
      await daemon.cli(['run', '-d', '--name', 'k2', '--read-only', 'busybox', 'sleep', '1000']);
      for (const name of ['k2']) {
        await daemon.cli(['cp', join(folder, 'one'), `${name}:/x`], {
          exitCode: 1,
          stderr: /container rootfs is marked read-only/,
        });
        await daemon.cli(['kill', name]);
        await daemon.cli(['cp', join(folder, 'one'), `${name}:/x`], {
          exitCode: 1,
          stderr: /container rootfs is marked read-only/,
        });
      }
      await daemon.cli(['rm', '-f', 'k1', 'k2']);
      await daemon.cli(['volume', 'rm', 'v1']);
    });

    testOnce(engine)('no link of a container leads to the host', async () => {
      writeFileSync('/run/compat/secret', 'of the host');
      mkdirSync('/run/compat/target', { recursive: true });
      const links =
        'ln -s /run/compat/secret /s; ln -s ../../../../../../run/compat /r; ln -s /proc/1/root/run/compat /p; ' +
        'ln -s /proc/self/root/run/compat /q; ln -s /run/compat/target /t';
      await daemon.cli([
        'run',
        '-d',
        '--pid',
        'host',
        '--name',
        'h1',
        'busybox',
        'sh',
        '-c',
        `${links}; exec sleep 1000`,
      ]);
      const target = mkdtempSync(join(folder, 'out'));
      for (const state of ['running', 'stopped']) {
        if (state === 'stopped') await daemon.cli(['kill', 'h1']);
        for (const path of ['/s', '/r/secret', '/p/secret', '/q/secret', '/../../run/compat/secret'])
          await daemon.cli(['cp', '-L', `h1:${path}`, target], { exitCode: 1 });
        for (const path of ['/t', '/t/', '/r/target', '/p/target', '/q/target'])
          await daemon.cli(['cp', join(folder, 'one'), `h1:${path}/in`], { exitCode: 1 });
        assert.deepEqual(readdirSync(target), []);
        assert.deepEqual(readdirSync('/run/compat/target'), []);
      }
      await daemon.cli(['rm', '-f', 'h1']);
    });

    testOnce(engine)(
      'a container that changes its folders to links while they are copied gets and gives nothing of the host',
      async () => {
        const secret = '/run/compat/hidden';
        mkdirSync(secret, { recursive: true });
        writeFileSync(join(secret, 'f'), 'of the host');
        const swap = `while :; do mkdir -p /x/y; echo own >/x/y/f; rm -rf /x/y; ln -s ${secret} /x/y; rm /x/y; done`;
        await daemon.cli(['run', '-d', '--name', 'w1', 'busybox', 'sh', '-c', swap]);
        const tar = join(folder, 'race.tar');
        execFileSync('sh', [
          '-c',
          `cd ${folder} && mkdir -p y && echo evil >y/new && tar --no-recursion -cf ${tar} y y/new`,
        ]);
        for (let i = 0; i < 15; i++) {
          const read = await daemon.cli(['cp', 'w1:/x', '-'], { exitCode: undefined });
          assert.doesNotMatch(read.stdout, /of the host/);
          await daemon.cli(['cp', '-', 'w1:/x'], { input: readFileSync(tar), exitCode: undefined });
        }
        assert.deepEqual(readdirSync(secret), ['f']);
        assert.equal(readFileSync(join(secret, 'f'), 'utf8'), 'of the host');
        await daemon.cli(['rm', '-f', 'w1']);
      },
    );
  });
}
