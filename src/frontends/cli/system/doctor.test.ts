import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DoctorReport, formatDoctor } from './doctor.ts';

const report: DoctorReport = {
  severity: 'warning',
  kernel: [
    { name: 'bridge', isPresent: true, isRequired: true, detail: '' },
    { name: 'wireguard', isPresent: false, isRequired: false, detail: '' },
    { name: 'veth', isPresent: false, isRequired: true, detail: 'RTM_NEWLINK veth: EPERM' },
  ],
  cgroupVersion: 2,
  conditions: [],
  conflicts: [{ severity: 'warning', since: '2026-11-24T00:00:00Z', text: 'ip filter FORWARD drops' }],
  leaks: [{ text: 'the interface veth1 has our mark and no owner' }],
  repairs: {
    counts: { firewall: 2, bridge: 1 },
    recent: [{ at: '2026-11-24T00:00:01Z', object: 'table inet linkspan', cause: 'the table was gone' }],
  },
};

test('doctor prints a section a topic', () => {
  assert.equal(
    formatDoctor(report),
    `Kernel:
  bridge               yes
  wireguard            missing
  veth                 MISSING, and needed (RTM_NEWLINK veth: EPERM)
  cgroup version       2
Conditions:
  none
Conflicts with other firewalls:
  warning since 2026-11-24T00:00:00Z: ip filter FORWARD drops
Leaks:
  the interface veth1 has our mark and no owner
Repairs since the daemon started (3):
  2026-11-24T00:00:01Z table inet linkspan: the table was gone
Result: warning
`,
  );
});
