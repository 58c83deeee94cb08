import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHealthcheck, type Healthcheck, mergeHealthcheck } from '../../runtime/oci/healthcheck.ts';
import type { HealthStatus } from '../model.ts';
import { openStand, type Stand } from './containerStand.ts';
import { type Health, type ProbeResult, probeDelayMs, withResult } from './healthState.ts';
import { formatGoDuration } from './probes.ts';

const plain: Healthcheck = {
  ...{ test: ['CMD', 'ask'], intervalNs: 0, timeoutNs: 0, startPeriodNs: 0, startIntervalNs: 0, retries: 0 },
};
const said = (exitCode: number): ProbeResult => ({ start: 's', end: 'e', exitCode, output: '' });

/** The status after each of these exit codes, the probes being a second apart. */
function statuses(exitCodes: readonly number[], healthcheck = plain): string {
  let health: Health = { status: 'starting', failingStreak: 0, log: [] };
  return exitCodes
    .map((exitCode, i) => {
      health = withResult(health, said(exitCode), healthcheck, i * 1000);
      return `${health.status} ${health.failingStreak}`;
    })
    .join(', ');
}

test('three failures in a row are unhealthy unless told, one success is healthy', () => {
  assert.equal(
    statuses([1, 0, 1, -1, 1, 0]),
    'starting 1, healthy 0, healthy 1, healthy 2, unhealthy 3, healthy 0',
  );
  assert.equal(statuses([2], { ...plain, retries: 1 }), 'unhealthy 1');
});

test('failures of the start period do not count, until the first success', () => {
  const healthcheck = { ...plain, startPeriodNs: 2e9, retries: 1 };
  assert.equal(statuses([1, 1, 1], healthcheck), 'starting 0, starting 0, unhealthy 1');
  assert.equal(statuses([0, 1], healthcheck), 'healthy 0, unhealthy 1');
});

test('the last five results are kept', () => {
  let health: Health = { status: 'starting', failingStreak: 0, log: [] };
  for (let code = 0; code < 7; code++) health = withResult(health, said(code), plain, 0);
  assert.deepEqual(
    health.log.map(({ exitCode }) => exitCode),
    [2, 3, 4, 5, 6],
  );
});

test('probes are half a minute apart unless told, and in the start period five seconds', () => {
  for (const [change, status, ranMs, wanted] of [
    [{}, 'starting', 0, 30_000],
    [{ intervalNs: 2e9 }, 'healthy', 0, 2000],
    [{ intervalNs: -5 }, 'healthy', 0, 30_000],
    [{ intervalNs: 1e18 }, 'healthy', 0, 2 ** 31 - 1],
    [{ startPeriodNs: 1e9 }, 'starting', 999, 5000],
    [{ startPeriodNs: 1e9, startIntervalNs: 1e8 }, 'starting', 0, 100],
    [{ startPeriodNs: 1e9, startIntervalNs: 1e8 }, 'healthy', 0, 30_000],
    [{ startPeriodNs: 1e9, startIntervalNs: 1e8 }, 'starting', 1000, 30_000],
  ] as const)
    assert.equal(probeDelayMs({ ...plain, ...change }, status satisfies HealthStatus, ranMs), wanted);
});

test('what a user does not say of a healthcheck is the image’s', () => {
  const image = { ...plain, test: ['CMD', 'image'], intervalNs: 5e9, retries: 7 };
  assert.deepEqual(mergeHealthcheck({ ...plain, test: [], retries: 1 }, image), { ...image, retries: 1 });
  assert.equal(mergeHealthcheck(undefined, image), image);
  assert.equal(mergeHealthcheck(plain, undefined), plain);
});

for (const [change, message] of [
  [{ intervalNs: 5 }, /^Interval in Healthcheck cannot be less than 1ms$/],
  [{ timeoutNs: -1 }, /^Timeout in Healthcheck cannot be less than 1ms$/],
  [{ retries: -1 }, /^Retries in Healthcheck cannot be negative$/],
  [{ test: ['GET', '/'] }, /^Unknown healthcheck type 'GET' \(expected 'CMD'\)$/],
] as const)
  test(`a healthcheck of ${JSON.stringify(change)} is refused`, () =>
    assert.throws(() => checkHealthcheck({ ...plain, ...change }), { message }));

test('durations are Go’s', () => {
  const texts = [500, 1000, 1500, 30_000, 90_000, 3_600_000].map(formatGoDuration);
  assert.deepEqual(texts, ['500ms', '1s', '1.5s', '30s', '1m30s', '1h0m0s']);
});

async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function openChecked(): Promise<Stand> {
  const stand = await openStand();
  stand.runtime.scripts.set('serve', {});
  stand.runtime.scripts.set('ask', { stdout: 'fine', exitCode: 0 });
  await stand.create('serve', 'c1', { healthcheck: { ...plain, retries: 1 } });
  await stand.containers.start('c1');
  return stand;
}

/** A probe's time has come, and it is over. */
async function probe(stand: Stand): Promise<Health | undefined> {
  stand.clock.wake();
  await settle();
  return stand.containers.health(stand.containers.get('c1'));
}

test('a container begins as starting, and its probes say what it is then; each change is an event', async () => {
  await using stand = await openChecked();
  assert.equal(stand.containers.get('c1').health, 'starting');
  const health = await probe(stand);
  assert.equal(health?.status, 'healthy');
  assert.deepEqual(
    health.log.map(({ exitCode, output }) => [exitCode, output]),
    [[0, 'fine']],
  );
  stand.runtime.scripts.set('ask', { exitCode: 1 });
  assert.equal((await probe(stand))?.status, 'unhealthy');
  await probe(stand);
  const told = stand.actions.filter((action) => action.startsWith('health'));
  assert.deepEqual(told, ['health_status: healthy c1', 'health_status: unhealthy c1']);
});

test('a probe that hangs is killed and counts as a failure', async () => {
  await using stand = await openChecked();
  stand.runtime.scripts.set('ask', { stdout: 'thinking' });
  await probe(stand);
  assert.ok(!stand.runtime.log.includes('killExec'));
  const health = await probe(stand);
  assert.ok(stand.runtime.log.includes('killExec'));
  assert.equal(health?.status, 'unhealthy');
  assert.equal(health.log[0]?.output, 'Health check exceeded timeout (30s): thinking');
  assert.equal(health.log[0]?.exitCode, -1);
});

test('a paused container is not asked, and one that does not run is unhealthy', async () => {
  await using stand = await openChecked();
  await probe(stand);
  await stand.containers.pause('c1');
  stand.runtime.scripts.set('ask', { exitCode: 1 });
  assert.equal((await probe(stand))?.status, 'healthy');
  await stand.containers.unpause('c1');
  assert.equal((await probe(stand))?.status, 'unhealthy');
  stand.runtime.scripts.set('ask', { exitCode: 0 });
  assert.equal((await probe(stand))?.status, 'healthy');
  await stand.containers.stop('c1', 1);
  assert.equal(stand.containers.get('c1').health, 'unhealthy');
  assert.equal((await probe(stand))?.log.length, 3);
  await stand.containers.start('c1');
  assert.equal(stand.containers.get('c1').health, 'starting');
});

test('a daemon that comes back goes on with what it finds', async () => {
  await using stand = await openChecked();
  await probe(stand);
  await stand.containers[Symbol.asyncDispose]();
  await stand.open();
  assert.equal(stand.containers.get('c1').health, 'healthy');
  stand.runtime.scripts.set('ask', { exitCode: 1 });
  assert.equal((await probe(stand))?.status, 'unhealthy');
});
