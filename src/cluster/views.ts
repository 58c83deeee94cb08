/*
 * The records of a manager as its users see them. Pure.
 */
import { LinkspanError } from '../errors/linkspanError.ts';
import { formatJoinToken } from './identity/joinToken.ts';
import type { NodeRecord, SwarmRecord } from './membership/records.ts';
import type { Presence } from './membership/roster.ts';
import type { Cluster, ClusterNode } from './swarm.ts';

/** A full id, then a name, then what an id begins with. Codes nodeNotFound, nodeAmbiguous. */
export function findNode(ref: string, nodes: readonly NodeRecord[]): NodeRecord {
  const whole = nodes.filter(({ id }) => id === ref);
  const named = nodes.filter(({ spec, description }) => spec.name === ref || description.hostname === ref);
  const begun = nodes.filter(({ id }) => ref !== '' && id.startsWith(ref));
  const found = [whole, named, begun].find((some) => some.length > 0) ?? [];
  const [first, second] = found;
  if (first === undefined) throw new LinkspanError('nodeNotFound', `node ${ref} not found`);
  if (second !== undefined)
    throw new LinkspanError('nodeAmbiguous', `node ${ref} is ambiguous (${found.length} matches found)`);
  return first;
}

export function toClusterNode(record: NodeRecord, { state, message }: Presence): ClusterNode {
  const { id, version, createdAt, updatedAt, spec, description, address, managerAddress } = record;
  return {
    ...{ id, version, createdAt, updatedAt, spec, ...description, state, message, address },
    isTrusted: true,
    ...(managerAddress === undefined
      ? {}
      : { manager: { isLeader: true, isReachable: true, address: managerAddress } }),
  };
}

/** `digest`: of the root, as tokens carry it. */
export function toCluster(swarm: SwarmRecord, digest: string): Cluster {
  const { id, version, createdAt, updatedAt, spec, root, secrets } = swarm;
  const { dataPathPort, addressPools, subnetLength } = swarm;
  const tokenOf = (secret: string): string => formatJoinToken({ digest, secret });
  return {
    ...{ id, version, createdAt, updatedAt, spec, dataPathPort, addressPools, subnetLength },
    rootCertificatePem: root.certificatePem,
    isRootRotating: false,
    tokens: { worker: tokenOf(secrets.worker), manager: tokenOf(secrets.manager) },
  };
}
