import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, RestartPolicy } from '../model.ts';
import { openStand, type Stand } from './containerStand.ts';
import { isRestartWanted, isStartDue, nextDelayMs } from './restarts.ts';

const always: RestartPolicy = { name: 'always', maxRetries: 0 };

function record(policy: RestartPolicy['name'] | undefined, change: object = {}): Container {
  const spec = policy === undefined ? {} : { restartPolicy: { name: policy, maxRetries: 0 } };
  const value = { state: 'exited', exitCode: 0, restartCount: 0, startedAt: '2026-01-01T00:00:00Z', spec };
  return { ...value, ...change } as unknown as Container;
}

const limited = (restartCount: number): object => ({
  ...{ restartCount, exitCode: 1 },
  spec: { restartPolicy: { name: 'on-failure', maxRetries: 2 } },
});

for (const [says, container, wanted] of [
  ['none', record(undefined), false],
  ['always, exit code 0', record('always'), true],
  ['unless-stopped', record('unless-stopped'), true],
  ['always, stopped', record('always', { wasStopped: true }), false],
  ['on-failure, exit code 0', record('on-failure'), false],
  ['on-failure, exit code 1', record('on-failure', { exitCode: 1 }), true],
  ['on-failure:2, once restarted', record('on-failure', limited(1)), true],
  ['on-failure:2, twice restarted', record('on-failure', limited(2)), false],
] as const)
  test(`after a run, ${says}: ${wanted}`, () => assert.equal(isRestartWanted(container), wanted));

for (const [says, container, due] of [
  ['none', record(undefined), false],
  ['always, stopped', record('always', { wasStopped: true }), true],
  ['always, never started', record('always', { state: 'created', startedAt: '0001-01-01T00:00:00Z' }), false],
  ['unless-stopped', record('unless-stopped'), true],
  ['unless-stopped, stopped', record('unless-stopped', { wasStopped: true }), false],
  ['on-failure, exit code 1', record('on-failure', { exitCode: 1 }), false],
  ['on-failure, a restart was due', record('on-failure', { exitCode: 1, state: 'restarting' }), true],
  ['always, running', record('always', { state: 'running' }), false],
] as const)
  test(`at the daemon's start, ${says}: ${due}`, () => assert.equal(isStartDue(container), due));

test('the wait doubles up to a minute, and begins anew after ten seconds of running', () => {
  const waits: number[] = [];
  for (let i = 0, ms = 0; i < 12; i++) waits.push((ms = nextDelayMs(ms, 5)));
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  assert.deepEqual(waits.slice(-3), [51_200, 60_000, 60_000]);
  assert.equal(nextDelayMs(60_000, 9_999), 60_000);
  assert.equal(nextDelayMs(60_000, 10_000), 100);
});

/** Lets what is under way get to its next sleep. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function until(stand: Stand, name: string, state: Container['state']): Promise<Container> {
  for (let i = 0; i < 2000; i++) {
    const found = stand.containers.get(name);
    if (found.state === state) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return assert.fail(`${name} is ${stand.containers.get(name).state}, not ${state}`);
}

test('a run that ends is followed by another one, which is counted; who waits is told of each end', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('once', { exitCode: 3 });
  await stand.create('once', 'c1', { restartPolicy: always });
  const end = stand.containers.wait('c1', 'next-exit', new AbortController().signal).done;
  await stand.containers.start('c1');
  const first = await until(stand, 'c1', 'restarting');
  assert.deepEqual([first.restartCount, first.exitCode, first.pid, first.sandbox], [1, 3, 0, undefined]);
  assert.equal((await end).exitCode, 3);
  const next = stand.containers.wait('c1', 'not-running', new AbortController().signal).done;
  stand.clock.wake();
  assert.equal((await next).exitCode, 3);
  for (let i = 0; i < 2000 && stand.containers.get('c1').restartCount < 2; i++) {
    stand.clock.wake();
    await settle();
  }
  assert.ok(stand.containers.get('c1').restartCount >= 2);
  await until(stand, 'c1', 'restarting');
  await assert.rejects(stand.containers.remove('c1', { isForced: false, removesVolumes: false }), {
    message: /container is restarting: stop the container before removing or force remove/,
  });
  assert.equal(await stand.containers.stop('c1'), true);
  const stopped = stand.containers.get('c1');
  assert.deepEqual([stopped.state, stopped.wasStopped], ['exited', true]);
  stand.clock.wake();
  await settle();
  assert.equal(stand.containers.get('c1').state, 'exited');
  assert.equal(await stand.containers.stop('c1'), false);
});

test('what somebody stops or kills stays down, and a start by hand begins anew', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('sleep', {});
  const id = await stand.create('sleep', 'c1', { restartPolicy: always });
  await stand.containers.start('c1');
  await stand.containers.stop('c1');
  assert.equal((await until(stand, 'c1', 'exited')).wasStopped, true);
  await stand.containers.start('c1');
  assert.deepEqual(
    [stand.containers.get('c1').wasStopped, stand.containers.get('c1').restartCount],
    [false, 0],
  );
  await stand.containers.kill('c1', 'KILL');
  await until(stand, 'c1', 'exited');
  // A signal that the program may take for something else is no wish that it ends.
  await stand.containers.start('c1');
  await stand.containers.kill('c1', 'HUP');
  await until(stand, 'c1', 'restarting');
  await stand.containers.start('c1');
  assert.equal((await until(stand, 'c1', 'running')).restartCount, 0);
  stand.runtime.end(id, 1);
  await until(stand, 'c1', 'restarting');
  await stand.containers.remove('c1', { isForced: true, removesVolumes: false });
  assert.throws(() => stand.containers.get('c1'));
});

test('on-failure ends with its last try', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('fail', { exitCode: 9 });
  await stand.create('fail', 'c1', { restartPolicy: { name: 'on-failure', maxRetries: 1 } });
  await stand.containers.start('c1');
  await until(stand, 'c1', 'restarting');
  stand.clock.wake();
  const ended = await until(stand, 'c1', 'exited');
  assert.deepEqual([ended.exitCode, ended.restartCount], [9, 1]);
});

test('a daemon that starts goes on with restarts, and starts what always runs', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('sleep', {});
  const id = await stand.create('sleep', 'due', { restartPolicy: { name: 'on-failure', maxRetries: 0 } });
  await stand.create('sleep', 'always', { restartPolicy: always });
  await stand.create('sleep', 'unless', { restartPolicy: { name: 'unless-stopped', maxRetries: 0 } });
  for (const name of ['due', 'always', 'unless']) await stand.containers.start(name);
  stand.runtime.end(id, 1);
  await until(stand, 'due', 'restarting');
  for (const name of ['always', 'unless']) await stand.containers.stop(name);
  await stand.open();
  stand.clock.wake();
  await until(stand, 'due', 'running');
  await until(stand, 'always', 'running');
  assert.equal(stand.containers.get('unless').state, 'exited');
});

test('a run that cannot be started is tried again', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('sleep', {});
  const id = await stand.create('sleep', 'c1', { restartPolicy: always });
  await stand.containers.start('c1');
  stand.runtime.end(id, 0);
  await until(stand, 'c1', 'restarting');
  stand.faults.arm(2);
  stand.clock.wake();
  for (let i = 0; i < 2000 && stand.containers.get('c1').restartCount < 2; i++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const failed = stand.containers.get('c1');
  assert.deepEqual([failed.state, failed.restartCount], ['restarting', 2]);
  assert.match(failed.error, /injected/);
  stand.faults.arm(0);
  stand.clock.wake();
  await until(stand, 'c1', 'running');
});

test('a refused write ends no restart policy', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('sleep', {});
  const id = await stand.create('sleep', 'c1', { restartPolicy: always });
  await stand.containers.start('c1');
  stand.runtime.end(id, 0);
  await until(stand, 'c1', 'restarting');
  // The record of the start, and then that of its failure.
  const { store } = stand;
  const write = store.txn.bind(store);
  let refusals = 3;
  store.txn = (txn) => (refusals-- > 0 ? Promise.reject(new Error('no room')) : write(txn));
  stand.clock.wake();
  for (let i = 0; i < 2000 && stand.containers.get('c1').state !== 'running'; i++) {
    stand.clock.wake();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.equal(stand.containers.get('c1').state, 'running');
  assert.ok(refusals < 0);
});

test('a kill calls off the restart that is due', async () => {
  await using stand = await openStand();
  stand.runtime.scripts.set('once', { exitCode: 3 });
  await stand.create('once', 'c1', { restartPolicy: always });
  await stand.containers.start('c1');
  await until(stand, 'c1', 'restarting');
  await stand.containers.kill('c1', 'KILL');
  assert.equal(stand.containers.get('c1').state, 'exited');
});
