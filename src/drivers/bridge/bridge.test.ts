import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Link } from '../../kernel/kernel.ts';
import { parseIp } from '../../net/ip.ts';
import { parsePrefix } from '../../net/prefix.ts';
import type { DriverNetwork } from '../interface.ts';
import { formatOwnerMark, parseOwnerMark } from '../ownerMark.ts';
import { createBridgeDriver, toFirewallNetwork } from './bridge.ts';
import { checkBridgeConflict } from './conflict.ts';
import { chooseDefaultBridge, chooseGatewayBridge, probeDocker } from './defaultBridge.ts';
import { bridgeLabels as label, parseBridgeOptions } from './options.ts';

const id = 'ab'.repeat(32);

function network(
  options: Readonly<Record<string, string>> = {},
  change: Partial<DriverNetwork> & { readonly subnets?: readonly string[] } = {},
): DriverNetwork {
  const { subnets = ['172.18.0.0/16'], ...rest } = change;
  return {
    id,
    name: 'n1',
    isInternal: false,
    isPredefined: false,
    hasIpv4: true,
    hasIpv6: false,
    pools: subnets.map((text) => {
      const subnet = parsePrefix(text);
      assert.ok(subnet);
      return { subnet, gateway: { family: subnet.base.family, bits: subnet.base.bits + 1n } };
    }),
    options,
    ...rest,
  };
}

test('parseBridgeOptions has Docker’s defaults', () => {
  assert.deepEqual(parseBridgeOptions(network()), {
    bridge: 'br-abababababab',
    isNamedById: true,
    masquerades: true,
    isOpenInside: true,
    gatewayModes: { 4: 'nat', 6: 'nat' },
    inhibitsIpv4: false,
    mtuBytes: 1500,
    interfacePrefix: 'eth',
    hostAddresses: {},
    bindingAddress: undefined,
    publishSources: [],
    trustedLinks: [],
    announcements: { count: 3, intervalMs: 1000 },
    isDefaultBridge: false,
    checksSources: true,
  });
});

test('parseBridgeOptions reads every label', () => {
  const options = parseBridgeOptions(
    network({
      [label.name]: 'brx1',
      [label.masquerade]: '0',
      [label.icc]: 'False',
      [label.binding]: '127.0.0.1',
      [label.gatewayMode4]: 'routed',
      [label.gatewayMode6]: 'nat-unprotected',
      [label.inhibit4]: 'T',
      [label.trusted]: 'eth1:vxlan.1',
      [label.isDefault]: 'true',
      [label.mtu]: '1400',
      [label.interfacePrefix]: 'net',
      [label.host4]: '192.0.2.7',
      [label.host6]: '2001:db8::7',
      [label.ipv4]: 'true',
      [label.ipv6]: 'true',
      [label.announcements]: '0',
      [label.announceInterval]: '200',
      [label.publishFrom]: '10.1.2.3/8,192.0.2.7',
      [label.antiSpoof]: 'false',
    }),
  );
  assert.deepEqual(options, {
    bridge: 'brx1',
    isNamedById: false,
    masquerades: false,
    isOpenInside: false,
    gatewayModes: { 4: 'routed', 6: 'nat-unprotected' },
    inhibitsIpv4: true,
    mtuBytes: 1400,
    interfacePrefix: 'net',
    hostAddresses: { 4: parseIp('192.0.2.7'), 6: parseIp('2001:db8::7') },
    bindingAddress: parseIp('127.0.0.1'),
    publishSources: [parsePrefix('10.0.0.0/8'), parsePrefix('192.0.2.7/32')],
    trustedLinks: ['eth1', 'vxlan.1'],
    announcements: { count: 0, intervalMs: 200 },
    isDefaultBridge: true,
    checksSources: false,
  });
});

for (const [name, value, text] of [
  [
    label.icc,
    'yes',
    'failed to parse com.docker.network.bridge.enable_icc value: yes (strconv.ParseBool: parsing "yes": invalid syntax)',
  ],
  [
    label.mtu,
    'big',
    'failed to parse com.docker.network.driver.mtu value: big (strconv.Atoi: parsing "big": invalid syntax)',
  ],
  [label.mtu, '-1', 'invalid MTU number: -1'],
  [label.mtu, '70000', 'invalid MTU number: 70000'],
  [
    label.gatewayMode4,
    'magic',
    'failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: magic (unknown gateway mode magic)',
  ],
  [label.gatewayMode4, 'isolated', "gateway mode 'isolated' can only be used for an internal network"],
  [
    label.trusted,
    'eth0:a b',
    'failed to parse com.docker.network.bridge.trusted_host_interfaces value: eth0:a b (a b is not a valid interface name)',
  ],
  [label.host4, 'x', 'failed to parse com.docker.network.host_ipv4 value: x (nil ip)'],
  [
    label.binding,
    '1.2.3',
    'failed to parse com.docker.network.bridge.host_binding_ipv4 value: 1.2.3 (nil ip)',
  ],
  [
    label.name,
    'a-name-that-is-too-long',
    'failed to parse com.docker.network.bridge.name value: a-name-that-is-too-long (not a valid interface name)',
  ],
  [
    label.name,
    'a/b',
    'failed to parse com.docker.network.bridge.name value: a/b (not a valid interface name)',
  ],
  [label.announcements, '4', 'com.docker.network.advertise_addr_nmsgs must be in the range 0 to 3'],
  [
    label.announcements,
    'x',
    'value for option com.docker.network.advertise_addr_nmsgs "x" must be an integer',
  ],
  [label.announceInterval, '99', 'com.docker.network.advertise_addr_ms must be in the range 100 to 2000'],
  [
    'com.docker.network.bridge.mtu',
    '1',
    'unknown option "com.docker.network.bridge.mtu" for network driver "bridge"',
  ],
] as const) {
  test(`parseBridgeOptions refuses ${name}=${value}`, () => {
    assert.throws(
      () => parseBridgeOptions(network({ [name]: value })),
      (error) => error instanceof LinkspanError && error.message === text && error.kind !== 'internal',
    );
  });
}

test('isolated internal networks, and inhibited internal ones, get no gateway', () => {
  const driver = createBridgeDriver({} as never);
  const isolated = network({ [label.gatewayMode4]: 'isolated' }, { isInternal: true });
  const families = (one: DriverNetwork): readonly number[] => driver.plan(one).gatewayFamilies;
  assert.deepEqual(families(isolated), [6]);
  assert.deepEqual(families(network({ [label.inhibit4]: '1' }, { isInternal: true })), [6]);
  assert.deepEqual(families(network({ [label.inhibit4]: '1' })), [4, 6]);
  assert.deepEqual(families(network({ [label.gatewayMode6]: 'isolated' }, { isInternal: true })), [4]);
  assert.throws(() => driver.plan(network({}, { hasIpv4: false })), /IPv4 or IPv6 must be enabled/);
  assert.throws(
    () => driver.plan(network({ [label.mtu]: '1200' }, { hasIpv6: true })),
    /invalid MTU number: 1200: IPv6 needs at least 1280/,
  );
});

test('checkBridgeConflict says what collides as Docker does', () => {
  const other = (options: Record<string, string>, subnets: readonly string[]): DriverNetwork =>
    network(options, { id: 'cd'.repeat(32), subnets });
  const text = (why: string, name = 'br-cdcdcdcdcdcd', own = 'br-abababababab'): string =>
    `cannot create network ${id} (${own}): conflicts with network ${'cd'.repeat(32)} (${name}): ${why}`;
  checkBridgeConflict(network(), [network(), other({}, ['172.19.0.0/16'])]);
  for (const [a, b, message] of [
    [network(), other({}, ['172.18.4.0/24']), text('networks have overlapping IPv4')],
    [
      network({ [label.name]: 'brx' }),
      other({ [label.name]: 'brx' }, ['10.0.0.0/8']),
      text('networks have same bridge name', 'brx', 'brx'),
    ],
    [
      network({}, { subnets: ['10.1.0.0/16', '10.2.0.0/16'] }),
      undefined,
      "bridge driver doesn't support multiple subnets",
    ],
  ] as const) {
    assert.throws(
      () => checkBridgeConflict(a, b === undefined ? [] : [b]),
      (error) => error instanceof LinkspanError && error.message === message && error.kind === 'forbidden',
    );
  }
});

test('toFirewallNetwork carries what the rules depend on', () => {
  assert.deepEqual(toFirewallNetwork(network({ [label.host4]: '192.0.2.7', [label.icc]: 'false' })), {
    id,
    bridge: 'br-abababababab',
    isInternal: false,
    isOpenInside: false,
    subnets: [
      { prefix: parsePrefix('172.18.0.0/16'), gatewayMode: 'nat', sourceNat: { to: parseIp('192.0.2.7') } },
    ],
  });
});

test('an owner mark survives the alias, and other aliases are nobody’s', () => {
  const mark = { daemonId: 'd1', objectId: id };
  assert.deepEqual(parseOwnerMark(formatOwnerMark(mark)), mark);
  for (const alias of [undefined, '', 'linkspan', 'linkspan:d1', 'docker:d1:x', 'linkspan:a:b:c'])
    assert.equal(parseOwnerMark(alias), undefined);
});

for (const [isRunning, isEnabled, hasForeignBridge, name] of [
  [false, false, false, 'docker0'],
  [true, false, false, 'linkspan0'],
  [false, true, false, 'linkspan0'],
  [false, false, true, 'linkspan0'],
] as const) {
  test(`the default bridge is ${name} (running ${isRunning}, enabled ${isEnabled}, foreign ${hasForeignBridge})`, () => {
    const presence = { isRunning, isEnabled, hasForeignBridge };
    assert.equal(chooseDefaultBridge(presence), name);
    assert.equal(chooseDefaultBridge(presence, 'br7'), 'br7');
    assert.equal(
      chooseGatewayBridge({ isRunning, isEnabled, hasForeignGateway: hasForeignBridge }),
      name === 'docker0' ? 'docker_gwbridge' : 'linkspan_gwbr',
    );
  });
}

test('probeDocker finds a running dockerd, an enabled service and foreign bridges of its names', async () => {
  const root = await mkdtemp(join(tmpdir(), 'linkspan-probe-'));
  const docker0: Link = {
    ifindex: 3,
    name: 'docker0',
    kind: 'bridge',
    isUp: true,
    mtuBytes: 1500,
    mac: undefined,
    master: undefined,
    alias: formatOwnerMark({ daemonId: 'd1', objectId: id }),
    peerNamespaceId: undefined,
    isIsolated: undefined,
  };
  const links = [docker0, { ...docker0, name: 'docker_gwbridge', alias: undefined }];
  try {
    assert.deepEqual(await probeDocker([docker0], 'd1', root), {
      isRunning: false,
      isEnabled: false,
      hasForeignBridge: false,
      hasForeignGateway: false,
    });
    assert.deepEqual(await probeDocker(links, 'd1', root), {
      isRunning: false,
      isEnabled: false,
      hasForeignBridge: false,
      hasForeignGateway: true,
    });
    await mkdir(join(root, 'proc/17'), { recursive: true });
    await writeFile(join(root, 'proc/17/comm'), 'dockerd\n');
    await mkdir(join(root, 'etc/systemd/system/sockets.target.wants'), { recursive: true });
    await writeFile(join(root, 'etc/systemd/system/sockets.target.wants/docker.socket'), '');
    assert.deepEqual(await probeDocker([docker0], 'd2', root), {
      isRunning: true,
      isEnabled: true,
      hasForeignBridge: true,
      hasForeignGateway: false,
    });
  } finally {
    await rm(root, { recursive: true });
  }
});
