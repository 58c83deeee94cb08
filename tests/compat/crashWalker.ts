/*
 * Walks through the durable steps, kernel calls and runtime calls of operations: at each, or at every few from one by
 * chance, once the daemon is killed, once
 * the call fails. After the restart (or the error) the kernel, the store and containerd
 * agree with what the API says, and once everything that it says is removed, nothing is left. A step that fails gets
 * the walk a new daemon, so that it spoils no other.
 */
import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { openSeam } from '../../src/base/seam.ts';
import { type ContainerdClient, openClient } from '../../src/runtime/containerd/client.ts';
import { eventually } from './command.ts';
import { type Daemon, processes, startDaemon } from './daemonFixture.ts';
import { type HostState, readHostState } from './hostState.ts';
import { ownEngines } from './reference.ts';

const [engine] = ownEngines('it has no seam to fail at', 'docker');
const faultFile = '/run/linkspan-fault';
/** Links of a dying namespace and ended shims go after the answer; what stays is the point. */
const settleMs = 5000;
/** No step for so long: there will be none. */
const quietMs = 200;
/** A step after the answer comes within this time. */
const lateMs = 1000;

interface Answer {
  /** 0 = the daemon went away before it answered. */
  readonly status: number;
  readonly body: unknown;
}

export type Call = (daemon: Daemon) => Promise<Answer>;

export function call({ socketPath }: Daemon, method: string, path: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve) => {
    const gone = (): void => resolve({ status: 0, body: undefined });
    const headers = { 'content-type': 'application/json' };
    const out = request({ socketPath, method, path, headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) }),
      );
      response.on('error', gone);
    });
    out.on('error', gone);
    out.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export interface Operation {
  readonly name: string;
  /** What must be there before it. */
  readonly setUp: readonly Call[];
  readonly run: Call;
  /** Walks every so many steps, from one by chance; default all. LINKSPAN_WALK_STRIDE=1 walks them all. */
  readonly stride?: number;
}

/** Entries of the store, by key. */
export type Entries = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** What the walk is about. Networks are called `walk…`. */
export interface Subject {
  readonly operations: readonly Operation[];
  /** Before all else. */
  readonly begin: readonly Call[];
  /** Makes and removes one of everything: what stays of that was there before. */
  readonly once: readonly Call[];
  /** What of them is in the host's namespaces. */
  readonly expect: (
    networks: readonly string[],
    ips: readonly string[],
    running: number,
  ) => { readonly bridges: readonly string[]; readonly veths: number; readonly namespaces: number };
  /** True for endpoints that the API lists. */
  readonly isListed: (endpoint: Readonly<Record<string, unknown>>) => boolean;
  /** What more is stored, and should be by the rest of what is. */
  readonly compareStored: (entries: Entries) => { readonly actual: object; readonly expected: object };
}

/** A daemon on roots and hosts of its own, with what it looks like with nothing made. */
interface World {
  readonly daemon: Daemon;
  /** Asks its containerd. */
  readonly client: ContainerdClient;
  readonly baseline: HostState;
}

let world: World | undefined;

async function openWorld({ begin, once }: Subject): Promise<World> {
  process.env['LINKSPAN_FAULT_FILE'] = faultFile;
  if (engine === undefined) throw new Error('no engine to judge');
  const daemon = await startDaemon(engine);
  await setUp(daemon, [...begin, ...once]);
  const client = await openClient(daemon.containerd.socketPath, openSeam());
  return { daemon, client, baseline: await readHostState(daemon) };
}

async function closeWorld(): Promise<void> {
  const closing = world;
  world = undefined;
  closing?.client[Symbol.dispose]();
  await closing?.daemon[Symbol.asyncDispose]();
}

/** Works on the world that is there; a failure ends it. */
async function inWorld(subject: Subject, work: (world: World) => Promise<void>): Promise<void> {
  world ??= await openWorld(subject);
  try {
    await work(world);
  } catch (error) {
    await closeWorld();
    throw error;
  }
}

async function setUp(daemon: Daemon, steps: readonly Call[]): Promise<void> {
  for (const step of steps) {
    const { status, body } = await step(daemon);
    assert.ok(status >= 200 && status < 300, `set-up: ${JSON.stringify(body)}\n${daemon.logTail()}`);
  }
}

/** Gives the daemon's fault seam an order; resolves with its answer. */
async function order(daemon: Daemon, text: string): Promise<string> {
  writeFileSync(faultFile, text);
  process.kill(daemon.pid(), 'SIGUSR2');
  const read = (): string => readFileSync(faultFile, 'utf8');
  assert.ok(await eventually(() => /^(armed|count \d+)$/.test(read()), 5000), 'the seam does not answer');
  return read();
}

async function stepsSeen(daemon: Daemon): Promise<number> {
  return Number(/^count (\d+)$/.exec(await order(daemon, 'report'))?.[1]);
}

interface Said {
  readonly networks: readonly string[];
  readonly containers: readonly {
    readonly id: string;
    readonly isRunning: boolean;
    /** A removal that failed; it may be tried again. */
    readonly isDead: boolean;
    /** On each network. */
    readonly ips: readonly string[];
  }[];
}

/** What the API says there is. */
async function said(daemon: Daemon): Promise<Said> {
  const [networks, containers] = await Promise.all([
    call(daemon, 'GET', '/networks'),
    call(daemon, 'GET', '/containers/json?all=1'),
  ]);
  return {
    networks: (networks.body as { Name: string; Id: string }[])
      .filter(({ Name }) => Name.startsWith('walk'))
      .map(({ Id }) => Id),
    containers: (
      containers.body as {
        Id: string;
        State: string;
        NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
      }[]
    ).map(({ Id, State, NetworkSettings }) => ({
      id: Id,
      isRunning: State === 'running',
      isDead: State === 'dead' || State === 'removing',
      ips: Object.values(NetworkSettings.Networks)
        .map(({ IPAddress }) => IPAddress)
        .filter((ip) => ip !== ''),
    })),
  };
}

interface Stored {
  readonly networks: readonly string[];
  readonly containers: readonly string[];
  /** Containers. */
  readonly running: readonly string[];
  /** Addresses of endpoints, without length. */
  readonly attached: readonly string[];
}

/** The store's own word, from a copy of its files: the daemon holds them. */
function readEntries(daemon: Daemon): Entries {
  const folder = mkdtempSync('/run/walk-store-');
  const source = join(daemon.execRoot, '../data');
  for (const name of ['state.db', 'state.db-wal'])
    if (existsSync(join(source, name))) copyFileSync(join(source, name), join(folder, name));
  const db = new DatabaseSync(join(folder, 'state.db'));
  try {
    const rows = db.prepare('SELECT key, json FROM entries').all() as { key: string; json: string }[];
    return new Map(rows.map(({ key, json }) => [key, JSON.parse(json) as Readonly<Record<string, unknown>>]));
  } finally {
    db.close();
    rmSync(folder, { recursive: true });
  }
}

export function entriesBelow(entries: Entries, prefix: string): readonly Readonly<Record<string, unknown>>[] {
  return [...entries].filter(([key]) => key.startsWith(prefix)).map(([, value]) => value);
}

function readStored(entries: Entries, { isListed }: Subject): Stored {
  const of = (prefix: string) => entriesBelow(entries, prefix);
  return {
    networks: of('networks/').flatMap(({ name, id }) => (String(name).startsWith('walk') ? String(id) : [])),
    containers: of('containers/').map(({ id }) => String(id)),
    running: of('containers/').flatMap(({ id, state }) => (state === 'running' ? String(id) : [])),
    attached: of('endpoints/').flatMap((endpoint) => {
      const { state, ipv4 } = endpoint;
      const isCounted = state === 'attached' && isListed(endpoint);
      return isCounted && typeof ipv4 === 'string' ? (ipv4.split('/')[0] ?? '') : [];
    }),
  };
}

/** What containerd has of containers: ids of snapshots, records and running tasks. */
async function readContainerd(
  client: ContainerdClient,
): Promise<Record<'snapshots' | 'records' | 'tasks', string[]>> {
  const snapshots: string[] = [];
  // Named by the container; `sha256:…` are the image's layers.
  for await (const { info } of client.stream('Snapshots.List', { snapshotter: 'overlayfs', filters: [] }))
    snapshots.push(...info.flatMap(({ name }) => (/^[0-9a-f]{64}$/.test(name) ? name : [])));
  const { containers } = await client.call('Containers.List', { filters: [] });
  const { tasks } = await client.call('Tasks.List', {});
  return { snapshots, records: containers.map(({ id }) => id), tasks: tasks.map(({ id }) => id) };
}

/** Names of the daemon's links, without starting a program. */
function linkNames(daemon: Daemon): readonly string[] {
  const table = readFileSync(`/proc/${daemon.pid()}/net/dev`, 'utf8');
  return table.split('\n').flatMap((line) => /^ *([^:|]+):/.exec(line)?.[1] ?? []);
}

/** How many IPv4 default routes a container's process sees. */
async function defaultRoutesOf(daemon: Daemon, id: string): Promise<number> {
  const { body } = await call(daemon, 'GET', `/containers/${id}/json`);
  const { Pid } = (body as { State: { Pid: number } }).State;
  const rows = readFileSync(`/proc/${Pid}/net/route`, 'utf8').split('\n').slice(1);
  return rows.filter((row) => row.split('\t')[1] === '00000000').length;
}

/** What the kernel, the store and containerd hold, and what they should by the API's word. */
async function compare(
  { daemon, client, baseline }: World,
  subject: Subject,
): Promise<{ actual: object; expected: object }> {
  const { networks, containers } = await said(daemon);
  const ids = containers.map(({ id }) => id);
  const running = containers.filter(({ isRunning }) => isRunning);
  const runningIds = running.map(({ id }) => id);
  // A removal that failed may have got a part of it.
  const deadIds = containers.filter(({ isDead }) => isDead).map(({ id }) => id);
  const ips = running.flatMap((container) => container.ips).toSorted();
  const entries = readEntries(daemon);
  const store = readStored(entries, subject);
  const more = subject.compareStored(entries);
  const containerd = await readContainerd(client);
  const links = linkNames(daemon).filter((link) => !baseline.links.includes(link));
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const count = (pattern: RegExp): number => mounts.filter((line) => pattern.test(line)).length;
  return {
    expected: {
      ...subject.expect(networks, ips, running.length),
      more: more.expected,
      // One that has a network has a way out.
      ways: running.map((container) => Math.min(1, container.ips.length)),
      overlayMounts: baseline.overlayMounts + running.length,
      shims: running.length,
      tasks: runningIds,
      snapshots: ids.filter((id) => !deadIds.includes(id)),
      recordsOfNobody: [],
      runningWithoutRecord: [],
      folders: ids,
      stored: { networks: networks.toSorted(), containers: ids, running: runningIds, attached: ips },
    },
    actual: {
      more: more.actual,
      bridges: links.filter((link) => /^(br-|lsdel)/.test(link)).toSorted(),
      veths: links.filter((link) => link.startsWith('veth')).length,
      ways: await Promise.all(runningIds.map((id) => defaultRoutesOf(daemon, id))),
      namespaces: mounts.filter((line) => line.includes(' - nsfs ') && line.includes(daemon.execRoot)).length,
      overlayMounts: count(/ - overlay /),
      shims: processes().filter(({ command }) => command.includes('containerd-shim')).length,
      tasks: containerd.tasks,
      snapshots: containerd.snapshots.filter((id) => !deadIds.includes(id)),
      // containerd's record is made at the first start: a container that never ran has only its snapshot there.
      recordsOfNobody: containerd.records.filter((id) => !ids.includes(id)),
      runningWithoutRecord: runningIds.filter((id) => !containerd.records.includes(id)),
      folders: readdirSync(join(daemon.execRoot, '../data/containers')),
      stored: {
        ...store,
        networks: store.networks.toSorted(),
        attached: store.attached.toSorted(),
      },
    },
  };
}

/** Kernel, store and containerd hold exactly what the API says, on top of the baseline. */
async function assertAgreement(there: World, subject: Subject, where: string): Promise<void> {
  let found: Awaited<ReturnType<typeof compare>> | undefined;
  await eventually(async () => {
    found = await compare(there, subject);
    return isDeepStrictEqual(found.actual, found.expected);
  }, settleMs);
  assert.deepEqual(found?.actual, found?.expected, `${where}\n${there.daemon.logTail()}`);
}

/** Removes what the API names; afterwards everything is as if nothing had been. */
async function cleanUp({ daemon, baseline }: World, subject: Subject, where: string): Promise<void> {
  const { containers, networks } = await said(daemon);
  for (const path of [
    ...containers.map(({ id }) => `/containers/${id}?force=1`),
    ...networks.map((id) => `/networks/${id}`),
  ]) {
    let answer: Answer | undefined;
    // A manager may hear a moment later that nothing is on a network any more.
    await eventually(async () => {
      answer = await call(daemon, 'DELETE', path);
      return !JSON.stringify(answer.body ?? '').includes('is in use by task');
    }, settleMs);
    const text = `${where}: DELETE ${path}: ${JSON.stringify(answer?.body)}`;
    assert.equal(answer?.status, 204, `${text}\n${daemon.logTail()}`);
  }
  let state: HostState | undefined;
  await eventually(async () => {
    state = await readHostState(daemon);
    return isDeepStrictEqual(state, baseline);
  }, settleMs);
  assert.deepEqual(state, baseline, `${where}, after the clean-up\n${daemon.logTail()}`);
  const entries = readEntries(daemon);
  const nothing = { networks: [], containers: [], running: [], attached: [] };
  assert.deepEqual(readStored(entries, subject), nothing, where);
  const { actual, expected } = subject.compareStored(entries);
  assert.deepEqual(actual, expected, where);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Steps once they come no more: the last ones follow the answer, and the reconciler looks at what changed. */
async function stepsInAll(daemon: Daemon): Promise<number> {
  let last = -1;
  for (let count = await stepsSeen(daemon); count !== last; count = await stepsSeen(daemon)) {
    last = count;
    await sleep(quietMs);
  }
  return last;
}

/** Runs the operation with something done to its step `n`; false if the run had fewer. */
type Disturb = (daemon: Daemon, run: Call, n: number, where: string) => Promise<boolean>;

/** The daemon is killed before the step, and starts again. */
const die: Disturb = async (daemon, run, n) => {
  const pid = daemon.pid();
  await order(daemon, `crash@${n}`);
  const { status } = await run(daemon);
  // Without an answer the daemon is gone, though its process may be there a moment longer.
  const isReached = await eventually(() => !isAlive(pid), status === 0 ? settleMs : lateMs);
  if (isReached) await daemon.start();
  return isReached;
};

/** The step fails. Where it was the disk that did not keep what was written, another daemon is needed, as its error says. */
const fail: Disturb = async (daemon, run, n, where) => {
  await order(daemon, `EIO@${n}`);
  const { status } = await run(daemon);
  assert.ok(status >= 200, `${where}: no answer\n${daemon.logTail()}`);
  const isReached = (await stepsInAll(daemon)) >= n;
  const { body } = await call(daemon, 'GET', '/linkspan/v1/conditions');
  if (!JSON.stringify(body).includes('"store.sync"')) return isReached;
  await daemon.kill('SIGKILL');
  await daemon.start();
  return isReached;
};

/** One step of the walk; false if the run had fewer. */
async function walkStep(
  there: World,
  subject: Subject,
  { setUp: steps, run }: Operation,
  disturb: Disturb,
  { n, where }: { readonly n: number; readonly where: string },
): Promise<boolean> {
  const { daemon } = there;
  await setUp(daemon, steps);
  const isReached = await disturb(daemon, run, n, where);
  if (!isReached) await order(daemon, 'count');
  await assertAgreement(there, subject, where);
  await cleanUp(there, subject, where);
  return isReached;
}

/** Tests of one operation. */
function walkOperation(subject: Subject, operation: Operation): void {
  const { name, setUp: steps, run } = operation;
  /** Steps before the answer, always there; and with all that may follow it. */
  let own = 0;
  let most = 0;

  /** Goes on after a step that failed and names all that did. */
  const walk = async (disturb: Disturb, how: string): Promise<void> => {
    const failures: string[] = [];
    // By as much as the counted runs differed, by what the daemon does beside, another may be shorter than all of them.
    const sure = own - (most - own);
    const stride = Math.max(1, Number(process.env['LINKSPAN_WALK_STRIDE'] ?? operation.stride ?? 1));
    for (let n = 1 + Math.floor(Math.random() * Math.min(stride, own)); n <= most; n += stride) {
      const where = `${name}, ${how} at step ${n} of ${own} to ${most}`;
      await inWorld(subject, async (there) => {
        let isReached = false;
        // A look of the reconciler that fell into every counted run may be missing in one.
        for (let tries = 0; !isReached && tries < (n > sure ? 1 : 3); tries++)
          isReached = await walkStep(there, subject, operation, disturb, { n, where });
        assert.ok(isReached || n > sure, `${where} was not reached`);
      }).catch((error: Error) => {
        failures.push(error.message);
      });
    }
    assert.equal(failures.join('\n\n'), '');
  };

  test(`${name}: passes the seam`, () =>
    inWorld(subject, async (there) => {
      const { daemon } = there;
      const before: number[] = [];
      const after: number[] = [];
      for (let i = 0; i < 3; i++) {
        await setUp(daemon, steps);
        await order(daemon, 'count');
        // What the reconciler still looks at after the set-up is not the operation's.
        await stepsInAll(daemon);
        await order(daemon, 'count');
        const { status } = await run(daemon);
        before.push(await stepsSeen(daemon));
        assert.ok(status >= 200 && status < 300, daemon.logTail());
        after.push(await stepsInAll(daemon));
        await assertAgreement(there, subject, name);
        await cleanUp(there, subject, name);
      }
      own = Math.min(...before);
      most = Math.max(...after);
      assert.ok(own >= 2, `${name} passed only ${own} steps`);
    }));

  test(`${name}: killed on the way, the restart leaves what the API says`, () => walk(die, 'killed'));

  test(`${name}: a step that fails leaves what the API says`, () => walk(fail, 'EIO'));
}

/** Registers the tests; nothing where there is no engine of ours to judge. */
export function walkAll(subject: Subject): void {
  after(closeWorld);
  for (const operation of engine === undefined ? [] : subject.operations) walkOperation(subject, operation);
}
