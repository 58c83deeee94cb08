import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SwarmEndpoint } from '../swarmNetworks.ts';
import { Replica } from './replica.ts';
import type { ChangesPush, SnapshotPart } from './wire.ts';

const row = (endpointId: string, revision: number): SwarmEndpoint => ({
  ...{ networkId: 'n', endpointId, containerId: '', containerName: '', isUp: true, nodeId: 'a', revision },
  ...{ mac: '02:00:00:00:00:01', dnsNames: [] },
});

const snapshot = (revision: number, rows: readonly SwarmEndpoint[], more: Partial<SnapshotPart> = {}) =>
  ({ type: 'snapshot', network: 'n', epoch: 'x', revision, rows, part: 0, isLast: true, ...more }) as const;

const changes = (previous: number, revision: number, more: Partial<ChangesPush> = {}) =>
  ({ type: 'changes', network: 'n', epoch: 'x', previous, revision, put: [], del: [], ...more }) as const;

const tableOf = (replica: Replica): readonly string[] =>
  [...replica.table('n').rows.values()].map(({ endpointId, revision }) => `${endpointId} ${revision}`);

test('changes apply to the table that they are changes of, once; a gap or another epoch changes nothing', () => {
  const replica = new Replica();
  replica.applySnapshot(snapshot(5, [row('a', 3), row('b', 5)]));
  const step = changes(5, 7, { put: [row('c', 7)], del: [{ endpointId: 'a', revision: 6 }] });
  assert.notEqual(replica.applyChanges(step), 'gap');
  assert.deepEqual(tableOf(replica), ['b 5', 'c 7']);
  assert.deepEqual(replica.applyChanges(step), { isSnapshot: false, put: [], del: [] });
  assert.equal(replica.applyChanges(changes(8, 9, { put: [row('d', 9)] })), 'gap');
  assert.equal(replica.applyChanges(changes(7, 8, { epoch: 'y' })), 'gap');
  assert.deepEqual([tableOf(replica), replica.table('n').revision], [['b 5', 'c 7'], 7]);
});

test('an old row does not replace a new one, and an old deletion does not remove it', () => {
  const replica = new Replica();
  replica.applySnapshot(snapshot(9, [row('a', 9)]));
  replica.applyChanges(changes(9, 10, { put: [row('a', 4)], del: [{ endpointId: 'a', revision: 8 }] }));
  assert.deepEqual(tableOf(replica), ['a 9']);
});

test('a snapshot counts when its last part is there; one that lacks a part, or is cut short, does not', () => {
  const replica = new Replica();
  replica.applySnapshot(snapshot(2, [row('old', 2)]));
  assert.equal(replica.applySnapshot(snapshot(5, [row('a', 3)], { isLast: false })), 'incomplete');
  assert.deepEqual(tableOf(replica), ['old 2']);
  assert.equal(replica.applySnapshot(snapshot(5, [row('c', 5)], { part: 2 })), 'gap');
  replica.applySnapshot(snapshot(5, [row('a', 3)], { isLast: false }));
  replica.age();
  assert.equal(replica.applySnapshot(snapshot(5, [row('b', 5)], { part: 1 })), 'gap');
  assert.deepEqual([tableOf(replica), replica.table('n').isCurrent], [['old 2'], false]);
  replica.applySnapshot(snapshot(5, [row('a', 3)], { isLast: false }));
  const outcome = replica.applySnapshot(snapshot(5, [row('b', 5)], { part: 1 }));
  assert.ok(typeof outcome === 'object');
  assert.deepEqual(
    [tableOf(replica), outcome.del.map(({ endpointId }) => endpointId)],
    [['a 3', 'b 5'], ['old']],
  );
});
