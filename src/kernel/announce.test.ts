import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../net/ip.ts';
import { parseMac } from '../net/mac.ts';
import { encodeAnnouncement } from './announce.ts';

test('an announcement is a broadcast ARP request for the sender’s own address', () => {
  const mac = parseMac('02:42:ac:11:00:02');
  const ip = parseIp('172.17.0.2');
  assert.ok(mac && ip);
  // As tcpdump shows: "Announcement (Request) who-has 172.17.0.2 tell 172.17.0.2, length 28".
  assert.equal(
    Buffer.from(encodeAnnouncement(mac, ip)).toString('hex'),
    'ffffffffffff0242ac110002080600010800060400010242ac110002ac110002000000000000ac110002',
  );
});

test('of an IPv6 address it is an advertisement to all nodes that overrides what they know', () => {
  const mac = parseMac('02:42:ac:11:00:02');
  const ip = parseIp('fd00:77::2');
  assert.ok(mac && ip);
  // As tcpdump shows: "fd00:77::2 > ff02::1: [icmp6 sum ok] ICMP6, neighbor advertisement, length 32, tgt is
  // fd00:77::2, Flags [override]".
  assert.equal(
    Buffer.from(encodeAnnouncement(mac, ip)).toString('hex'),
    '3333000000010242ac11000286dd6000000000203afffd000077000000000000000000000002ff0200000000000000000000000000018800ad5620000000fd00007700000000000000000000000202010242ac110002',
  );
});
