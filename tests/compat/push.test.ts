/*
 * Login and push, at Debian's docker-registry: open, with a password file, and with a token server.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { callApi } from './api.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { inHost } from './hosts.ts';
import { testOnce } from './reference.ts';
import { type Registries, startRegistries } from './registries.ts';
import { startClosedRegistries } from './tokenRegistry.ts';

const open = '127.0.0.1:5000';
const basic = '127.0.0.1:5010';
const bearer = '127.0.0.1:5011';

for (const engine of engines()) {
  const onceOnly = testOnce(engine);

  describe(`push: ${engine.name}`, () => {
    let daemon: Daemon;
    let registries: Registries;
    let closed: Disposable;
    let configPath: string;

    before(async () => {
      daemon = await startDaemon(engine);
      registries = await startRegistries();
      closed = await startClosedRegistries();
      configPath = join(dirname(daemon.socketPath), 'config/config.json');
      await daemon.cli(['run', '--name', 'made', 'busybox', 'sh', '-c', 'echo two >/two']);
      await daemon.cli(['commit', 'made', 'two:1']);
      await daemon.cli(['rm', 'made']);
      await daemon.cli(['tag', 'busybox', `${open}/kept/x:1`]);
    });
    after(async () => {
      closed[Symbol.dispose]();
      registries[Symbol.dispose]();
      await daemon[Symbol.asyncDispose]();
    });

    const out = async (...args: readonly string[]): Promise<string> => (await daemon.cli(args)).stdout;
    const api = (path: string): Promise<string> =>
      daemon.host(['curl', '-s', `http://${path}`]).then(({ stdout }) => stdout);
    const logIn = (server: string, password = 'secret'): Promise<unknown> =>
      daemon.cli(['login', '-u', 'ann', '--password-stdin', server], {
        input: `${password}\n`,
        stdout: 'Login Succeeded',
      });

    test('an image goes layer by layer, and comes back the same', async () => {
      const name = `${open}/pushed/two:1`;
      await daemon.cli(['tag', 'two:1', name]);
      const first = await out('push', name);
      const digest = /^1: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(first)?.[1] ?? '';
      assert.match(first, /^The push refers to repository \[127\.0\.0\.1:5000\/pushed\/two\]$/m);
      assert.equal(first.match(/^[0-9a-f]{12}: Preparing$/gm)?.length, 2);
      assert.equal(first.match(/^[0-9a-f]{12}: Pushed$/gm)?.length, 2);
      const again = await out('push', name);
      assert.equal(again.match(/^[0-9a-f]{12}: Layer already exists$/gm)?.length, 2);
      assert.ok(again.endsWith(first.split('\n').at(-1) ?? '-'), again);
      const id = await out('images', '-q', '--no-trunc', 'two:1');
      assert.deepEqual(JSON.parse(await out('image', 'inspect', '-f', '{{json .RepoDigests}}', id)), [
        `${open}/pushed/two@${digest}`,
      ]);
      await daemon.cli(['rmi', '-f', id]);
      await daemon.cli(['pull', name], { stdout: new RegExp(`^Digest: ${digest}$`, 'm') });
      await daemon.cli(['images', '-q', '--no-trunc', name], { stdout: id });
      await daemon.cli(['run', '--rm', name, 'cat', '/two'], { stdout: 'two' });
      await daemon.cli(['tag', name, 'two:1']);
    });

    test('layers that the registry has elsewhere are mounted', async () => {
      await daemon.cli(['tag', 'busybox', `${open}/pushed/here:1`]);
      await daemon.cli(['push', `${open}/pushed/here:1`]);
      await daemon.cli(['tag', 'busybox', `${open}/pushed/there:1`]);
      const { stdout } = await daemon.cli(['push', `${open}/pushed/there:1`]);
      assert.match(stdout, /^[0-9a-f]{12}: Mounted from pushed\/(here|two)$/m);
    });

    test('all tags of a repository; quietly only the name is said', async () => {
      await daemon.cli(['tag', 'busybox', `${open}/all/x:1`]);
      await daemon.cli(['tag', 'two:1', `${open}/all/x:2`]);
      await daemon.cli(['push', '-a', `${open}/all/x`], { stdout: /^1: digest: [^]*^2: digest: /m });
      const { tags } = JSON.parse(await api(`${open}/v2/all/x/tags/list`)) as { tags: readonly string[] };
      assert.deepEqual(tags.toSorted(), ['1', '2']);
      await daemon.cli(['push', '-q', `${open}/all/x:1`], { stdout: `${open}/all/x:1` });
    });

    const refused: readonly { readonly name: string; readonly stderr: RegExp }[] = [
      { name: 'nosuch', stderr: /^An image does not exist locally with the tag: nosuch$/ },
      { name: `${open}/nosuch:1`, stderr: /^An image does not exist .* tag: 127\.0\.0\.1:5000\/nosuch$/ },
      { name: `${open}/kept/x:none`, stderr: /^tag does not exist: 127\.0\.0\.1:5000\/kept\/x:none$/ },
      { name: `busybox@sha256:${'0'.repeat(64)}`, stderr: /^cannot push a digest reference$/ },
      {
        name: '127.0.0.1:5999/x:1',
        stderr:
          /Get "http:\/\/127\.0\.0\.1:5999\/v2\/": dial tcp 127\.0\.0\.1:5999: connect: connection refused$/,
      },
      { name: `${basic}/x:1`, stderr: /no basic auth credentials$/ },
      {
        name: `${bearer}/x:1`,
        stderr:
          /^(unauthorized: authentication required|denied: requested access to the resource is denied)$/,
      },
    ];
    for (const { name, stderr } of refused)
      test(`what cannot be pushed is an error: ${name}`, async () => {
        if (name.startsWith('127.0.0.1') && !name.startsWith(open))
          await daemon.cli(['tag', 'busybox', name]);
        await daemon.cli(['push', name], { exitCode: 1, stderr });
      });

    for (const server of [basic, bearer])
      test(`who is logged in may push and pull, and after logout no more: ${server}`, async () => {
        const name = `${server}/private/x:1`;
        await daemon.cli(['tag', 'busybox', name]);
        await logIn(server);
        const kept = (JSON.parse(readFileSync(configPath, 'utf8')) as { auths: Record<string, object> })
          .auths;
        assert.deepEqual(
          kept[server],
          server === basic
            ? { auth: Buffer.from('ann:secret').toString('base64') }
            : { auth: Buffer.from('ann:').toString('base64'), identitytoken: 'ann-may-go-on' },
        );
        await daemon.cli(['push', name], { stdout: /^1: digest: sha256:/m });
        await daemon.cli(['rmi', name]);
        await daemon.cli(['pull', name], { stdout: /^Status: Downloaded newer image/m });
        // What is kept is enough for the next login; Docker wants a password for that.
        if (server === basic)
          await daemon.cli(['login', server], {
            stdout: 'Login Succeeded',
            stderr: /^Authenticating with existing credentials\.\.\. \[Username: ann\]/,
          });
        await daemon.cli(['logout', server], { stdout: `Removing login credentials for ${server}` });
        await daemon.cli(['push', name], { exitCode: 1 });
        await daemon.cli(['rmi', name]);
      });

    test('a wrong password is said, and nothing is kept', async () => {
      rmSync(configPath, { force: true });
      const wrong = (server: string, stderr: RegExp): Promise<unknown> =>
        daemon.cli(['login', '-u', 'ann', '-p', 'wrong', server], { exitCode: 1, stderr });
      await wrong(
        basic,
        /login attempt to http:\/\/127\.0\.0\.1:5010\/v2\/ failed with status: 401 Unauthorized$/,
      );
      await wrong(bearer, /unauthorized: incorrect username or password$/);
      await wrong(
        '127.0.0.1:5999',
        /Get "http:\/\/127\.0\.0\.1:5999\/v2\/": dial tcp .*: connection refused$/,
      );
      assert.throws(() => readFileSync(configPath), { code: 'ENOENT' });
    });

    onceOnly('the API says of a login what Docker says', async () => {
      const post = (body: object): ReturnType<typeof callApi> =>
        callApi(daemon.socketPath, 'POST', '/auth', JSON.stringify(body));
      const good = await post({ username: 'ann', password: 'secret', serveraddress: basic });
      assert.deepEqual(
        [good.status, JSON.parse(good.body)],
        [200, { IdentityToken: '', Status: 'Login Succeeded' }],
      );
      // 500 up to Docker 20.10.
      const wrong = await post({ username: 'ann', password: 'x', serveraddress: `http://${basic}/v1/` });
      assert.equal(wrong.status, daemon.isReference ? 500 : 401);
      assert.equal((await post({ username: 'ann', password: 'x', serveraddress: 'x y' })).status, 400);
    });

    if (engine.cli === 'docker') return;

    test('at a terminal name and password are asked for, and the password is not shown', async () => {
      const words = `${engine.cli} -H unix://${daemon.socketPath} login ${basic}`;
      const env = { ...process.env, DOCKER_CONFIG: dirname(configPath), HOME: dirname(configPath) };
      const args = [...inHost('A').slice(1), 'script', '-qec', words, '/dev/null'];
      const child = spawn(inHost('A')[0] ?? '', args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
      let shown = '';
      child.stdout.on('data', (piece: Buffer) => {
        shown += piece.toString();
        // Each answer once, when its question has come.
        if (shown.endsWith('Username: ')) child.stdin.write('ann\r');
        if (shown.endsWith('Password: ')) child.stdin.write('secret\r');
      });
      const [code] = (await once(child, 'close')) as [number];
      assert.equal(code, 0, shown);
      assert.match(shown, /Username: ann\s+Password: \s+[^]*Login Succeeded/);
      assert.doesNotMatch(shown, /secret/);
      rmSync(configPath);
    });

    test('a credential helper keeps what is logged in with', async () => {
      const folder = dirname(configPath);
      const script =
        `#!/bin/sh\nf=${folder}/kept\ncase $1 in store) cat >$f;; erase) rm -f $f;; ` +
        `get) cat $f 2>/dev/null || { echo credentials not found in native keychain; exit 1; };; esac\n`;
      await daemon.host(['mkdir', '-p', folder]);
      await daemon.host(['tee', configPath], { input: '{"credsStore":"test","other":1}' });
      await daemon.host(['tee', `${folder}/docker-credential-test`], { input: script });
      await daemon.host(['chmod', '755', `${folder}/docker-credential-test`]);
      const path = `PATH=${folder}:${process.env['PATH'] ?? ''}`;
      const run = (...args: readonly string[]): ReturnType<Daemon['host']> =>
        daemon.host(['env', path, engine.cli, '-H', `unix://${daemon.socketPath}`, ...args]);
      await run('login', '-u', 'ann', '-p', 'secret', basic);
      const text = readFileSync(configPath, 'utf8');
      assert.deepEqual(JSON.parse(text), { credsStore: 'test', other: 1, auths: { [basic]: {} } });
      await daemon.cli(['tag', 'busybox', `${basic}/helped:1`]);
      await run('push', `${basic}/helped:1`);
      await run('logout', basic);
      assert.throws(() => readFileSync(`${folder}/kept`), { code: 'ENOENT' });
      rmSync(configPath);
    });
  });
}
