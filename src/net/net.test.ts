import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareIp, equalIp, formatIp, type Ip, ipFromBytes, ipToBytes, parseIp } from './ip.ts';
import { linkLocalOf, macFromBytes, macToBytes, parseMac, randomMac } from './mac.ts';
import {
  containsIp,
  containsPrefix,
  formatPrefix,
  isPrivateIp,
  lastOf,
  overlaps,
  parseIpWithLength,
  parsePrefix,
  prefixOf,
  sizeOf,
} from './prefix.ts';

const anyIp: fc.Arbitrary<Ip> = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((bits) => ({ family: 4 as const, bits })),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((bits) => ({ family: 6 as const, bits })),
);

test('every address survives text and bytes', () => {
  fc.assert(
    fc.property(anyIp, (ip) => {
      const parsed = parseIp(formatIp(ip));
      assert.ok(parsed !== undefined && equalIp(parsed, ip));
      assert.ok(equalIp(ipFromBytes(ipToBytes(ip)), ip));
    }),
  );
});

for (const [text, canonical] of [
  ['0.0.0.0', '0.0.0.0'],
  ['::', '::'],
  ['::1', '::1'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['::ffff:192.0.2.1', '::ffff:c000:201'],
  ['1:0:0:2:3:4:5:6', '1::2:3:4:5:6'],
  ['fe80::', 'fe80::'],
] as const) {
  test(`parseIp reads ${text} as ${canonical}`, () => {
    const ip = parseIp(text);
    assert.ok(ip);
    assert.equal(formatIp(ip), canonical);
  });
}

test('addresses that many networks have each for itself are private, those that lead to one place are not', () => {
  const isPrivate = (text: string): boolean => isPrivateIp(parseIp(text) ?? assert.fail(text));
  for (const text of ['10.0.0.1', '172.31.255.1', '192.168.0.1', '100.127.0.1', '169.254.1.1', '127.0.0.1'])
    assert.ok(isPrivate(text), text);
  for (const text of ['fd00::1', 'fe80::1', '::1']) assert.ok(isPrivate(text), text);
  for (const text of [
    '172.32.0.1',
    '100.128.0.1',
    '11.0.0.1',
    '203.0.113.1',
    '2001:db8::1',
    'fec0::1',
    '::2',
  ])
    assert.ok(!isPrivate(text), text);
});

for (const bad of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.4 ',
  ':::',
  '1::2::3',
  '12345::',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  'fe80::1%eth0',
  '1.2.3.4:80',
  'g::',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
]) {
  test(`parseIp refuses ${JSON.stringify(bad)}`, () => assert.equal(parseIp(bad), undefined));
}

test('prefixes contain what they should', () => {
  const wide = parsePrefix('10.0.0.0/8');
  const narrow = parsePrefix('10.1.2.0/24');
  const other = parsePrefix('11.0.0.0/8');
  assert.ok(wide && narrow && other);
  assert.ok(containsPrefix(wide, narrow) && !containsPrefix(narrow, wide));
  assert.ok(overlaps(narrow, wide) && !overlaps(narrow, other));
  assert.equal(formatIp(lastOf(narrow)), '10.1.2.255');
  assert.equal(sizeOf(narrow), 256n);
  assert.equal(parsePrefix('10.1.2.3/24'), undefined, 'host bits');
  assert.equal(parsePrefix('10.0.0.0/33'), undefined);
  assert.equal(parseIpWithLength('10.1.2.3/24')?.length, 24);
});

test('an address is in the prefix made of it, and prefix text survives', () => {
  fc.assert(
    fc.property(anyIp, fc.nat(128), (ip, n) => {
      const prefix = prefixOf(ip, n % (ip.family === 4 ? 33 : 129));
      assert.ok(containsIp(prefix, ip));
      assert.deepEqual(parsePrefix(formatPrefix(prefix)), prefix);
      assert.ok(compareIp(prefix.base, ip) <= 0 && compareIp(ip, lastOf(prefix)) <= 0);
    }),
  );
});

test('MAC addresses: text, bytes, and random ones are local unicast', () => {
  const mac = parseMac('02-42-AC-11-00-02');
  assert.equal(mac, '02:42:ac:11:00:02');
  assert.ok(mac);
  assert.equal(macFromBytes(macToBytes(mac)), mac);
  assert.equal(parseMac('02:42:ac:11:00'), undefined);
  for (let i = 0; i < 50; i++) assert.equal((macToBytes(randomMac())[0] ?? 0) & 3, 2);
});

test('linkLocalOf gives what the kernel makes of a MAC', () => {
  for (const [mac, address] of [
    ['02:42:ac:11:00:02', 'fe80::42:acff:fe11:2'],
    ['34:56:78:9a:bc:de', 'fe80::3656:78ff:fe9a:bcde'],
  ] as const) {
    const parsed = parseMac(mac);
    assert.equal(parsed === undefined ? '' : formatIp(linkLocalOf(parsed)), address);
  }
});
