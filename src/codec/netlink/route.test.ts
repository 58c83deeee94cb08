import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ip, parseIp } from '../../net/ip.ts';
import { macFromBytes, parseMac } from '../../net/mac.ts';
import { formatPrefix, parsePrefix, prefixOf } from '../../net/prefix.ts';
import { capturedBytes, capturedHex } from './captured.ts';
import { decodeMessages } from './core.ts';
import { type Branch, type MessageTree, treesOf } from './referenceTree.ts';
import {
  decodeAddress,
  decodeLink,
  decodeLinkHeader,
  decodeVxlan,
  encodeAddress,
  encodeDelLink,
  encodeDump,
  encodeGetLink,
  encodeLinkDump,
  encodeNewLink,
  encodeSetLink,
} from './route.ts';
import {
  decodeForwarding,
  decodeLoopbackRoute,
  decodeRoute,
  encodeConnectedRoute,
  encodeDefaultRoute,
  encodeLoopbackRoute,
  encodeReplaceHopRoute,
  encodeUnreachable,
} from './routing.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

function mac(text: string): ReturnType<typeof macFromBytes> {
  const parsed = parseMac(text);
  assert.ok(parsed, text);
  return parsed;
}

function treeOf(hex: string): MessageTree {
  const [tree] = treesOf(hex);
  assert.ok(tree);
  return tree;
}

/** Without the attributes at these paths; texts are cut, since iproute2 sends kinds without a terminating zero. */
function comparable(branches: readonly Branch[], without: readonly string[], above = ''): unknown[] {
  return branches
    .filter(([type]) => !without.includes(`${above}${type}`))
    .map(([type, value]) => [
      type,
      typeof value === 'string'
        ? value.replace(/(00)+$/, '')
        : comparable(value, without, `${above}${type}/`),
    ]);
}

/** Numbers of queues, which iproute2 leaves to the kernel, and the peer's MTU, which it was not told. */
const vethExtras = ['31', '32', '18/2/1/31', '18/2/1/32', '18/2/1/4'];
/** iproute2 says kind `bridge_slave`, we slave kind `bridge`: the kernel asks the port's master and reads neither. */
const portKinds = ['18/1', '18/4'];
const ipv6Destination = ['1'];

for (const [name, ours, without] of [
  [
    'newBridge',
    encodeNewLink({ name: 'br0', mtuBytes: 1450, mac: mac('02:42:00:00:00:01'), isNewBridge: true }),
    // iproute2 was not asked for it.
    ['18/2/46'],
  ],
  ['setAlias', encodeSetLink({ ifindex: 2, alias: 'ls:net1' })],
  ['setUp', encodeSetLink({ ifindex: 2, isUp: true })],
  [
    'newVeth',
    encodeNewLink({
      name: 'veth1',
      mtuBytes: 1450,
      master: 2,
      vethPeer: { name: 'eth0', mac: mac('02:42:00:00:00:02'), mtuBytes: 1450, netnsFd: 4 },
    }),
    vethExtras,
  ],
  [
    'newMacvlan',
    encodeNewLink({
      ...{ name: 'eth0', mac: mac('02:42:00:00:00:07'), parent: 3, netnsFd: 4 },
      newKind: { kind: 'macvlan', mode: 'bridge' },
    }),
  ],
  [
    'newIpvlan',
    encodeNewLink({
      ...{ name: 'eth1', parent: 3, netnsFd: 4 },
      newKind: { kind: 'ipvlan', mode: 'l3s', flag: 'private' },
    }),
  ],
  ['newVlan', encodeNewLink({ name: 'up0.10', parent: 3, newKind: { kind: 'vlan', id: 10 } })],
  ['newDummy', encodeNewLink({ name: 'dm-0123456789ab', newKind: { kind: 'dummy' } })],
  [
    'newVxlan4',
    encodeNewLink({
      ...{ name: 'vxlan0', mac: mac('02:42:00:00:00:09'), mtuBytes: 1450, netnsFd: 4 },
      newVxlan: { vni: 4097, local: ip('192.0.2.1'), port: 4789, ttl: 64 },
    }),
  ],
  [
    'newVxlan6',
    encodeNewLink({
      ...{ name: 'vxlan1', netnsFd: 4 },
      newVxlan: { vni: 4098, local: ip('2001:db8::1'), port: 4790, ttl: 64 },
    }),
    // iproute2 was not asked for a ttl.
    ['18/2/5'],
  ],
  ['newRouteDevice4', encodeDefaultRoute(ip('0.0.0.0'), 3)],
  ['newRouteDevice6', encodeDefaultRoute(ip('::'), 3), ipv6Destination],
  ['setPort', encodeSetLink({ ifindex: 3, bridgePort: { isHairpin: true, isIsolated: true } }), portKinds],
  ['setGroup', encodeSetLink({ ifindex: 3, group: 77 })],
  ['newAddress4', encodeAddress('new', { ip: ip('10.1.0.1'), length: 16, ifindex: 2 })],
  ['newAddress6', encodeAddress('new', { ip: ip('fd00::1'), length: 64, ifindex: 2 })],
  ['delAddress', encodeAddress('del', { ip: ip('10.1.0.1'), length: 16, ifindex: 2 })],
  ['newRoute4', encodeDefaultRoute(ip('10.1.0.1'), 2)],
  ['newRoute6', encodeDefaultRoute(ip('fd00::1'), 2), ipv6Destination],
  ['delLink', encodeDelLink({ ifindex: 3 })],
] as const) {
  test(`a request as iproute2 sends it: ${name}`, () => {
    const actual = treeOf(Buffer.from(ours).toString('hex'));
    const captured = treeOf(capturedHex(name));
    const strip = (tree: MessageTree): unknown[] => comparable(tree.attributes, without ?? []);
    assert.deepEqual({ ...actual, attributes: strip(actual) }, { ...captured, attributes: strip(captured) });
  });
}

test('a link as the kernel answers it', () => {
  const [message] = decodeMessages(capturedBytes('link'));
  assert.ok(message);
  const link = decodeLink(message.payload);
  assert.match(link.mac ?? '', /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
  assert.deepEqual(
    { ...link, mac: undefined },
    {
      family: 0,
      ifindex: 3,
      isUp: true,
      name: 'veth1',
      kind: 'veth',
      mtuBytes: 1450,
      mac: undefined,
      master: 2,
      alias: undefined,
      group: 77,
      peerNamespaceId: 0,
      isMoved: false,
      bridgePort: { isHairpin: true, isIsolated: true },
    },
  );
  assert.deepEqual(decodeLinkHeader(message.payload), { family: 0, ifindex: 3, isUp: true });
});

test('a VXLAN device as the kernel answers it', () => {
  const [message] = decodeMessages(capturedBytes('vxlanLink'));
  assert.ok(message);
  assert.deepEqual(decodeVxlan(message.payload), {
    ...{ vni: 4097, local: ip('192.0.2.1'), port: 4789, ttl: 64 },
  });
  const [other] = decodeMessages(capturedBytes('link'));
  assert.equal(decodeVxlan(other?.payload ?? new Uint8Array()), undefined);
});

test('a link that went to another namespace, as the one that it left hears of it', () => {
  const [message] = decodeMessages(capturedBytes('movedLink'));
  assert.ok(message);
  const { name, kind, isMoved } = decodeLink(message.payload);
  assert.deepEqual(
    { type: message.type, name, kind, isMoved },
    { type: 17, name: 'eth0', kind: 'veth', isMoved: true },
  );
});

test('dumps as the kernel answers them', () => {
  const links = decodeMessages(capturedBytes('linkDump')).map(({ payload }) => decodeLink(payload));
  assert.deepEqual(
    links.map(({ name, kind, isUp, mtuBytes }) => ({ name, kind, isUp, mtuBytes })),
    [
      { name: 'lo', kind: undefined, isUp: false, mtuBytes: 65536 },
      ...links.slice(1).map(({ name, kind, isUp, mtuBytes }) => ({ name, kind, isUp, mtuBytes })),
    ],
  );
  const addresses = decodeMessages(capturedBytes('addressDump')).map(({ payload }) => decodeAddress(payload));
  assert.deepEqual(addresses[0], { ip: ip('10.1.0.2'), length: 16, ifindex: 2 });
});

for (const [name, expected] of [
  [
    'routeDump4',
    [
      ['default', '10.1.0.1', 2, false],
      ['10.1.0.0/16', undefined, 2, true],
    ],
  ],
  ['routeDump6', [['fd00::/64', undefined, 2, true]]],
] as const) {
  test(`routes as the kernel answers them: ${name}`, () => {
    const routes = decodeMessages(capturedBytes(name)).flatMap(({ payload }) => decodeRoute(payload) ?? []);
    for (const [i, [destination, gateway, ifindex, isOnLink]] of expected.entries()) {
      const route = routes[i];
      assert.ok(route);
      assert.deepEqual(
        [
          route.destination === undefined ? 'default' : formatPrefix(route.destination),
          route.gateway,
          route.ifindex,
          route.isOnLink,
        ],
        [destination, gateway === undefined ? undefined : ip(gateway), ifindex, isOnLink],
      );
    }
  });
}

/** As a plain object, which is what a decoder gives. */
const plain = { noNullPrototype: true } as const;
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(macFromBytes);
const anyName = fc.stringMatching(/^[a-z][a-z0-9]{0,14}$/);
const anyAddress = fc.oneof(
  fc.record(
    {
      ip: fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((bits): Ip => ({ family: 4, bits })),
      length: fc.nat(32),
      ifindex: fc.integer({ min: 1, max: 0x7fffffff }),
    },
    plain,
  ),
  fc.record(
    {
      ip: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((bits): Ip => ({ family: 6, bits })),
      length: fc.nat(128),
      ifindex: fc.integer({ min: 1, max: 0x7fffffff }),
    },
    plain,
  ),
);

function payloadOf(bytes: Uint8Array): Uint8Array {
  const [message] = decodeMessages(bytes);
  assert.ok(message);
  return message.payload;
}

test('links survive encoding and decoding', () => {
  const anyLink = fc.record(
    {
      ifindex: fc.nat(0x7fffffff),
      name: anyName,
      isUp: fc.boolean(),
      mtuBytes: fc.integer({ min: 68, max: 65535 }),
      mac: anyMac,
      master: fc.integer({ min: 1, max: 0x7fffffff }),
      alias: fc.string({ minLength: 1, maxLength: 40 }).filter((text) => !text.includes('\0')),
      group: fc.integer({ min: 0, max: 0xffffffff }),
      bridgePort: fc.record({ isHairpin: fc.boolean(), isIsolated: fc.boolean() }, plain),
    },
    plain,
  );
  fc.assert(
    fc.property(anyLink, (link) => {
      assert.deepEqual(decodeLink(payloadOf(encodeSetLink(link))), {
        ...link,
        family: 0,
        kind: undefined,
        isMoved: false,
        peerNamespaceId: undefined,
      });
    }),
  );
});

test('addresses and default routes survive encoding and decoding', () => {
  fc.assert(
    fc.property(anyAddress, fc.constantFrom('new', 'del'), (address, op) => {
      assert.deepEqual(decodeAddress(payloadOf(encodeAddress(op, address))), address);
      assert.deepEqual(decodeRoute(payloadOf(encodeDefaultRoute(address.ip, address.ifindex))), {
        destination: undefined,
        gateway: address.ip.bits === 0n ? undefined : address.ip,
        ifindex: address.ifindex,
        isOnLink: address.ip.bits === 0n,
        isAdvertised: false,
      });
    }),
  );
});

test('a connected route leads to the address’s subnet, on the link', () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      const { ip: own, length, ifindex } = address;
      const route = decodeRoute(payloadOf(encodeConnectedRoute(address)));
      const destination = length === 0 ? undefined : prefixOf(own, length);
      assert.deepEqual(route, {
        ...{ destination, gateway: undefined, ifindex, isOnLink: true, isAdvertised: false },
      });
    }),
  );
});

test('forwarding of the namespace as a whole is told from that of an interface, and from other parameters', () => {
  // netconfmsg, NETCONFA_IFINDEX, NETCONFA_FORWARDING (or NETCONFA_RP_FILTER), as a little-endian kernel sends them.
  const message = (family: string, ifindex: string, type: string): Uint8Array =>
    Buffer.from(`${family}000000 08000100${ifindex} 0800${type}00000000`.replaceAll(' ', ''), 'hex');
  assert.deepEqual(decodeForwarding(message('02', 'ffffffff', '0200')), { family: 4, isOn: false });
  assert.deepEqual(decodeForwarding(message('0a', 'ffffffff', '0200')), { family: 6, isOn: false });
  for (const [family, ifindex, type] of [
    ['02', '05000000', '0200'],
    ['02', 'feffffff', '0200'],
    ['02', 'ffffffff', '0300'],
    ['07', 'ffffffff', '0200'],
  ] as const)
    assert.equal(decodeForwarding(message(family, ifindex, type)), undefined);
});

test('a default route that may replace another says so in its flags', () => {
  const flagsOf = (op: 'new' | 'replace'): number =>
    treeOf(Buffer.from(encodeDefaultRoute(ip('10.1.0.1'), 2, op)).toString('hex')).flags;
  // NLM_F_REQUEST | ACK | CREATE, with EXCL or REPLACE.
  assert.deepEqual([flagsOf('new'), flagsOf('replace')], [0x605, 0x505]);
});

test('a route that receives ::1 from a link is one of the table local, and leaves those of other links alone', () => {
  const tree = treeOf(Buffer.from(encodeLoopbackRoute(7)).toString('hex'));
  // NLM_F_REQUEST | ACK | CREATE; rtmsg: AF_INET6, /128, table 255, protocol boot, RTN_LOCAL.
  assert.deepEqual([tree.type, tree.flags, tree.fixed], [24, 0x405, '0a800000ff03000200000000']);
  assert.deepEqual(tree.attributes, [
    [1, `${'0'.repeat(31)}1`],
    [4, '07000000'],
  ]);
});

test('a route by a next hop may say how large packets are to be', () => {
  const hop = { destination: prefixOf(ip('100.64.0.9'), 32), gateway: ip('100.64.0.9'), ifindex: 7 };
  const attributesOf = (more: { readonly mtuBytes?: number }): unknown =>
    treeOf(Buffer.from(encodeReplaceHopRoute({ ...hop, ...more })).toString('hex')).attributes;
  const common = [
    [1, '64400009'],
    [4, '07000000'],
    [5, '64400009'],
  ];
  assert.deepEqual(attributesOf({}), common);
  // RTA_METRICS with RTAX_MTU in it.
  assert.deepEqual(attributesOf({ mtuBytes: 1320 }), [...common, [8, '0800020028050000']]);
});

test('a route that leads nowhere comes last of all', () => {
  const subnet = parsePrefix('10.0.1.0/24');
  assert.ok(subnet);
  const trees = (['new', 'del'] as const).map((op) =>
    treeOf(Buffer.from(encodeUnreachable(op, subnet)).toString('hex')),
  );
  // RTM_NEWROUTE with NLM_F_EXCL, RTM_DELROUTE; rtmsg: AF_INET, /24, table 254, protocol boot, RTN_UNREACHABLE.
  assert.deepEqual(
    trees.map(({ type, flags, fixed }) => [type, flags, fixed]),
    [
      [24, 0x605, '02180000fe03000700000000'],
      [25, 0x5, '02180000fe03000700000000'],
    ],
  );
  for (const { attributes } of trees)
    assert.deepEqual(attributes, [
      [1, '0a000100'],
      [6, 'ffffffff'],
    ]);
});

test('a route that receives ::1 is told from all others', () => {
  const route = decodeLoopbackRoute(payloadOf(encodeLoopbackRoute(7)));
  assert.deepEqual([route?.ifindex, route?.destination && formatPrefix(route.destination)], [7, '::1/128']);
  assert.equal(decodeRoute(payloadOf(encodeLoopbackRoute(7))), undefined);
  const others = [encodeDefaultRoute(ip('::'), 7), encodeDefaultRoute(ip('10.0.0.1'), 7)];
  others.push(encodeConnectedRoute({ ip: ip('::1'), length: 128, ifindex: 7 }));
  for (const other of others) assert.equal(decodeLoopbackRoute(payloadOf(other)), undefined);
});

test('requests that ask: one link, and dumps of each kind', () => {
  const get = treeOf(Buffer.from(encodeGetLink({ name: 'br0' })).toString('hex'));
  assert.deepEqual([get.type, get.flags], [18, 1]);
  assert.deepEqual(get.attributes, [
    [3, '62723000'],
    [29, '08000000'],
  ]);
  for (const [bytes, type, family] of [
    [encodeLinkDump(), 18, 0],
    [encodeDump('addresses', 4), 22, 2],
    [encodeDump('routes', 6), 26, 10],
  ] as const) {
    const tree = treeOf(Buffer.from(bytes).toString('hex'));
    assert.deepEqual([tree.type, tree.flags], [type, 0x301]);
    assert.match(tree.fixed, new RegExp(`^${family.toString(16).padStart(2, '0')}0+$`));
  }
});
