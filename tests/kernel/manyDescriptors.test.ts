/*
 * A daemon with thousands of descriptors, as many containers and ports give it: libnftables, which waits by select(2),
 * must not get one of the high numbers, because glibc then ends the process.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import type { HostPort } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { parseIp } from '../../src/net/ip.ts';

const many = 1500;

test('nft commands run in every namespace, however many descriptors the process and held ports have', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const ip = parseIp('127.0.0.1');
  assert.ok(ip);
  const ports = Array.from({ length: many }, (_, i): HostPort => ({ proto: 'tcp', ip, port: 10_000 + i }));
  const path = '/run/netns/descriptors';
  await kernel.createNamespace(path);
  using opened = new DisposableStack();
  for (let i = 0; i < many; i++) opened.adopt(openSync('/dev/null', 'r'), closeSync);
  assert.equal(await kernel.holdPorts(ports), undefined);
  for (const namespace of [undefined, path]) {
    const options = namespace === undefined ? {} : { namespace };
    await kernel.nft('table inet probe { chain c { accept; }; }', options);
    assert.match(await kernel.nft('list table inet probe', options), /accept/);
  }
  await kernel.nft('delete table inet probe');
  assert.ok((await kernel.probeFeatures()).some(({ name, isPresent }) => name === 'bridge' && isPresent));
  await kernel.releasePorts(ports);
  await kernel.removeNamespace(path);
});
