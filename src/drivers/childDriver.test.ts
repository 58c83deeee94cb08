/*
 * macvlan and ipvlan: options, conflicts, and what is refused, in Docker's words. What the kernel makes of it is
 * tests/kernel/children.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../base/logger.ts';
import { hasCode, messageOf } from '../errors/linkspanError.ts';
import { KernelError } from '../kernel/kernel.ts';
import type { ChildDependencies } from './childDriver.ts';
import type { Driver, DriverNetwork } from './interface.ts';
import { createIpvlanDriver } from './ipvlan/ipvlan.ts';
import { createMacvlanDriver } from './macvlan/macvlan.ts';

function network(id: string, options: DriverNetwork['options'] = {}): DriverNetwork {
  return {
    ...{ id: id.padEnd(64, '0'), name: id, options, pools: [] },
    ...{ isInternal: false, isPredefined: false, hasIpv4: true, hasIpv6: false },
  };
}

/** A host with the links `names`, whose kernel can make `kinds`. */
function host(
  names: readonly string[],
  kinds: readonly string[],
): { deps: ChildDependencies; log: string[] } {
  const log: string[] = [];
  const aliases = new Map(names.map((name) => [name, undefined as string | undefined]));
  const link = (name: string): ReturnType<ChildDependencies['kernel']['findLink']> =>
    Promise.resolve(
      aliases.has(name)
        ? {
            ...{
              ifindex: 1,
              name,
              kind: name.includes('.') ? 'vlan' : undefined,
              isUp: true,
              mtuBytes: 1500,
            },
            ...{ mac: undefined, master: undefined, alias: aliases.get(name) },
            ...{ peerNamespaceId: undefined, isIsolated: false },
          }
        : undefined,
    );
  const kernel: ChildDependencies['kernel'] = {
    findLink: link,
    hasLinkKind: (kind) => Promise.resolve(kinds.includes(kind)),
    ensureParent: ({ name, alias, kind }) => {
      if (!kinds.includes(kind.kind)) return Promise.reject(new KernelError('newlink', 'EOPNOTSUPP'));
      log.push(`make ${kind.kind} ${name}`);
      aliases.set(name, alias);
      return Promise.resolve();
    },
    attachChild: ({ parent }) =>
      aliases.has(parent) ? Promise.resolve() : Promise.reject(new KernelError('getlink', 'ENODEV')),
    detachChild: () => Promise.resolve(),
    delLink: (name) => {
      log.push(`delete ${name}`);
      aliases.delete(name);
      return Promise.resolve();
    },
    announce: () => Promise.resolve(),
    links: () => Promise.resolve([]),
    setLink: () => Promise.resolve(),
    ensureAddress: () => Promise.resolve(false),
    ensureConnectedRoute: () => Promise.resolve(false),
    ensureDefaultRoute: () => Promise.resolve(false),
  };
  return { deps: { kernel, logger: silentLogger, daemonId: 'd' }, log };
}

const all = ['macvlan', 'ipvlan', 'vlan', 'dummy'];
const macvlan = (): Driver => createMacvlanDriver(host(['eth0'], all).deps);
const ipvlan = (): Driver => createIpvlanDriver(host(['eth0'], all).deps);

for (const [name, driver, options, text] of [
  ['mode', macvlan, { macvlan_mode: 'x' }, /requested macvlan mode 'x' is not valid, 'bridge' mode is the/],
  ['mode', ipvlan, { ipvlan_mode: 'l4' }, /requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan/],
  ['flag', ipvlan, { ipvlan_flag: 'x' }, /requested ipvlan flag 'x' is not valid, 'bridge' flag is the/],
  ['loopback', macvlan, { parent: 'lo' }, /loopback interface is not a valid macvlan parent link/],
  ['option', macvlan, { ipvlan_mode: 'l2' }, /unknown option "ipvlan_mode" for network driver "macvlan"/],
  ['name', ipvlan, { parent: 'a/b' }, /parent interface a\/b: not a valid interface name/],
] as const) {
  test(`a bad ${name} is refused: ${JSON.stringify(options)}`, () => {
    assert.throws(
      () => driver().plan(network('a', options)),
      (error) => hasCode(error, 'driverOptionInvalid') && text.test(messageOf(error)),
    );
  });
}

test('a network without a parent is internal, and layer 3 needs no gateway', () => {
  assert.equal(macvlan().plan(network('a')).isInternal, true);
  const layer3 = ipvlan().plan(network('a', { parent: 'eth0', ipvlan_mode: 'l3s' }));
  assert.deepEqual([layer3.isInternal, layer3.routesByDevice, layer3.sharesMac], [false, true, true]);
});

test('a parent serves several macvlan networks, but for passthru, and one ipvlan network', () => {
  const [a, b] = [network('a', { parent: 'eth0' }), network('b', { parent: 'eth0' })];
  const through = network('c', { parent: 'eth0', macvlan_mode: 'passthru' });
  macvlan().checkConflict(a, [b]);
  macvlan().checkConflict(through, [network('d', { parent: 'eth1' })]);
  for (const [driver, one, other, text] of [
    [
      macvlan(),
      through,
      a,
      /^cannot use mode passthru, macvlan network a0+ is already using parent interface/,
    ],
    [macvlan(), a, through, /^macvlan network c0+ is already using parent interface eth0 in mode passthru$/],
    [ipvlan(), a, b, /^network dm-b00000000000 is already using parent interface eth0$/],
  ] as const)
    assert.throws(
      () => driver.checkConflict(one, [other]),
      (error) => hasCode(error, 'networkConflict') && text.test(messageOf(error)),
    );
});

test('a sub-interface of ours lives as long as a network on it; one of the user’s is left alone', async () => {
  const { deps, log } = host(['eth0', 'eth0.5'], all);
  const driver = createMacvlanDriver(deps);
  const [a, b] = [network('a', { parent: 'eth0.10' }), network('b', { parent: 'eth0.10' })];
  const theirs = network('c', { parent: 'eth0.5' });
  for (const one of [a, b, theirs]) await driver.ensureNetwork(one);
  await driver.removeNetwork(a, [b, theirs]);
  await driver.removeNetwork(theirs, [b]);
  assert.deepEqual(log, ['make vlan eth0.10', 'make vlan eth0.10']);
  await driver.removeNetwork(b, []);
  assert.equal(log.at(-1), 'delete eth0.10');
});

for (const [parent, text] of [
  ['eth7', /the requested parent interface eth7 was not found on the host/],
  ['eth7.10', /failed to find master interface eth7 on the host/],
  ['eth0.1.2', /required interface name format is: name.vlan_id/],
  ['eth0.x', /unable to parse a valid vlan id from: x/],
  ['eth0.4095', /vlan id must be between 1-4094, received: 4095/],
] as const) {
  test(`a parent that cannot be is refused: ${parent}`, async () => {
    await assert.rejects(
      macvlan().ensureNetwork(network('a', { parent })),
      (error) => hasCode(error, 'networkConfigInvalid') && text.test(messageOf(error)),
    );
  });
}

test('what the kernel lacks is named', async () => {
  for (const [driver, kinds, options, text] of [
    [createIpvlanDriver, ['vlan'], { parent: 'eth0' }, /no ipvlan links \(CONFIG_IPVLAN\)/],
    [createMacvlanDriver, ['macvlan'], { parent: 'eth0.10' }, /no 802.1q links \(CONFIG_VLAN_8021Q\)/],
    [createMacvlanDriver, ['macvlan'], {}, /no dummy links \(CONFIG_DUMMY\)/],
  ] as const) {
    const { deps, log } = host(['eth0'], kinds);
    await assert.rejects(
      driver(deps).ensureNetwork(network('a', options)),
      (error) => hasCode(error, 'notImplemented') && text.test(messageOf(error)),
    );
    assert.deepEqual(log, []);
  }
});

test('a parent of ours that is gone is made again; the user’s is asked for', async () => {
  const { deps, log } = host(['eth0', 'eth0.5'], all);
  const driver = createMacvlanDriver(deps);
  const [own, theirs] = [network('a', { parent: 'eth0.10' }), network('b', { parent: 'eth0.5' })];
  for (const one of [own, theirs]) {
    await driver.ensureNetwork(one);
    assert.deepEqual(await driver.repairNetwork(one), []);
  }
  await deps.kernel.delLink('eth0.10');
  await deps.kernel.delLink('eth0.5');
  assert.deepEqual(await driver.repairNetwork(own), ['eth0.10 was gone: made again']);
  assert.equal(log.at(-1), 'make vlan eth0.10');
  await assert.rejects(driver.repairNetwork(theirs), /parent interface eth0\.5 is gone, .*: make it again/);
});
