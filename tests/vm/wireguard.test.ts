/*
 * Tunnels by a kernel that has WireGuard, paths between sites with them, and daemons that use both: most of it the same
 * tests as by wireguard-go. LINKSPAN_VM=short runs one of them.
 */
import { test } from 'node:test';
import { guestTimeoutMs, runInGuest } from './guest.ts';

const isShort = process.env['LINKSPAN_VM'] === 'short';
const limitSeconds = isShort ? 240 : 900;

test('tunnels by the kernel', { timeout: guestTimeoutMs(limitSeconds) }, () => {
  const only = isShort ? '^kernel: packets of two hosts' : '^kernel: ';
  runInGuest('tests/kernel/tunnels.test.ts', limitSeconds, only, 'wireguard veth bridge vxlan');
});

if (!isShort)
  for (const [title, file, limitSeconds, modules] of [
    ['paths between sites', 'tests/vm/guests/tunnelPaths.test.ts', 900, 'sch_netem'],
    ['networks in clear with peers by tunnels', 'tests/kernel/overlayDetour.test.ts', 900, ''],
    ['daemons of two sites', 'tests/vm/guests/sites.test.ts', 1800, 'sch_netem'],
  ] as const)
    test(`${title} by the kernel`, { timeout: guestTimeoutMs(limitSeconds) }, () => {
      runInGuest(file, limitSeconds, undefined, `wireguard veth bridge vxlan ${modules}`);
    });
