import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { ErrorCode } from '../../errors/codes.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { ContainerSpec } from '../model.ts';
import { openStand, plain } from './containerStand.ts';

async function refuses(work: () => unknown, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(
    async () => await work(),
    (error) => {
      assert.ok(hasCode(error, code), String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

test('a run: output, exit code, events, network and files', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('hello', { stdout: 'hi\n', exitCode: 3 });
  const id = await stand.create('hello', 'web', { extraHosts: ['gw:host-gateway', 'x:10.0.0.1'] });
  const streams = await containers.attach(id, {
    stdin: false,
    stdout: true,
    stderr: true,
    isStream: true,
    withLogs: false,
  });
  const output = text(streams.stdout ?? assert.fail());
  const next = containers.wait('web', 'next-exit', new AbortController().signal).done;
  await containers.start('web');
  assert.equal((await next).exitCode, 3);
  assert.equal(await output, 'hi\n');
  const record = containers.get('web');
  assert.deepEqual([record.state, record.pid, record.exitCode, record.sandbox], ['exited', 0, 3, undefined]);
  assert.deepEqual(stand.actions, ['create web', 'attach web', 'start web', 'die web']);
  assert.deepEqual(stand.network.log, ['sweep ', 'prepare web', 'release web']);
  assert.match(
    readFileSync(record.hostsPath, 'utf8'),
    /\n172\.17\.0\.1\tgw\n10\.0\.0\.1\tx\n172\.17\.0\.2\t[0-9a-f]{12}\n$/,
  );
  assert.equal(readFileSync(record.hostnamePath, 'utf8'), `${id.slice(0, 12)}\n`);
  assert.equal(readFileSync(record.resolvConfPath, 'utf8'), 'nameserver 9.9.9.9\nsearch lan\n');
  assert.match(
    readFileSync(record.logPath, 'utf8'),
    /^\{"log":"hi\\n","stream":"stdout","time":"[^"]+"\}\n$/,
  );
  const states = stand.store.history.map(({ value }) => (value as { state: string }).state);
  assert.deepEqual(states, ['created', 'starting', 'running', 'exited']);
});

test('the account files of an image are read once for containers that have never run', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  for (const name of ['aa', 'bb']) await containers.start(await stand.create('true', name));
  assert.deepEqual(
    runtime.log.filter((line) => line.startsWith('read')),
    ['read /etc/passwd', 'read /etc/group'],
  );
  await stand.ended('aa');
  await containers.start('aa');
  assert.equal(runtime.log.filter((line) => line.startsWith('read')).length, 4);
});

test('attach replays the log first when asked to, and ends there without a stream', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', { stdout: 'so far\n' });
  const id = await stand.create('nice', 'c1');
  await containers.start(id);
  const want = { stdin: false, stdout: true, stderr: true, withLogs: true };
  const query = { stdout: true, stderr: true, isFollow: true };
  for await (const { data } of containers.logs(id, query, new AbortController().signal)) {
    assert.equal(data.toString(), 'so far\n');
    break;
  }
  const past = await containers.attach(id, { ...want, isStream: false });
  assert.equal(await text(past.stdout ?? assert.fail()), 'so far\n');
  assert.equal(await text(past.stderr ?? assert.fail()), '');
  const live = await containers.attach(id, { ...want, isStream: true });
  const output = text(live.stdout ?? assert.fail());
  await containers.kill(id, 'KILL');
  assert.equal(await output, 'so far\n');
});

test('--rm: gone after its end, for those who wait too', async () => {
  await using stand = await openStand();
  const { containers } = stand;
  const id = await stand.create('true', 'once', { isAutoRemove: true });
  const removed = containers.wait(id, 'removed', new AbortController().signal).done;
  await containers.start(id);
  assert.equal((await removed).exitCode, 0);
  await refuses(() => containers.get('once'), 'containerNotFound', /^No such container: once$/);
  assert.deepEqual([...stand.store.entries.keys()], []);
  assert.deepEqual([...stand.runtime.prepared], []);
  assert.deepEqual(readdirSync(join(stand.folder, 'data')), []);
  assert.deepEqual(readdirSync(join(stand.folder, 'fifos')), []);
  assert.deepEqual(stand.actions.slice(-2), ['die once', 'destroy once']);
  assert.deepEqual(stand.network.log.slice(-2), ['release once', 'forget once']);
});

test('a refused start leaves the container created, with the exit code that shells know', async () => {
  await using stand = await openStand();
  const { containers, runtime, network } = stand;
  const missing =
    'OCI runtime create failed: exec: "/nosuch": stat /nosuch: no such file or directory: unknown';
  runtime.scripts.set('/nosuch', { refusal: missing });
  runtime.scripts.set('/etc', {
    refusal: 'OCI runtime create failed: exec: "/etc": permission denied: unknown',
  });
  runtime.scripts.set('odd', { refusal: 'cgroups are on strike' });
  const table: readonly [string, ErrorCode, number][] = [
    ['/nosuch', 'containerStartFailed', 127],
    ['/etc', 'containerStartFailed', 126],
    ['odd', 'runtimeFailed', 128],
  ];
  for (const [command, code, exitCode] of table) {
    const id = await stand.create(command, `c${exitCode}`);
    await refuses(() => containers.start(id), code, /^failed to create task for container: /);
    const record = containers.get(id);
    assert.deepEqual([record.state, record.exitCode, record.sandbox], ['created', exitCode, undefined]);
  }
  assert.deepEqual([...network.attached], []);
  assert.equal(existsSync(join(stand.folder, 'fifos', containers.get('c127').id, 'stdout')), false);
  const id = await stand.create('/nosuch', 'gone', { isAutoRemove: true });
  const removed = containers.wait(id, 'removed', new AbortController().signal).done;
  await refuses(() => containers.start(id), 'containerStartFailed', /no such file/);
  assert.equal((await removed).exitCode, 127);
});

test('a network that cannot be had fails the start with its code', async () => {
  await using stand = await openStand();
  stand.network.failure = new LinkspanError('networkNotFound', 'network nosuch not found');
  const id = await stand.create('true', 'c1');
  await refuses(
    () => stand.containers.start(id),
    'networkNotFound',
    /^failed to set up container networking: network nosuch not found$/,
  );
  assert.equal(stand.containers.get(id).state, 'created');
  stand.network.failure = undefined;
  await stand.containers.start(id);
});

test('stop: the stop signal, then SIGKILL when the time is up; no news for one that does not run', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  runtime.scripts.set('stubborn', { ignores: [15] });
  await containers.start(await stand.create('nice', 'nice'));
  assert.equal(await containers.stop('nice', 5), true);
  assert.equal(await containers.stop('nice', 5), false);
  assert.equal(containers.get('nice').exitCode, 143);
  await containers.start(await stand.create('stubborn', 'stubborn'));
  assert.equal(await containers.stop('stubborn', 0), true);
  assert.equal(containers.get('stubborn').exitCode, 137);
  assert.deepEqual(
    runtime.log.filter((line) => line.startsWith('kill')),
    ['kill 15', 'kill 15', 'kill 9'],
  );
  assert.deepEqual(stand.actions.slice(-4), [
    'kill stubborn',
    'kill stubborn',
    'die stubborn',
    'stop stubborn',
  ]);
});

test('restart keeps a container that removes itself', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  await containers.start(await stand.create('nice', 'c1', { isAutoRemove: true }));
  await containers.restart('c1');
  assert.equal(containers.get('c1').state, 'running');
  await containers.kill('c1', 'TERM');
  await containers.remove('c1', { isForced: true, removesVolumes: false }).catch(() => {});
  assert.deepEqual(containers.list(), []);
});

test('what the state forbids', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  const id = await stand.create('nice', 'c1');
  await refuses(
    () => containers.kill('c1', 'KILL'),
    'containerState',
    /^cannot kill container: c1: container [0-9a-f]{64} is not running$/,
  );
  await refuses(() => containers.pause(id), 'containerState', /is not running/);
  await refuses(() => containers.top(id, []), 'containerState', /is not running/);
  await refuses(() => containers.resize(id, { height: 1, width: 1 }), 'containerState', /is not running/);
  await containers.start(id);
  await containers.start(id);
  await refuses(
    () => containers.remove('c1', { isForced: false, removesVolumes: false }),
    'containerState',
    /^cannot remove container "\/c1": container is running: stop the container before removing or force remove$/,
  );
  await refuses(
    () => containers.kill('c1', 'NOPE'),
    'requestInvalid',
    /^cannot kill container: c1: invalid signal: NOPE$/,
  );
  await containers.pause(id);
  await refuses(() => containers.pause(id), 'containerState', /is already paused/);
  await refuses(() => containers.start(id), 'containerState', /cannot start a paused container/);
  await refuses(
    () => containers.remove(id, { isForced: false, removesVolumes: false }),
    'containerState',
    /is paused and must be unpaused first/,
  );
  await containers.unpause(id);
  await containers.remove(id, { isForced: true, removesVolumes: false });
  assert.deepEqual(containers.list(), []);
});

test('names: rules, conflicts, lookup, rename', async () => {
  await using stand = await openStand();
  const { containers } = stand;
  const id = await stand.create('true', '/web');
  assert.equal(containers.get('/web').id, id);
  assert.equal(containers.get(id.slice(0, 5)).id, id);
  await refuses(
    () => stand.create('true', 'web'),
    'containerNameTaken',
    new RegExp(
      `^Conflict. The container name "/web" is already in use by container "${id}". You have to remove \\(or rename\\) that container to be able to reuse that name.$`,
    ),
  );
  await refuses(
    () => stand.create('true', 'a b'),
    'containerConfigInvalid',
    /^Invalid container name \(a b\), only/,
  );
  const { container: nameless } = await containers.create({ ...plain }, undefined);
  assert.match(nameless.name, /^[a-z]+_[a-z]+$/);
  await containers.rename('web', 'www');
  await refuses(() => containers.get('web'), 'containerNotFound', /No such container: web/);
  await refuses(() => containers.rename('www', 'www'), 'requestInvalid', /same name/);
  await refuses(
    () => containers.rename(nameless.id, 'www'),
    'containerNameTaken',
    /^Error when allocating new name: Conflict/,
  );
  await stand.create('true', 'web');
  assert.deepEqual(stand.network.log.slice(-1), ['rename web www']);
});

test('create refuses what cannot be, and leaves nothing behind', async () => {
  await using stand = await openStand();
  const table: readonly [Partial<ContainerSpec>, ErrorCode, RegExp][] = [
    [{ image: 'x' }, 'imageNotFound', /^No such image: x:latest$/],
    [{ runtime: 'kata' }, 'containerConfigInvalid', /unknown or invalid runtime name: kata/],
    [{ extraHosts: ['x'] }, 'containerConfigInvalid', /^bad format for add-host: "x"$/],
    [{ extraHosts: ['x:y'] }, 'containerConfigInvalid', /^invalid IP address in add-host: "y"$/],
    [{ pidMode: 'container:x' }, 'containerConfigInvalid', /^No such container: x$/],
    [{ pidMode: 'private' }, 'containerConfigInvalid', /^invalid PID mode: private$/],
    [{ pidMode: 'container:' }, 'containerConfigInvalid', /^invalid PID mode: container:$/],
    [{ ipcMode: 'container:x' }, 'containerConfigInvalid', /^No such container: x$/],
    [{ utsMode: 'container:x' }, 'containerConfigInvalid', /^invalid UTS mode: container:x$/],
    [{ userMode: 'keep-id' }, 'containerConfigInvalid', /^invalid USER mode: keep-id$/],
    [{ ipcMode: 'bogus' }, 'containerConfigInvalid', /invalid IPC mode: bogus/],
    [{ capAdd: ['bogus'] }, 'containerConfigInvalid', /unknown capability/],
    [
      {
        mounts: [{ type: 'bind', source: '/no/such', target: '/x', isReadOnly: false, createSource: false }],
      },
      'containerConfigInvalid',
      /bind source path does not exist: \/no\/such$/,
    ],
  ];
  for (const [change, code, message] of table)
    await refuses(() => stand.create('true', 'c1', change), code, message);
  assert.deepEqual([...stand.runtime.prepared], []);
  assert.deepEqual(readdirSync(join(stand.folder, 'data')), []);
  await stand.create('true', 'c1');
});

test('container: mode shares the sandbox, name and files of its peer, and conflicts with whatever changes them', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  const peer = await stand.create('nice', 'peer', { hostname: 'peerhost' });
  const mode = {
    networkMode: { type: 'container', container: 'peer' },
    networkModeText: 'container:peer',
  } as const;
  const conflicts: readonly [Partial<ContainerSpec>, RegExp][] = [
    [{ hostname: 'x' }, /^conflicting options: hostname and the network mode$/],
    [{ dns: ['1.1.1.1'] }, /^conflicting options: dns and the network mode$/],
    [{ extraHosts: ['a:1.1.1.1'] }, /^conflicting options: custom host-to-IP mapping and the network mode$/],
    [
      { exposedPorts: ['80/tcp'] },
      /^conflicting options: port exposing and the container type network mode$/,
    ],
  ];
  for (const [change, message] of conflicts) {
    await refuses(
      () => stand.create('nice', 'c2', { ...mode, ...change }),
      'containerConfigInvalid',
      message,
    );
  }
  const id = await stand.create('nice', 'c2', mode);
  assert.equal(containers.get(id).spec.networkModeText, `container:${peer}`);
  await refuses(
    () => containers.start(id),
    'containerState',
    /^cannot join network namespace of a non running container: container peer is created$/,
  );
  await containers.start(peer);
  await containers.start(id);
  const spec = runtime.tasks.get(id)?.spec as unknown as {
    hostname: string;
    linux: { namespaces: { type: string; path?: string }[] };
  };
  assert.equal(spec.hostname, 'peerhost');
  assert.ok(spec.linux.namespaces.some(({ type, path }) => type === 'network' && path === '/run/netns/peer'));
  assert.equal(containers.get(id).hostsPath, containers.get(peer).hostsPath);
  const lonely = await stand.create('nice', 'c3', { networkMode: { type: 'container', container: 'none' } });
  await refuses(() => containers.start(lonely), 'containerNotFound', /^No such container: none$/);
  await containers.remove(id, { isForced: true, removesVolumes: false });
  assert.ok(existsSync(containers.get(peer).hostsPath));
  assert.deepEqual(stand.network.log, ['sweep ', 'prepare peer']);
});

test('exec: output, exit code before the end of the output, and refusals', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  runtime.scripts.set('in there', { stdout: 'inside', exitCode: 4 });
  runtime.scripts.set('nosuch', { refusal: 'exec: "nosuch": executable file not found in $PATH' });
  const spec = {
    args: ['in', 'there'],
    env: [],
    isTty: false,
    isPrivileged: false,
    attach: { stdin: false, stdout: true, stderr: true },
  };
  const id = await stand.create('nice', 'c1');
  await refuses(() => containers.execCreate(id, spec), 'containerState', /is not running/);
  await containers.start(id);
  const exec = await containers.execCreate(id, spec);
  const streams = await containers.execStart(exec.id, { isDetached: false });
  assert.equal(await text(streams.stdout ?? assert.fail()), 'inside');
  assert.deepEqual([containers.execGet(exec.id).state, containers.execGet(exec.id).exitCode], ['exited', 4]);
  await refuses(() => containers.execStart(exec.id, { isDetached: true }), 'execState', /has already run/);
  await refuses(() => containers.execGet('f'.repeat(64)), 'execNotFound', /^No such exec instance: f+$/);
  const bad = await containers.execCreate(id, { ...spec, args: ['nosuch'] });
  await refuses(
    () => containers.execStart(bad.id, { isDetached: false }),
    'containerStartFailed',
    /not found in \$PATH/,
  );
  assert.equal(containers.execGet(bad.id).exitCode, 127);
  await containers.remove(id, { isForced: true, removesVolumes: false });
});

test('a new daemon adopts, finishes, undoes and cleans', async () => {
  await using stand = await openStand();
  const { runtime } = stand;
  runtime.scripts.set('nice', { stdout: 'out\n' });
  for (const name of ['runs', 'died', 'lost', 'half', 'going', 'idle', 'selfish']) {
    await stand.create('nice', name, name === 'selfish' ? { isAutoRemove: true } : {});
  }
  for (const name of ['runs', 'died', 'lost', 'selfish']) await stand.containers.start(name);
  const idOf = (name: string): string => stand.containers.get(name).id;
  const ids = new Map(['died', 'lost', 'half', 'going', 'selfish'].map((name) => [name, idOf(name)]));
  const put = async (name: string, state: string): Promise<void> => {
    const key = `containers/${ids.get(name)}`;
    const value = stand.store.entries.get(key)?.value as object;
    await stand.store.txn({ write: [{ key, put: { ...value, state } }] });
  };
  await stand.containers[Symbol.asyncDispose]();
  await put('half', 'starting');
  await put('going', 'removing');
  runtime.end(ids.get('died') ?? '', 9);
  runtime.end(ids.get('selfish') ?? '', 0);
  runtime.tasks.delete(ids.get('lost') ?? '');
  runtime.prepared.add('0rphan');
  mkdirSync(join(stand.folder, 'data', 'leftover'));

  const containers = await stand.open();
  const states = containers.list().map(({ name, state, exitCode }) => `${name} ${state} ${exitCode}`);
  assert.deepEqual(states.sort(), [
    'died exited 9',
    'half created 0',
    'idle created 0',
    'lost exited 255',
    'runs running 0',
  ]);
  assert.ok(!runtime.prepared.has('0rphan') && !runtime.prepared.has(ids.get('going') ?? ''));
  assert.equal(existsSync(join(stand.folder, 'data', 'leftover')), false);
  assert.equal(stand.network.log.at(-1), 'sweep runs');
  await containers.kill('runs', 'KILL');
  assert.equal(containers.get('runs').exitCode, 137);
  await containers.start('half');
});

test('what the dead daemon\u2019s last requests make late is found at the second look', async () => {
  await using stand = await openStand();
  const { runtime } = stand;
  const id = await stand.create('nice', 'half');
  runtime.prepared.add('late');
  const stdio = { stdin: undefined, stdout: undefined, stderr: undefined, isTerminal: false };
  await runtime.createTask(id, { args: ['nice'] }, stdio);
  stand.clock.wake();
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...runtime.prepared], [id]);
  assert.deepEqual([...runtime.tasks], []);
});

test('prune removes what does not run and is wanted', async () => {
  await using stand = await openStand();
  const { containers, runtime } = stand;
  runtime.scripts.set('nice', {});
  await containers.start(await stand.create('nice', 'runs'));
  await stand.create('true', 'keep');
  const id = await stand.create('true', 'drop');
  assert.deepEqual(await containers.prune(({ name }) => name !== 'keep'), [id]);
  assert.deepEqual(
    containers
      .list()
      .map(({ name }) => name)
      .sort(),
    ['keep', 'runs'],
  );
  assert.deepEqual(await containers.size('keep'), { writableBytes: 7, rootfsBytes: 107 });
});
