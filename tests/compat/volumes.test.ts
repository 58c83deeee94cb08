/*
 * Volumes: data that outlives containers, what the image has in it, who may remove it, and what is left.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { readHostState } from './hostState.ts';
import { testOnce } from './reference.ts';

for (const engine of engines()) {
  describe(engine.name, () => {
    const once = testOnce(engine);
    let daemon: Daemon;
    const out = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;
    const volumes = async (): Promise<readonly string[]> =>
      (await out('volume', 'ls', '-q')).split('\n').filter((name) => name !== '');
    const pathOf = (name: string): Promise<string> => out('volume', 'inspect', '-f', '{{.Mountpoint}}', name);

    before(async () => {
      // Behind a link, as on hosts whose disk for it is elsewhere: the kernel tells where things are mounted without it.
      mkdirSync('/run/compat', { recursive: true });
      const folder = mkdtempSync('/run/compat/root');
      mkdirSync(join(folder, 'disk'));
      symlinkSync('disk', join(folder, 'link'));
      daemon = await startDaemon(engine, ['--data-root', join(folder, 'link/data')]);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    /** An image that has `files` in two layers: the base's, and what `make` does to a folder. */
    const makeImage = async (tag: string, volume: string, make: (root: string) => void): Promise<void> => {
      const folder = mkdtempSync('/run/compat/image');
      execFileSync('mkdir', ['-p', join(folder, 'bin')]);
      execFileSync('cp', ['-a', '/bin/busybox', join(folder, 'bin/')]);
      for (const name of ['sh', 'cat', 'ls', 'stat', 'touch', 'sleep', 'true', 'find'])
        symlinkSync('busybox', join(folder, 'bin', name));
      make(folder);
      const tar = `${folder}.tar`;
      execFileSync('tar', ['-C', folder, '-cf', tar, '.']);
      const change = volume === '' ? [] : ['-c', `VOLUME ${volume}`];
      await daemon.cli(['import', ...change, '-c', 'CMD ["sh"]', tar, tag]);
    };

    once('what is in a named volume outlives its containers and the daemon', async () => {
      assert.equal(await out('volume', 'create', 'keep'), 'keep');
      await daemon.cli(['run', '--rm', '-v', 'keep:/data', 'busybox', 'sh', '-c', 'echo one >/data/f']);
      await daemon.kill('SIGKILL');
      await daemon.start();
      assert.equal(await out('run', '--rm', '-v', 'keep:/other', 'busybox', 'cat', '/other/f'), 'one');
      // Made by the run that names it, too.
      await daemon.cli(['run', '--rm', '-v', 'made:/data', 'busybox', 'touch', '/data/g']);
      assert.deepEqual(await volumes(), ['keep', 'made']);
      assert.deepEqual(readdirSync(await pathOf('made')), ['g']);
      await daemon.cli(['volume', 'rm', 'keep', 'made'], { stdout: 'keep\nmade' });
      assert.deepEqual(await volumes(), []);
    });

    test('an empty volume gets what the image has there, with owners and modes', async () => {
      await makeImage('filled', '/data', (root) => {
        mkdirSync(join(root, 'data/sub'), { recursive: true });
        writeFileSync(join(root, 'data/sub/file'), 'from the image');
        chownSync(join(root, 'data/sub/file'), 12, 34);
        chmodSync(join(root, 'data/sub/file'), 0o640);
        chownSync(join(root, 'data'), 56, 78);
        chmodSync(join(root, 'data'), 0o1770);
        symlinkSync('sub/file', join(root, 'data/link'));
        symlinkSync('/data', join(root, 'alias'));
        symlinkSync('/../../../../etc', join(root, 'escape'));
      });
      const look = 'stat -c "%u:%g %a" /data /data/sub/file; cat /data/link';
      const expected = '56:78 1770\n12:34 640\nfrom the image';
      assert.equal(await out('run', '--rm', '-v', 'v1:/data', 'filled', 'sh', '-c', look), expected);
      // Through a symbolic link of the image, which is followed inside of it.
      await daemon.cli(['create', '--name', 'c1', '-v', 'v2:/alias/sub', 'filled']);
      assert.deepEqual(readdirSync(await pathOf('v2')), ['file']);
      await daemon.cli(['create', '--name', 'c2', '-v', 'v3:/escape', 'filled']);
      assert.deepEqual(readdirSync(await pathOf('v3')), [], 'nothing of the host');
      // Not what the first one has changed since, and not where it is not wanted.
      await daemon.cli(['run', '--rm', '-v', 'v1:/data', 'filled', 'touch', '/data/new']);
      await daemon.cli(['create', '--name', 'c3', '-v', 'v1:/data', 'busybox']);
      assert.deepEqual(readdirSync(await pathOf('v1')).sort(), ['link', 'new', 'sub']);
      await daemon.cli(['create', '--name', 'c4', '-v', 'v4:/data:nocopy', 'filled']);
      await daemon.cli(['create', '--name', 'c5', '--mount', 'src=v5,dst=/data,volume-nocopy', 'filled']);
      assert.deepEqual(readdirSync(await pathOf('v4')), []);
      assert.deepEqual(readdirSync(await pathOf('v5')), []);
      await daemon.cli(['rm', '-v', 'c1', 'c2', 'c3', 'c4', 'c5']);
      await daemon.cli(['volume', 'prune', '-af'], { stdout: /Total reclaimed space: \d+B/ });
      assert.deepEqual(await volumes(), []);
    });

    test('anonymous volumes go with --rm and rm -v, and stay without', async () => {
      assert.equal(await out('run', '--rm', 'filled', 'cat', '/data/link'), 'from the image');
      await daemon.cli(['run', '--rm', '-v', '/data', '-v', '/more', 'busybox', 'touch', '/more/f']);
      assert.ok(await eventually(async () => (await volumes()).length === 0));
      await daemon.cli(['create', '--name', 'a1', 'filled']);
      await daemon.cli(['create', '--name', 'a2', '-v', '/more', '-v', 'named:/n', 'busybox']);
      const shown = JSON.parse(await out('inspect', '-f', '{{json .Config.Volumes}}', 'a2')) as object;
      assert.deepEqual(shown, { '/more': {} });
      assert.equal((await volumes()).length, 3);
      await daemon.cli(['rm', '-v', 'a1', 'a2']);
      assert.deepEqual(await volumes(), ['named']);
      await daemon.cli(['create', '--name', 'a3', 'filled']);
      await daemon.cli(['rm', 'a3']);
      assert.equal((await volumes()).length, 2);
      // What nobody named is pruned, what somebody named is not.
      await daemon.cli(['volume', 'prune', '-f'], { stdout: /^Deleted Volumes:\n[0-9a-f]{64}\n/ });
      assert.deepEqual(await volumes(), ['named']);
      await daemon.cli(['volume', 'rm', 'named']);
    });

    test('a volume that a container has is not removed', async () => {
      await daemon.cli(['run', '-d', '--name', 'u1', '-v', 'used:/d', 'busybox', 'sleep', '1000']);
      const id = await out('inspect', '-f', '{{.Id}}', 'u1');
      const refused = { exitCode: 1, stderr: new RegExp(`remove used: volume is in use - \\[${id}\\]`) };
      await daemon.cli(['volume', 'rm', 'used'], refused);
      await daemon.cli(['volume', 'rm', '-f', 'used'], refused);
      await daemon.kill('SIGKILL');
      await daemon.start();
      await daemon.cli(['volume', 'rm', 'used'], refused);
      assert.equal(await out('volume', 'ls', '-q', '--filter', 'dangling=true'), '');
      assert.equal(await out('ps', '--filter', 'volume=used', '--format', '{{.Names}}'), 'u1');
      assert.equal(await out('ps', '--filter', 'volume=/d', '--format', '{{.Names}}'), 'u1');
      assert.equal(await out('ps', '--filter', 'volume=other', '--format', '{{.Names}}'), '');
      await daemon.cli(['rm', '-f', 'u1']);
      await daemon.cli(['volume', 'rm', 'used']);
    });

    once('a volume from another container is not removed when that one is gone', async () => {
      await daemon.cli(['run', '-d', '--name', 'f1', '-v', 'from:/d', 'busybox', 'sleep', '1000']);
      await daemon.cli(['run', '-d', '--name', 'f2', '--volumes-from', 'f1', 'busybox', 'sleep', '1000']);
      const id = await out('inspect', '-f', '{{.Id}}', 'f2');
      await daemon.cli(['rm', '-f', 'f1']);
      await daemon.cli(['volume', 'rm', 'from'], {
        exitCode: 1,
        stderr: new RegExp(`remove from: volume is in use - \\[${id}\\]`),
      });
      await daemon.cli(['exec', 'f2', 'touch', '/d/x']);
      await daemon.cli(['rm', '-f', 'f2']);
      await daemon.cli(['volume', 'rm', 'from']);
    });

    once('an empty volume keeps its owner where the image has nothing', async () => {
      await daemon.cli(['run', '--rm', '-v', 'owned:/data', 'busybox', 'chown', '1000:1000', '/data']);
      await daemon.cli(['run', '--rm', '-u', '1000', '-v', 'owned:/data', 'busybox', 'touch', '/data/x']);
      await daemon.cli(['volume', 'rm', 'owned']);
    });

    test('read-only, and the volumes of another container', async () => {
      const write = 'touch /d/x 2>&1 || true';
      await daemon.cli(['run', '--rm', '-v', 'shared:/d:ro', 'busybox', 'sh', '-c', write], {
        stdout: /Read-only file system/,
      });
      await daemon.cli(
        ['run', '--rm', '--mount', 'src=shared,dst=/d,readonly', 'busybox', 'sh', '-c', write],
        {
          stdout: /Read-only file system/,
        },
      );
      await daemon.cli(['create', '--name', 'source', '-v', 'shared:/d', '-v', '/anon', 'busybox']);
      await daemon.cli(['run', '--rm', '--volumes-from', 'source', 'busybox', 'touch', '/d/x', '/anon/y']);
      await daemon.cli(['run', '--rm', '--volumes-from', 'source:ro', 'busybox', 'sh', '-c', write], {
        stdout: /Read-only file system/,
      });
      // The anonymous one was another's too: it outlives --rm.
      assert.equal(
        await out('run', '--rm', '--volumes-from', 'source', 'busybox', 'ls', '/d', '/anon'),
        '/anon:\ny\n\n/d:\nx',
      );
      // What a container names itself wins.
      assert.equal(
        await out('run', '--rm', '--volumes-from', 'source', '-v', '/d', 'busybox', 'ls', '/d'),
        'x',
      );
      assert.equal(
        await out('run', '--rm', '--volumes-from', 'source', '-v', 'other:/d', 'busybox', 'ls', '/d'),
        '',
      );
      await daemon.cli(['rm', '-v', 'source']);
      await daemon.cli(['volume', 'rm', 'other', 'shared']);
      assert.deepEqual(await volumes(), []);
    });

    test('inspect and the events say what there is', async () => {
      const since = String(Date.now() / 1000);
      await daemon.cli(['volume', 'create', '--label', 'a=b', 'seen']);
      await daemon.cli(['run', '--name', 's1', '-v', 'seen:/d', 'busybox', 'true']);
      type Fields = Record<string, unknown>;
      const [volume] = JSON.parse(await out('volume', 'inspect', 'seen')) as Fields[];
      const path = await pathOf('seen');
      assert.match(String(volume?.['CreatedAt']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/);
      assert.deepEqual(
        { ...volume, CreatedAt: '' },
        {
          ...{ CreatedAt: '', Driver: 'local', Labels: { a: 'b' }, Mountpoint: path, Name: 'seen' },
          ...{ Options: null, Scope: 'local' },
        },
      );
      assert.match(path, /\/volumes\/seen\/_data$/);
      const [container] = JSON.parse(await out('inspect', 's1')) as {
        readonly Mounts: readonly Fields[];
        readonly HostConfig: Fields;
      }[];
      assert.deepEqual(container?.Mounts, [
        {
          ...{ Type: 'volume', Name: 'seen', Source: path, Destination: '/d', Driver: 'local' },
          ...{ Mode: 'z', RW: true, Propagation: '' },
        },
      ]);
      assert.deepEqual(container?.HostConfig['Binds'], ['seen:/d']);
      assert.equal(await out('volume', 'ls', '-q', '--filter', 'label=a=b'), 'seen');
      assert.equal(await out('volume', 'ls', '-q', '--filter', 'name=see'), 'seen');
      assert.equal(await out('volume', 'ls', '-q', '--filter', 'label=a=c'), '');
      await daemon.cli(['rm', 's1']);
      await daemon.cli(['volume', 'rm', 'seen']);
      const events = await out(
        ...['events', '--since', since, '--until', String(Date.now() / 1000)],
        ...[
          '--filter',
          'type=volume',
          '--format',
          '{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.destination}}',
        ],
      );
      assert.deepEqual(events.split('\n'), [
        'create seen <no value>',
        'mount seen /d',
        'unmount seen <no value>',
        'destroy seen <no value>',
      ]);
    });

    test('what is refused leaves nothing', async () => {
      const clean = await readHostState(daemon);
      const was = await volumes();
      for (const [args, stderr, exitCode] of [
        [['volume', 'create', 'a'], /create a: volume name is too short/, 1],
        [['volume', 'create', '../x'], /"\.\.\/x" includes invalid characters for a local volume name/, 1],
        [
          ['volume', 'create', '-d', 'nope', 'x1'],
          /create x1: error looking up volume plugin nope: plugin "nope" not found/,
          1,
        ],
        [['volume', 'inspect', 'nope'], /get nope: no such volume/, 1],
        [['volume', 'rm', 'nope'], /get nope: no such volume/, 1],
        [['create', '-v', 'bad!:/d', 'busybox'], /create bad!: "bad!" includes invalid characters/, 1],
        [['create', '-v', 'ok1:/d', '-v', 'ok2:/d', 'busybox'], /Duplicate mount point: \/d/, 1],
        [['create', '-v', 'ok1:/d:sideways', 'busybox'], /invalid mode: sideways/, 1],
        [['create', '-v', 'ok1:/', 'busybox'], /destination can't be '\/'/, 1],
        [['create', '-v', 'ok1:/d:rshared', 'busybox'], /field BindOptions must not be specified/, 1],
        [
          ['create', '--mount', 'dst=/d,readonly', 'busybox'],
          /must not set ReadOnly mode when using anonymous volumes/,
          1,
        ],
        [['create', '--volumes-from', 'nobody', 'busybox'], /No such container: nobody/, 1],
        // The second volume's name is bad: the first one, and the anonymous one, are taken back.
        [['create', '-v', '/anon', '-v', 'first:/a', '-v', 'bad!:/d', 'busybox'], /invalid characters/, 1],
        [['create', '-v', '/bin/busybox', 'busybox'], /cannot mount volume over existing file/, 1],
      ] as const)
        await daemon.cli(args, { stderr, exitCode });
      assert.deepEqual(await volumes(), was);
      assert.deepEqual(await readHostState(daemon), clean);
      const answer = await callApi(daemon.socketPath, 'DELETE', '/volumes/nope');
      assert.equal(answer.status, 404);
      assert.equal(answer.message, 'get nope: no such volume');
    });

    once('a volume with a device is mounted while containers that have it run', async () => {
      const source = mkdtempSync('/run/compat/device');
      writeFileSync(join(source, 'f'), 'from the host');
      const create = (name: string, ...options: readonly string[]): Promise<unknown> =>
        daemon.cli(['volume', 'create', ...options.flatMap((option) => ['-o', option]), name]);
      /** Where volumes are mounted on the host. */
      const mounted = (): readonly string[] =>
        execFileSync('cat', [`/proc/${daemon.pid()}/mountinfo`])
          .toString()
          .split('\n')
          .flatMap((line) => /volumes\/(\w+)\/_data/.exec(line)?.[1] ?? []);
      await create('quick', 'type=tmpfs', 'device=tmpfs', 'o=size=1m,uid=1000');
      await create('bound', 'type=none', `device=${source}`, 'o=bind');
      await create('lost', 'type=none', 'device=/nonexist', 'o=bind');
      await create('odd', 'type=tmpfs', 'device=tmpfs', 'o=foo=bar');
      await daemon.cli(
        ['run', '--rm', '-v', 'quick:/x', 'busybox', 'sh', '-c', 'grep " /x " /proc/mounts; touch /x/a'],
        {
          stdout: /^tmpfs \/x tmpfs rw,relatime,size=1024k,uid=1000/,
        },
      );
      await daemon.cli(['run', '-d', '--name', 'has', '-v', 'quick:/x', 'busybox', 'sleep', '600']);
      await daemon.cli(['run', '--rm', '-v', 'quick:/x', 'busybox', 'sh', '-c', 'ls /x; touch /x/b'], {
        stdout: '',
      });
      await daemon.cli(['exec', 'has', 'ls', '/x'], { stdout: 'b' });
      assert.deepEqual(mounted(), ['quick']);
      await daemon.cli(['run', '--rm', '-v', 'bound:/x:ro', 'busybox', 'cat', '/x/f'], {
        stdout: 'from the host',
      });
      for (const [name, why, exitCode] of [
        ['lost', 'mount /nonexist:.*: no such file or directory', 127],
        ['odd', 'data: foo=bar: invalid argument', 125],
      ] as const)
        await daemon.cli(['run', '--rm', '-v', `${name}:/x`, 'busybox', 'true'], {
          exitCode,
          stderr: new RegExp(
            `error while mounting volume '.*/${name}/_data': failed to mount local volume: .*${why}`,
          ),
        });
      const options = '{{.Options.type}} {{.Options.device}} {{.Options.o}}';
      assert.equal(await out('volume', 'inspect', '-f', options, 'quick'), 'tmpfs tmpfs size=1m,uid=1000');
      // What they take is not this disk's.
      const usage = (await callApi(daemon.socketPath, 'GET', '/system/df')).body;
      assert.deepEqual((JSON.parse(usage) as { readonly Volumes: unknown }).Volumes, []);
      const opts = 'volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=2m';
      const mount = `type=volume,src=made,dst=/x,volume-driver=local,${opts}`;
      await daemon.cli(['run', '--rm', '--mount', mount, 'busybox', 'grep', ' /x ', '/proc/mounts'], {
        stdout: /size=2048k/,
      });
      if (!daemon.isReference) {
        await daemon.kill('SIGKILL');
        await daemon.start();
        await daemon.cli(['exec', 'has', 'ls', '/x'], { stdout: 'b' });
        assert.deepEqual(mounted(), ['quick']);
        await daemon.kill('SIGKILL');
        await daemon.host(['pkill', '-KILL', '-f', '^sleep 600$']);
        await daemon.start();
        assert.ok(await eventually(() => mounted().length === 0), String(mounted()));
      }
      await daemon.cli(['rm', '-f', 'has']);
      assert.deepEqual(mounted(), []);
      // Removed while it is mounted, too: by a daemon that was killed, for one.
      if (!daemon.isReference) await daemon.host(['mount', '--bind', source, await pathOf('bound')]);
      await daemon.cli(['volume', 'rm', 'quick', 'bound', 'lost', 'odd', 'made']);
      assert.deepEqual(mounted(), []);
      // What was mounted is not the volume's to remove.
      assert.deepEqual(readdirSync(source), ['f']);
      for (const [option, why] of [
        ['foo=bar', 'invalid option: "foo"'],
        ['type=tmpfs', 'missing required option: "device"'],
      ] as const)
        await daemon.cli(['volume', 'create', '-o', option, 'bad1'], {
          exitCode: 1,
          stderr: new RegExp(`create bad1: ${why}`),
        });
    });

    once('a part of a volume can be mounted, and nothing else by its links', async () => {
      await daemon.cli(['volume', 'create', 'whole']);
      const fill =
        'mkdir -p /x/sub/deep; echo in >/x/sub/f; ln -s sub /x/good; ln -s ../../../../../../etc /x/evil; ln -s /etc /x/etc';
      await daemon.cli(['run', '--rm', '-v', 'whole:/x', 'busybox', 'sh', '-c', fill]);
      const part = (path: string): string => `type=volume,src=whole,dst=/y,volume-subpath=${path}`;
      const run = ['run', '--rm', '--mount'];
      await daemon.cli([...run, part('sub'), 'busybox', 'ls', '/y'], { stdout: 'deep\nf' });
      await daemon.cli([...run, part('good/deep/../f'), 'busybox', 'cat', '/y'], { stdout: 'in' });
      await daemon.cli([...run, `${part('sub')},readonly`, 'busybox', 'touch', '/y/g'], {
        exitCode: 1,
        stderr: /Read-only file system/,
      });
      for (const path of ['nope', 'evil', 'etc', 'sub/f/x'])
        await daemon.cli([...run, part(path), 'busybox', 'true'], {
          exitCode: undefined,
          stderr:
            /cannot access path .*\/whole\/_data\/|path concatenation escapes the base directory|not a directory/,
        });
      for (const path of ['../x', '/sub'])
        await daemon.cli([...run, part(path), 'busybox', 'true'], {
          exitCode: 125,
          stderr: /subpath must be a relative path within the volume/,
        });
      const mounts = execFileSync('cat', [`/proc/${daemon.pid()}/mountinfo`]).toString();
      assert.doesNotMatch(mounts, /subpaths\//);
      await daemon.cli(['volume', 'rm', 'whole']);
    });

    once(
      'the files of an image are mounted read-only, of one layer and of several, whatever becomes of its name',
      async () => {
        await makeImage('tools:1', '', (root) => mkdirSync(join(root, 'here')));
        await daemon.cli(['create', '--name', 'two', 'tools:1']);
        const word = join(mkdtempSync('/run/compat/word'), 'word');
        writeFileSync(word, 'second layer');
        await daemon.cli(['cp', word, 'two:/here/word']);
        await daemon.cli(['commit', 'two', 'tools:2']);
        const mount = (ref: string, dst: string): string => `type=image,src=${ref},dst=${dst}`;
        const show = 'ls /one/here; cat /two/here/word; touch /one/x /two/x; true';
        const both = ['--mount', mount('tools:1', '/one'), '--mount', mount('tools:2', '/two')];
        await daemon.cli(['create', '--name', 'looks', ...both, 'busybox', 'sh', '-c', show]);
        await daemon.cli(['rm', 'two']);
        const expected = {
          stdout: 'second layer',
          stderr: /^touch: \/one\/x: Read-only[^]*touch: \/two\/x: Read-only/,
        };
        await daemon.cli(['start', '-a', 'looks'], expected);
        if (!daemon.isReference) {
          await daemon.cli(['rmi', 'tools:1', 'tools:2']);
          await daemon.cli(['start', '-a', 'looks'], expected);
        }
        const shape = '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{end}}';
        assert.match(await out('inspect', '-f', shape, 'looks'), /image tools:1 \/one false/);
        await daemon.cli(['rm', 'looks']);
        await daemon.cli(['create', '--mount', 'type=image,src=nosuch,dst=/x', 'busybox'], {
          exitCode: daemon.isReference ? undefined : 1,
          stderr: /No such image: nosuch:latest|Unable to find image/,
        });
      },
    );

    once('what is mounted below a bind comes along, stays away or is read-only, as asked for', async () => {
      const source = mkdtempSync('/run/compat/tree');
      mkdirSync(join(source, 'below'));
      await daemon.host(['mount', '-t', 'tmpfs', 'tmpfs', join(source, 'below')]);
      const show = ['busybox', 'sh', '-c', "grep ' /x' /proc/mounts | cut -d ' ' -f 2,4 | cut -d , -f 1"];
      const modes = async (...flags: readonly string[]): Promise<string> =>
        await out('run', '--rm', ...flags, ...show);
      const bind = `type=bind,src=${source},dst=/x`;
      const both = (below: string): string => `/x ro\n/x/below ${below}`;
      assert.equal(await modes('-v', `${source}:/x:ro`), both('ro'));
      assert.equal(await modes('--mount', `${bind},readonly`), both('ro'));
      assert.equal(await modes('--mount', `${bind},readonly,bind-recursive=writable`), both('rw'));
      const forced = `${bind},readonly,bind-recursive=readonly,bind-propagation=rprivate`;
      assert.equal(await modes('--mount', forced), both('ro'));
      assert.equal(await modes('--mount', `${bind},bind-recursive=disabled`), '/x rw');
      await daemon.host(['umount', join(source, 'below')]);
    });

    testOnce(engine)('a volume that is made while the daemon is killed is whole, or not there', async () => {
      await makeImage('large', '/data', (root) => {
        mkdirSync(join(root, 'data'));
        for (let i = 0; i < 300; i += 1) writeFileSync(join(root, `data/f${i}`), Buffer.alloc(20_000, i));
      });
      for (const delayMs of [30, 120]) {
        const create = daemon.cli(['create', '--name', 'k1', '-v', 'half:/data', 'large'], {
          exitCode: undefined,
        });
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        await daemon.kill('SIGKILL');
        await create;
        await daemon.start();
        const names = await volumes();
        for (const name of names) {
          const path = await pathOf(name);
          assert.ok([0, 300].includes(readdirSync(path).length), 'all of it or nothing');
          assert.deepEqual(readdirSync(join(path, '..')), ['_data']);
        }
        await daemon.cli(['rm', '-v', 'k1'], { exitCode: undefined });
        await daemon.cli(['volume', 'prune', '-af']);
        assert.deepEqual(await volumes(), []);
      }
      const mounts = execFileSync('cat', ['/proc/self/mountinfo']).toString();
      assert.doesNotMatch(mounts, /lowerdir/);
    });
  });
}
