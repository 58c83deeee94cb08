import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPrefix, parsePrefix, type Prefix } from '../../net/prefix.ts';
import { parseIp } from '../../net/ip.ts';
import type { WireguardEndpoint, WireguardPeerChange } from '../wireguard/device.ts';
import { publicKeyFromBytes, publicKeyOf, type PublicKey, SecretKey } from '../wireguard/key.ts';
import { capturedBytes, capturedHex } from './captured.ts';
import { decodeMessages } from './core.ts';
import { decodeFamily, encodeGetFamily } from './generic.ts';
import { treesOf } from './referenceTree.ts';
import { decodeDevice, encodeGetDevice, encodeSetDevice, mergeDevice } from './wireguard.ts';

const family = 34;
const keyOf = (letter: string): PublicKey => publicKeyFromBytes(Buffer.alloc(32, letter));
const privateKey = Buffer.from([...Array.from({ length: 31 }, (_, i) => i + 1), 0x60]);
const presharedKey = Buffer.from(Array.from({ length: 32 }, (_, i) => i + 32));
const prefixOf = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const endpointOf = (text: string, port: number): WireguardEndpoint => ({
  ip: parseIp(text) ?? assert.fail(text),
  port,
});
const treeOf = (message: Uint8Array): unknown => treesOf(Buffer.from(message).toString('hex'))[0];

test('the number of a family is asked for and told as by wg', () => {
  const ours = Buffer.from(encodeGetFamily('wireguard')).toString('hex');
  // wg asks for an acknowledgement besides, and says version 1.
  assert.equal(ours.slice(32), capturedHex('getFamily').slice(32).replace(/^0301/, '0302'));
  const [answer] = decodeMessages(capturedBytes('family'));
  assert.ok(answer);
  assert.equal(decodeFamily(answer.payload), family);
});

test('a device is set as wg sets it', () => {
  const peers: readonly WireguardPeerChange[] = [
    {
      ...{ publicKey: keyOf('a'), presharedKey, endpoint: endpointOf('192.0.2.2', 51_821) },
      ...{ keepaliveSeconds: 25, replacesAllowedIps: true },
      allowedIps: ['10.0.0.0/24', 'fd00::/64'].map(prefixOf),
    },
    {
      ...{ publicKey: keyOf('b'), endpoint: endpointOf('2001:db8::2', 51_822), replacesAllowedIps: true },
      allowedIps: [prefixOf('10.0.1.1/32')],
    },
    { publicKey: keyOf('c'), isRemoved: true },
  ];
  const [message, ...others] = encodeSetDevice(family, 'wg0', {
    ...{ privateKey, port: 51_820, fwmark: 0x1234, peers },
  });
  assert.ok(message);
  assert.deepEqual(others, []);
  assert.deepEqual(treeOf(message), treesOf(capturedHex('setWireguard'))[0]);
});

test('all peers are replaced as wg replaces them', () => {
  const allowedIps = [prefixOf('10.0.2.0/24')];
  const [message] = encodeSetDevice(family, 'wg0', {
    ...{ privateKey: Buffer.alloc(32), port: 51_999, fwmark: 0, replacesPeers: true },
    peers: [{ publicKey: keyOf('b'), replacesAllowedIps: true, allowedIps }],
  });
  assert.ok(message);
  assert.deepEqual(treeOf(message), treesOf(capturedHex('setconfWireguard'))[0]);
});

test('a device is asked for as by wg, and its answer is read', () => {
  const [ours] = treesOf(Buffer.from(encodeGetDevice(family, 'wg0')).toString('hex'));
  const [theirs] = treesOf(capturedHex('getWireguard'));
  assert.deepEqual([ours?.fixed, ours?.attributes], [theirs?.fixed, theirs?.attributes]);
  const state = mergeDevice(
    decodeMessages(capturedBytes('wireguard')).map(({ payload }) => decodeDevice(payload)),
  );
  const never = { lastHandshakeMs: undefined, receivedBytes: 0, sentBytes: 0 };
  assert.deepEqual(state, {
    ...{ publicKey: publicKeyOf(new SecretKey(privateKey)), port: 51_820, fwmark: 0x1234 },
    peers: [
      {
        ...{ publicKey: keyOf('a'), hasPresharedKey: true, keepaliveSeconds: 25, ...never },
        endpoint: endpointOf('192.0.2.2', 51_821),
        allowedIps: ['10.0.0.0/24', 'fd00::/64'].map(prefixOf),
      },
      {
        ...{ publicKey: keyOf('b'), hasPresharedKey: false, keepaliveSeconds: 0, ...never },
        endpoint: endpointOf('2001:db8::2', 51_822),
        allowedIps: [prefixOf('10.0.1.1/32')],
      },
    ],
  });
});

test('many peers, and one with many addresses, go in several messages, and come back as they were', () => {
  const numbered = (i: number): PublicKey => {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32BE(i + 1);
    return publicKeyFromBytes(bytes);
  };
  const allowedOf = (i: number): readonly Prefix[] =>
    Array.from({ length: i === 7 ? 2000 : 1 }, (_, j) => prefixOf(`10.${i >> 8}.${i & 255}.${j & 255}/32`));
  const peers = Array.from({ length: 1000 }, (_, i) => ({
    publicKey: numbered(i),
    allowedIps: allowedOf(i),
  }));
  const messages = encodeSetDevice(family, 'wg0', { port: 5, replacesPeers: true, peers });
  assert.ok(messages.length > 5);
  for (const message of messages) assert.ok(message.length < 40_000);
  const parts = messages
    .flatMap((message) => decodeMessages(message))
    .map(({ payload }) => decodeDevice(payload));
  assert.deepEqual(
    parts.map(({ port }) => port),
    parts.map((_, i) => (i === 0 ? 5 : 0)),
  );
  const texts = (
    list: readonly { readonly publicKey: PublicKey; readonly allowedIps: readonly Prefix[] }[],
  ): unknown => list.map(({ publicKey, allowedIps }) => [publicKey, allowedIps.map(formatPrefix)]);
  assert.deepEqual(texts(mergeDevice(parts).peers), texts(peers));
});

test('an endpoint with a scope is none', () => {
  const message = Buffer.from(capturedHex('wireguard'), 'hex');
  const at = message.indexOf(Buffer.from('20010db8', 'hex'));
  message.writeUInt32LE(3, at + 16);
  const [first] = decodeMessages(message);
  assert.ok(first);
  assert.equal(decodeDevice(first.payload).peers[1]?.endpoint, undefined);
});

for (const at of [4, 20, 60, 200]) {
  test(`an answer that is cut off at ${at} bytes throws or tells less, and never hangs`, () => {
    const [first] = decodeMessages(capturedBytes('wireguard'));
    assert.ok(first);
    try {
      assert.ok(decodeDevice(first.payload.subarray(0, at)).peers.length < 2);
    } catch (error) {
      assert.ok(error instanceof RangeError);
    }
  });
}
