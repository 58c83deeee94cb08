import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeEchoReply, encodeEchoRequest, smallestEchoBytes } from './echo.ts';

const nonce = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('a request has the length that was asked for, and a checksum that adds up', () => {
  // By hand: 0800 + 1234 + 0001 + 0102 + 0304 + 0506 + 0708 = 2a49, complement d5b6.
  const echo = { id: 0x1234, sequence: 1, nonce };
  assert.equal(hex(encodeEchoRequest(echo, smallestEchoBytes)), '0800d5b6123400010102030405060708');
  for (const packetBytes of [37, 576, 1499, 1500]) {
    const bytes = encodeEchoRequest(echo, packetBytes);
    assert.equal(bytes.length, packetBytes - 20);
    // A sum over words that holds its own checksum is all ones.
    let sum = 0;
    for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    assert.equal(sum, 0xffff);
  }
});

test('a reply is known, with IP options too; all else is not', () => {
  const icmp = [0, 0, 0xff, 0xff, 0x12, 0x34, 0, 7, ...nonce, 9, 9];
  const packet = (words: number, body: readonly number[]): Uint8Array =>
    Uint8Array.from([0x40 | words, ...Array<number>(words * 4 - 1).fill(0), ...body]);
  const expected = { id: 0x1234, sequence: 7, nonce };
  assert.deepEqual(decodeEchoReply(packet(5, icmp)), expected);
  assert.deepEqual(decodeEchoReply(packet(6, icmp)), expected);
  assert.equal(decodeEchoReply(packet(5, [8, ...icmp.slice(1)])), undefined);
  assert.equal(decodeEchoReply(packet(5, icmp.slice(0, 15))), undefined);
  assert.equal(decodeEchoReply(new Uint8Array(0)), undefined);
});
