/*
 * Links on a parent on the real kernel: a macvlan link inside a sandbox, also when any step of it fails. Traffic and
 * the kinds that this kernel may lack are tests/compat/parentLinks.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../src/base/logger.ts';
import { openSeam } from '../../src/base/seam.ts';
import { createMacvlanDriver } from '../../src/drivers/macvlan/macvlan.ts';
import { type ChildSpec, KernelError } from '../../src/kernel/kernel.ts';
import { openKernel } from '../../src/kernel/openKernel.ts';
import { parseIp } from '../../src/net/ip.ts';
import { randomMac } from '../../src/net/mac.ts';
import { run } from './bridgeWorld.ts';

const sandbox = '/run/netns/box';

function ip(text: string): NonNullable<ReturnType<typeof parseIp>> {
  const parsed = parseIp(text);
  assert.ok(parsed);
  return parsed;
}

function spec(more: Partial<ChildSpec> = {}): ChildSpec {
  return {
    ...{ sandbox, parent: 'par0', child: { kind: 'macvlan', mode: 'private' }, alias: 'linkspan:test:e1' },
    ...{ peerName: 'eth0', peerMac: randomMac(), sysctls: [] },
    addresses: [{ ip: ip('10.7.0.2'), length: 24 }],
    gateways: [ip('0.0.0.0')],
    ...more,
  };
}

const inside = (...words: readonly string[]): string => run('box', ...words);

test('a macvlan link is born in the sandbox with its parent’s MTU, and any failing step leaves nothing', async () => {
  const seam = openSeam();
  await using kernel = await openKernel({ seam, logger: silentLogger });
  run('host', 'ip', 'link', 'add', 'par0', 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'par1');
  for (const name of ['par0', 'par1']) run('host', 'ip', 'link', 'set', name, 'up');
  await kernel.createNamespace(sandbox);
  const before = inside('ip', '-o', 'link');

  seam.load({ at: 0, action: 'count' });
  seam.arm();
  await kernel.attachChild(spec());
  const steps = seam.count;
  assert.match(inside('ip', '-d', 'link', 'show', 'eth0'), /mtu 1400 .*macvlan mode private/s);
  assert.match(inside('ip', 'route'), /default dev eth0 scope link/);
  inside('ip', 'link', 'set', 'eth0', 'down');
  inside('ip', 'link', 'set', 'eth0', 'name', 'other0');
  await kernel.detachChild(spec());
  assert.equal(inside('ip', '-o', 'link'), before, 'also under another name');
  await kernel.detachChild(spec());

  assert.ok(steps >= 7, `only ${steps} steps`);
  for (let at = 1; at <= steps; at++) {
    seam.load({ at, action: { errno: 'ENOMEM' } });
    seam.arm();
    await assert.rejects(kernel.attachChild(spec()), /ENOMEM/, `step ${at}`);
    seam.load({ at: 0, action: 'count' });
    assert.equal(inside('ip', '-o', 'link'), before, `step ${at} failed`);
  }

  await assert.rejects(
    kernel.attachChild(spec({ parent: 'par9' })),
    (error) => error instanceof KernelError && error.code === 'ENODEV',
  );
  await kernel.attachChild(spec());
  run('host', 'ip', 'link', 'del', 'par0');
  assert.equal(inside('ip', '-o', 'link'), before, 'it goes with its parent');
  await kernel.detachChild(spec());
  await kernel.removeNamespace(sandbox);
  await kernel.detachChild(spec());
});

test('the kernel says which kinds it has, and asking leaves nothing', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const before = run('host', 'ip', '-o', 'link');
  assert.equal(await kernel.hasLinkKind('macvlan'), true);
  await kernel.hasLinkKind('ipvlan');
  await kernel.hasLinkKind('vlan');
  assert.equal(run('host', 'ip', '-o', 'link'), before);
});

test('a link in a sandbox is repaired: gone, renamed, down, without address or route; its parent is asked for', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const driver = createMacvlanDriver({ kernel, logger: silentLogger, daemonId: 'test' });
  const addParent = (): void => {
    run('host', 'ip', 'link', 'add', 'par0', 'type', 'veth', 'peer', 'name', 'par1');
    for (const name of ['par0', 'par1']) run('host', 'ip', 'link', 'set', name, 'up');
  };
  addParent();
  await kernel.createNamespace(sandbox);
  const network = {
    ...{ id: 'n'.repeat(64), name: 'n', options: { parent: 'par0' }, pools: [] },
    ...{ isInternal: false, isPredefined: false, hasIpv4: true, hasIpv6: false },
  };
  const endpoint = {
    ...{ id: 'e1', networkId: network.id, containerId: 'c1', interfaceName: 'eth0' },
    ...{ hostInterfaceName: '', mac: randomMac() },
    ...{ addresses: [{ ip: ip('10.7.0.2'), length: 24 }], gateways: [ip('10.7.0.1')], sysctls: [] },
  };
  const shown = (): string =>
    inside('sh', '-c', 'ip -o -4 address show dev eth0; ip route; ip -o link show eth0').replaceAll(
      /^\d+:|@\S+|link-netns\S* \S+/gm,
      '',
    );
  await driver.ensureNetwork(network);
  await driver.attach(network, endpoint, sandbox);
  const before = shown();
  const repair = (extent: 'outside' | 'all'): Promise<readonly string[]> =>
    driver.repairEndpoint(network, endpoint, sandbox, extent);
  assert.deepEqual(await repair('all'), []);
  for (const [words, cause] of [
    [['ip', 'link', 'del', 'eth0'], /^eth0 in the container was gone: made again/],
    [
      ['sh', '-c', 'ip link set eth0 down; ip link set eth0 name mine'],
      /^eth0 in the container had another name/,
    ],
    [['ip', 'link', 'set', 'eth0', 'down'], /^eth0 in the container was down/],
    [['ip', 'address', 'del', '10.7.0.2/24', 'dev', 'eth0'], /^address 10\.7\.0\.2\/24 of eth0/],
    [['ip', 'route', 'del', 'default'], /^the default route by 10\.7\.0\.1/],
  ] as const) {
    inside(...words);
    // What a container may have done on purpose stays, but for an interface that is gone.
    const isGone = words[1] === 'link' && words[2] === 'del';
    if (!isGone) assert.deepEqual(await repair('outside'), []);
    const [first = ''] = await repair('all');
    assert.match(first, cause);
    assert.equal(shown(), before);
    assert.deepEqual(await repair('all'), []);
  }
  run('host', 'ip', 'link', 'del', 'par0');
  await assert.rejects(driver.repairNetwork(network), /par0 is gone/);
  await assert.rejects(repair('outside'), /par0 is gone/);
  addParent();
  assert.deepEqual(await driver.repairNetwork(network), []);
  assert.equal((await repair('outside')).length, 1);
  assert.equal(shown(), before);
  await driver.detach(network, endpoint, sandbox);
  await kernel.removeNamespace(sandbox);
  run('host', 'ip', 'link', 'del', 'par0');
});

test('a sweep takes parents of ours that no network is on, and no others', async () => {
  await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
  const driver = createMacvlanDriver({ kernel, logger: silentLogger, daemonId: 'test' });
  for (const [name, alias] of [
    ['kept0', 'linkspan:test:macvlan-kept0'],
    ['gone0', 'linkspan:test:macvlan-gone0'],
    ['ipv0', 'linkspan:test:ipvlan-ipv0'],
    ['their0', 'linkspan:other:macvlan-their0'],
  ] as const) {
    run('host', 'ip', 'link', 'add', name, 'type', 'bridge');
    run('host', 'ip', 'link', 'set', name, 'alias', alias);
  }
  const network = {
    ...{ id: 'n'.repeat(64), name: 'n', options: { parent: 'kept0' }, pools: [] },
    ...{ isInternal: false, isPredefined: false, hasIpv4: true, hasIpv6: false },
  };
  await driver.sweep({ links: await kernel.links(), addresses: [] }, { networks: [network], endpoints: [] });
  const left = (await kernel.links()).map(({ name }) => name).filter((name) => /^[a-z]+0$/.test(name));
  assert.deepEqual(left.sort(), ['ipv0', 'kept0', 'their0']);
  for (const name of left) run('host', 'ip', 'link', 'del', name);
});
