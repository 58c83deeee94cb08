/*
 * Join tokens in Docker's format: `SWMTKN-1-<digest>-<secret>`. The digest pins the swarm's root certificate, so that a
 * node which joins gives its secret to no other swarm; the secret says as what it may join. Source: swarmkit ca/config.go.
 *
 *   digest   sha256 of the root certificate's PEM, base 36, padded to 50 characters
 *   secret   16 random bytes, base 36, padded to 25
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const prefix = 'SWMTKN';
const digestLength = 50;
const secretLength = 25;

export interface JoinToken {
  /** As the token carries it: 50 characters. */
  readonly digest: string;
  readonly secret: string;
}

function toBase36(bytes: Uint8Array, length: number): string {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
    .toString(36)
    .padStart(length, '0');
}

/** Of a root certificate, byte for byte as it is handed out. */
export function digestOf(rootPem: string): string {
  return toBase36(createHash('sha256').update(rootPem).digest(), digestLength);
}

export function newSecret(): string {
  return toBase36(randomBytes(16), secretLength);
}

export function formatJoinToken({ digest, secret }: JoinToken): string {
  return `${prefix}-1-${digest}-${secret}`;
}

/** Undefined if it is none, or of a version that we do not know. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [name, version, digest = '', secret = '', ...rest] = text.trim().split('-');
  if (name !== prefix || version !== '1' || rest.length > 0) return undefined;
  const isWord = (word: string, length: number): boolean =>
    word.length === length && /^[0-9a-z]+$/.test(word);
  return isWord(digest, digestLength) && isWord(secret, secretLength) ? { digest, secret } : undefined;
}

/** In the same time whatever they are. */
export function equalSecrets(a: string, b: string): boolean {
  const hash = (text: string): Uint8Array => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

/** The digest as 64 hex digits, as texts show it. */
export function digestHexOf(digest: string): string {
  let value = 0n;
  for (const digit of digest) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value.toString(16).padStart(64, '0');
}
