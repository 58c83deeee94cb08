/*
 * Autolock: what a manager keeps of the swarm's secrets (its TLS key, the key of vault.ts, and the TLS key of its member of
 * the store) is stored only under a key that people keep, so that a daemon that starts can do nothing as a manager before
 * somebody unlocks it. The key is 32 random bytes, so that it needs no slow derivation: HKDF (RFC 5869) only separates
 * this use from others. As users see it: `SWMKEY-1-` and the bytes in base64 without padding. Source: swarmkit
 * manager/encryption/encryption.go.
 */
import { hkdfSync } from 'node:crypto';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type SelfRecord, selfKey } from '../membership/records.ts';
import { refusals } from '../refusals.ts';
import { seal, unseal } from './vault.ts';

/** What a node stores of itself: as it is, or locked. */
export type StoredSelf = SelfRecord | LockedSelf;

export interface LockedSelf extends Omit<SelfRecord, 'keys' | 'sealKey' | 'member'> {
  /** JSON of the rest, sealed. */
  readonly locked: string;
}

const keyPrefix = 'SWMKEY-1-';
const keyBytes = 32;

/** `unlockKey`: as `newKey` of vault.ts makes it. */
export function formatUnlockKey(unlockKey: string): string {
  return keyPrefix + unlockKey.replace(/=+$/, '');
}

/** Throws code requestInvalid with Docker's text. */
export function parseUnlockKey(text: string): string {
  const encoded = text.startsWith(keyPrefix) ? text.slice(keyPrefix.length) : '';
  if (encoded === '' || !/^[A-Za-z0-9+/]+$/.test(encoded))
    throw new LinkspanError('requestInvalid', 'invalid key string');
  return Buffer.from(encoded, 'base64').toString('base64');
}

function wrappingKey(unlockKey: string, swarmId: string): string {
  const bytes = hkdfSync(
    'sha256',
    Buffer.from(unlockKey, 'base64'),
    swarmId,
    'linkspan autolock 1',
    keyBytes,
  );
  return Buffer.from(bytes).toString('base64');
}

const aboutOf = ({ swarmId, nodeId }: Pick<SelfRecord, 'swarmId' | 'nodeId'>): string =>
  `${swarmId}/${selfKey}/${nodeId}`;

export function isLocked(stored: StoredSelf): stored is LockedSelf {
  return 'locked' in stored;
}

/** Without `unlockKey` it stays clear. */
export function lockSelf(self: SelfRecord, unlockKey: string | undefined): StoredSelf {
  if (unlockKey === undefined) return self;
  const { keys, sealKey, member, ...rest } = self;
  const secret = JSON.stringify({ keys, sealKey, member });
  return { ...rest, locked: seal(wrappingKey(unlockKey, self.swarmId), aboutOf(self), secret) };
}

/** Codes swarmLocked without a key, unlockKeyInvalid with another. */
export function unlockSelf(stored: StoredSelf, unlockKey: string | undefined): SelfRecord {
  if (!isLocked(stored)) return stored;
  if (unlockKey === undefined) throw new LinkspanError('swarmLocked', refusals.locked);
  const { locked, ...rest } = stored;
  const isKey = Buffer.from(unlockKey, 'base64').length === keyBytes;
  const secret = isKey ? unseal(wrappingKey(unlockKey, rest.swarmId), aboutOf(rest), locked) : undefined;
  if (secret === undefined) throw new LinkspanError('unlockKeyInvalid', refusals.wrongKey);
  return { ...rest, ...(JSON.parse(secret) as Pick<SelfRecord, 'keys' | 'sealKey' | 'member'>) };
}
