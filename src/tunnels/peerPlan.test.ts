import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireguardPeerChange } from '../codec/wireguard/device.ts';
import { type PublicKey, publicKeyFromBytes, SecretKey } from '../codec/wireguard/key.ts';
import { parseIp } from '../net/ip.ts';
import { formatPrefix, parsePrefix, type Prefix } from '../net/prefix.ts';
import { type KnownPeers, planFreshPaths, planPeers, planWake } from './peerPlan.ts';
import type { TunnelPeer } from './tunnel.ts';

const keyOf = (letter: string): PublicKey => publicKeyFromBytes(Buffer.alloc(32, letter));
const prefixOf = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);
const peer = (letter: string, ...allowed: readonly string[]): TunnelPeer => ({
  publicKey: keyOf(letter),
  allowedIps: allowed.map(prefixOf),
});
const [A, B] = [keyOf('a'), keyOf('b')];
const names = new Map([
  [A, 'a'],
  [B, 'b'],
]);

/** `a = 10.0.0.1/32` replaces, `a + 10.0.0.1/32` adds, `-a` removes. */
function textOf({ publicKey, isRemoved, replacesAllowedIps, allowedIps = [] }: WireguardPeerChange): string {
  const name = names.get(publicKey) ?? '?';
  if (isRemoved === true) return `-${name}`;
  return [name, replacesAllowedIps === true ? '=' : '+', ...allowedIps.map(formatPrefix)].join(' ');
}

function knownText(known: KnownPeers): readonly string[] {
  return [...known].map(([key, { allowedIps }]) => [names.get(key), ...allowedIps].join(' '));
}

const one = '10.0.0.1/32';
const two = '10.0.0.2/32';
const start = planPeers(new Map(), [peer('a', one), peer('b', two)], []).known;

for (const [what, put, remove, changes, known] of [
  ['new peers', [peer('a', one), peer('b', two)], [], ['a +', 'b +'], [`a ${one}`, `b ${two}`]],
  [
    'one more address',
    [peer('a', one, '10.0.1.0/24')],
    [],
    ['a + 10.0.1.0/24'],
    [`a ${one} 10.0.1.0/24`, `b ${two}`],
  ],
  ['other addresses', [peer('a', '10.0.1.0/24')], [], ['a = 10.0.1.0/24'], ['a 10.0.1.0/24', `b ${two}`]],
  ['no address', [peer('a')], [], ['a ='], ['a', `b ${two}`]],
  ['an address that moves', [peer('b', two, one)], [], [`b + ${one}`], ['a', `b ${two} ${one}`]],
  ['a key that takes another’s place', [peer('b', two, one)], [A], [`b + ${one}`, '-a'], [`b ${two} ${one}`]],
  [
    'two that change places',
    [peer('a', two), peer('b', one)],
    [],
    [`a = ${two}`, `b + ${one}`],
    [`a ${two}`, `b ${one}`],
  ],
  ['one that is not there goes', [], [keyOf('c')], [], [`a ${one}`, `b ${two}`]],
] as const) {
  test(`what is said for ${what}`, () => {
    const plan = planPeers(start, put, remove);
    assert.deepEqual(plan.changes.map(textOf), changes);
    assert.deepEqual(knownText(plan.known), known);
  });
}

test('what a peer lacks it is told to lack, but for its endpoint', () => {
  const [bare, full] = planPeers(
    new Map(),
    [
      peer('a'),
      {
        ...{ ...peer('b'), presharedKey: new SecretKey(Buffer.alloc(32, 'p')), keepaliveSeconds: 25 },
        endpoint: { ip: parseIp('192.0.2.1') ?? assert.fail(), port: 5 },
      },
    ],
    [],
  ).changes;
  assert.deepEqual(bare, {
    publicKey: A,
    presharedKey: new Uint8Array(32),
    keepaliveSeconds: 0,
    allowedIps: [],
  });
  assert.deepEqual(full?.presharedKey, new Uint8Array(Buffer.alloc(32, 'p')));
  assert.deepEqual([full?.endpoint?.port, full?.keepaliveSeconds], [5, 25]);
});

test('who is woken has the interval afterwards that it had, and who is unknown is left', () => {
  const known: KnownPeers = new Map([
    [A, { keepaliveSeconds: 0, allowedIps: new Set<string>() }],
    [B, { keepaliveSeconds: 7, allowedIps: new Set<string>() }],
  ]);
  assert.deepEqual(
    planWake(known, [A, keyOf('c'), B]).map(({ publicKey, keepaliveSeconds, isUpdateOnly }) => [
      ...[names.get(publicKey), keepaliveSeconds, isUpdateOnly],
    ]),
    [
      ['a', 25, true],
      ['a', 0, true],
      ['b', 0, true],
      ['b', 7, true],
    ],
  );
});

test('fresh paths: endpoints are set again, and who has a session is woken', () => {
  const endpoint = { ip: parseIp('192.0.2.1') ?? assert.fail(), port: 5 };
  const state = {
    hasPresharedKey: false,
    keepaliveSeconds: 0,
    receivedBytes: 0,
    sentBytes: 0,
    allowedIps: [],
  };
  const changes = planFreshPaths(
    [
      { ...state, publicKey: A, endpoint, lastHandshakeMs: 1_000_000 },
      { ...state, publicKey: B, endpoint, lastHandshakeMs: 800_000 },
      { ...state, publicKey: keyOf('c'), endpoint: undefined, lastHandshakeMs: undefined },
    ],
    1_000_500,
  );
  assert.deepEqual(
    changes.map((change) => [names.get(change.publicKey), change.endpoint?.port, change.keepaliveSeconds]),
    [
      ['a', 5, undefined],
      ['b', 5, undefined],
      ['a', undefined, 25],
      ['a', undefined, 0],
    ],
  );
});
