import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameReader, frame } from './frames.ts';
import { HostServers, parseNameservers } from './hostServers.ts';
import { planRedirect, readRedirect } from './redirect.ts';

test('messages framed come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }),
      fc.array(fc.nat(40), { maxLength: 20 }),
      (messages, cuts) => {
        const stream = Buffer.concat(messages.map(frame));
        const reader = new FrameReader(50);
        const read: Uint8Array[] = [];
        let at = 0;
        for (const cut of [...cuts, stream.length]) {
          read.push(...reader.push(stream.subarray(at, at + cut)));
          at += cut;
        }
        assert.deepEqual(read, messages);
      },
    ),
  );
  assert.throws(() => new FrameReader(50).push(Uint8Array.of(0, 51)), RangeError);
});

test('name servers of a resolv.conf, without those that are no plain address', () => {
  const text =
    '# nameserver 1.1.1.1\nnameserver 9.9.9.9\n\tnameserver\t::1 # x\nnameserver fe80::1%eth0\nnameserver x\n';
  assert.deepEqual(parseNameservers(text), ['9.9.9.9', '::1']);
});

test('the host\u2019s servers follow its file, looked at once a second', () => {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-dns-'));
  try {
    const path = join(folder, 'resolv.conf');
    let nowMs = 0;
    const servers = new HostServers(path, () => nowMs);
    assert.deepEqual(servers.list(), []);
    writeFileSync(path, 'nameserver 192.0.2.1\n');
    assert.deepEqual(servers.list(), []);
    nowMs = 1000;
    assert.deepEqual(servers.list(), ['192.0.2.1']);
    writeFileSync(path, 'nameserver 192.0.2.2\nnameserver 192.0.2.3\n');
    nowMs = 2000;
    assert.deepEqual(servers.list(), ['192.0.2.2', '192.0.2.3']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the ports of a redirect are read back from what makes it', () => {
  assert.deepEqual(readRedirect(planRedirect({ udp: 40001, tcp: 40002 }, true)), { udp: 40001, tcp: 40002 });
  assert.equal(readRedirect('table ip linkspan-dns {\n}'), undefined);
});
