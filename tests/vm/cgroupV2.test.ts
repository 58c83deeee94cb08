/*
 * The compat checks on a machine with cgroup v2 and a 6.12 kernel, which most users have: each test here boots one
 * under QEMU (tools/vmrun) and runs a compat file in a lane there. LINKSPAN_VM=short runs a handful of checks.
 */
import { test } from 'node:test';
import { guestTimeoutMs, runInGuest } from './guest.ts';

if (process.env['LINKSPAN_VM'] === 'short') {
  test('cgroup v2: the daemon starts, networks and containers work', { timeout: guestTimeoutMs(540) }, () => {
    runInGuest('tests/compat/bridge.test.ts', 540, '^(1|2|4|22):');
  });
} else {
  for (const [file, limitSeconds] of [
    ['tests/compat/bridge.test.ts', 600],
    ['tests/compat/badInput.test.ts', 900],
    ['tests/compat/eventsAndFilters.test.ts', 300],
    ['tests/compat/story.test.ts', 500],
    ['tests/compat/startup.test.ts', 500],
    ['tests/kernel/bridge.test.ts', 400],
    ['tests/kernel/antiSpoof.test.ts', 600],
  ] as const) {
    test(`cgroup v2: ${file}`, { timeout: guestTimeoutMs(limitSeconds) }, () => {
      runInGuest(file, limitSeconds);
    });
  }
  test('a module that is loaded later is followed', { timeout: guestTimeoutMs(200) }, () => {
    runInGuest('tests/kernel/moduleLoad.test.ts', 200);
  });
  test('limits and devices of containers', { timeout: guestTimeoutMs(500) }, () => {
    runInGuest('tests/compat/limits.test.ts', 500, undefined, 'loop');
  });
  test('limits of containers that exist', { timeout: guestTimeoutMs(500) }, () => {
    runInGuest('tests/compat/updates.test.ts', 500);
  });
  test('what containers use', { timeout: guestTimeoutMs(500) }, () => {
    runInGuest('tests/compat/stats.test.ts', 500);
  });
  test('containers confined by AppArmor', { timeout: guestTimeoutMs(300) }, () => {
    runInGuest('tests/compat/appArmor.test.ts', 300, undefined, undefined, 'apparmor=1 security=apparmor');
  });
  test('links that the machine’s own kernel may lack: ipvlan, 802.1q, dummy', {
    timeout: guestTimeoutMs(400),
  }, () => {
    runInGuest('tests/compat/parentLinks.test.ts', 400, undefined, 'macvlan ipvlan 8021q dummy');
  });
}
