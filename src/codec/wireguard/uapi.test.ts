import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '../../net/ip.ts';
import { parsePrefix, type Prefix } from '../../net/prefix.ts';
import type { WireguardEndpoint } from './device.ts';
import { type PublicKey, publicKeyFromBytes, publicKeyOf, SecretKey } from './key.ts';
import { endOfReply, errnoOfReply, formatSet, parseDevice } from './uapi.ts';

const keyOf = (letter: string): PublicKey => publicKeyFromBytes(Buffer.alloc(32, letter));
const privateKey = Buffer.from([0, ...Array.from({ length: 30 }, (_, i) => i + 2), 0x60]);
const presharedKey = Buffer.from(Array.from({ length: 32 }, (_, i) => i + 32));
const prefixOf = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const endpointOf = (text: string, port: number): WireguardEndpoint => ({
  ip: parseIp(text) ?? assert.fail(text),
  port,
});
const a = '61'.repeat(32);
const b = '62'.repeat(32);

/** What wireguard-go 0.0.20220316 took, with errno=0. */
const taken = `set=1
private_key=0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60
listen_port=51820
fwmark=4660
public_key=${a}
preshared_key=202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
endpoint=127.0.0.2:51821
persistent_keepalive_interval=25
allowed_ip=10.0.0.0/24
allowed_ip=fd00::/64
public_key=${b}
endpoint=[::1]:51822
allowed_ip=10.0.1.1/32

`;

/** What it said then, but that nobody had answered it. */
const told = `private_key=0002030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f60
listen_port=51820
fwmark=4660
public_key=${a}
preshared_key=202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f
protocol_version=1
endpoint=127.0.0.2:51821
last_handshake_time_sec=1795746223
last_handshake_time_nsec=250999999
tx_bytes=148
rx_bytes=92
persistent_keepalive_interval=25
allowed_ip=10.0.0.0/24
allowed_ip=fd00::/64
public_key=${b}
preshared_key=${'00'.repeat(32)}
protocol_version=1
endpoint=[::1]:51822
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=148
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=10.0.1.1/32
errno=0

`;

test('a request is as wireguard-go takes it', () => {
  const peers = [
    {
      ...{ publicKey: keyOf('a'), presharedKey, endpoint: endpointOf('127.0.0.2', 51_821) },
      ...{ keepaliveSeconds: 25, allowedIps: ['10.0.0.0/24', 'fd00::/64'].map(prefixOf) },
    },
    {
      ...{ publicKey: keyOf('b'), endpoint: endpointOf('::1', 51_822) },
      allowedIps: [prefixOf('10.0.1.1/32')],
    },
  ];
  assert.equal(formatSet({ privateKey, port: 51_820, fwmark: 0x1234, peers }), taken);
});

for (const [what, change, lines] of [
  ['a peer that goes', { isRemoved: true, keepaliveSeconds: 3 }, ['update_only=true', 'remove=true']],
  [
    'one that may be there',
    { isUpdateOnly: true, keepaliveSeconds: 0 },
    ['update_only=true', 'persistent_keepalive_interval=0'],
  ],
  [
    'addresses that are replaced',
    { replacesAllowedIps: true, allowedIps: [prefixOf('10.0.0.0/8')] },
    ['replace_allowed_ips=true', 'allowed_ip=10.0.0.0/8'],
  ],
] as const) {
  test(`lines of ${what}`, () => {
    const text = formatSet({ peers: [{ publicKey: keyOf('a'), ...change }] });
    assert.deepEqual(text.split('\n'), ['set=1', `public_key=${a}`, ...lines, '', '']);
  });
}

test('an answer is read', () => {
  assert.equal(errnoOfReply(told), 0);
  assert.deepEqual(parseDevice(told), {
    ...{ publicKey: publicKeyOf(new SecretKey(privateKey)), port: 51_820, fwmark: 0x1234 },
    peers: [
      {
        ...{ publicKey: keyOf('a'), hasPresharedKey: true, endpoint: endpointOf('127.0.0.2', 51_821) },
        ...{ keepaliveSeconds: 25, lastHandshakeMs: 1_795_746_223_250, receivedBytes: 92, sentBytes: 148 },
        allowedIps: ['10.0.0.0/24', 'fd00::/64'].map(prefixOf),
      },
      {
        ...{ publicKey: keyOf('b'), hasPresharedKey: false, endpoint: endpointOf('::1', 51_822) },
        ...{ keepaliveSeconds: 0, lastHandshakeMs: undefined, receivedBytes: 0, sentBytes: 148 },
        allowedIps: [prefixOf('10.0.1.1/32')],
      },
    ],
  });
});

test('a device without a key, and an endpoint with a zone', () => {
  const state = parseDevice(
    `private_key=${'00'.repeat(32)}\nlisten_port=1\npublic_key=${a}\nendpoint=[fe80::1%eth0]:9\nerrno=0\n\n`,
  );
  assert.equal(state.publicKey, undefined);
  assert.equal(state.peers[0]?.endpoint, undefined);
});

test('what an answer says of a failure, and where it ends', () => {
  assert.equal(errnoOfReply('errno=-22\n\n'), 22);
  assert.equal(endOfReply('errno=0\n'), undefined);
  assert.equal(endOfReply('errno=0\n\nmore'), 9);
  assert.throws(() => errnoOfReply('public_key=00\n\n'), RangeError);
});

for (const text of [`private_key=zz\n`, `public_key=${a}\nallowed_ip=nowhere\n`, `listen_port=-1\n`]) {
  test(`an answer with ${text.split('=').at(-1)?.trim()} is refused`, () => {
    assert.throws(() => parseDevice(text), RangeError);
  });
}

test('no error of a bad key has it', () => {
  const secret = 'ab'.repeat(31);
  assert.throws(
    () => parseDevice(`private_key=${secret}\nerrno=0\n\n`),
    (error) => error instanceof Error && !error.message.includes('ab'),
  );
});
