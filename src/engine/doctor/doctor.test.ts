import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import type { Condition } from '../../base/condition.ts';
import { RepairLog } from '../../base/repairLog.ts';
import type { Link } from '../../kernel/kernel.ts';
import type { Container, Endpoint, Network } from '../model.ts';
import { type DoctorSources, examine } from './doctor.ts';
import { findLeaks, type LeakSources } from './leaks.ts';

const clock = { ...systemClock, sleep: () => Promise.resolve() };
const repairs = new RepairLog(clock);
const healthy: DoctorSources = {
  kernel: { probeFeatures: () => Promise.resolve([{ name: 'veth', isPresent: true, detail: '' }]) },
  cgroupVersion: 2,
  conditions: () => [],
  repairs,
  findLeaks: () => Promise.resolve([]),
};
const drop: Condition = {
  id: 'firewall.foreignDrop:ip filter FORWARD',
  severity: 'warning',
  since: '2026-11-24T00:00:00Z',
  text: 'ip filter FORWARD drops',
};

for (const [name, change, severity] of [
  ['a healthy machine is ok', {}, 'ok'],
  ['a chain that drops our packets is a warning', { conditions: () => [drop] }, 'warning'],
  [
    'a leak is a warning',
    { findLeaks: () => Promise.resolve([{ kind: 'link', name: 'v', text: 'v' }] as const) },
    'warning',
  ],
  ['a lasting error is an error', { conditions: () => [{ ...drop, severity: 'error' }] as const }, 'error'],
  [
    'a missing feature that nothing works without is an error',
    {
      kernel: { probeFeatures: () => Promise.resolve([{ name: 'veth', isPresent: false, detail: '' }]) },
    },
    'error',
  ],
  [
    'a missing feature of one driver is not',
    {
      kernel: { probeFeatures: () => Promise.resolve([{ name: 'ipvlan', isPresent: false, detail: '' }]) },
    },
    'ok',
  ],
] as const)
  test(`doctor: ${name}`, async () => {
    assert.equal((await examine({ ...healthy, ...change })).severity, severity);
  });

test('doctor tells conflicts with other firewalls from other conditions', async () => {
  const other = { ...drop, id: 'firewall.forwardingOff:ipv4' };
  const report = await examine({ ...healthy, conditions: () => [drop, other] });
  assert.deepEqual([report.conflicts, report.conditions], [[drop], [other]]);
});

test('the repair log keeps a hundred and counts all', () => {
  const log = new RepairLog(clock);
  const repair = { kind: 'firewall', object: 'table', trigger: 'event' } as const;
  for (let i = 0; i < 150; i++) log.record({ ...repair, cause: String(i) });
  assert.deepEqual(log.counts, { firewall: 150 });
  assert.equal(log.recent.length, 100);
  assert.equal(log.recent[0]?.cause, '50');
});

/** Sources with something for each kind of leak; the folder is this one, which no container has. */
function leaky(changes: Partial<LeakSources> = {}): LeakSources {
  const link = (name: string, alias: string | undefined): Link => ({ name, alias }) as Link;
  const links = [link('ours', 'e1'), link('stray', 'e2'), link('stopped', 'e3'), link('foreign', undefined)];
  return {
    kernel: { links: () => Promise.resolve(links) },
    runtime: {
      list: () =>
        Promise.resolve([
          { id: 'c1', task: undefined },
          { id: 'c9', task: undefined },
        ]),
    },
    clock,
    namespaceFolder: import.meta.dirname,
    overlayFolder: '/nonexistent',
    ownerOf: (alias) => alias,
    records: () => ({
      networks: [] as readonly Network[],
      endpoints: [
        { id: 'e1', containerId: 'c1', state: 'attached', containerName: 'web' },
        { id: 'e3', containerId: 'c1', state: 'reserved', containerName: 'web' },
        { id: 'e4', containerId: 'c8', state: 'reserved', containerName: 'old', ipv4: '172.18.0.9/16' },
      ] as unknown as readonly Endpoint[],
      containers: [{ id: 'c1' }] as unknown as readonly Container[],
    }),
    ...changes,
  };
}

test('leaks of every kind are found, and what has an owner is none', async () => {
  const found = await findLeaks(leaky());
  const names = found.filter(({ kind }) => kind !== 'namespace').map(({ kind, name }) => `${kind} ${name}`);
  assert.deepEqual(names, ['link stray', 'link stopped', 'lease 172.18.0.9/16', 'container c9']);
  assert.ok(found.some(({ name }) => name.endsWith('/leaks.ts')));
});

test('namespaces of networks that no container is on are found', async () => {
  const used = { id: 'e1', networkId: 'leaks.ts', containerId: 'c1', state: 'attached' };
  const records = (): ReturnType<LeakSources['records']> => ({
    ...leaky().records(),
    endpoints: [used] as unknown as readonly Endpoint[],
  });
  const found = await findLeaks({ ...leaky({ records }), overlayFolder: import.meta.dirname });
  const names = found.flatMap(({ text, name }) =>
    text.startsWith('no container is on') ? basename(name) : [],
  );
  assert.deepEqual(
    names.toSorted(),
    readdirSync(import.meta.dirname)
      .filter((name) => name !== 'leaks.ts')
      .toSorted(),
  );
});

test('what is gone at the second look was not a leak', async () => {
  let looks = 0;
  const list: LeakSources['runtime']['list'] = () =>
    Promise.resolve(looks++ === 0 ? [{ id: 'new', task: undefined }] : []);
  const found = await findLeaks(leaky({ runtime: { list } }));
  assert.ok(looks === 2 && !found.some(({ kind }) => kind === 'container'));
});
