import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { ContainerSpec } from '../../src/engine/model.ts';
import { hasCode } from '../../src/errors/linkspanError.ts';
import { ContainerWorld } from './containerWorld.ts';

const never = new AbortController().signal;

async function openWorld(): Promise<ContainerWorld> {
  const world = new ContainerWorld();
  await world.open();
  return world;
}

function stream(readable: Readable | undefined): Readable {
  assert.ok(readable);
  return readable;
}

const allStreams = { stdin: true, stdout: true, stderr: true, isStream: true, withLogs: false };

interface Ran {
  readonly output: string;
  readonly errors: string;
  readonly exitCode: number;
}

/** `docker run --rm`, with input. */
async function run(
  world: ContainerWorld,
  script: string,
  change: Partial<ContainerSpec> = {},
  input?: Buffer,
): Promise<Ran> {
  const { containers } = world;
  const stdin = input === undefined ? {} : { isStdinOpen: true, isStdinOnce: true };
  const id = await world.create(['sh', '-c', script], '', { isAutoRemove: true, ...stdin, ...change });
  const client = await containers.attach(id, allStreams);
  client.stdin?.end(input);
  const output = text(stream(client.stdout));
  const errors = client.stderr === undefined ? Promise.resolve('') : text(client.stderr);
  const { done } = containers.wait(id, 'removed', never);
  await containers.start(id);
  return { output: await output, errors: await errors, exitCode: (await done).exitCode };
}

test('a container is as confined as Docker\u2019s', async () => {
  await using world = await openWorld();
  const { output, errors, exitCode } = await run(
    world,
    `cat /proc/self/status; busybox id; echo "$HOME $HOSTNAME"; hostname; busybox pwd; busybox env
     busybox mount -t tmpfs x /tmp || echo no mount; echo 1 > /proc/sys/net/ipv4/ip_forward || echo ro
     busybox ls -l /dev; echo stdout; echo stderr >&2; exit 3`,
    { hostname: 'box', workingDir: '/some/where' },
  );
  assert.equal(exitCode, 3);
  for (const line of [
    'CapEff:\t00000000a80425fb',
    'CapBnd:\t00000000a80425fb',
    'Seccomp:\t2',
    'NoNewPrivs:\t0',
  ]) {
    assert.ok(output.includes(line), `${line} in ${output}`);
  }
  for (const line of ['uid=0', 'box', '/some/where', 'HOSTNAME=box', 'no mount', 'ro', 'stdout']) {
    assert.ok(output.includes(line), `${line} in ${output}`);
  }
  assert.match(errors, /stderr\n$/);
});

test('streams: 20 MB out, 3 MB in, byte for byte', async () => {
  await using world = await openWorld();
  const { containers } = world;
  const input = randomBytes(3_000_000);
  const id = await world.create(['sh', '-c', 'cat; head -c 17000000 /dev/zero'], '', {
    isStdinOpen: true,
    isStdinOnce: true,
    isAutoRemove: true,
  });
  const client = await containers.attach(id, allStreams);
  client.stdin?.end(input);
  const output = buffer(stream(client.stdout));
  client.stderr?.resume();
  const { done } = containers.wait(id, 'removed', never);
  await containers.start(id);
  assert.equal((await done).exitCode, 0);
  const received = await output;
  assert.equal(received.length, 20_000_000);
  assert.ok(received.subarray(0, input.length).equals(input));
});

test('commands that are missing or not executable give 127 and 126, with runc\u2019s words', async () => {
  await using world = await openWorld();
  const { containers } = world;
  const table: readonly [readonly string[], number, RegExp][] = [
    [
      ['/nosuch'],
      127,
      /^failed to create task for container: .*exec: "\/nosuch": stat \/nosuch: no such file or directory: unknown$/,
    ],
    [['nosuch'], 127, /exec: "nosuch": executable file not found in \$PATH: unknown$/],
    [['/etc'], 126, /exec: "\/etc": permission denied: unknown$|is a directory/],
  ];
  for (const [args, exitCode, message] of table) {
    const id = await world.create(args, '');
    await assert.rejects(containers.start(id), (error) => {
      assert.ok(hasCode(error, 'containerStartFailed'), String(error));
      assert.match(error.message, message);
      return true;
    });
    assert.equal(containers.get(id).exitCode, exitCode);
    assert.equal(containers.get(id).state, 'created');
  }
});

test('a terminal: one stream, its size, and leaving it', async () => {
  await using world = await openWorld();
  const { containers } = world;
  const id = await world.create(['sh', '-c', 'read x; stty size; echo $TERM; sleep 100'], 'tty', {
    isTty: true,
    isStdinOpen: true,
  });
  const client = await containers.attach(id, allStreams);
  assert.equal(client.stderr, undefined);
  const output = text(stream(client.stdout));
  await containers.start(id);
  await containers.resize(id, { height: 33, width: 101 });
  const second = await containers.attach(id, { ...allStreams, stdin: false });
  const seen = Promise.withResolvers<void>();
  let collected = '';
  second.stdout?.on('data', (chunk: Buffer) => {
    collected += chunk.toString();
    if (collected.includes('xterm')) seen.resolve();
  });
  client.stdin?.write('\n');
  await seen.promise;
  client.stdin?.write(Buffer.from([16, 17]));
  assert.match(await output, /33 101\r\nxterm\r\n/);
  assert.equal(containers.get(id).state, 'running');
});

test('exec: streams, input, exit codes, users, a terminal', async () => {
  await using world = await openWorld();
  const { containers } = world;
  const id = await world.create(['sleep', '1000'], 'c1', { env: ['PATH=/bin', 'A=1'] });
  await containers.start(id);
  const exec = async (
    args: readonly string[],
    more: { readonly input?: string; readonly user?: string; readonly isTty?: boolean } = {},
  ): Promise<Ran> => {
    const { isTty = false, user, input } = more;
    const created = await containers.execCreate(id, {
      args,
      env: ['B=2'],
      isTty,
      isPrivileged: false,
      ...(user === undefined ? {} : { user }),
      attach: { stdin: input !== undefined, stdout: true, stderr: true },
    });
    const streams = await containers.execStart(created.id, { isDetached: false });
    streams.stdin?.end(input);
    const errors = streams.stderr === undefined ? Promise.resolve('') : text(streams.stderr);
    const output = await text(stream(streams.stdout));
    return { output, errors: await errors, exitCode: containers.execGet(created.id).exitCode ?? -1 };
  };
  assert.deepEqual(await exec(['sh', '-c', 'echo $A$B; echo e >&2; exit 4']), {
    output: '12\n',
    errors: 'e\n',
    exitCode: 4,
  });
  assert.deepEqual(await exec(['cat'], { input: 'in\n' }), { output: 'in\n', errors: '', exitCode: 0 });
  assert.equal((await exec(['id'], { user: '5:6' })).output, 'uid=5 gid=6 groups=6\n');
  assert.match((await exec(['sh', '-c', 'busybox tty'], { isTty: true })).output, /^\/dev\/pts\/\d+\r\n$/);
  await assert.rejects(
    exec(['nosuch']),
    (error) => hasCode(error, 'containerStartFailed') && /executable file not found/.test(error.message),
  );
  await containers.pause(id);
  await assert.rejects(exec(['true']), /is paused, unpause the container before exec/);
  await containers.unpause(id);
  assert.equal(await containers.stop(id, 0), true);
  assert.equal(containers.get(id).exitCode, 137);
});

test('containers outlive the daemon: output, input, exit codes', async () => {
  await using world = await openWorld();
  const idle = await world.create(['sh', '-c', 'echo one; read a; echo "got $a"; exit 5'], 'idle', {
    isStdinOpen: true,
  });
  const brief = await world.create(['sh', '-c', 'read a; exit 7'], 'brief', { isStdinOpen: true });
  await world.containers.start(idle);
  await world.containers.start(brief);
  const brieflyIn = await world.containers.attach(brief, allStreams);
  for await (const { data } of world.containers.logs(
    idle,
    { stdout: true, stderr: true, isFollow: true },
    never,
  )) {
    if (data.toString() === 'one\n') break;
  }
  brieflyIn.stdin?.write('go\n');
  await world.close();

  const containers = await world.open();
  assert.equal((await containers.wait(brief, 'not-running', never).done).exitCode, 7);
  assert.equal(containers.get('idle').state, 'running');
  const client = await containers.attach(idle, allStreams);
  const output = text(stream(client.stdout));
  const { done } = containers.wait(idle, 'next-exit', never);
  client.stdin?.write('back\n');
  assert.equal((await done).exitCode, 5);
  assert.equal(await output, 'got back\n');
  let log = '';
  const query = { stdout: true, stderr: true, isFollow: false };
  for await (const { data } of containers.logs(idle, query, never)) log += data.toString();
  assert.equal(log, 'one\ngot back\n');
});

test('nothing is left of a container that was removed', async () => {
  await using world = await openWorld();
  await run(world, 'true');
  const id = await world.create(['sleep', '1000'], 'c1');
  await world.containers.start(id);
  await world.containers.remove(id, { isForced: true, removesVolumes: false });
  assert.deepEqual(await world.runtime.list(), []);
  assert.deepEqual([...world.store.entries.keys()], []);
});
