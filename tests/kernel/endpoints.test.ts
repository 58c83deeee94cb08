/*
 * Endpoints on the real kernel: IPv6 on and off, kernel parameters, default routes that move, announcements, and a
 * bridge that is discarded. Two sandboxes on one bridge of the lane's own namespace:
 *
 *   [a] eth0 ─┐
 *   [b] eth0 ─┴─ br0  10.5.0.1/24 fd00:5::1/64        br1 10.6.0.1/24 fd00:6::1/64 ── eth1 [a]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { type AttachSpec, discardedPrefix, type Kernel, KernelError } from '../../src/kernel/kernel.ts';
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
  return {
    kernel,
    attach: (sandbox, bridge, addresses, more = {}) =>
      kernel.attach({
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
        ...more,
      }),
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
