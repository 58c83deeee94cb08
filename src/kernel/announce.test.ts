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
