/*
 * Projects of docker compose, by the two versions that people have: up, looked at from outside and between their
 * services, changed, and down again. The files are in projects/; the servers are Debian's (debianImages.ts).
 */
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { createRunner, eventually, type Result } from './command.ts';
import { composeOfPython, findComposePlugin } from './composeTools.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { nginx, postgres, redis, rootArchive } from './debianImages.ts';
import { hostAddress, inHost } from './hosts.ts';

const [engine] = engines().filter(({ cli }) => cli === 'docker');
const plugin = findComposePlugin();
const composes = engine === undefined ? [] : [composeOfPython(), ...(plugin === undefined ? [] : [plugin])];

if (engine !== undefined && plugin === undefined)
  test('docker compose 2', { skip: 'docker compose 2 is not installed' }, () => undefined);

if (engine !== undefined)
  describe('docker compose', () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
      for (const image of [nginx, redis, postgres])
        await daemon.cli([
          'import',
          // dockerd 20.10 takes no STOPSIGNAL there.
          ...image.changes
            .filter((change) => !daemon.isReference || !change.startsWith('STOPSIGNAL'))
            .flatMap((change) => ['--change', change]),
          ...[rootArchive(image), image.reference],
        ]);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });
    const say = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;
    const get = (port: number): Promise<string> =>
      daemon
        .client(['wget', '-qO-', `http://${hostAddress}:${port}/`], { exitCode: undefined })
        .then(({ stdout }) => stdout);
    const ids = async (): Promise<string> => (await say('ps', '-aq', '--no-trunc')).split('\n').sort().join();

    for (const { name, words, env, isSample } of composes)
      describe(name, () => {
        /** Runs it in a copy of the project, which is removed with the lane. */
        const open = (project: string): ((...args: readonly string[]) => Promise<Result>) => {
          const folder = join(dirname(daemon.socketPath), name.replaceAll(' ', '-'), project);
          cpSync(join(import.meta.dirname, 'projects', project), folder, { recursive: true });
          const run = createRunner(
            [...inHost('A'), 'sh', '-c', 'cd "$0" && exec "$@"', folder, ...words],
            daemon.transcript,
            {
              env: {
                ...env,
                ...{ DOCKER_HOST: `unix://${daemon.socketPath}`, HOME: dirname(daemon.socketPath) },
              },
              shown: name,
              hint: () => daemon.logTail(),
            },
          );
          return (...args) => run(args, { timeoutMs: 120_000 });
        };
        const idOf = (service: string): Promise<string> =>
          say('ps', '-aq', '--filter', `label=com.docker.compose.service=${service}`);
        const isLeft = async (): Promise<readonly string[]> => {
          const networks = await say('network', 'ls', '--format', '{{.Name}}', '--filter', 'type=custom');
          return [await say('ps', '-aq'), await say('volume', 'ls', '-q'), networks].filter(
            (one) => one !== '',
          );
        };

        // What a test that failed left is no trouble of the next.
        afterEach(async () => {
          for (const [kind, remove] of [
            [
              ['ps', '-aq'],
              ['rm', '-fv'],
            ],
            [
              ['network', 'ls', '-q', '--filter', 'type=custom'],
              ['network', 'rm'],
            ],
            [
              ['volume', 'ls', '-q'],
              ['volume', 'rm'],
            ],
          ] as const) {
            const left = (await say(...kind)).split('\n').filter((id) => id !== '');
            if (left.length > 0) await daemon.cli([...remove, ...left]);
          }
        });

        test('web: a proxy waits for healthy servers, more of them come, and a second up changes nothing', async () => {
          const compose = open('web');
          await compose('up', '-d');
          const first = await get(8080);
          assert.match(first, /^[0-9a-f]{12}$/);
          const before = await ids();
          await compose('up', '-d');
          assert.equal(await ids(), before);

          await compose('up', '-d', '--scale', 'app=3');
          const answers = new Set<string>();
          assert.ok(
            await eventually(async () => answers.add(await get(8080)).size === 3),
            [...answers].join(),
          );
          assert.ok((await ids()).split(',').length === 4);
          const { stdout } = await compose('exec', '-T', '--index=2', 'app', 'hostname');
          assert.ok(answers.has(stdout));
          assert.match((await compose('port', 'proxy', '80')).stdout, /^0\.0\.0\.0:8080$/m);
          assert.match((await compose('logs', 'proxy')).stdout, /GET \/ HTTP\/1\.1" 200/);
          assert.match((await compose('top', 'proxy')).stdout, /nginx: worker process/);
          assert.match((await compose('ps')).stdout, /app.*\(healthy\)/);

          await compose('stop', 'app');
          assert.equal((await say('ps', '-q')).split('\n').length, 1);
          await compose('start', 'app');
          await compose('restart', 'proxy');
          assert.ok(await eventually(async () => /^[0-9a-f]{12}$/.test(await get(8080))));
          await compose('kill', 'proxy');
          await compose('rm', '-f', 'proxy');
          assert.equal((await ids()).split(',').length, 3);
          await compose('down');
          assert.deepEqual(await isLeft(), []);
        });

        if (isSample) return;

        test('database: filled once it is healthy; what volumes have outlives down, and goes with down -v', async () => {
          const compose = open('database');
          const report = async (): Promise<string | undefined> => {
            const found = async (): Promise<string | undefined> =>
              /report.*\| *(\d+)/.exec((await compose('logs', '--no-color', 'report')).stdout)?.[1];
            await eventually(async () => (await found()) !== undefined, 20_000);
            return found();
          };
          await compose('up', '-d');
          assert.equal(await report(), '1');
          assert.match(
            (await compose('exec', '-T', 'cache', 'redis-cli', 'set', 'word', 'kept')).stdout,
            /OK/,
          );
          await compose('down');
          assert.deepEqual((await say('volume', 'ls', '-q')).split('\n').length, 2);
          await compose('up', '-d');
          assert.equal(await report(), '2');
          assert.match((await compose('exec', '-T', 'cache', 'redis-cli', 'get', 'word')).stdout, /kept/);
          const { stdout } = await compose('run', '--rm', '-T', '--no-deps', 'report', 'psql', '--version');
          assert.match(stdout, /psql \(PostgreSQL\) 15/);
          await compose('down', '-v');
          assert.deepEqual(await isLeft(), []);
        });

        test('networks: several at once, addresses that stay, names on some alone, another’s network, none', async () => {
          await daemon.cli(['network', 'create', 'given']);
          const compose = open('networks');
          await compose('up', '-d');
          // Not `compose exec`, which starts Python each time; the service's id changes where it is made anew.
          const from = async (service: string, ...command: readonly string[]): Promise<string> =>
            say('exec', await idOf(service), ...command);
          const canGet = async (service: string, target: string): Promise<boolean> => {
            const line = `timeout 3 wget -qO- http://${target}/passwd >/dev/null 2>&1 && echo yes || echo no`;
            return /yes/.test(await from(service, 'sh', '-c', line));
          };
          assert.match(await from('front', 'ip', '-o', 'address'), /10\.77\.1\.10\/24/);
          assert.match(await from('front', 'ip', 'link'), /mtu 1400/);
          assert.match(await from('front', 'hostname'), /^door$/m);
          assert.match(await from('front', 'cat', '/etc/hosts'), /198\.51\.100\.7\s+elsewhere/);
          for (const target of ['back', 'store', '10.77.2.20'])
            assert.ok(await canGet('front', target), target);
          for (const target of ['front', 'gate']) assert.ok(await canGet('back', target), target);
          assert.equal(await canGet('back', 'www'), false);
          assert.ok(await canGet('beside', 'gate'));
          assert.ok(await canGet('beside', '127.0.0.1'));
          // dockerd 20.10 gives a default route there as well, which leads nowhere.
          if (!daemon.isReference) assert.doesNotMatch(await from('back', 'ip', 'route'), /default/);
          assert.match(await from('alone', 'ls', '/sys/class/net'), /^lo$/m);
          assert.equal(
            await say('network', 'inspect', '-f', '{{.Internal}} {{.Labels.kind}}', 'networks_inside'),
            'true private',
          );

          // A service that is made anew is found at its address.
          const before = await ids();
          await compose('up', '-d', '--force-recreate', '--no-deps', 'front');
          assert.notEqual(await ids(), before);
          assert.ok(await canGet('back', 'gate'));
          assert.match(await from('front', 'ip', '-o', 'address'), /10\.77\.1\.10\/24/);
          await compose('down');
          assert.equal(
            await say('network', 'ls', '-q', '--filter', 'type=custom', '--format', '{{.Name}}'),
            'given',
          );
          await daemon.cli(['network', 'rm', 'given']);
          assert.deepEqual(await isLeft(), []);
        });

        test('layers: another file changes what the first says, one service alone is made anew, profiles', async () => {
          const compose = open('layers');
          await compose('up', '-d');
          const show = async (format: string): Promise<string> =>
            say('inspect', '-f', format, await idOf('app'));
          const inside = async (line: string): Promise<string> =>
            say('exec', await idOf('app'), 'sh', '-c', line);
          assert.match(
            await inside('echo $COLOR $SIZE $LEVEL; id -u; pwd; grep files /proc/1/limits'),
            /blue big low\s+1000\s+\/tmp\s+Max open files\s+500\s+600/,
          );
          assert.match(
            await inside('echo a >/a || echo refused; echo b >/tmp/b && cat /tmp/b'),
            /refused\s+b/,
          );
          assert.match(await inside('grep CapEff /proc/self/status'), /CapEff:\s+0000000000000000/);
          assert.equal(
            await show('{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.LogConfig.Config}}'),
            `${64 << 20} 50 map[max-file:2 max-size:1m]`,
          );
          const both = ['-f', 'docker-compose.yml', '-f', 'more.yml'] as const;
          await compose(...both, 'up', '-d');
          assert.equal(await show('{{.HostConfig.Memory}} {{.Config.Labels.layer}}'), `${32 << 20} over`);
          assert.match(await inside('echo $COLOR $SIZE'), /red big/);
          const before = await ids();
          await compose(...both, 'up', '-d');
          assert.equal(await ids(), before);
          assert.match((await compose(...both, 'logs', 'extra')).stdout, /started/);

          await compose('--profile', 'debug', 'up', '-d', '--remove-orphans');
          assert.match((await compose('--profile', 'debug', 'ps')).stdout, /debug/);
          assert.equal(await say('ps', '-aq', '--filter', 'label=com.docker.compose.service=extra'), '');
          await compose('--profile', 'debug', 'pause');
          assert.match(await say('ps', '--format', '{{.Status}}'), /\(Paused\)/);
          await compose('--profile', 'debug', 'unpause');
          await compose('--profile', 'debug', 'down');
          assert.deepEqual(await isLeft(), []);
        });

        test('jobs: a queue, a worker with a secret, a volume of two services, and one that fails', async () => {
          const compose = open('jobs');
          await compose('up', '-d');
          await compose('exec', '-T', 'queue', 'redis-cli', 'rpush', 'jobs', 'index.html');
          assert.ok(
            await eventually(async () => {
              const { stdout } = await daemon.host(['wget', '-qO-', 'http://127.0.0.1:8081/'], {
                exitCode: undefined,
              });
              return stdout === 'index.html sesame';
            }),
          );
          const clumsy = await idOf('clumsy');
          assert.ok(
            await eventually(
              async () =>
                (await say('inspect', '-f', '{{.State.Status}} {{.RestartCount}}', clumsy)) === 'exited 2',
            ),
          );
          assert.match((await compose('logs', 'clumsy')).stdout, /oops/);
          assert.match((await compose('ps', '-a')).stdout, /clumsy.*Exit(ed)? \(?3/);
          await compose('down', '-v');
          assert.deepEqual(await isLeft(), []);
        });
      });
  });
