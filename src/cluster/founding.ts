/*
 * What a new swarm consists of: its record, its first node, and what that node knows of it. Makes keys, stores nothing.
 */
import type { Clock } from '../base/clock.ts';
import { timestamp } from '../base/timestamp.ts';
import type { Write } from '../store/store.ts';
import { newSecret } from './identity/joinToken.ts';
import { hostOf, type ResolvedAddresses } from './membership/addresses.ts';
import {
  type NodeRecord,
  nodeIdOf,
  nodeKey,
  type SelfRecord,
  type SwarmRecord,
  swarmKey,
} from './membership/records.ts';
import { firstWrites } from './networks/records.ts';
import type { InitRequest, NodeDescription } from './swarm.ts';

export const defaultDataPathPort = 4789;
const defaultSubnetLength = 24;
const defaultAddressPool = '10.0.0.0/8';

export async function foundSwarm(
  clock: Clock,
  request: InitRequest,
  addresses: ResolvedAddresses,
  description: NodeDescription,
): Promise<{
  readonly self: SelfRecord;
  /** Under which its managers keep what is secret. */
  readonly unlockKey: string | undefined;
  readonly writes: readonly Write[];
}> {
  const { Authority, certifySelf, checkSpec, newKey, sealSwarm, unlockKeyOf } = await import(
    './membership/parts.ts'
  );
  checkSpec(request.spec);
  const authority = await Authority.create(clock);
  const swarmId = nodeIdOf(Buffer.from(newSecret()));
  const { nodeId, keys } = await certifySelf(authority, swarmId, request.spec.certificateLifeMs);
  const now = timestamp(clock);
  const made = { version: 1, createdAt: now, updatedAt: now };
  const swarm: SwarmRecord = {
    ...{ id: swarmId, ...made, spec: request.spec, root: authority.keys },
    secrets: { worker: newSecret(), manager: newSecret() },
    dataPathPort: request.dataPathPort || defaultDataPathPort,
    addressPools: request.addressPools.length > 0 ? request.addressPools : [defaultAddressPool],
    subnetLength: request.subnetLength || defaultSubnetLength,
    ...unlockKeyOf(request.spec, undefined),
  };
  const sealKey = newKey();
  const node: NodeRecord = {
    ...{ id: nodeId, ...made, epoch: 1, description },
    spec: { name: '', labels: {}, role: 'manager', availability: request.availability },
    address: hostOf(addresses.advertise),
    dataPath: addresses.dataPath,
    managerAddress: addresses.advertise,
  };
  const self: SelfRecord = {
    ...{ nodeId, swarmId, ...addresses, isManager: true, managers: [addresses.advertise] },
    ...{ dataPathPort: swarm.dataPathPort, keys, sealKey, rootPem: authority.keys.certificatePem },
  };
  return {
    self,
    unlockKey: swarm.unlockKey,
    writes: [
      { key: swarmKey, put: sealSwarm(sealKey, swarm) },
      { key: nodeKey(nodeId), put: node },
      ...firstWrites(swarm, clock),
    ],
  };
}
