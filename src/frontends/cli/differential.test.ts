/*
 * Our CLI and the stock docker CLI, version 28, both against the same stub daemon: same stdout, same exit code, same
 * requests, and the same stderr once the program's name is taken out. What docker does is on record in
 * testdata/dockerOutcomes.json; with UPDATE_GOLDEN=1 and a docker CLI 28 on PATH every case is recorded anew.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { differentialCases } from './differentialCases.ts';
import type { Io } from './io.ts';
import { runProgram } from './program.ts';
import { type StubDaemon, startStubDaemon } from './stubDaemon.ts';
import { stubReplies } from './stubReplies.ts';

function hasDocker28(): boolean {
  try {
    const env = { ...process.env, DOCKER_HOST: 'unix:///nonexistent' };
    return execFileSync('docker', ['--version'], { env, encoding: 'utf8' }).includes('version 28.');
  } catch {
    return false;
  }
}

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
  readonly requests: readonly string[];
}

/** What docker did, and when: ages in its tables are counted from then. */
interface Recorded extends Outcome {
  readonly atMs: number;
}

const recordPath = join(import.meta.dirname, 'testdata/dockerOutcomes.json');
const isRecording = process.env['UPDATE_GOLDEN'] === '1';

const folder = mkdtempSync(join(tmpdir(), 'linkspan-cli-'));
const socket = join(folder, 's.sock');
let daemon: StubDaemon;

const env = {
  PATH: process.env['PATH'],
  HOME: folder,
  TZ: 'UTC',
  DOCKER_HOST: `unix://${socket}`,
  FOO: 'from env',
};

/** Paths of the machine that it ran on, and a logger's lines, are taken out. */
function withoutMachine(text: string): string {
  return text
    .replaceAll(folder, '$HOME')
    .replaceAll(process.cwd(), '$PWD')
    .replaceAll(/^time="[^"]*" level=\w+ msg=.*\n/gm, '');
}

function runDocker(args: readonly string[]): Promise<Recorded> {
  daemon.requests.length = 0;
  const atMs = Date.now();
  const { promise, resolve } = Promise.withResolvers<Recorded>();
  const child = execFile(
    'docker',
    args,
    { env, encoding: 'utf8', timeout: 20_000 },
    (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      const requests = daemon.requests.map(withoutMachine);
      resolve({ atMs, stdout: withoutMachine(stdout), stderr: withoutMachine(stderr), code, requests });
    },
  );
  child.stdin?.end();
  return promise;
}

/** Ours runs in this process: a start of Node for each case would cost most of the time. */
async function runOurs(args: readonly string[], nowMs: number): Promise<Outcome> {
  daemon.requests.length = 0;
  const texts = { stdout: '', stderr: '' };
  const io: Io = {
    out: (text) => void (texts.stdout += Buffer.from(text).toString('utf8')),
    err: (text) => void (texts.stderr += Buffer.from(text).toString('utf8')),
    stdin: Readable.from([]) as NodeJS.ReadStream,
    isInTerminal: false,
    isOutTerminal: false,
    isErrTerminal: false,
    env,
    nowMs: () => nowMs,
    size: () => undefined,
  };
  const code = await runProgram(args, io);
  return { ...texts, code, requests: daemon.requests.map(withoutMachine) };
}

/** Both programs' texts in one form. */
function neutral(text: string): string {
  return text.replaceAll(/\blinkspan\b/g, 'docker').replaceAll(/^exit status 1\n/gm, '');
}

/** Requests that only one of them makes to find out what the other learns from the next answer. */
const lookups = [
  /^GET \/networks\/[^ ]+$/,
  /^GET \/containers\/[^ ]+\/json$/,
  /^GET \/info$/,
  /^GET \/(volumes|plugins|services|tasks|secrets|configs)\//,
];

/** Docker's CLI keeps these in Go maps, so their order changes from run to run. */
function sortLists(key: string, value: unknown): unknown {
  if (!['Env', 'Binds', 'Ulimits', 'Config'].includes(key) || !Array.isArray(value)) return value;
  return value.map((each) => JSON.stringify(each)).sort((a, b) => (a < b ? -1 : 1));
}

function comparable(requests: readonly string[], isDetached: boolean): unknown[] {
  return requests
    .filter(
      (line) => !lookups.some((pattern) => pattern.test(line)) && !(isDetached && line.includes('/wait?')),
    )
    .toSorted()
    .map((line) => {
      const [method, url = '', ...body] = line.split(' ');
      const text = body.join(' ');
      return { method, url, body: text.startsWith('{') ? (JSON.parse(text, sortLists) as unknown) : text };
    });
}

const recorded = JSON.parse(readFileSync(recordPath, 'utf8')) as Record<string, Recorded>;
const record: Record<string, Recorded> = isRecording ? {} : recorded;

/** What is on record for `key`, if docker still does the same: a new time alone is no news. */
function unlessSame(key: string, fresh: Recorded): Recorded {
  const known = recorded[key];
  return known !== undefined && isDeepStrictEqual({ ...known, atMs: 0 }, { ...fresh, atMs: 0 })
    ? known
    : fresh;
}

async function docker(args: readonly string[]): Promise<Recorded> {
  const key = args.join(' ');
  if (isRecording) record[key] = unlessSame(key, await runDocker(args));
  const outcome = record[key];
  assert.ok(
    outcome,
    `no outcome of docker is recorded for '${key}': run with UPDATE_GOLDEN=1 and read the diff`,
  );
  return outcome;
}

before(async () => {
  process.env['TZ'] = 'UTC';
  if (isRecording) assert.ok(hasDocker28(), 'recording needs a docker CLI 28 on PATH');
  daemon = await startStubDaemon(socket, stubReplies);
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
  if (isRecording) writeFileSync(recordPath, `${JSON.stringify(record, null, 1)}\n`);
});

for (const { args, ignores = [], within = /^[^]*$/ } of differentialCases) {
  test(`like docker: ${args.join(' ')}`, async () => {
    const theirs = await docker(args);
    const ours = await runOurs(args, theirs.atMs);
    if (!ignores.includes('stdout'))
      assert.equal(
        neutral(within.exec(ours.stdout)?.[0] ?? ''),
        neutral(within.exec(theirs.stdout)?.[0] ?? ''),
        'stdout',
      );
    if (!ignores.includes('stderr')) assert.equal(neutral(ours.stderr), neutral(theirs.stderr), 'stderr');
    assert.equal(ours.code, theirs.code, 'exit code');
    // A detached run asks for the exit code too, only to drop the answer.
    const isDetached = args.includes('-d');
    if (!ignores.includes('requests'))
      assert.deepEqual(
        comparable(ours.requests, isDetached),
        comparable(theirs.requests, isDetached),
        'requests',
      );
  });
}
