/*
 * Tunnels by a kernel that has WireGuard, and paths between sites with them: the same tests as by wireguard-go.
 * LINKSPAN_VM=short runs one of them.
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
  test('paths between sites by the kernel', { timeout: guestTimeoutMs(900) }, () => {
    runInGuest(
      'tests/vm/guests/tunnelPaths.test.ts',
      900,
      undefined,
      'wireguard veth bridge vxlan sch_netem',
    );
  });
