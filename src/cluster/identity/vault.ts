/*
 * What is secret in the swarm's record is sealed in the store, by a key that managers have and the store has not: who
 * reads the store, or a backup of it, makes no nodes. In memory the record is clear. A record of before, which is clear in
 * the store too, is read as it is.
 *
 *   sealed.1.<base64 of: 12 bytes nonce, ciphertext, 16 bytes tag>    AES-256-GCM; what it is about is authenticated with
 *                                                                     it: <swarm id>/<key in the store>/<field>
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type SwarmRecord, swarmKey } from '../membership/records.ts';

const prefix = 'sealed.1.';
const cipher = 'aes-256-gcm';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** Fields of the record. Those that it does not have are left out. */
const secretFields: readonly (readonly string[])[] = [
  ['root', 'keyPem'],
  ['rotation', 'root', 'keyPem'],
  ['storeRoot', 'keyPem'],
  ['secrets', 'worker'],
  ['secrets', 'manager'],
  ['unlockKey'],
];

/** 32 bytes, in base64. */
export function newKey(): string {
  return randomBytes(keyBytes).toString('base64');
}

/** `about`: what it is, without which it opens no more. */
export function seal(key: string, about: string, text: string): string {
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, Buffer.from(key, 'base64'), nonce).setAAD(Buffer.from(about));
  const sealed = Buffer.concat([nonce, sealing.update(text, 'utf8'), sealing.final(), sealing.getAuthTag()]);
  return prefix + sealed.toString('base64');
}

/** Undefined if it was sealed with another key, is about something else, or was changed. */
export function unseal(key: string, about: string, sealed: string): string | undefined {
  const bytes = Buffer.from(sealed.slice(prefix.length), 'base64');
  if (!sealed.startsWith(prefix) || bytes.length < nonceBytes + tagBytes) return undefined;
  const nonce = bytes.subarray(0, nonceBytes);
  const opening = createDecipheriv(cipher, Buffer.from(key, 'base64'), nonce, { authTagLength: tagBytes });
  opening.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-tagBytes));
  try {
    const text = opening.update(bytes.subarray(nonceBytes, -tagBytes));
    return Buffer.concat([text, opening.final()]).toString('utf8');
  } catch {
    return undefined;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** `value` with another text at `path`, if there is one. */
function withText(
  value: Fields,
  [name = '', ...rest]: readonly string[],
  change: (text: string) => string,
): Fields {
  const inner = value[name];
  if (inner === undefined) return value;
  return {
    ...value,
    [name]: rest.length === 0 ? change(inner as string) : withText(inner as Fields, rest, change),
  };
}

const eachSecret = (value: Fields, change: (text: string, field: string) => string): Fields =>
  secretFields.reduce((all, path) => withText(all, path, (text) => change(text, path.join('.'))), value);

const aboutOf = (swarmId: string, field: string): string => `${swarmId}/${swarmKey}/${field}`;

/** The record as the store has it. `sealKey`: of the swarm, as `newKey` makes it. */
export function sealSwarm(sealKey: string, swarm: SwarmRecord): unknown {
  return eachSecret(swarm as unknown as Fields, (text, field) =>
    seal(sealKey, aboutOf(swarm.id, field), text),
  );
}

/** The record that the store has. Code store if it was sealed with another key. */
export function openSwarm(sealKey: string, stored: unknown): SwarmRecord {
  const { id } = stored as Pick<SwarmRecord, 'id'>;
  const open = (text: string, field: string): string => {
    if (!text.startsWith(prefix)) return text;
    const clear = unseal(sealKey, aboutOf(id, field), text);
    if (clear !== undefined) return clear;
    throw new LinkspanError(
      'store',
      `the swarm's secrets are sealed with a key that this node has not: ${field}`,
    );
  };
  return eachSecret(stored as Fields, open) as unknown as SwarmRecord;
}

/** Nothing secret in it is clear. */
export function isSealed(stored: unknown): boolean {
  let isSo = true;
  eachSecret(stored as Fields, (text) => {
    isSo &&= text.startsWith(prefix);
    return text;
  });
  return isSo;
}
