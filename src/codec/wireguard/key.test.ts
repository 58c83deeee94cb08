import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import {
  makeKey,
  parsePublicKey,
  parseSecretKey,
  presharedKeyOf,
  publicKeyFromBytes,
  publicKeyOf,
  publicKeyToBytes,
  SecretKey,
} from './key.ts';

test('the public key is that of RFC 7748, 6.1', () => {
  const alice = new SecretKey(
    Buffer.from('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a', 'hex'),
  );
  assert.equal(
    Buffer.from(publicKeyToBytes(publicKeyOf(alice))).toString('hex'),
    '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
  );
});

test('a key of wg pubkey', () => {
  const key = parseSecretKey('AAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eH2A=');
  assert.ok(key);
  assert.equal(publicKeyOf(key), 'B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=');
});

test('a new key is as a device keeps it, and comes back from its text', () => {
  const key = makeKey();
  const bytes = key.reveal();
  assert.equal((bytes[0] ?? 0) & 7, 0);
  assert.equal((bytes[31] ?? 0) & 0xc0, 0x40);
  assert.deepEqual(parseSecretKey(key.revealBase64())?.reveal(), bytes);
  assert.notDeepEqual(makeKey().reveal(), bytes);
});

for (const text of ['', 'x', 'A'.repeat(44), `${'A'.repeat(42)}B=`, `${'A'.repeat(43)}=\n`]) {
  test(`'${text.trim().slice(-8)}' of ${text.length} is no key`, () => {
    assert.equal(parsePublicKey(text), undefined);
    assert.equal(parseSecretKey(text), undefined);
  });
}

test('a secret key shows itself nowhere', () => {
  const key = makeKey();
  const shown = [String(key), JSON.stringify({ key }), inspect({ key }, { showHidden: true, depth: 5 })];
  for (const text of shown) {
    assert.ok(!text.includes(key.revealBase64().slice(0, 8)), text);
  }
  key.reveal().fill(0);
  assert.notEqual(key.revealBase64(), Buffer.alloc(32).toString('base64'));
});

test('the preshared key of a pair is the same on both sides and of no other pair', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => publicKeyFromBytes(Buffer.alloc(32, letter)));
  assert.ok(a && b && c);
  const secret = Buffer.alloc(32, 's');
  const text = presharedKeyOf(secret, a, b).revealBase64();
  assert.equal(presharedKeyOf(secret, b, a).revealBase64(), text);
  assert.notEqual(presharedKeyOf(secret, a, c).revealBase64(), text);
  assert.notEqual(presharedKeyOf(Buffer.alloc(32, 't'), a, b).revealBase64(), text);
});
