/*
 * Keys of WireGuard: X25519 public and private keys and preshared keys, 32 bytes each, in base64 as `wg` writes them.
 * A secret one is an object that shows itself nowhere by accident: neither a log line, nor JSON, nor an error's details
 * has it (`util.inspect` shows no private field). Contract: RFC 7748, wg(8).
 */
import { createPrivateKey, createPublicKey, hkdfSync, randomBytes } from 'node:crypto';

declare const brand: unique symbol;
/** 32 bytes in canonical base64: equal keys are equal strings. */
export type PublicKey = string & { readonly [brand]: 'wireguardPublicKey' };

export const keyBytes = 32;

/** The 32 bytes that `text` writes in canonical base64, else undefined. */
function bytesOf(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** Undefined unless `text` is 32 bytes in canonical base64. */
export function parsePublicKey(text: string): PublicKey | undefined {
  return bytesOf(text) === undefined ? undefined : (text as PublicKey);
}

export function publicKeyToBytes(key: PublicKey): Uint8Array {
  return Buffer.from(key, 'base64');
}

/** Throws RangeError unless they are 32. */
export function publicKeyFromBytes(bytes: Uint8Array): PublicKey {
  if (bytes.length !== keyBytes) throw new RangeError(`a key of ${bytes.length} bytes`);
  return Buffer.from(bytes).toString('base64') as PublicKey;
}

/** A private or preshared key. */
export class SecretKey {
  readonly #bytes: Uint8Array;

  /** Throws RangeError unless they are 32; keeps a copy. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== keyBytes) throw new RangeError(`a key of ${bytes.length} bytes`);
    this.#bytes = Uint8Array.from(bytes);
  }

  /** A copy, for who hands it to a device. */
  reveal(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  /** For who keeps it. */
  revealBase64(): string {
    return Buffer.from(this.#bytes).toString('base64');
  }

  toString(): string {
    return '[secret key]';
  }

  toJSON(): string {
    return this.toString();
  }
}

/** As `revealBase64` writes it; undefined unless `text` is 32 bytes in canonical base64. */
export function parseSecretKey(text: string): SecretKey | undefined {
  const bytes = bytesOf(text);
  return bytes === undefined ? undefined : new SecretKey(bytes);
}

/** A new private key, with the bits set that X25519 wants (RFC 7748, 5), so that a device gives back the same. */
export function makeKey(): SecretKey {
  const bytes = randomBytes(keyBytes);
  bytes[0] = (bytes[0] ?? 0) & 0xf8;
  bytes[31] = ((bytes[31] ?? 0) & 0x7f) | 0x40;
  return new SecretKey(bytes);
}

/** PrivateKeyInfo of an X25519 key (RFC 8410) up to the key itself. */
const pkcs8Prefix: Uint8Array = Buffer.from('302e020100300506032b656e04220420', 'hex');

export function publicKeyOf(privateKey: SecretKey): PublicKey {
  const der = Buffer.concat([pkcs8Prefix, privateKey.reveal()]);
  const { x } = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({
    format: 'jwk',
  });
  return publicKeyFromBytes(Buffer.from(x ?? '', 'base64url'));
}

/** The same for both of a pair, whoever is named first; another one for each pair. `secret` is the swarm's, 16 bytes or more. */
export function presharedKeyOf(secret: Uint8Array, one: PublicKey, other: PublicKey): SecretKey {
  const info = ['linkspan wireguard preshared key', ...[one, other].sort()].join('\n');
  return new SecretKey(new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(), info, keyBytes)));
}
