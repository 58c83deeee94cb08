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
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { testOfOurs, testOnce } from './reference.ts';

function send(socketPath: string, path: string, body: Buffer): Promise<{ status: number; message: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; message: string }>();
  const call = request({ socketPath, method: 'PUT', path }, (response) => {
    text(response).then((answer) => {
      const message = answer === '' ? '' : (JSON.parse(answer) as { message: string }).message;
      resolve({ status: response.statusCode ?? 0, message });
    }, reject);
  });
  call.on('error', reject);
  call.end(body);
  return promise;
}

/** A request that stands: of a GET the first bytes have come and no more is read, of a PUT the first were sent. */
async function openRequest(
  socketPath: string,
  method: 'GET' | 'PUT',
  path: string,
): Promise<{ readonly destroy: () => void; readonly rest: () => Promise<unknown> }> {
  const call = request({ socketPath, method, path });
  call.on('error', () => undefined);
  if (method === 'PUT') {
    call.write(Buffer.alloc(100, 'x'));
    await once(call, 'socket');
    return { destroy: () => void call.destroy(), rest: () => Promise.resolve() };
  }
  call.end();
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  return { destroy: () => void call.destroy(), rest: () => buffer(response) };
}

for (const engine of engines()) {
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

    test('paths mean what they mean to docker', async () => {
      const make =
        'mkdir -p /src/sub /dst; echo x >/src/f; echo y >/src/sub/g; ln -s src /toDir; ln -s /src/f /toFile; echo z >/file';
      await daemon.cli(['run', '-d', '--name', 'p1', 'busybox', 'sh', '-c', `${make}; exec sleep 1000`]);
      await eventually(
        async () =>
          (await daemon.cli(['exec', 'p1', 'test', '-e', '/file'], { exitCode: undefined })).exitCode === 0,
      );
      const base = mkdtempSync(join(folder, 'paths'));
      /** Each in a new folder with `dir/`, `old` and links to both and to nothing; what it has afterwards beside these. */
      let count = 0;
      for (const [args, expected] of [
        ['p1:/src new', 'new new/f new/sub new/sub/g'],
        ['p1:/src dir', 'dir/src dir/src/f dir/src/sub dir/src/sub/g'],
        ['p1:/src/. dir', 'dir/f dir/sub dir/sub/g'],
        ['p1:/src/. new', 'new new/f new/sub new/sub/g'],
        ['p1:/src old', /cannot copy directory/],
        ['p1:/file dir/new', 'dir/new'],
        ['p1:/file new/', /no such directory/],
        ['p1:/file no/new', /invalid output path: .*no.* does not exist|no such file or directory/],
        ['p1:/file/ dir', /Could not find the file \/file\/ in container p1|\/file\/: not a directory/],
        ['p1:/file toOld', ''],
        ['p1:/file toNew', 'missing'],
        ['p1:/toDir new', 'new'],
        ['-L p1:/toDir new', 'new new/f new/sub new/sub/g'],
        ['-L p1:/toDir dir', 'dir/toDir dir/toDir/f dir/toDir/sub dir/toDir/sub/g'],
        ['p1:/toDir/ dir', 'dir/toDir dir/toDir/f dir/toDir/sub dir/toDir/sub/g'],
        ['-L p1:/toFile dir', 'dir/toFile'],
        ['p1:/src/../file .', 'file'],
        ['p1:/file p1:/other', /copying between containers is not supported/],
        ['old new', /must specify at least one container source/],
        ['p1:/file /dev/null', /got a device/],
        ['nope:/file new', /No such container: nope/],
      ] as const) {
        const own = join(base, String(count++));
        mkdirSync(join(own, 'dir'), { recursive: true });
        writeFileSync(join(own, 'old'), 'old');
        for (const [name, target] of [
          ['toDir', 'dir'],
          ['toOld', 'old'],
          ['toNew', 'missing'],
        ] as const)
          symlinkSync(target, join(own, name));
        const fails = typeof expected !== 'string';
        await daemon.cli(['cp', ...args.split(' ')], {
          cwd: own,
          ...(fails && { exitCode: 1, stderr: expected }),
        });
        const found = readdirSync(own, { recursive: true, encoding: 'utf8' })
          .filter((name) => !/^(?:dir|old|toDir|toOld|toNew|toDir\/.*)$/.test(name))
          .sort();
        assert.equal(found.join(' '), fails ? '' : expected, args);
      }
      // And into the container.
      const tree = join(folder, 'tree');
      for (const [args, expected] of [
        [`${tree} p1:/dst`, '/dst/tree /dst/tree/link /dst/tree/sub /dst/tree/sub/file'],
        [`${tree} p1:/dst/new`, '/dst/new /dst/new/link /dst/new/sub /dst/new/sub/file'],
        [`${tree}/. p1:/dst`, '/dst/link /dst/sub /dst/sub/file'],
        [`-L ${tree}/link p1:/dst`, '/dst/link'],
        [`${tree}/sub/file p1:/dst/as`, '/dst/as'],
        [`${tree}/sub/file p1:/dst/as/`, /no such directory/],
        [`${tree}/sub/file p1:/dst/no/as`, /Could not find the file \/dst\/no in container p1/],
        [`${tree}/sub/file/ p1:/dst`, /not a directory/],
        [`${tree} p1:/file`, /cannot copy directory/],
        // A dockerd does not see what is mounted in the container.
        ...(daemon.isReference ? [] : [[`${tree}/sub/file p1:/dev/null`, /got a device/] as const]),
      ] as const) {
        const fails = typeof expected !== 'string';
        await daemon.cli(['cp', ...args.split(' ')], fails ? { exitCode: 1, stderr: expected } : {});
        const found = await out(
          'exec',
          'p1',
          'sh',
          '-c',
          'cd /; find /dst -mindepth 1 | sort; rm -rf /dst/*',
        );
        assert.equal(found.trim().replaceAll('\n', ' '), fails ? '' : expected, args);
      }
      const told = await daemon.cli(['cp', '-q=false', `${tree}/sub/file`, 'p1:/dst/told']);
      assert.match(told.stderr, /Successfully copied 2\.05kB to p1:\/dst\/told$/);
      const back = await daemon.cli(['cp', '-q=false', 'p1:/dst/told', join(base, 'told')]);
      assert.match(back.stderr, /Successfully copied \S+kB to \/\S*told$/);
      await daemon.cli(['rm', '-f', 'p1']);
    });

    testOfOurs(
      engine,
      'users by name only, and nothing reaches a tmpfs',
      (title, work) => void test(title, work),
    )('-a gives what is copied to the user of the container, and a tmpfs gets files too', async () => {
      await daemon.cli([
        ...['run', '-d', '--name', 'u1', '-u', '7:8', '--tmpfs', '/tmp', 'busybox', 'sleep', '1000'],
      ]);
      await daemon.cli(['cp', '-a', join(folder, 'tree'), 'u1:/owned']);
      await daemon.cli(['cp', join(folder, 'tree'), 'u1:/tmp/kept']);
      const owners = 'stat -c "%u:%g %a" /owned /owned/sub/file /tmp/kept/sub/file';
      assert.equal(await out('exec', 'u1', 'sh', '-c', owners), '7:8 755\n7:8 4750\n12:34 4750');
      await daemon.cli(['rm', '-f', 'u1']);
    });

    testOfOurs(engine, 'bad archives are 500 there, with other texts')(
      'what is wrong with a tar or a path is said, and what is read-only stays',
      async () => {
        const { socketPath } = daemon;
        mkdirSync('/run/compat/bound', { recursive: true });
        await daemon.cli([
          ...['run', '--name', 't1', '-v', '/run/compat/bound:/d/ro:ro', '-v', 'w1:/d/rw', 'busybox', 'true'],
        ]);
        const url = (path: string): string =>
          `/containers/t1/archive?noOverwriteDirNonDir=true&path=${encodeURIComponent(path)}`;
        const put = async (path: string, tar: Buffer): Promise<string> => {
          const { status, message } = await send(socketPath, url(path), tar);
          return `${status} ${message}`;
        };
        const tar = (...args: readonly string[]): Buffer =>
          execFileSync('tar', ['-C', folder, '-cf', '-', ...args]);
        const one = tar('one');
        assert.equal(
          await put('/d', tar('--transform', 's,^,ro/,', 'one')),
          '400 open /d/ro: read-only file system',
        );
        assert.match(await put('/d/ro', one), /^400 mounted volume is marked read-only$/);
        assert.match(await put('/d/rw', one), /^200 $/);
        assert.match(
          await put('/d', tar('-P', '--transform', 's,^,../../x/,', 'one')),
          /^400 ".*" is outside of "\/d"$/,
        );
        assert.match(await put('/', Buffer.alloc(3000, 'x')), /^400 invalid tar: /);
        assert.match(await put('/', one.subarray(0, 600)), /^400 invalid tar: Unexpected end of data$/);
        assert.match(await put('/', gzipSync(one)), /^200 $/);
        assert.match(await put('/nope', one), /^404 Could not find the file \/nope in container t1$/);
        assert.match(await put('/etc/passwd', one), /^400 extraction point is not a directory$/);
        for (const [path, status] of [
          ['', 400],
          ['/a\0b', 400],
          [`/${'n'.repeat(300)}`, 404],
          ['/one', 200],
        ] as const)
          assert.equal((await callApi(socketPath, 'HEAD', url(path))).status, status, path);
        assert.deepEqual(readdirSync('/run/compat/bound'), []);
        const { stdout } = await daemon.cli([
          ...[
            'events',
            '--since',
            '1m',
            '--until',
            // The command line counts `0s` from the second that has begun.
            new Date().toISOString(),
            '--filter',
            'container=t1',
            '--format',
            '{{.Action}}',
          ],
        ]);
        assert.equal(stdout.split('\n').filter((action) => action === 'extract-to-dir').length, 2);
        await daemon.cli(['rm', 't1']);
        await daemon.cli(['volume', 'rm', 'w1']);
      },
    );

    testOfOurs(engine, 'a client that hangs holds the container')(
      'a client that hangs or leaves keeps no container from being started or removed',
      async () => {
        const { socketPath } = daemon;
        await daemon.cli([
          'run',
          '--name',
          'g1',
          'busybox',
          'dd',
          'if=/dev/zero',
          'of=/big',
          'bs=1M',
          'count=64',
        ]);
        const read = await openRequest(socketPath, 'GET', '/containers/g1/archive?path=/big');
        const write = await openRequest(socketPath, 'PUT', '/containers/g1/archive?path=/');
        const started = daemon.cli(['start', 'g1']);
        write.destroy();
        await started;
        await daemon.cli(['rm', '-f', 'g1']);
        read.destroy();
        // Nothing stays mounted or open for it.
        const pid = daemon.pid();
        const left = (): readonly string[] =>
          readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
            try {
              return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
            } catch {
              return [];
            }
          });
        assert.ok(
          await eventually(
            () => !left().some((target) => target.endsWith('/big') || target.endsWith('/big (deleted)')),
          ),
          'the file is closed',
        );
      },
    );

    testOfOurs(engine, 'what is left of it is copied')(
      'a container that ends while it is copied gives no tar that looks whole',
      async () => {
        const make = 'dd if=/dev/zero of=/vol/big bs=1M count=64; sleep 1000';
        await daemon.cli(['run', '-d', '--name', 'm1', '-v', 'm2:/vol', 'busybox', 'sh', '-c', make]);
        await eventually(
          async () =>
            (await out('exec', 'm1', 'sh', '-c', 'stat -c %s /vol/big || echo 0')) === String(64 << 20),
        );
        const read = await openRequest(daemon.socketPath, 'GET', '/containers/m1/archive?path=/vol');
        await daemon.cli(['kill', 'm1']);
        await daemon.cli(['wait', 'm1']);
        await assert.rejects(read.rest(), /aborted|ECONNRESET|hang up/);
        await daemon.cli(['rm', 'm1']);
        await daemon.cli(['volume', 'rm', 'm2']);
      },
    );

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
