/*
 * Images are built: by the docker CLI's old builder, the buildx plugin, docker-compose and our own command line, at a
 * real BuildKit (buildkit.ts), from images of a real registry.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BuildKit, startBuildKit } from './buildkit.ts';
import { createRunner, eventually, type Runner } from './command.ts';
import { composeOfPython, findComposePlugin } from './composeTools.ts';
import { type Daemon, processes, startDaemon } from './daemonFixture.ts';
import { hostAddress, inHost } from './hosts.ts';
import { ownEngines } from './reference.ts';
import { type Registries, startRegistries } from './registries.ts';
import { findNewer } from './testCache.ts';

const [engine] = ownEngines('it builds by itself').filter(({ cli }) => cli === 'docker');
const dockerd = findNewer('usr/sbin/dockerd');
const linkspan = join(import.meta.dirname, '../../bin/linkspan');
const socketPath = '/run/compat/buildkitd.sock';
const plugin = findNewer('usr/libexec/docker/cli-plugins/docker-buildx');
const registry = `${hostAddress}:5000`;

if (engine !== undefined && (dockerd === undefined || plugin === undefined))
  test('build', { skip: 'a newer dockerd (scripts/test-tools newer) is not there' }, () => undefined);
else if (engine !== undefined && dockerd !== undefined && plugin !== undefined)
  describe('build', () => {
    let daemon: Daemon;
    let buildkit: BuildKit;
    let registries: Registries;
    let folder: string;
    let classic: Runner;
    let buildx: Runner;
    let own: Runner;
    before(async () => {
      // The builder's socket is there later than the engine: nothing but a build needs it.
      daemon = await startDaemon(engine, ['--builder', `unix://${socketPath}`]);
      folder = dirname(daemon.socketPath);
      mkdirSync(join(folder, 'config/cli-plugins'), { recursive: true });
      symlinkSync(plugin, join(folder, 'config/cli-plugins/docker-buildx'));
      const docker = [...inHost('A'), 'docker', '-H', `unix://${daemon.socketPath}`];
      const options = { shown: 'docker', hint: () => daemon.logTail() };
      const env = { DOCKER_CONFIG: join(folder, 'config'), HOME: folder };
      classic = createRunner(docker, daemon.transcript, {
        ...options,
        env: { ...env, DOCKER_BUILDKIT: '0' },
      });
      buildx = createRunner([...docker, 'buildx'], daemon.transcript, { ...options, env });
      own = createRunner([...inHost('A'), linkspan, '-H', `unix://${daemon.socketPath}`], daemon.transcript, {
        ...options,
        shown: 'linkspan',
        env: { ...env, TINT: 'green' },
      });
    });
    after(async () => {
      await buildkit?.[Symbol.asyncDispose]();
      registries?.[Symbol.dispose]();
      await daemon[Symbol.asyncDispose]();
    });
    /** A folder to build from, with a Dockerfile of these lines. */
    const context = (name: string, ...lines: readonly string[]): string => {
      const path = join(folder, name);
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'Dockerfile'), `${lines.join('\n')}\n`);
      writeFileSync(join(path, 'word'), 'built here\n');
      return path;
    };

    test('a builder that cannot be reached is named, and nothing is left', async () => {
      const path = context('early', 'FROM scratch', 'COPY word /');
      await classic(['build', path], {
        exitCode: 1,
        stderr: /the BuildKit at unix:\/\/\S+ .*cannot be reached/,
      });
      buildkit = await startBuildKit(dockerd, socketPath, registry);
      registries = await startRegistries();
      registries.fill('base', '1');
    });

    test('the old builder: from a registry, arguments, labels, a command; the image runs', async () => {
      const lines = [
        ...[`FROM ${registry}/base:1 AS first`, 'ARG COLOR=red', 'RUN echo color $COLOR | tee /color'],
        ...[`FROM ${registry}/base:1`, 'COPY --from=first /color /', 'COPY word /', 'LABEL in=file'],
        'CMD ["cat", "/word", "/color"]',
      ];
      const words = ['-t', 'mine:1', '-t', 'mine:2', '--build-arg', 'COLOR=blue', '--label', 'by=hand'];
      const path = context('first', ...lines);
      const { stdout } = await classic(['build', ...words, path]);
      assert.match(stdout, /^Step 2\/2 : RUN echo color blue \| tee \/color \(first\)\ncolor blue$/m);
      assert.match(stdout, /^Successfully built [0-9a-f]{12}$/m);
      assert.match(stdout, /^Successfully tagged mine:1\nSuccessfully tagged mine:2$/m);
      await daemon.cli(['run', '--rm', 'mine:2'], { stdout: 'built here\ncolor blue' });
      await daemon.cli(['inspect', '-f', '{{.Config.Labels.in}} {{.Config.Labels.by}}', 'mine:1'], {
        stdout: 'file hand',
      });
      const again = await classic([
        'build',
        '--target',
        'first',
        '-t',
        'stage',
        '--build-arg',
        'COLOR=blue',
        path,
      ]);
      assert.match(again.stdout, /^ ---> Using cache$/m);
      await daemon.cli(['run', '--rm', 'stage', 'cat', '/color'], { stdout: 'color blue' });
    });

    test('-q and --iidfile name the image by its id', async () => {
      const path = context('quiet', 'FROM scratch', 'COPY word /');
      const file = join(folder, 'iid');
      const { stdout } = await classic(['build', '-q', '--iidfile', file, path]);
      assert.match(stdout, /^sha256:[0-9a-f]{64}$/);
      assert.equal(readFileSync(file, 'utf8').trim(), stdout);
      const listed = await daemon.cli(['images', '-q', '--no-trunc', '-f', 'dangling=true']);
      assert.equal(listed.stdout, stdout);
    });

    test('a command that fails ends the build with its code, and nothing is left', async () => {
      const before = (await daemon.cli(['images', '-aq'])).stdout;
      const path = context('bad', `FROM ${registry}/base:1`, 'RUN echo oops >&2; exit 7');
      await classic(['build', '-t', 'bad', path], {
        exitCode: 7,
        stdout: /^oops$/m,
        stderr: /The command '\/bin\/sh -c echo oops >&2; exit 7' returned a non-zero code: 7/,
      });
      await classic(['build', context('worse', 'FORM scratch')], {
        exitCode: 1,
        stderr: /unknown instruction: FORM/,
      });
      await classic(['build', context('lost', `FROM ${registry}/nothing:1`)], {
        exitCode: 1,
        stderr: /nothing:1.*not found/,
      });
      assert.equal((await daemon.cli(['images', '-aq'])).stdout, before);
    });

    test('what BuildKit has not is refused', async () => {
      const path = context('odd', 'FROM scratch', 'COPY word /');
      await classic(['build', '--memory', '64m', path], {
        exitCode: 1,
        stderr: /build option memory is not supported/,
      });
      await classic(['build', '--network', 'mine', path], {
        exitCode: 1,
        stderr: /network mode "mine" not supported/,
      });
      await classic(['build', '-t', 'Bad Name', path], { exitCode: 125 });
      await own(['build', '-t', `a@sha256:${'0'.repeat(64)}`, path], {
        exitCode: 1,
        stderr: /build tag cannot contain a digest/,
      });
    });

    test('a client that goes away ends the build', async () => {
      const path = context('long', `FROM ${registry}/base:1`, 'RUN echo begun; sleep 600');
      const [program, ...words] = [
        ...inHost('A'),
        'docker',
        '-H',
        `unix://${daemon.socketPath}`,
        'build',
        path,
      ];
      const child = spawn(program, words, { env: { ...process.env, DOCKER_BUILDKIT: '0', HOME: folder } });
      const isSleeping = (): boolean => processes().some(({ command }) => command.endsWith('sleep 600'));
      assert.ok(await eventually(isSleeping, 20_000));
      child.kill('SIGINT');
      assert.ok(await eventually(() => !isSleeping(), 20_000));
    });

    test('docker-compose 1.29 builds a service', async () => {
      const path = context('composed', `FROM ${registry}/base:1`, 'COPY word /', 'CMD ["cat", "/word"]');
      writeFileSync(join(path, 'docker-compose.yml'), 'version: "3"\nservices:\n  one:\n    build: .\n');
      const { words, env } = composeOfPython();
      const compose = createRunner([...inHost('A'), ...words], daemon.transcript, {
        env: {
          ...env,
          DOCKER_HOST: `unix://${daemon.socketPath}`,
          HOME: folder,
          COMPOSE_DOCKER_CLI_BUILD: '0',
        },
        hint: () => daemon.logTail(),
      });
      await compose(['build'], { cwd: path });
      await daemon.cli(['run', '--rm', 'composed_one'], { stdout: 'built here' });
    });

    test('our command line: .dockerignore, a Dockerfile from stdin, a tar, what is not there', async () => {
      const path = context(
        'own',
        `FROM ${registry}/base:1`,
        'ARG TINT',
        'COPY . /all/',
        'RUN echo $TINT >/tint',
      );
      writeFileSync(join(path, '.dockerignore'), '*.log\n!kept.log\nDockerfile\n');
      for (const name of ['a.log', 'kept.log', 'b.txt']) writeFileSync(join(path, name), name);
      symlinkSync('b.txt', join(path, 'link'));
      mkdirSync(join(path, 'deep/er'), { recursive: true, mode: 0o750 });
      writeFileSync(join(path, `deep/er/${'long'.repeat(40)}`), 'x'.repeat(100_000));
      await own(['build', '-t', 'own:1', '--build-arg', 'TINT', path], {
        stdout: /^Successfully tagged own:1$/m,
      });
      const script = 'cd /all; ls -A; cat /tint link; stat -c "%a %u" deep; cat deep/er/long* | wc -c';
      await daemon.cli(['run', '--rm', 'own:1', 'sh', '-c', script], {
        stdout: '.dockerignore\nDockerfile\nb.txt\ndeep\nkept.log\nlink\nword\ngreen\nb.txt750 0\n100000',
      });
      const idFile = join(folder, 'iidOwn');
      const fromInput = ['build', '-q', '--iidfile', idFile, '-t', 'own:2', '-f', '-', path];
      const input = 'FROM scratch\nCOPY . /all\n';
      const { stdout: once } = await own(fromInput, { input, stdout: /^sha256:/ });
      assert.equal(readFileSync(idFile, 'utf8'), once);
      // By the cache: the folder and what comes with it have not changed.
      await own(fromInput, { input, stdout: once });
      await own(fromInput, { input: 'FORM scratch\n', exitCode: 1, stderr: /FORM/ });
      assert.ok(!existsSync(idFile));
      const { stdout: tar } = await daemon.host(['sh', '-c', `tar -C ${path} -c . | base64 -w0`]);
      await own(['build', '-t', 'own:3', '-'], { input: Buffer.from(tar, 'base64'), stdout: /tagged own:3/ });
      await own(['build', join(path, 'nowhere')], { exitCode: 1, stderr: /path ".*" not found/ });
      await own(['build', context('own2', 'FROM scratch', 'RUN x'), '-f', 'none'], {
        exitCode: 1,
        stderr: /Dockerfile/,
      });
      const { stdout: usage } = await own(['system', 'df']);
      assert.match(usage, /^Build Cache +[1-9]\d* /m);
      await daemon.cli(['system', 'df'], { stdout: /^Build Cache +[1-9]\d* /m });
      await own(['system', 'prune', '-f'], { stdout: /reclaimed space/ });
    });

    test('buildx: the image runs, its id, files for the client, a push, a failure', async () => {
      const path = context(
        'buildx',
        `FROM ${registry}/base:1`,
        'COPY word /',
        'RUN --mount=type=cache,target=/c true',
      );
      const file = join(folder, 'iid');
      await buildx(['build', '-t', 'bx:1', '-t', 'bx:2', '--label', 'a=b', '--iidfile', file, path]);
      await daemon.cli(['inspect', '-f', '{{.Id}} {{.Config.Labels.a}}', 'bx:2'], {
        stdout: `${readFileSync(file, 'utf8')} b`,
      });
      await daemon.cli(['run', '--rm', 'bx:1', 'cat', '/word'], { stdout: 'built here' });
      const { stdout: id } = await buildx(['build', '-q', '--label', 'c=d', path]);
      await daemon.cli(['inspect', '-f', '{{.Config.Labels.c}} {{.RepoTags}}', id], { stdout: 'd []' });
      await buildx(['build', '-o', join(folder, 'out'), path]);
      assert.equal(readFileSync(join(folder, 'out/word'), 'utf8'), 'built here\n');
      await buildx(['build', '--push', '-t', `${registry}/pushed:1`, path]);
      await daemon.cli(['rmi', `${registry}/pushed:1`]);
      // Its other address, which needs no certificate.
      await daemon.cli(['pull', '-q', '127.0.0.1:5000/pushed:1']);
      await daemon.cli(['run', '--rm', '127.0.0.1:5000/pushed:1', 'cat', '/word'], { stdout: 'built here' });
      const bad = context('badx', `FROM ${registry}/base:1`, 'RUN echo oops; exit 7');
      await buildx(['build', '-t', 'badx', bad], { exitCode: 1, stderr: /oops[^]*exit code: 7/ });
      await daemon.cli(['images', '-q', 'badx'], { stdout: '' });
      await buildx(['du'], { stdout: /^Total:/m });
    });

    test('buildx: a long .dockerignore; killed, it ends the build', async () => {
      const lines = [`FROM ${registry}/base:1`, 'COPY word /', 'RUN echo begun; sleep 602'];
      const path = context('killed', ...lines);
      const names = Array.from({ length: 2000 }, (_, i) => `some/folder/of/generated/files/${i}/*.out`);
      writeFileSync(join(path, '.dockerignore'), names.join('\n'));
      const words = ['docker', '-H', `unix://${daemon.socketPath}`, 'buildx', 'build', path];
      const [program = '', ...rest] = [...inHost('A'), ...words];
      const env = { ...process.env, DOCKER_CONFIG: join(folder, 'config'), HOME: folder };
      // docker and its plugin are two programs.
      const child = spawn(program, rest, { env, detached: true, stdio: 'ignore' });
      const isSleeping = (): boolean => processes().some(({ command }) => command.endsWith('sleep 602'));
      assert.ok(await eventually(isSleeping, 20_000));
      process.kill(-(child.pid ?? 0), 'SIGKILL');
      assert.ok(await eventually(() => !isSleeping(), 20_000));
    });

    test('docker compose 2 builds and runs a service', async () => {
      const path = context('composed2', `FROM ${registry}/base:1`, 'COPY word /', 'CMD ["cat", "/word"]');
      writeFileSync(join(path, 'compose.yml'), 'services:\n  one:\n    build: .\n');
      const compose = createRunner(
        [...inHost('A'), ...(findComposePlugin()?.words ?? [])],
        daemon.transcript,
        {
          env: {
            DOCKER_CONFIG: join(folder, 'config'),
            DOCKER_HOST: `unix://${daemon.socketPath}`,
            HOME: folder,
          },
          hint: () => daemon.logTail(),
        },
      );
      await compose(['up', '--build'], { cwd: path, stdout: /built here/ });
      await compose(['down', '--rmi', 'all'], { cwd: path });
    });

    test('docker 20.10 builds with its own BuildKit client', async () => {
      const old = createRunner(
        [...inHost('A'), 'docker-debian', '-H', `unix://${daemon.socketPath}`],
        daemon.transcript,
        {
          env: { DOCKER_CONFIG: join(folder, 'config20'), DOCKER_BUILDKIT: '1', HOME: folder },
          shown: 'docker-debian',
          hint: () => daemon.logTail(),
        },
      );
      const path = context('old', `FROM ${registry}/base:1`, 'COPY word /', 'LABEL old=yes');
      const { stdout: id } = await old(['build', '-q', '-t', 'old:1', path]);
      await daemon.cli(['inspect', '-f', '{{.Id}} {{.Config.Labels.old}}', 'old:1'], { stdout: `${id} yes` });
      await old(['build', '-o', join(folder, 'out20'), path], { stderr: /COPY word/ });
      assert.equal(readFileSync(join(folder, 'out20/word'), 'utf8'), 'built here\n');
    });

    test('an image that only the engine has is built on, by each of them; a stage of its name stays a stage', async () => {
      await daemon.cli(['tag', 'busybox:latest', 'local/only:1']);
      await daemon.cli(['tag', 'mine:1', 'first']);
      const path = context(
        'local',
        'FROM local/only:1 AS first',
        'RUN echo $((6 * 7)) >/n',
        'FROM first',
        'RUN cat /n',
      );
      await classic(['build', '-t', 'local:2', path], { stdout: /^42$/m });
      await buildx(['build', '--no-cache', '-t', 'local:3', path], { stderr: /^#\d+ \S+ 42$/m });
      const onFirst = context('onFirst', 'FROM first', 'COPY --from=local:2 /n /');
      await buildx(['build', '-t', 'local:4', onFirst]);
      await daemon.cli(['run', '--rm', 'local:4', 'cat', '/word', '/n'], { stdout: 'built here\n42' });
    });

    test('a BuildKit that dies in the middle is told of', async () => {
      const path = context('dying', `FROM ${registry}/base:1`, 'RUN echo begun; sleep 601');
      const failed = classic(['build', path], { exitCode: 1, stderr: /broke the build off/ });
      assert.ok(
        await eventually(() => processes().some(({ command }) => command.endsWith('sleep 601')), 20_000),
      );
      buildkit.kill();
      await failed;
      await daemon.cli(['system', 'df'], { stdout: /^Build Cache +0 /m });
    });
  });
