import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { LogWriter } from './logWriter.ts';
import { ProcessIo, type ProcessIoOptions } from './processIo.ts';

const everything = {
  stdin: true,
  stdout: true,
  stderr: true,
  detachKeys: 'ctrl-p,ctrl-q',
  onDetach: () => {},
};

interface Stand extends AsyncDisposable {
  readonly io: ProcessIo;
  readonly folder: string;
  /** Calls of closeStdin. */
  readonly closed: number[];
}

function openStand(change: Partial<ProcessIoOptions> = {}): Stand {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-io-'));
  const closed: number[] = [];
  const io = new ProcessIo({
    directory: join(folder, 'fifos'),
    prefix: '',
    isTty: false,
    hasStdin: true,
    outputs: ['stdout', 'stderr'],
    isStdinOnce: true,
    log: undefined,
    makeFifo: (path) => void execFileSync('mkfifo', [path]),
    closeStdin: () => closed.push(1),
    ...change,
  });
  const asyncDispose = async (): Promise<void> => {
    await io.finish();
    rmSync(folder, { recursive: true });
  };
  return { io, folder, closed, [Symbol.asyncDispose]: asyncDispose };
}

function collect(stream: Readable | undefined): Promise<Buffer> {
  return stream === undefined ? Promise.reject(new Error('no such stream')) : buffer(stream);
}

function firstChunk(stream: Readable | undefined): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  stream?.once('data', resolve);
  return promise;
}

/** Plays the shim: a shell with its streams on the FIFOs. It opens them in the order of the redirections. */
function shim(script: string, paths: ReturnType<ProcessIo['open']>): Promise<number> {
  const redirections = `<"${paths.stdin}" >"${paths.stdout}" ${paths.stderr === undefined ? '' : `2>"${paths.stderr}"`}`;
  const child = spawn('sh', ['-c', `exec ${redirections}; ${script}`], { stdio: 'ignore' });
  const { promise, resolve } = Promise.withResolvers<number>();
  child.on('exit', (code) => resolve(code ?? -1));
  return promise;
}

test('20 MB out and 3 MB in arrive byte for byte, input before the process exists included', async () => {
  await using stand = openStand();
  const { io } = stand;
  const input = randomBytes(3_000_000);
  const client = io.attach(everything);
  client.stdin?.end(input);
  const output = collect(client.stdout);
  const paths = io.open();
  const exit = shim('cat; head -c 17000000 /dev/zero; echo err >&2', paths);
  io.begin();
  io.connected();
  const errors = collect(client.stderr);
  assert.equal(await exit, 0);
  await io.drained();
  await io.finish();
  const received = await output;
  assert.equal(received.length, 20_000_000);
  assert.ok(received.subarray(0, input.length).equals(input));
  assert.ok(received.subarray(input.length).equals(Buffer.alloc(17_000_000)));
  assert.equal((await errors).toString(), 'err\n');
  assert.deepEqual(stand.closed, [1]);
});

test('everybody who attaches sees the output, and the log has it too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-io-'));
  const log = new LogWriter({ path: join(folder, 'log'), clock: systemClock, onFailure: assert.ifError });
  await using stand = openStand({ log, hasStdin: true });
  const { io } = stand;
  const clients = [io.attach(everything), io.attach({ ...everything, stderr: false, stdin: false })];
  assert.equal(clients[1]?.stderr, undefined);
  const outputs = clients.map(({ stdout }) => collect(stdout));
  const paths = io.open();
  const exit = shim('echo one; echo two >&2; printf rest', paths);
  io.begin();
  io.connected();
  clients[0]?.stdin?.end();
  clients[0]?.stderr?.resume();
  assert.equal(await exit, 0);
  await io.drained();
  await io.finish();
  for (const output of outputs) assert.equal((await output).toString(), 'one\nrest');
  const lines = readFileSync(log.path, 'utf8').trim().split('\n');
  const logged = lines.map((line) => JSON.parse(line) as { log: string; stream: string });
  assert.deepEqual(
    logged.filter(({ stream }) => stream === 'stdout').map(({ log: text }) => text),
    ['one\n', 'rest'],
  );
  assert.ok(logged.some(({ stream, log: text }) => stream === 'stderr' && text === 'two\n'));
  rmSync(folder, { recursive: true });
});

test('a slow client holds the process back and a client that leaves does not', async () => {
  await using stand = openStand({ hasStdin: true, outputs: ['stdout', 'stderr'] });
  const { io } = stand;
  const slow = io.attach({ ...everything, stdin: false, stderr: false });
  const fast = io.attach({ ...everything, stdin: false, stderr: false });
  let fastBytes = 0;
  fast.stdout?.on('data', (chunk: Buffer) => {
    fastBytes += chunk.length;
  });
  const paths = io.open();
  const exit = shim('head -c 2000000 /dev/zero', paths);
  io.begin();
  io.connected();
  // Nobody reads `slow`: the fast one gets no more than what fits into its buffers.
  await new Promise((resolve) => fast.stdout?.once('data', resolve));
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(fastBytes < 1_000_000, String(fastBytes));
  slow.close();
  assert.equal(await exit, 0);
  await io.drained();
  assert.equal(fastBytes, 2_000_000);
});

test('with a terminal the detach keys end the client, and an end of input does not reach the process', async () => {
  await using stand = openStand({ isTty: true });
  const { io } = stand;
  let detached = 0;
  const client = io.attach({ ...everything, onDetach: () => void (detached += 1) });
  const output = collect(client.stdout);
  const other = io.attach({ ...everything, stdin: true });
  const paths = io.open();
  assert.equal(paths.stderr, undefined);
  const exit = shim('read a; echo "got $a"; read b; echo "got $b"', paths);
  io.begin();
  io.connected();
  const seen = Promise.withResolvers<void>();
  other.stdout?.once('data', () => seen.resolve());
  client.stdin?.write('first\n');
  await seen.promise;
  client.stdin?.write(Buffer.from([16, 17]));
  assert.equal((await output).toString(), 'got first\n');
  assert.equal(detached, 1);
  assert.deepEqual(stand.closed, []);
  const rest = collect(other.stdout);
  other.stdin?.write('second\n');
  assert.equal(await exit, 0);
  await io.drained();
  await io.finish();
  assert.equal((await rest).toString(), 'got second\n');
});

test('a new daemon goes on with the streams of the old one', async () => {
  await using stand = openStand();
  const first = stand.io;
  const paths = first.open();
  // The shim holds both ends of everything, so that the process outlives its readers.
  const held = [paths.stdin, paths.stdout, paths.stderr].map((path) => openSync(path ?? '', 'r+'));
  const exit = shim('echo before; read a; echo "after $a"', paths);
  const early = first.attach({ ...everything, stdin: false, stderr: false });
  first.begin();
  first.connected();
  assert.equal((await firstChunk(early.stdout)).toString(), 'before\n');
  await first.leave();

  const second = new ProcessIo({
    directory: join(stand.folder, 'fifos'),
    prefix: '',
    isTty: false,
    hasStdin: true,
    outputs: ['stdout', 'stderr'],
    isStdinOnce: false,
    log: undefined,
    makeFifo: () => assert.fail('nothing is made'),
    closeStdin: () => {},
  });
  const late = second.attach(everything);
  const output = collect(late.stdout);
  second.reopen();
  late.stdin?.write('restart\n');
  assert.equal(await exit, 0);
  for (const fd of held) closeSync(fd);
  await second.drained();
  await second.finish();
  assert.equal((await output).toString(), 'after restart\n');
});

test('input and its end wait for a shim that opens its side late', async () => {
  await using stand = openStand();
  const { io } = stand;
  const client = io.attach(everything);
  const output = collect(client.stdout);
  client.stderr?.resume();
  const paths = io.open();
  io.begin();
  io.connected();
  client.stdin?.end('first\n');
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(stand.closed, []);
  assert.equal(await shim('cat', paths), 0);
  await io.drained();
  await io.finish();
  assert.equal((await output).toString(), 'first\n');
  assert.deepEqual(stand.closed, [1]);
});
