import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../base/clock.ts';
import { Events } from '../base/events.ts';
import { silentLogger } from '../base/logger.ts';
import { KernelError, type KernelEvents } from '../kernel/kernel.ts';
import { parseIp } from '../net/ip.ts';
import { parseMac } from '../net/mac.ts';
import { formatPrefix, type Prefix, parsePrefix, prefixOf } from '../net/prefix.ts';
import type { FirewallBinding } from './binding.ts';
import { bindingSets, planBinding } from './bindingElements.ts';
import { compareElements, planElementChanges } from './difference.ts';
import { formatData, formatKey, planForeignBridge, planNetwork } from './elements.ts';
import { guardSkeleton, planEndpoints } from './endpointGuard.ts';
import { createFirewall } from './firewall.ts';
import { decodeMessage, encodeCall } from './foreign/dbus.ts';
import { acceptsMark, extensionPointOf, foreignForwardChains, isDropping } from './foreign/forwardDrop.ts';
import { readLegacyFilter } from './foreign/legacyRule.ts';
import { guardedBy } from './forwarding.ts';
import type { FirewallNetwork, FirewallSubnet } from './network.ts';
import { type Listing, readListing } from './nftJson.ts';
import { mainSkeleton, type SkeletonOptions } from './skeleton.ts';
import { planSkeleton } from './tableSkeleton.ts';

function must<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

function network(
  change: Partial<FirewallNetwork> = {},
  subnet: Partial<FirewallSubnet> = {},
): FirewallNetwork {
  return {
    id: 'n1',
    bridge: 'br1',
    isInternal: false,
    isOpenInside: true,
    subnets: [
      { prefix: must(parsePrefix('172.18.0.0/16')), gatewayMode: 'nat', sourceNat: 'masquerade', ...subnet },
    ],
    ...change,
  };
}

const textOf = (one: FirewallNetwork): readonly string[] =>
  planNetwork(one).map((element) => {
    const data = formatData(element);
    return `${element.set} ${formatKey(element)}${data === '' ? '' : ` : ${data}`}`;
  });

const inside = ['bridges "br1"', 'same "br1" . "br1"', 'home4 172.18.0.0/16 . "br1"'];
for (const [name, given, expected] of [
  ['a plain network', network(), [...inside, 'masq4 172.18.0.0/16']],
  [
    'icc=false',
    network({ isOpenInside: false }),
    ['bridges "br1"', 'home4 172.18.0.0/16 . "br1"', 'masq4 172.18.0.0/16'],
  ],
  ['an internal network', network({ isInternal: true }), [...inside, 'internal "br1"']],
  ['no masquerading', network({}, { sourceNat: 'none' }), inside],
  [
    'a given source address',
    network({}, { sourceNat: { to: must(parseIp('192.0.2.1')) } }),
    [...inside, 'snat4 172.18.0.0/16 : 192.0.2.1'],
  ],
  ['routed', network({}, { gatewayMode: 'routed' }), [...inside, 'routed4 "br1"']],
  [
    'nat-unprotected',
    network({}, { gatewayMode: 'nat-unprotected' }),
    [...inside, 'open4 "br1"', 'masq4 172.18.0.0/16'],
  ],
  [
    'IPv6',
    network({}, { prefix: must(parsePrefix('fd00:1::/64')) }),
    [...inside.slice(0, 2), 'home6 fd00:1::/64 . "br1"', 'masq6 fd00:1::/64'],
  ],
] as const) {
  test(`the plan of ${name}`, () => assert.deepEqual(textOf(given), expected));
}

const published: FirewallBinding = {
  proto: 'tcp',
  hostIp: undefined,
  hostPort: 8080,
  count: 1,
  target: must(parseIp('172.18.0.2')),
  port: 80,
  isRouted: false,
  sources: [],
  trustedLinks: [],
};
const subnets = (...texts: readonly string[]): readonly Prefix[] =>
  texts.map((text) => must(parsePrefix(text)));

for (const [name, change, expected] of [
  ['one port', {}, ['any4 tcp . 8080 : 172.18.0.2 . 80']],
  [
    'one port on one address',
    { hostIp: parseIp('127.0.0.1'), proto: 'udp' },
    ['pub4 127.0.0.1 . udp . 8080 : 172.18.0.2 . 80'],
  ],
  [
    'ten thousand ports that stay the same',
    { hostPort: 20_000, port: 20_000, count: 10_000, proto: 'sctp' },
    ['span4 0.0.0.0/0 . sctp . 20000-29999 : 172.18.0.2'],
  ],
  [
    'a run that changes its ports',
    { count: 2, hostIp: parseIp('192.0.2.1') },
    ['pub4 192.0.2.1 . tcp . 8080 : 172.18.0.2 . 80', 'pub4 192.0.2.1 . tcp . 8081 : 172.18.0.2 . 81'],
  ],
  [
    'IPv6',
    { target: must(parseIp('fd00::2')), hostPort: 80, count: 2 },
    ['span6 ::/0 . tcp . 80-81 : fd00::2'],
  ],
  [
    'sources, of which only those of the family count, and none inside another',
    { sources: subnets('10.0.0.0/8', '10.1.0.0/16', '10.0.0.0/8', 'fd00::/8', '192.0.2.7/32') },
    [
      'any4 tcp . 8080 : 172.18.0.2 . 80',
      'limited4 0.0.0.0/0 . tcp . 8080',
      'admits4 10.0.0.0/8 . 0.0.0.0/0 . tcp . 8080',
      'admits4 192.0.2.7 . 0.0.0.0/0 . tcp . 8080',
    ],
  ],
  [
    'sources of the other family alone: nobody of this one',
    { sources: subnets('fd00::/8') },
    ['any4 tcp . 8080 : 172.18.0.2 . 80', 'limited4 0.0.0.0/0 . tcp . 8080'],
  ],
  [
    'links that may use the container’s own address',
    { trustedLinks: ['eth0', 'eth1'], count: 2, hostPort: 80 },
    [
      'span4 0.0.0.0/0 . tcp . 80-81 : 172.18.0.2',
      ...['eth0', 'eth1'].flatMap((link) =>
        [80, 81].map((port) => `trusted4 "${link}" . 172.18.0.2 . tcp . ${port}`),
      ),
    ],
  ],
  [
    'links that may, but only some sources',
    { trustedLinks: ['eth0'], sources: subnets('fd00::/8') },
    ['any4 tcp . 8080 : 172.18.0.2 . 80', 'limited4 0.0.0.0/0 . tcp . 8080'],
  ],
  ['routed', { isRouted: true, count: 3 }, ['opened4 0.0.0.0/0 . 172.18.0.2 . tcp . 80-82']],
  [
    'routed with sources',
    { isRouted: true, sources: subnets('10.0.0.0/8') },
    ['opened4 10.0.0.0/8 . 172.18.0.2 . tcp . 80'],
  ],
] as const satisfies readonly (readonly [string, Partial<FirewallBinding>, readonly string[]])[]) {
  test(`the plan of a published port: ${name}`, () => {
    const elements = planBinding({ ...published, ...change }, false).map((element) => {
      const data = formatData(element);
      return `${element.set} ${formatKey(element)}${data === '' ? '' : ` : ${data}`}`;
    });
    assert.deepEqual(elements, expected);
    for (const { set } of planBinding({ ...published, ...change }, true))
      assert.ok(bindingSets.has(set), set);
  });
}

test('under the policy host-input a port is listed for the INPUT hook too', () => {
  const elements = planBinding(published, true).map((element) => `${element.set} ${formatKey(element)}`);
  assert.deepEqual(elements, ['any4 tcp . 8080', 'asked4 0.0.0.0/0 . tcp . 8080']);
});

test('bridges of others: engines’ own are theirs, and all of them pass the guard', () => {
  const of = (name: string, isGuarded: boolean): readonly string[] =>
    planForeignBridge(name, isGuarded).map((element) => `${element.set} ${formatKey(element)}`);
  assert.deepEqual(of('docker0', true), ['theirs "docker0"', 'foreign "docker0" . "docker0"']);
  assert.deepEqual(of('br-0123456789ab', false), ['theirs "br-0123456789ab"']);
  assert.deepEqual(of('br0', false), []);
});

test('every subnet reads back from its interval', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }),
      fc.integer({ min: 1, max: 32 }),
      (bits, length) => {
        const prefix = prefixOf({ family: 4, bits }, length);
        const elements = planNetwork(network({}, { prefix }));
        assert.equal(formatKey(must(elements.at(-1))), formatPrefix(prefix));
      },
    ),
  );
});

const skeletonOf = (change: Partial<SkeletonOptions> = {}): ReturnType<typeof mainSkeleton> =>
  mainSkeleton({
    table: 't',
    marksAccepted: false,
    guardedFamilies: [],
    asksHost: false,
    servesLoopback6: false,
    ...change,
  });

test('the skeleton does not vary with networks, and its guard only with the families', () => {
  const of = (guardedFamilies: readonly (4 | 6)[]): readonly string[] =>
    planSkeleton(skeletonOf({ guardedFamilies })).filter((line) => line.includes(' guard '));
  assert.equal(of([]).filter((line) => line.startsWith('add rule')).length, 0);
  assert.deepEqual(
    of([4]).filter((line) => line.startsWith('add rule')),
    [
      'add rule inet t guard iifname . oifname @foreign return comment "inside a foreign bridge"',
      'add rule inet t guard meta nfproto ipv4 drop comment "not a router"',
    ],
  );
});

test('the operator’s chain is added and never flushed', () => {
  const lines = planSkeleton(skeletonOf({ marksAccepted: true, guardedFamilies: [4, 6] }));
  assert.deepEqual(
    lines.filter((line) => line.includes('operator')),
    ['add chain inet t operator', 'add rule inet t forward jump operator'],
  );
});

/** As libnftables 1.0.6 prints it. */
const listed = JSON.stringify({
  nftables: [
    { metainfo: { version: '1.0.6' } },
    { set: { family: 'inet', name: 'bridges', table: 't', type: 'ifname', handle: 1, elem: ['br1', 'br9'] } },
    {
      set: {
        family: 'inet',
        name: 'same',
        table: 't',
        type: ['ifname', 'ifname'],
        handle: 2,
        elem: [{ concat: ['br1', 'br1'] }],
      },
    },
    {
      map: {
        family: 'inet',
        name: 'snat4',
        table: 't',
        type: 'ipv4_addr',
        handle: 3,
        map: 'ipv4_addr',
        flags: ['interval'],
        elem: [
          [{ prefix: { addr: '172.18.0.0', len: 16 } }, '192.0.2.2'],
          ['10.0.0.1', '192.0.2.3'],
        ],
      },
    },
  ],
});

test('compareElements finds what is missing, too much, and of other data', () => {
  const desired = planNetwork(network({}, { sourceNat: { to: must(parseIp('192.0.2.1')) } }));
  const difference = compareElements(skeletonOf(), desired, readListing(listed));
  assert.deepEqual(planElementChanges(skeletonOf(), difference), [
    'delete element inet t bridges { "br9" }',
    'delete element inet t snat4 { 172.18.0.0/16 }',
    'delete element inet t snat4 { 10.0.0.1/32 }',
    'add element inet t home4 { 172.18.0.0/16 . "br1" }',
    'add element inet t snat4 { 172.18.0.0/16 : 192.0.2.1 }',
  ]);
});

const endpoint = {
  link: 'veth1',
  owner: 'c1',
  isChecked: true,
  mac: must(parseMac('02:11:22:33:44:55')),
  addresses: ['172.18.0.2', '169.254.7.7', 'fd00::2'].map((text) => must(parseIp(text))),
};

test('the plan of an endpoint: its MAC, each of its addresses, and the link-local one that the MAC gives', () => {
  assert.deepEqual(
    planEndpoints([endpoint], 'overlay').map((element) => `${element.set} ${formatKey(element)}`),
    [
      'macs "veth1" . 02:11:22:33:44:55',
      'own4 "veth1" . 02:11:22:33:44:55 . 172.18.0.2',
      'own4 "veth1" . 02:11:22:33:44:55 . 169.254.7.7',
      'own6 "veth1" . 02:11:22:33:44:55 . fd00::2',
      'own6 "veth1" . 02:11:22:33:44:55 . fe80::11:22ff:fe33:4455',
      'targets6 "veth1" . 0xfd000000000000000000000000000002',
      'targets6 "veth1" . 0xfe80000000000000001122fffe334455',
      'ports "veth1"',
    ],
  );
  const onOverlay = planEndpoints([endpoint], 'overlay').length;
  assert.deepEqual(
    planEndpoints([endpoint], 'host')
      .slice(onOverlay)
      .map((element) => `${element.set} ${formatKey(element)}`),
    [
      'near4 "veth1" . 02:11:22:33:44:55 . 172.18.0.2',
      'peers4 02:11:22:33:44:55 . 172.18.0.2',
      'near4 "veth1" . 02:11:22:33:44:55 . 169.254.7.7',
      'peers4 02:11:22:33:44:55 . 169.254.7.7',
      'near6 "veth1" . 02:11:22:33:44:55 . fd00::2',
      'peers6 02:11:22:33:44:55 . fd00::2',
    ],
  );
  const linkLocal = must(parseIp('fe80::11:22ff:fe33:4455'));
  const given = planEndpoints([{ ...endpoint, addresses: [linkLocal] }], 'host');
  assert.equal(given.filter(({ set }) => set === 'own6').length, 1, 'no element twice');
});

test('an endpoint may use addresses that its container has elsewhere, but not speak for them', () => {
  const [first, second] = ['172.19.0.2', 'fd00:1::2'] as const;
  const other = {
    ...endpoint,
    ...{ link: 'veth2', isChecked: false },
    addresses: [first, second].map((text) => must(parseIp(text))),
  };
  const planned = (all: (typeof endpoint)[]): readonly string[] =>
    planEndpoints(all, 'host').map((element) => `${element.set} ${formatKey(element)}`);
  const alone = planned([endpoint]);
  assert.deepEqual(
    planned([endpoint, other]).filter((text) => !alone.includes(text)),
    [`own4 "veth1" . ${endpoint.mac} . ${first}`, `own6 "veth1" . ${endpoint.mac} . ${second}`],
  );
});

test('elements of a set by typeof read back, as libnftables 1.0 prints it and as 1.1 does', () => {
  const elem = planEndpoints([endpoint], 'host')
    .filter(({ set }) => set === 'targets6')
    .map((element) => ({ concat: formatKey(element).replaceAll('"', '').split(' . ') }));
  const raw = { payload: { base: 'th', offset: 64, len: 128 } };
  for (const type of [['ifname', 'integer'], { typeof: { concat: [{ meta: { key: 'iifname' } }, raw] } }]) {
    const set = { family: 'bridge', table: 't', name: 'targets6', handle: 5, type, elem };
    const desired = planEndpoints([endpoint], 'host').filter(({ set: name }) => name === 'targets6');
    assert.deepEqual(
      compareElements(
        guardSkeleton({ table: 't', place: 'host', skipsTracking: true }),
        desired,
        list({ set }),
      ),
      {
        missing: [],
        extra: [],
      },
    );
  }
});

const chain = (family: string, table: string, name: string, more: object = {}): object => ({
  chain: { family, table, name, handle: 1, ...more },
});
const hooked = (policy: string): object => ({ type: 'filter', hook: 'forward', prio: 0, policy });
const rule = (name: string, expr: readonly object[]): object => ({
  rule: { family: 'ip', table: 'filter', chain: name, handle: 7, expr },
});
const list = (...objects: readonly object[]): Listing => readListing(JSON.stringify({ nftables: objects }));

test('foreign base chains at the forward hook are found, ours is not', () => {
  const listing = list(
    chain('ip', 'filter', 'FORWARD', hooked('drop')),
    chain('ip', 'filter', 'DOCKER-USER'),
    chain('inet', 'linkspan', 'forward', hooked('accept')),
    chain('inet', 'mine', 'fwd', hooked('accept')),
    chain('bridge', 'b', 'fwd', hooked('drop')),
  );
  const chains = foreignForwardChains(listing, 'linkspan');
  assert.deepEqual(
    chains.map(({ table }) => table),
    ['filter', 'mine'],
  );
  assert.equal(
    extensionPointOf({ family: 'ip', table: 'filter', chain: 'FORWARD' }, listing.chains),
    'DOCKER-USER',
  );
  assert.equal(extensionPointOf({ family: 'inet', table: 'mine', chain: 'fwd' }, listing.chains), undefined);
});

for (const [name, policy, expr, expected] of [
  ['policy drop', 'drop', [{ accept: null }], true],
  ['policy accept', 'accept', [{ accept: null }], false],
  ['a closing drop', 'accept', [{ counter: { packets: 1, bytes: 2 } }, { drop: null }], true],
  ['a closing reject', 'accept', [{ reject: { type: 'icmpx' } }], true],
  ['a closing REJECT of iptables', 'accept', [{ xt: { type: 'target', name: 'REJECT' } }], true],
  ['a conditional drop', 'accept', [{ match: { op: '==' } }, { drop: null }], false],
] as const) {
  test(`isDropping: ${name} is ${expected}`, () => {
    const listing = list(chain('ip', 'filter', 'FORWARD', hooked(policy)), rule('FORWARD', expr));
    assert.equal(isDropping(must(listing.chains[0]), listing.rules), expected);
  });
}

test('acceptsMark knows our rule with and without iptables’ comment match', () => {
  const match = {
    match: { op: '==', left: { '&': [{ meta: { key: 'mark' } }, 268435456] }, right: 268435456 },
  };
  const is = (expr: readonly object[]): boolean => acceptsMark(must(list(rule('X', expr)).rules[0]));
  assert.ok(is([match, { counter: { packets: 0, bytes: 0 } }, { accept: null }]));
  assert.ok(is([match, { xt: { type: 'match', name: 'comment' } }, { accept: null }]));
  assert.ok(!is([match, { drop: null }]));
  assert.ok(!is([match, match, { accept: null }]));
  assert.ok(!is([{ accept: null }]));
});

test('readLegacyFilter reads iptables-legacy -S', () => {
  const filter = readLegacyFilter(
    [
      '-P INPUT ACCEPT',
      '-P FORWARD DROP',
      '-N DOCKER-USER',
      '-A FORWARD -j DOCKER-USER',
      '-A DOCKER-USER -j RETURN',
      '',
    ].join('\n'),
  );
  assert.equal(filter.isDropping, true);
  assert.equal(filter.extensionChain, 'DOCKER-USER');
  assert.equal(filter.acceptsMark, false);
  assert.deepEqual(filter.rules.get('DOCKER-USER'), ['-A DOCKER-USER -j RETURN']);
  const ours = readLegacyFilter(
    '-P FORWARD ACCEPT\n-A FORWARD -m mark --mark 0x10000000/0x10000000 -m comment --comment linkspan -j ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable\n',
  );
  assert.ok(ours.isDropping && ours.acceptsMark);
});

test('a bus call is laid out as the D-Bus specification says', () => {
  const bytes = encodeCall(
    { destination: 'org.freedesktop.DBus', path: '/', interface: 'a.b', member: 'Hi', args: ['x', 'yz'] },
    2,
  );
  assert.equal(bytes.toString('latin1', 0, 1), 'l');
  assert.deepEqual([...bytes.subarray(1, 4)], [1, 0, 1]);
  // "x" takes 4 + 1 + 1 bytes and is padded to 8; "yz" takes 7.
  assert.equal(bytes.readUInt32LE(4), 15);
  assert.equal(bytes.readUInt32LE(8), 2);
  assert.equal((bytes.length - 15) % 8, 0);
  assert.deepEqual(decodeMessage(bytes)?.values, ['x']);
  assert.equal(decodeMessage(bytes.subarray(0, bytes.length - 1)), undefined);
});

test('only forwarding that we switched on in this boot is guarded', () => {
  assert.deepEqual(guardedBy({ bootId: 'a', families: [4] }, 'a'), [4]);
  assert.deepEqual(guardedBy({ bootId: 'a', families: [4] }, 'b'), []);
  assert.deepEqual(guardedBy(undefined, 'b'), []);
});

/** A kernel that has what it is asked for, and lists an empty table. */
function fakeKernel(
  nft: (commands: string) => string = () => '{"nftables": []}',
): Parameters<typeof createFirewall>[0]['kernel'] {
  return {
    events: new Events<KernelEvents>(),
    links: () => Promise.resolve([]),
    getSysctl: () => Promise.resolve('1'),
    routes: () => Promise.resolve([]),
    setSysctl: () => Promise.resolve(),
    watchSysctls: () => Promise.resolve(),
    changeElements: () => Promise.resolve(),
    nft: async (commands) => await Promise.resolve(nft(commands)),
  };
}

test('a kernel without family bridge is a condition, not a failure, until it has it', async () => {
  let code: string | undefined = 'EOPNOTSUPP';
  const changes: string[] = [];
  const kernel = fakeKernel((commands) => {
    if (commands.includes('bridge t') && code !== undefined) throw new KernelError('nft', code, 'no bridge');
    return commands.startsWith('list') ? '{"nftables": []}' : '';
  });
  const clock: Clock = { nowMs: () => 0, upMs: () => 0, sleep: () => new Promise(() => {}) };
  const firewall = createFirewall({
    kernel: {
      ...kernel,
      changeElements: ({ family, table }) => {
        changes.push(`${family} ${table}`);
        return Promise.resolve();
      },
    },
    logger: silentLogger,
    clock,
    options: { table: 't' },
  });
  await firewall.start();
  assert.deepEqual(
    firewall.conditions.map(({ id, severity }) => [id, severity]),
    [['firewall.antiSpoofOff', 'warning']],
  );
  assert.match(firewall.conditions[0]?.text ?? '', /no bridge/);
  await firewall.guardEndpoint(endpoint);
  await firewall.dump();
  assert.deepEqual(changes, []);
  code = 'ENOMEM';
  await assert.rejects(firewall.check(), /ENOMEM/);
  code = undefined;
  await firewall.check();
  assert.deepEqual(firewall.conditions, []);
  await firewall.releaseEndpoint(endpoint.link);
  assert.deepEqual(changes, ['bridge t']);
  await firewall.stop();
});

test('what raises no event is found by the slow compare, until the firewall is stopped', async () => {
  const waits: { readonly ms: number; readonly end: () => void }[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    upMs: () => 0,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        waits.push({ ms, end: () => resolve() });
        signal?.addEventListener('abort', () => reject(new Error('stopped')));
      }),
  };
  let listings = 0;
  const kernel = fakeKernel((commands) => {
    if (commands.startsWith('list table')) listings++;
    return '{"nftables": []}';
  });
  const firewall = createFirewall({ kernel, logger: silentLogger, clock });
  await firewall.start();
  const before = listings;
  assert.deepEqual(
    waits.map(({ ms }) => ms),
    [60_000],
  );
  waits[0]?.end();
  while (waits.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(listings > before);
  await firewall.stop();
  assert.equal(waits.length, 2);
});
