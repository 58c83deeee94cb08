import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InjectedFault, parseFaultPlan, Seam } from './seam.ts';

test('parseFaultPlan reads the three forms and refuses others', () => {
  assert.deepEqual(parseFaultPlan('crash@12'), { at: 12, action: 'crash' });
  assert.deepEqual(parseFaultPlan('ENOSPC@3'), { at: 3, action: { errno: 'ENOSPC' } });
  assert.deepEqual(parseFaultPlan('count'), { at: 0, action: 'count' });
  assert.equal(parseFaultPlan('boom'), undefined);
});

test('Seam counts only once armed and fails exactly the planned step, also from a second counter', () => {
  const seam = new Seam(parseFaultPlan('ENOSPC@2'));
  seam.step('before');
  assert.equal(seam.count, 0);
  seam.arm();
  seam.step('one');
  const other = new Seam(seam.workerData.plan, seam.workerData.shared);
  assert.throws(
    () => other.step('two'),
    (e) => e instanceof InjectedFault && e.code === 'ENOSPC' && e.errno === 28,
  );
  seam.step('three');
  assert.equal(seam.count, 3);
  seam.load({ at: 1, action: { errno: 'EPERM' } });
  seam.step('unarmed again');
  seam.arm();
  assert.throws(() => other.step('one'), /EPERM/);
});
