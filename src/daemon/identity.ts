/*
 * What a data root is: the id that marks this daemon's kernel objects, and what it changed on the machine. Kept in the
 * store under `daemon`, made at the first start.
 */
import { newId } from '../base/ids.ts';
import type { Store } from '../store/store.ts';

export interface Identity {
  /** 64 hex digits. */
  readonly id: string;
  /** This daemon switched net.ipv4.ip_forward on; foreign forwarding is dropped while that holds. */
  readonly switchedForwarding: boolean;
}

const key = 'daemon';

export async function readIdentity(store: Store): Promise<Identity> {
  const entry = await store.get(key);
  if (entry !== undefined) return entry.value as Identity;
  const identity: Identity = { id: newId<'daemon'>(), switchedForwarding: false };
  await writeIdentity(store, identity);
  return identity;
}

export async function writeIdentity(store: Store, identity: Identity): Promise<void> {
  await store.txn({ write: [{ key, put: identity }] });
}
