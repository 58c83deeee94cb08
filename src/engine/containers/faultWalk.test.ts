import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStand, type Stand } from './containerStand.ts';

const forced = { isForced: true, removesVolumes: false };
const change = { limits: { pidsLimit: 5 } };
const start = (stand: Stand): Promise<unknown> => stand.containers.start('c1');

/** Each operation with what comes before it. */
const operations: readonly {
  readonly name: string;
  readonly before: readonly ((stand: Stand) => Promise<unknown>)[];
  readonly run: (stand: Stand) => Promise<unknown>;
}[] = [
  { name: 'create', before: [], run: create },
  { name: 'start', before: [create], run: start },
  { name: 'stop', before: [create, start], run: (stand) => stand.containers.stop('c1', 1) },
  { name: 'restart', before: [create, start], run: (stand) => stand.containers.restart('c1', 1) },
  { name: 'rename', before: [create], run: (stand) => stand.containers.rename('c1', 'c2') },
  { name: 'pause', before: [create, start], run: (stand) => stand.containers.pause('c1') },
  { name: 'update', before: [create, start], run: (stand) => stand.containers.update('c1', change) },
  { name: 'remove', before: [create], run: (stand) => stand.containers.remove('c1', forced) },
  { name: 'forced remove', before: [create, start], run: (stand) => stand.containers.remove('c1', forced) },
];

function create(stand: Stand): Promise<unknown> {
  stand.runtime.scripts.set('nice', {});
  return stand.create('nice', 'c1');
}

async function perform(stand: Stand, operation: (typeof operations)[number], failAt: number): Promise<void> {
  for (const step of operation.before) await step(stand);
  stand.faults.arm(failAt);
  await operation.run(stand).catch(() => {});
  // The end of a run is worked through behind the scenes.
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function assertAgreement({ containers, runtime, network, store }: Stand, where: string): void {
  const all = containers.list();
  const running = all.filter(({ state }) => state === 'running' || state === 'paused').map(({ id }) => id);
  assert.deepEqual(
    [...runtime.prepared],
    all.map(({ id }) => id),
    `${where}: snapshots`,
  );
  assert.deepEqual([...runtime.tasks.keys()], running, `${where}: tasks`);
  for (const { id, spec } of all) {
    const wanted = spec.limits?.pidsLimit ?? -1;
    const { limit } = (runtime.resources.get(id)?.['pids'] ?? { limit: -1 }) as { readonly limit: number };
    assert.ok(limit === -1 || limit === wanted, `${where}: limits`);
  }
  assert.deepEqual([...network.attached], running, `${where}: sandboxes`);
  assert.deepEqual(
    [...store.entries.keys()],
    all.map(({ id }) => `containers/${id}`),
    `${where}: records`,
  );
  for (const { state, sandbox } of all) {
    assert.ok(state === 'running' || state === 'paused' || sandbox === undefined, `${where}: ${state}`);
  }
}

for (const operation of operations) {
  test(`${operation.name}: whichever step fails, runtime, network and store agree with what list says`, async () => {
    let count = 1;
    for (let failAt = 0; failAt <= count; failAt += 1) {
      await using stand = await openStand();
      await perform(stand, operation, failAt);
      if (failAt === 0) ({ count } = stand.faults);
      const where = `${operation.name}, step ${failAt} of ${count} fails`;
      assertAgreement(stand, where);
      stand.faults.arm(0);
      for (const { id } of stand.containers.list()) await stand.containers.remove(id, forced);
      assert.deepEqual([...stand.runtime.prepared, ...stand.store.entries.keys()], [], where);
    }
  });

  test(`${operation.name}: whichever step the daemon dies before, the next one puts things right`, async () => {
    let count = 1;
    for (let dieAt = 0; dieAt <= count; dieAt += 1) {
      await using stand = await openStand();
      for (const step of operation.before) await step(stand);
      stand.faults.armDeath(dieAt);
      const done = operation.run(stand).catch(() => {});
      if (dieAt === 0) await done;
      for (let turn = 0; turn < 40; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (dieAt === 0) ({ count } = stand.faults);
      stand.faults.die();
      await stand.containers[Symbol.asyncDispose]();
      await stand.open();
      assertAgreement(stand, `${operation.name}, died before step ${dieAt} of ${count}`);
      for (const { id } of stand.containers.list()) await stand.containers.remove(id, forced);
    }
  });
}
