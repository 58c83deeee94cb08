import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { equalIp, formatIp, type Ip, parseIp } from '../../net/ip.ts';
import { macFromBytes } from '../../net/mac.ts';
import { parsePrefix } from '../../net/prefix.ts';
import { overlayLabels, parseOverlayOptions } from './options.ts';
import { differenceOf, type OverlayPeer, PeerTable, piecesOf } from './peerTable.ts';
import { checkMtu, findSegment, getSegment, planMtu, planSegments } from './segments.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert.ok(parsed, text);
  return parsed;
}

const parse = (options: Record<string, string>): ReturnType<typeof parseOverlayOptions> =>
  parseOverlayOptions({ hasIpv4: true, hasIpv6: false, options });

test('options: Docker’s, ours, and what they are without', () => {
  assert.deepEqual(parse({}), {
    vnis: [],
    underlayMtuBytes: undefined,
    isAttachable: true,
    isEncrypted: false,
    checksSources: true,
    blockBits: undefined,
  });
  assert.equal(parse({ 'linkspan.host-prefix': '26' }).blockBits, 6);
  assert.deepEqual(
    parse({ [overlayLabels.vnis]: '4100,4101', [overlayLabels.mtu]: '9000', 'linkspan.attachable': 'false' }),
    {
      ...{
        vnis: [4100, 4101],
        underlayMtuBytes: 9000,
        isAttachable: false,
        isEncrypted: false,
        checksSources: true,
      },
      blockBits: undefined,
    },
  );
});

for (const [value, isEncrypted] of [
  ['', true],
  ['true', true],
  ['false', false],
] as const)
  test(`--opt encrypted with the value ${JSON.stringify(value)}`, () => {
    assert.equal(parse({ encrypted: value }).isEncrypted, isEncrypted);
  });

for (const [options, text] of [
  [{ encrypted: 'maybe' }, /strconv.ParseBool: parsing "maybe": invalid syntax/],
  [{ dsr: '' }, /^direct server return/],
  [{ 'linkspan.host-prefix': '31' }, /it must be a prefix length of 1 to 30/],
  [{ 'linkspan.host-prefix': '2x' }, /^failed to parse linkspan.host-prefix value: 2x/],
  [{ 'linkspan.host-prefix': '' }, /^failed to parse linkspan.host-prefix value/],
  [{ toString: '1' }, /^unknown option "toString" for network driver "overlay"$/],
  [{ 'com.docker.network.bridge.name': 'x' }, /^unknown option "com.docker.network.bridge.name"/],
  [{ [overlayLabels.vnis]: '' }, /^invalid vxlan id value "" passed$/],
  [{ [overlayLabels.vnis]: '0' }, /^invalid vxlan id value "0" passed$/],
  [{ [overlayLabels.vnis]: '16777216' }, /^invalid vxlan id value "16777216" passed$/],
  [{ [overlayLabels.vnis]: '5,x' }, /^invalid vxlan id value "x" passed$/],
  [{ [overlayLabels.vnis]: '5,5' }, /the same VNI twice/],
  [{ [overlayLabels.mtu]: 'x' }, /^failed to parse x: invalid syntax$/],
  [{ [overlayLabels.mtu]: '-1' }, /^invalid MTU value: -1$/],
  [{ [overlayLabels.attachable]: 'yes' }, /strconv.ParseBool: parsing "yes": invalid syntax/],
] as const)
  test(`options that are refused: ${JSON.stringify(options)}`, () => {
    assert.throws(
      () => parse(options),
      (error) => error instanceof LinkspanError && text.test(error.message),
    );
  });

test('a network without any family is refused', () => {
  assert.throws(() => parseOverlayOptions({ hasIpv4: false, hasIpv6: false, options: {} }), /IPv4 or IPv6/);
});

for (const [underlay, asked, hasIpv6, expected] of [
  ['192.0.2.1', undefined, false, 1450],
  ['2001:db8::1', undefined, false, 1430],
  ['192.0.2.1', 9000, true, 8950],
  ['192.0.2.1', 118, false, 68],
  [
    '192.0.2.1',
    117,
    false,
    /^invalid MTU value: 117: 67 are left inside the tunnel, IPv4 needs at least 68$/,
  ],
  ['2001:db8::1', 1349, true, /^invalid MTU value: 1349: 1279 are left inside the tunnel, IPv6 needs/],
] as const)
  test(`MTU over ${underlay}${asked === undefined ? '' : `, underlay said to be ${asked}`}`, () => {
    const mtu = (): number =>
      planMtu({ underlayMtuBytes: asked }, { address: ip(underlay), mtuBytes: 1500, port: 4789 }, hasIpv6);
    if (typeof expected === 'number') assert.equal(mtu(), expected);
    else assert.throws(mtu, (error) => error instanceof LinkspanError && expected.test(error.message));
  });

test('in a tunnel no more fits than its links take: more is refused, and a network that has it has what fits', () => {
  const tunnel = { address: ip('100.64.0.1'), mtuBytes: 1400, headerBytes: 80, port: 4789 };
  for (const asked of [undefined, 1400, 1300]) checkMtu({ underlayMtuBytes: asked }, tunnel);
  assert.throws(
    () => checkMtu({ underlayMtuBytes: 1500 }, tunnel),
    (error) =>
      error instanceof LinkspanError && /^invalid MTU value: 1500: .* take 1400 at most$/.test(error.message),
  );
  assert.equal(planMtu({ underlayMtuBytes: 1500 }, tunnel, false), 1270);
  assert.equal(planMtu({ underlayMtuBytes: 1300 }, tunnel, false), 1170);
  const { headerBytes: _, ...plain } = tunnel;
  checkMtu({ underlayMtuBytes: 1500 }, plain);
});

function pools(...texts: readonly string[]): Parameters<typeof planSegments>[0] {
  return {
    pools: texts.map((text) => {
      const subnet = parsePrefix(text);
      assert.ok(subnet);
      return { subnet, gateway: { ...subnet.base, bits: subnet.base.bits + 1n } };
    }),
  };
}

test('segments: one a subnet, one for a pair of families, and an endpoint is in one', () => {
  const shown = (texts: readonly string[], vnis: readonly number[]): unknown =>
    planSegments(pools(...texts), { vnis }).map(({ vni, bridge, vxlan, addresses }) => [
      ...[vni, bridge, vxlan],
      addresses.map((address) => `${formatIp(address.ip)}/${address.length}`).join(' '),
    ]);
  assert.deepEqual(shown(['10.0.1.0/24', '10.0.2.0/24'], [4097, 4098]), [
    [4097, 'br0', 'vxlan0', '10.0.1.1/24'],
    [4098, 'br1', 'vxlan1', '10.0.2.1/24'],
  ]);
  assert.deepEqual(shown(['10.0.1.0/24', 'fd00::/64'], [4097]), [
    [4097, 'br0', 'vxlan0', '10.0.1.1/24 fd00::1/64'],
  ]);
  assert.throws(
    () => shown(['10.0.1.0/24', '10.0.2.0/24'], [4097]),
    /^.*insufficient vnis\(1\) passed to overlay$/,
  );
  assert.throws(() => shown(['10.0.1.0/24', 'fd00::/64', 'fd01::/64'], [1, 2]), /one subnet of each/);

  const segments = planSegments(pools('10.0.1.0/24', '10.0.2.0/24'), { vnis: [4097, 4098] });
  assert.equal(getSegment(segments, [{ ip: ip('10.0.2.7') }]).vni, 4098);
  assert.equal(findSegment(segments, ip('10.0.3.7')), undefined);
  for (const addresses of [[], ['10.0.3.7'], ['10.0.1.7', '10.0.2.7'], ['10.0.1.7', '10.0.3.7']])
    assert.throws(
      () =>
        getSegment(
          segments,
          addresses.map((text) => ({ ip: ip(text) })),
        ),
      /no subnet/,
    );
});

const peer = (endpointId: string, address: number, mac: number, vtep: number): OverlayPeer => ({
  endpointId,
  ip: { family: 4, bits: 0x0a000100n + BigInt(address) },
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, mac)),
  vtep: { family: 4, bits: 0xc0000200n + BigInt(vtep) },
});

function shownDifference(difference: ReturnType<PeerTable['add']>): unknown {
  if (difference === undefined) return undefined;
  const { replace, del } = difference;
  return {
    forwards: replace.forwards.map(({ mac, vtep }) => `${mac} ${formatIp(vtep)}`),
    neighbours: replace.neighbours.map((one) => `${formatIp(one.ip)} ${one.mac}`),
    macs: del.macs,
    ips: del.ips.map(formatIp),
  };
}

test('peers: a move replaces a forward alone, a new owner of an address takes it, and its last one ends a forward', () => {
  const table = new PeerTable();
  const nothing = { forwards: [], neighbours: [], macs: [], ips: [] };
  assert.deepEqual(shownDifference(table.add([peer('a', 2, 2, 1)])), {
    ...nothing,
    forwards: ['02:00:00:00:00:02 192.0.2.1'],
    neighbours: ['10.0.1.2 02:00:00:00:00:02'],
  });
  assert.equal(table.add([peer('a', 2, 2, 1)]), undefined);
  assert.deepEqual(shownDifference(table.add([peer('a', 2, 2, 3)])), {
    ...nothing,
    forwards: ['02:00:00:00:00:02 192.0.2.3'],
  });
  assert.deepEqual(shownDifference(table.add([peer('b', 2, 9, 3)])), {
    ...nothing,
    forwards: ['02:00:00:00:00:09 192.0.2.3'],
    neighbours: ['10.0.1.2 02:00:00:00:00:09'],
    macs: ['02:00:00:00:00:02'],
  });
  assert.equal(table.remove([peer('a', 2, 2, 3)]), undefined, 'a late removal of the old owner');
  table.add([peer('b', 3, 9, 3)]);
  assert.deepEqual(shownDifference(table.remove([peer('b', 2, 9, 3)])), { ...nothing, ips: ['10.0.1.2'] });
  assert.deepEqual(shownDifference(table.remove([peer('b', 3, 9, 3)])), {
    ...nothing,
    macs: ['02:00:00:00:00:09'],
    ips: ['10.0.1.3'],
  });
  assert.equal(table.size, 0);
});

test('peers: what the changes add up to is what the table holds', () => {
  const anyPeer = fc
    .tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(4), fc.nat(3), fc.nat(2))
    .map(([id, address, mac, vtep]) => peer(id, address, mac, vtep));
  const anyChange = fc.record({
    op: fc.constantFrom('add' as const, 'remove' as const),
    peers: fc.array(anyPeer),
  });
  fc.assert(
    fc.property(fc.array(anyChange), (changes) => {
      const table = new PeerTable();
      const [forwards, neighbours] = [new Map<string, string>(), new Map<string, string>()];
      for (const { op, peers } of changes) {
        const difference = table[op](peers);
        for (const { mac, vtep } of difference?.replace.forwards ?? []) forwards.set(mac, formatIp(vtep));
        for (const one of difference?.replace.neighbours ?? []) neighbours.set(formatIp(one.ip), one.mac);
        for (const mac of difference?.del.macs ?? []) assert.ok(forwards.delete(mac));
        for (const address of difference?.del.ips ?? []) assert.ok(neighbours.delete(formatIp(address)));
        const wanted = table.peers();
        assert.ok(wanted.forwards.every(({ vtep }) => table.vteps().some((one) => equalIp(one, vtep))));
        assert.ok(table.vteps().length <= table.size);
        assert.deepEqual(forwards, new Map(wanted.forwards.map(({ mac, vtep }) => [mac, formatIp(vtep)])));
        assert.deepEqual(neighbours, new Map(wanted.neighbours.map((one) => [formatIp(one.ip), one.mac])));
      }
      assert.equal(differenceOf(table.peers(), table.peers()), undefined);
    }),
  );
});

test('peers: a long change comes in pieces, with all of it, new entries first and forwards before who needs them', () => {
  const table = new PeerTable([peer('a', 1, 1, 1), peer('b', 2, 2, 1)]);
  const wanted = new PeerTable([peer('c', 3, 3, 1), peer('d', 4, 4, 1), peer('e', 5, 5, 1)]).peers();
  const difference = differenceOf(table.peers(), wanted);
  assert.ok(difference);
  const shown = piecesOf(difference, 2).map(({ replace, del }) =>
    [replace.forwards, replace.neighbours, del.ips, del.macs].map(({ length }) => length).join(''),
  );
  assert.deepEqual(shown, ['2000', '1000', '0200', '0100', '0020', '0002']);
});
