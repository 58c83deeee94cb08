/*
 * A kernel module that is loaded while the daemon runs brings its parameters, and the firewall follows them at once. For
 * a kernel that has br_netfilter as a module and not loaded yet: the vm lane's.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { leavesLoopback6, openWorld, run, until } from './bridgeWorld.ts';

const parameter = '/proc/sys/net/bridge/bridge-nf-call-ip6tables';
const isBuiltIn = existsSync(parameter) && !existsSync('/sys/module/br_netfilter/initstate');

test('br_netfilter is loaded later: the host’s ::1 is translated no more, until the parameter is off', async (t) => {
  if (isBuiltIn) return t.skip('br_netfilter as a module (CONFIG_BRIDGE_NETFILTER=m)');
  await using _world = await openWorld();
  assert.ok(!existsSync(parameter), 'it is loaded already');
  assert.equal(leavesLoopback6(), false);
  run('host', 'busybox', 'modprobe', 'br_netfilter');
  const startMs = performance.now();
  await until('the module is followed', leavesLoopback6);
  run('host', 'sh', '-c', `echo 0 > ${parameter}`);
  await until('the parameter is followed', () => !leavesLoopback6());
  // The slow check comes each minute.
  assert.ok(performance.now() - startMs < 40_000);
});
