/*
 * How a swarm's records change their store: from the first manager's own to one that managers share, when the second comes;
 * and what is left of such a store is made one manager's alone. Nobody may write meanwhile.
 */
import type { Clock } from '../../base/clock.ts';
import type { Store, Write } from '../../store/store.ts';
import { newSecret } from '../identity/joinToken.ts';
import { openSwarm, sealSwarm } from '../identity/vault.ts';
import {
  clusterPrefix,
  livePrefix,
  type NodeRecord,
  nodesPrefix,
  type SelfRecord,
  swarmKey,
} from '../membership/records.ts';
import { epochKey } from '../networks/records.ts';
import { createStoreRoot, firstMember } from './admission.ts';
import { peerOf } from './becomeManager.ts';
import type { MemberRecord, StoreMembers } from './storeMember.ts';

/** Of one transaction. */
const mostWrites = 100;

async function writeAll(store: Store, writes: readonly Write[]): Promise<void> {
  for (let i = 0; i < writes.length; i += mostWrites)
    await store.txn({ write: writes.slice(i, i + mostWrites) });
}

/** Of revisions that begin anew. */
const newEpoch = (): Write => ({ key: epochKey, put: { id: newSecret() } });

/** Resolves with this node's member, which has all that `store` has. Nobody knows of it yet. */
export async function moveRecords(
  { clock, members, store }: { readonly clock: Clock; readonly members: StoreMembers; readonly store: Store },
  { nodeId, swarmId, advertise, sealKey = '' }: SelfRecord,
): Promise<MemberRecord> {
  const storeRoot = await createStoreRoot(clock);
  const member = await firstMember(clock, storeRoot, { nodeId, swarmId, peer: peerOf(advertise) });
  await members.wipe();
  await using opened = await members.open(swarmId, nodeId, member);
  const { entries } = await store.list(clusterPrefix);
  const writes = entries
    .filter(({ key }) => key !== epochKey && !key.startsWith(livePrefix))
    .map(({ key, value }): Write => {
      if (key !== swarmKey) return { key, put: value };
      return { key, put: sealSwarm(sealKey, { ...openSwarm(sealKey, value), storeRoot }) };
    });
  await writeAll(opened.store, [...writes, newEpoch()]);
  return member;
}

/** This node's member goes on alone with what it has; the other managers are none any more. */
export async function beginAlone(
  members: StoreMembers,
  { nodeId, swarmId }: SelfRecord,
  member: MemberRecord,
): Promise<void> {
  await using opened = await members.open(swarmId, nodeId, member, true);
  const { entries } = await opened.store.list(nodesPrefix);
  const demoted = entries.flatMap(({ key, value }): readonly Write[] => {
    const { managerAddress: _, ...node } = value as NodeRecord;
    if (node.id === nodeId || node.spec.role === 'worker') return [];
    return [{ key, put: { ...node, version: node.version + 1, spec: { ...node.spec, role: 'worker' } } }];
  });
  await writeAll(opened.store, [...demoted, newEpoch()]);
}
