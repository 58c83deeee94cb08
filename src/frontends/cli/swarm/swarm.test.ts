/*
 * What the differential cases cannot show, since their daemon is always the same: a locked swarm, one whose root is being
 * replaced, and `info` of nodes that are no managers. The expected texts are what the docker CLI 28 was seen to print.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, test } from 'node:test';
import type { Io } from '../io.ts';
import { runProgram } from '../program.ts';
import { type StubRoutes, startStubDaemon } from '../stubDaemon.ts';
import { stubSwarm, swarmOfInfo } from '../stubSwarm.ts';
import { formatSwarm } from '../system/infoSwarm.ts';

const folder = mkdtempSync(join(tmpdir(), 'linkspan-swarm-'));
after(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly requests: readonly string[];
  /** What was asked of the terminal. */
  readonly modes: readonly boolean[];
}

/** Runs a command line against a daemon with `routes`; `typed` comes in pieces from a terminal, if it is one. */
async function run(
  words: string,
  routes: StubRoutes,
  typed: readonly string[] = [],
  isTerminal = false,
): Promise<Outcome> {
  const path = join(folder, 's.sock');
  await using daemon = await startStubDaemon(path, { ...stubSwarm, ...routes });
  const texts = { out: '', err: '' };
  const modes: boolean[] = [];
  const stdin = Object.assign(Readable.from(typed), {
    setRawMode: (mode: boolean) => void modes.push(mode),
  }) as unknown as NodeJS.ReadStream;
  const io: Io = {
    out: (text) => void (texts.out += String(text)),
    err: (text) => void (texts.err += String(text)),
    stdin,
    isInTerminal: isTerminal,
    isOutTerminal: isTerminal,
    isErrTerminal: isTerminal,
    env: { LINKSPAN_HOST: `unix://${path}` },
    nowMs: () => 0,
    size: () => undefined,
  };
  const code = await runProgram(words.split(' '), io);
  return { code, ...texts, requests: [...daemon.requests], modes };
}

const withState = (LocalNodeState: string): StubRoutes => ({
  'GET /info': { body: { Swarm: { LocalNodeState } } },
});

test('unlock sends the first line of stdin', async () => {
  const { code, out, requests } = await run('swarm unlock', withState('locked'), [
    ' SWMKEY-1-',
    'abc \nmore',
  ]);
  assert.deepEqual([code, out], [0, '']);
  assert.deepEqual(requests, ['GET /info', 'POST /swarm/unlock {"UnlockKey":"SWMKEY-1-abc"}']);
});

test('unlock asks a terminal, which does not show the key and edits it', async () => {
  const { out, requests, modes } = await run(
    'swarm unlock',
    withState('locked'),
    ['SWX', '\x7fMKEY\r'],
    true,
  );
  assert.equal(out, 'Enter unlock key: \n');
  assert.equal(requests[1], 'POST /swarm/unlock {"UnlockKey":"SWMKEY"}');
  assert.deepEqual(modes, [true, false]);
});

test('Ctrl-C at the question sends nothing and gives the terminal back', async () => {
  const { code, requests, modes } = await run('swarm unlock', withState('locked'), ['SW\x03'], true);
  assert.deepEqual([code, requests, modes], [130, ['GET /info'], [true, false]]);
});

test('unlock of a node in no swarm says so', async () => {
  const { code, err } = await run('swarm unlock', withState('inactive'));
  assert.deepEqual([code, err], [1, 'Error: This node is not part of a swarm\n']);
});

test('ca --rotate ends when the rotation does, with the new root', async () => {
  const done = await run('swarm ca --rotate', {});
  assert.equal(done.out, '-----BEGIN CERTIFICATE-----\nMIIBajCCARCg\n-----END CERTIFICATE-----\n');
  assert.match(done.requests[1] ?? '', /"ForceRotate":1/);
  assert.equal((await run('swarm ca --rotate -q', {})).out, '');
});

test('ca sends the files that it is given, and asks for no other root then', async () => {
  const pem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const path = join(folder, 'ca.pem');
  writeFileSync(path, pem);
  const { requests } = await run(`swarm ca --rotate -d --ca-cert ${path} --ca-key ${path}`, {});
  const sent = JSON.parse((requests[1] ?? '').replace(/^[^{]*/, '')) as { CAConfig: Record<string, unknown> };
  assert.deepEqual(sent.CAConfig, {
    NodeCertExpiry: 7_776_000_000_000_000,
    SigningCACert: pem,
    SigningCAKey: pem,
  });
  const alone = await run(`swarm ca --rotate -d --ca-cert ${path}`, {});
  assert.match(alone.err, /^the --ca-cert flag requires that a --ca-key flag and\/or --external-ca flag/);
});

test('an address that cannot be chosen comes with the way out', async () => {
  const message =
    'could not choose an IP address to advertise since this system has multiple addresses on eth0';
  const { err } = await run('swarm init', { 'POST /swarm/init': { status: 400, body: { message } } });
  assert.equal(err, `Error response from daemon: ${message} - specify one with --advertise-addr\n`);
});

test('self of a node that is no manager gets the daemon’s reason', async () => {
  const message = 'This node is not a swarm manager.';
  const { code, err } = await run('node inspect self', {
    ...withState('inactive'),
    'GET /nodes': { status: 503, body: { message } },
  });
  assert.deepEqual([code, err], [1, `Error response from daemon: ${message}\n`]);
});

test('inspect looks for nodes on managers only', async () => {
  const missing: StubRoutes = Object.fromEntries(
    ['/containers/x/json', '/images/x/json', '/networks/x'].map((path) => [`GET ${path}`, { status: 404 }]),
  );
  const { requests } = await run('inspect x', { ...missing, ...withState('active') });
  assert.ok(!requests.includes('GET /nodes/x'), requests.join('\n'));
});

const { Cluster: _cluster, ...worker } = swarmOfInfo;

for (const [what, swarm, text] of [
  ['nothing', undefined, ' Swarm: inactive\n'],
  ['a locked manager', { LocalNodeState: 'locked', NodeID: 'x' }, ' Swarm: locked\n'],
  [
    'a worker',
    { ...worker, ControlAvailable: false, RemoteManagers: [{ Addr: '192.0.2.11:2377' }] },
    ' Swarm: active\n  NodeID: odekb9o17n6tx32l6qtybpqcm\n  Is Manager: false\n  Node Address: 192.0.2.11\n' +
      '  Manager Addresses:\n   192.0.2.11:2377\n',
  ],
  [
    'a node that failed',
    { ...swarmOfInfo, LocalNodeState: 'error', Error: 'went wrong', RemoteManagers: null },
    ' Swarm: error\n  NodeID: odekb9o17n6tx32l6qtybpqcm\n  Error: went wrong\n  Is Manager: true\n' +
      '  Node Address: 192.0.2.11\n',
  ],
] as const) {
  test(`info of ${what}`, () => {
    assert.equal(formatSwarm(swarm), text);
  });
}
