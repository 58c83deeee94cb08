/*
 * Endpoints on the real kernel: IPv6 on and off, kernel parameters, default routes that move, announcements, and a
 * bridge that is set up and discarded. Two sandboxes on one bridge of the lane's own namespace:
 *
 *   [a] eth0 ─┐
 *   [b] eth0 ─┴─ br0  10.5.0.1/24 fd00:5::1/64        br1 10.6.0.1/24 fd00:6::1/64 ── eth1 [a]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import {
  type AttachSpec,
  discardedPrefix,
  type ElementBatch,
  type Kernel,
  KernelError,
} from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { type Ip, parseIp } from '../../src/net/ip.ts';
import { randomMac } from '../../src/net/mac.ts';
import { reaches, run, until } from './bridgeWorld.ts';

const pathOf = (name: string): string => `/run/netns/${name}`;

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

const withLength = (text: string): { readonly ip: Ip; readonly length: number } => ({
  ip: ip(text),
  length: text.includes(':') ? 64 : 24,
});

interface World extends AsyncDisposable {
  readonly kernel: Kernel;
  specOf(sandbox: string, bridge: string, addresses: readonly string[]): AttachSpec;
  attach(
    sandbox: string,
    bridge: string,
    addresses: readonly string[],
    more?: Partial<AttachSpec>,
  ): Promise<void>;
}

async function openWorld(): Promise<World> {
  assert.equal(process.env['LINKSPAN_LANE'], '1', 'run this inside scripts/lane');
  const kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  for (const [bridge, ...addresses] of [
    ['br0', '10.5.0.1', 'fd00:5::1'],
    ['br1', '10.6.0.1', 'fd00:6::1'],
  ] as const) {
    await kernel.ensureBridge({ name: bridge, mtuBytes: 1500, alias: 'test', mac: randomMac() });
    for (const address of addresses) await kernel.ensureAddress(bridge, withLength(address));
  }
  for (const sandbox of ['a', 'b']) await kernel.createNamespace(pathOf(sandbox));
  let count = 0;
  const specOf: World['specOf'] = (sandbox, bridge, addresses) => ({
    sandbox: pathOf(sandbox),
    hostName: `veth${count++}`,
    bridge,
    alias: 'test',
    mtuBytes: 1500,
    isHairpin: false,
    isIsolated: false,
    peerName: 'eth0',
    peerMac: randomMac(),
    addresses: addresses.map(withLength),
    gateways: [],
    sysctls: [],
  });
  return {
    kernel,
    specOf,
    attach: async (sandbox, bridge, addresses, more = {}) => {
      assert.equal(await kernel.attach({ ...specOf(sandbox, bridge, addresses), ...more }), true);
    },
    [Symbol.asyncDispose]: async () => {
      for (const { name } of await kernel.links()) if (name.startsWith('veth')) await kernel.delLink(name);
      for (const sandbox of ['a', 'b']) await kernel.removeNamespace(pathOf(sandbox));
      for (const bridge of ['br0', 'br1']) await kernel.delLink(bridge);
      await kernel[Symbol.asyncDispose]();
    },
  };
}

const defaultsOf = (sandbox: string, family: '-4' | '-6'): readonly string[] =>
  run(sandbox, 'ip', family, 'route', 'show', 'default')
    .split('\n')
    .map((line) => /^default via (\S+) dev (\S+)/.exec(line)?.slice(1).join(' ') ?? '')
    .filter((line) => line !== '');

test('an IPv6 address is usable at once, and peers reach each other by it', async () => {
  await using w = await openWorld();
  await w.attach('a', 'br0', ['10.5.0.2', 'fd00:5::2'], { gateways: [ip('10.5.0.1'), ip('fd00:5::1')] });
  assert.doesNotMatch(
    run('a', 'ip', '-6', 'address', 'show', 'dev', 'eth0', 'scope', 'global'),
    /tentative|dadfailed/,
  );
  await w.attach('b', 'br0', ['10.5.0.3', 'fd00:5::3']);
  assert.deepEqual(defaultsOf('a', '-4'), ['10.5.0.1 eth0']);
  assert.deepEqual(defaultsOf('a', '-6'), ['fd00:5::1 eth0']);
  assert.ok(await reaches('a', 'fd00:5::3'));
  assert.ok(await reaches('b', 'fd00:5::1'));
});

test('without an IPv6 address the interface has no IPv6, whatever it had time for', async () => {
  await using w = await openWorld();
  await w.attach('a', 'br0', ['10.5.0.2']);
  assert.equal(run('a', 'cat', '/proc/sys/net/ipv6/conf/eth0/disable_ipv6').trim(), '1');
  assert.equal(run('a', 'ip', '-6', 'address', 'show', 'dev', 'eth0'), '');
  assert.equal(run('a', 'cat', '/proc/sys/net/ipv6/conf/lo/disable_ipv6').trim(), '0');
});

test('kernel parameters are set; one that there is not leaves nothing of the interface', async () => {
  await using w = await openWorld();
  const key = 'net/ipv4/conf/eth0/log_martians';
  await w.attach('a', 'br0', ['10.5.0.2'], { sysctls: [{ key, value: '1' }] });
  assert.equal(run('a', 'cat', `/proc/sys/${key}`).trim(), '1');
  assert.ok(await reaches('a', '10.5.0.1'));
  const before = run('host', 'ip', '-o', 'link');
  await assert.rejects(
    w.attach('b', 'br0', ['10.5.0.3'], { sysctls: [{ key: 'net/ipv4/conf/eth0/nope', value: '1' }] }),
    (error) => error instanceof KernelError && error.code === 'ENOENT',
  );
  assert.equal(run('host', 'ip', '-o', 'link'), before);
  assert.doesNotMatch(run('b', 'ip', '-o', 'link'), /eth0/);
});

test('the default route moves, of each family alone, as often as it is told, and leaves other routes be', async () => {
  await using w = await openWorld();
  await w.attach('a', 'br0', ['10.5.0.2', 'fd00:5::2'], { gateways: [ip('10.5.0.1'), ip('fd00:5::1')] });
  await w.attach('a', 'br1', ['10.6.0.2', 'fd00:6::2'], { peerName: 'eth1' });
  run('a', 'ip', 'route', 'add', 'default', 'via', '10.5.0.1', 'metric', '77');
  for (let i = 0; i < 2; i++) {
    await w.kernel.setDefaultRoute('eth1', ip('10.6.0.1'), pathOf('a'));
    assert.deepEqual(defaultsOf('a', '-4'), ['10.6.0.1 eth1', '10.5.0.1 eth0']);
    assert.deepEqual(defaultsOf('a', '-6'), ['fd00:5::1 eth0']);
  }
  for (let i = 0; i < 2; i++) {
    await w.kernel.setDefaultRoute('eth1', ip('fd00:6::1'), pathOf('a'));
    assert.deepEqual(defaultsOf('a', '-6'), ['fd00:6::1 eth1']);
  }
  await w.kernel.setDefaultRoute('eth0', ip('10.5.0.1'), pathOf('a'));
  await w.kernel.setDefaultRoute('eth0', ip('fd00:5::1'), pathOf('a'));
  assert.deepEqual(defaultsOf('a', '-4'), ['10.5.0.1 eth0', '10.5.0.1 eth0']);
  assert.deepEqual(defaultsOf('a', '-6'), ['fd00:5::1 eth0']);
  await assert.rejects(
    w.kernel.setDefaultRoute('eth9', ip('10.5.0.1'), pathOf('a')),
    (error) => error instanceof KernelError && error.code === 'ENODEV',
  );
});

test('a peer that remembers another MAC for an IPv6 address learns the new one from an announcement', async () => {
  await using w = await openWorld();
  await w.attach('a', 'br0', ['fd00:5::2']);
  const mac = randomMac();
  await w.attach('b', 'br0', ['fd00:5::3'], { peerMac: mac });
  run(
    'a',
    'ip',
    'neigh',
    'replace',
    'fd00:5::3',
    'lladdr',
    '02:00:00:00:00:99',
    'nud',
    'reachable',
    'dev',
    'eth0',
  );
  await until('the entry has the right MAC', async () => {
    await w.kernel.announce('eth0', mac, ip('fd00:5::3'), pathOf('b'));
    return run('a', 'ip', 'neigh', 'show', 'fd00:5::3').includes(mac);
  });
});

/** A table with one set of names, and the batch that adds one to it. */
async function withTable(kernel: Kernel): Promise<(name: string) => ElementBatch> {
  await kernel.nft('table inet test { set names { type ifname; }; }');
  return (name) => ({
    family: 'inet',
    table: 'test',
    changes: [{ op: 'add', element: { set: 'names', key: [{ type: 'ifname', name }] } }],
  });
}

test('elements go first, and where the kernel refuses them no link is made', async () => {
  await using w = await openWorld();
  const batchOf = await withTable(w.kernel);
  const spec = (name: string): AttachSpec => ({ ...w.specOf('a', 'br0', ['10.5.0.2']), hostName: name });
  const setup = {
    name: 'br2',
    mtuBytes: 1400,
    alias: 'test',
    mac: randomMac(),
    addresses: [withLength('10.7.0.1'), withLength('fd00:7::1')],
    sysctls: [
      { key: 'net/ipv4/conf/br2/route_localnet', value: '1', isNeeded: true },
      { key: 'net/ipv4/conf/br2/there_is_no_such', value: '1', isNeeded: false },
    ],
    takesLoopback6: true,
  };
  assert.equal(await w.kernel.attach(spec('vetha'), batchOf('vetha')), true);
  assert.equal(await w.kernel.setUpBridge(setup, batchOf('br2')), true);
  assert.equal(await w.kernel.setUpBridge(setup, batchOf('br2')), true, 'again');
  const listing = await w.kernel.nft('list table inet test');
  for (const name of ['vetha', 'br2']) assert.ok(listing.includes(`"${name}"`), listing);
  for (const address of setup.addresses)
    assert.equal(await w.kernel.ensureAddress('br2', address), false, 'it is there');
  assert.equal(await w.kernel.ensureLoopbackRoute('br2'), false, 'it is there');
  assert.equal((await w.kernel.getSysctl('net/ipv4/conf/br2/route_localnet')).trim(), '1');

  await w.kernel.delLink('br2');
  await w.kernel.nft('delete table inet test');
  assert.equal(await w.kernel.attach(spec('vethb'), batchOf('vethb')), false);
  assert.equal(await w.kernel.setUpBridge(setup, batchOf('br2')), false);
  const names = (await w.kernel.links()).map(({ name }) => name);
  assert.deepEqual(
    names.filter((name) => name === 'vethb' || name === 'br2'),
    [],
  );
});

test('a kernel parameter that a bridge needs and the kernel lacks is ENOENT', async () => {
  await using w = await openWorld();
  const sysctls = [{ key: 'net/ipv4/conf/br2/there_is_no_such', value: '1', isNeeded: true }];
  const more = { addresses: [], sysctls, takesLoopback6: false };
  const setup = { name: 'br2', mtuBytes: 1500, alias: 'test', mac: randomMac(), ...more };
  await assert.rejects(w.kernel.setUpBridge(setup), { code: 'ENOENT' });
  await w.kernel.delLink('br2');
});

test('a discarded bridge frees its name at once, is down, and vanishes; one that is not there is success', async () => {
  await using w = await openWorld();
  const spec = { name: 'br2', mtuBytes: 1500, alias: 'test', mac: randomMac() };
  await w.kernel.ensureBridge(spec);
  await w.kernel.discardBridge('br2', `${discardedPrefix}0`);
  await w.kernel.ensureBridge(spec);
  await w.kernel.discardBridge('br2', `${discardedPrefix}1`);
  await w.kernel.discardBridge('br2', `${discardedPrefix}2`);
  await until('nothing is left', async () =>
    (await w.kernel.links()).every(({ name }) => !name.startsWith(discardedPrefix) && name !== 'br2'),
  );
});
