/*
 * Looking at what there is: filters and columns of `ps`, `inspect` by kind and with sizes, parts of logs, `top`, and what
 * `prune` leaves and says that it freed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { busyboxImage, type Daemon, engines, startDaemon } from './daemonFixture.ts';

async function knowsPlatforms({ socketPath }: Daemon): Promise<boolean> {
  const { ApiVersion } = JSON.parse((await callApi(socketPath, 'GET', '/version')).body) as Record<
    string,
    string
  >;
  return Number(ApiVersion?.split('.')[1]) >= 50;
}

interface ImageRow {
  readonly RepoTags: readonly string[] | null;
  readonly Size: number;
  readonly SharedSize: number;
}

// How our own command line prints is compared in src/frontends/cli.
for (const engine of engines('docker')) {
  describe(`looking: ${engine.name}`, () => {
    let daemon: Daemon;
    let webId = '';
    before(async () => {
      daemon = await startDaemon(engine);
      const { cli } = daemon;
      await cli(['network', 'create', 'n1']);
      const web = ['--label', 'tier=web', '-p', '127.0.0.1:8081:80', '--expose', '90', '-v', 'vol:/v'];
      const said = 'for i in 1 2 3 4 5; do echo $i; sleep 0.05; done; exec sleep 999';
      await cli(['run', '-d', '--name', 'web', ...web, '--network', 'n1', 'busybox', 'sh', '-c', said]);
      await cli(['run', '--name', 'job', 'busybox', 'sh', '-c', 'echo x > /x; exit 3'], { exitCode: 3 });
      await cli(['commit', 'job', 'child']);
      await cli(['create', '--name', 'db', '--label', 'tier=db', 'child', 'true']);
      ({ stdout: webId } = await cli(['inspect', '-f', '{{.Id}}', 'web']));
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    test('filters of ps, newest first', async () => {
      for (const [filters, names] of [
        [[], 'db job web'],
        // What was made from an image that stands on it, too.
        [['ancestor=busybox'], 'db job web'],
        [['ancestor=child'], 'db'],
        [['ancestor=nothing'], ''],
        [['exited=3'], 'job'],
        [['exited=0'], ''],
        [['before=job'], 'web'],
        [['since=job'], 'db'],
        [['since=web', 'before=db'], 'job'],
        [['status=created'], 'db'],
        [['status=created', 'status=running'], 'db web'],
        [['name=^/?job$'], 'job'],
        [['name=b'], 'db job web'],
        [[`id=${webId.slice(0, 6)}`], 'web'],
        [['label=tier'], 'db web'],
        [['label=tier=db'], 'db'],
        [['label=tier', 'label=tier=db'], 'db'],
        [['publish=8081'], 'web'],
        [['publish=8000-8100/tcp'], 'web'],
        [['publish=8081/udp'], ''],
        [['expose=90'], 'web'],
        [['expose=80-85'], 'web'],
        [['network=n1'], 'web'],
        [['network=n'], ''],
        [['volume=vol'], 'web'],
        [['volume=/v'], 'web'],
        [['volume=/w'], ''],
        [['health=none'], 'db job web'],
        [['health=healthy'], ''],
        [['is-task=false'], 'db job web'],
        [['is-task=true'], ''],
      ] as const) {
        const { stdout } = await daemon.cli([
          ...['ps', '-a', '--format', '{{.Names}}'],
          ...filters.flatMap((filter) => ['--filter', filter]),
        ]);
        assert.equal(stdout.replaceAll('\n', ' '), names, filters.join(' '));
      }
      for (const [filter, stderr] of [
        ['foo=bar', /invalid filter 'foo'|Invalid filter 'foo'/],
        ['status=foo', /[Ii]nvalid filter 'status=foo'/],
        ['health=foo', /[Ii]nvalid filter 'health=foo'|Unrecognised filter value for health: foo/],
        ['exited=x', /strconv.Atoi: parsing "x": invalid syntax/],
        ['since=nothing', /no such container:? nothing/i],
        ['is-task=maybe', /[Ii]nvalid filter 'is-task/],
      ] as const)
        await daemon.cli(['ps', '-a', '--filter', filter], { exitCode: 1, stderr });
    });

    test('columns of ps: the last ones, sizes, whole ids, JSON', async () => {
      const { cli } = daemon;
      await cli(['ps', '-n', '2', '--format', '{{.Names}}'], { stdout: 'db\njob' });
      await cli(['ps', '-l', '--format', '{{.Names}}'], { stdout: 'db' });
      await cli(['ps', '--no-trunc', '-q'], { stdout: webId });
      await cli(['ps', '-as', '--format', '{{.Names}} {{.Size}}', '--filter', 'name=job'], {
        stdout: /^job [\d.]+k?B \(virtual [\d.]+MB\)$/,
      });
      const { stdout } = await cli(['ps', '--format', daemon.isReference ? '{{json .}}' : 'json']);
      const row = JSON.parse(stdout) as Readonly<Record<string, string>>;
      assert.deepEqual(
        [row['ID'], row['Names'], row['Image'], row['State'], row['LocalVolumes'], row['Networks']],
        [webId.slice(0, 12), 'web', 'busybox', 'running', '1', 'n1'],
      );
      assert.match(row['Ports'] ?? '', /^90\/tcp, 127\.0\.0\.1:8081->80\/tcp$/);
    });

    test('inspect by kind, and with sizes', async () => {
      const { cli } = daemon;
      await cli(['inspect', '-s', '-f', '{{.SizeRw}} {{.SizeRootFs}}', 'job'], {
        stdout: /^[1-9]\d* [1-9]\d+$/,
      });
      await cli(['inspect', '-f', '{{.SizeRw}}', 'job'], daemon.isReference ? {} : { stdout: '<nil>' });
      await cli(['inspect', '--type', 'image', '-f', '{{.Os}}', 'busybox'], { stdout: 'linux' });
      await cli(['inspect', '--type', 'network', '-f', '{{.Driver}}', 'n1'], { stdout: 'bridge' });
      await cli(['inspect', '--type', 'volume', '-f', '{{.Driver}}', 'vol'], { stdout: 'local' });
      await cli(['inspect', '--type', 'container', 'busybox'], {
        exitCode: 1,
        stderr: /[Nn]o such container: busybox/,
      });
      await cli(['inspect', '--type', 'nothing', 'busybox'], { exitCode: 1, stderr: /nothing/ });
    });

    test('parts of a log', async () => {
      const lines = async (...args: readonly string[]): Promise<string> =>
        (await daemon.cli(['logs', ...args, 'web'])).stdout.replaceAll('\n', ' ');
      const { stdout } = await daemon.cli(['logs', '-t', 'web']);
      const times = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
      const [, second = '', , fourth = ''] = times;
      const unix = (time: string): string =>
        `${Math.floor(Date.parse(time) / 1000)}.${/\.(\d+)Z/.exec(time)?.[1]?.padEnd(9, '0') ?? '0'}`;
      for (const [args, expected] of [
        [['--since', second], '2 3 4 5'],
        [['--until', fourth], '1 2 3 4'],
        [['--since', second, '--until', fourth], '2 3 4'],
        [['--since', unix(second), '--until', unix(fourth)], '2 3 4'],
        [['--since', '1h'], '1 2 3 4 5'],
        [['--until', '1h'], ''],
        [['--since', '2030-01-02'], ''],
        [['--tail', 'all'], '1 2 3 4 5'],
        [['--tail', '0'], ''],
        [['--tail', '2'], '4 5'],
        [['-n', '1'], '5'],
        // The tail is taken first.
        [['--tail', '2', '--until', fourth], '4'],
        [['--tail', '3', '--since', fourth], '4 5'],
        // 20.10 waits for a line after that.
        ...(daemon.isReference ? [] : ([[['-f', '--tail', '3', '--until', fourth], '3 4']] as const)),
      ] as const)
        assert.equal(await lines(...args), expected, args.join(' '));
      assert.equal(await lines('-t', '--tail', '1'), `${times[4]} 5`);
      await daemon.cli(['logs', '--since', 'never', 'web'], { exitCode: 1, stderr: /"?never"?/ });
    });

    test('top takes the options of ps, and is told of', async () => {
      const since = new Date().toISOString();
      await daemon.cli(['top', 'web'], { stdout: /^UID +PID +PPID +C +STIME +TTY +TIME +CMD\n.*sleep 999$/ });
      const { stdout: pid } = await daemon.cli(['inspect', '-f', '{{.State.Pid}}', 'web']);
      await daemon.cli(['top', 'web', '-o', 'pid,comm'], {
        stdout: new RegExp(`^PID +COMMAND\\n${pid} +(sleep|busybox)$`),
      });
      await daemon.cli(['top', 'web', '-o', 'comm'], {
        exitCode: 1,
        stderr: /Couldn't find PID field in ps output/,
      });
      await daemon.cli(['top', 'job'], { exitCode: 1, stderr: /is not running/ });
      const until = new Date().toISOString();
      const told = ['events', '--since', since, '--until', until, '--filter', 'event=top'];
      await daemon.cli(
        [...told, '--filter', 'container=web', '--format', '{{.Type}} {{.Action}} {{.Actor.ID}}'],
        {
          stdout: `container top ${webId}\ncontainer top ${webId}`,
        },
      );
      await daemon.cli([...told, '--filter', 'label=tier=db'], { stdout: '' });
      await daemon.cli([...told, '--filter', 'image=busybox', '--filter', 'type=network'], { stdout: '' });
    });

    test('what images share is counted once', async () => {
      const { body } = await callApi(daemon.socketPath, 'GET', '/v1.41/system/df');
      const { Images } = JSON.parse(body) as { readonly Images: readonly ImageRow[] };
      const [base, child] = ['busybox:latest', 'child:latest'].map((tag) =>
        Images.find(({ RepoTags }) => RepoTags?.includes(tag)),
      );
      assert.ok(base !== undefined && child !== undefined && base.SharedSize > 1_000_000);
      assert.equal(child.SharedSize, base.SharedSize);
      assert.ok(child.Size >= child.SharedSize);
      if (daemon.isReference) return;
      const list = async (query: string): Promise<readonly ImageRow[]> =>
        JSON.parse(
          (await callApi(daemon.socketPath, 'GET', `/v1.50/images/json${query}`)).body,
        ) as ImageRow[];
      assert.deepEqual(
        (await list('?shared-size=1')).map(({ SharedSize }) => SharedSize),
        [base.SharedSize, base.SharedSize],
      );
      assert.deepEqual(
        (await list('')).map(({ SharedSize }) => SharedSize),
        [-1, -1],
      );
    });

    test('an image is kept for one platform, and is not there for another', async () => {
      // 20.10 has no such parameter.
      if (daemon.isReference && !(await knowsPlatforms(daemon))) return;
      const here = process.arch === 'x64' ? 'amd64' : process.arch;
      const other = here === 'amd64' ? 'arm64' : 'amd64';
      const ask = async (method: string, path: string, parameter: string, platform: string) =>
        await callApi(
          daemon.socketPath,
          method,
          `/v1.50/images/${path}?${parameter}=${encodeURIComponent(platform)}`,
        );
      const away = `image with reference busybox was found but its platform (linux/${here}) does not match the specified platform (linux/${other})`;
      for (const [method, path, parameter, message] of [
        ['GET', 'busybox/json', 'platform', away],
        ['GET', 'busybox/history', 'platform', away],
        ['DELETE', 'busybox', 'platforms', away],
        ['POST', 'busybox/push', 'platform', away],
      ] as const) {
        const answer = await ask(
          method,
          path,
          parameter,
          JSON.stringify({ os: 'linux', architecture: other }),
        );
        assert.deepEqual([answer.status, answer.message], [404, message]);
        const { status, message: why } = await ask(method, path, parameter, 'linux/arm64');
        const text = "failed to parse platform: invalid character 'l' looking for beginning of value";
        assert.deepEqual([status, why], [400, text]);
        const half = await ask(method, path, parameter, '{"os":"linux"}');
        assert.deepEqual([half.status, half.message], [400, 'both OS and Architecture must be provided']);
      }
      const own = await ask('GET', 'busybox/json', 'platform', `{"os":"linux","architecture":"${here}"}`);
      assert.equal(own.status, 200);
      const { cli } = daemon;
      // Docker's own store says nothing of it; the text is that of containerd's.
      const none = `Error response from daemon: no images providing the requested platform linux/${other} found`;
      await cli(
        ['load', '--platform', `linux/${other}`, '-i', busyboxImage()],
        daemon.isReference ? { stdout: '' } : { exitCode: 1, stdout: '', stderr: none },
      );
      await cli(['load', '--platform', `linux/${here}`, '-i', busyboxImage()], {
        stdout: /^Loaded image: busybox/,
      });
      await cli(['run', '--rm', '--disable-content-trust', 'busybox', 'echo', 'ran'], { stdout: 'ran' });
    });

    test('a link is removed by its name alone', async () => {
      const { cli } = daemon;
      await cli(['create', '--name', 'linked', '--link', 'job:al', 'busybox']);
      for (const [words, stderr] of [
        ['--link nope', 'No such container: nope'],
        ['--link linked/zz', 'No such container: linked/zz'],
        ['--link linked', 'Conflict, cannot remove the default link name of the container'],
      ] as const) {
        // 20.10 says it otherwise.
        const said = daemon.isReference ? {} : { stderr: `Error response from daemon: ${stderr}` };
        await cli(['rm', ...words.split(' ')], { exitCode: 1, ...said });
      }
      if (!daemon.isReference)
        await cli(['rm', '--link', 'linked/al'], {
          exitCode: 1,
          stderr: /removing a link .* is not supported yet/,
        });
      await cli(['rm', 'linked']);
    });

    test('prune takes what its filters leave, and says what was freed', async () => {
      const { cli } = daemon;
      const prune = async (
        kind: string,
        filters: readonly string[],
        ...flags: readonly string[]
      ): Promise<string> =>
        (await cli([kind, 'prune', '-f', ...flags, ...filters.flatMap((filter) => ['--filter', filter])]))
          .stdout;
      const nothing = 'Total reclaimed space: 0B';
      assert.equal(await prune('container', ['until=1h']), nothing);
      assert.equal(await prune('container', ['label=tier=x']), nothing);
      assert.match(await prune('container', ['label!=tier']), /^Deleted Containers:\n[0-9a-f]{64}\n\nTotal/);
      assert.match(
        await prune('container', ['label=tier=db', 'until=0s']),
        /^Deleted Containers:\n[0-9a-f]{64}\n/,
      );
      await cli(['ps', '-a', '--format', '{{.Names}}'], { stdout: 'web' });
      await cli(['tag', 'child', 'keep']);
      await cli(['rmi', 'child']);
      assert.equal(await prune('image', []), nothing);
      assert.equal(await prune('image', ['dangling=true']), nothing);
      assert.equal(await prune('image', ['until=1h'], '-a'), nothing);
      assert.equal(await prune('image', ['label=x'], '-a'), nothing);
      // Its own layer has one small file; that of busybox stays.
      assert.match(
        await prune('image', ['label!=x'], '-a'),
        /^Deleted Images:\nuntagged: keep:latest\ndeleted: sha256:[0-9a-f]{64}\ndeleted: sha256:[0-9a-f]{64}\n\nTotal reclaimed space: [\d.]+k?B$/,
      );
      const { stdout: volume } = await cli(['volume', 'create', '--label', 'a=b']);
      assert.equal(await prune('volume', ['label=a=c']), nothing);
      assert.ok((await prune('volume', ['label=a=b'])).startsWith(`Deleted Volumes:\n${volume}\n\nTotal`));
      for (const kind of ['container', 'image', 'volume'])
        await cli([kind, 'prune', '-f', '--filter', 'foo=bar'], { exitCode: 1, stderr: /nvalid filter/ });
      await cli(['rm', '-f', 'web']);
    });
  });
}
