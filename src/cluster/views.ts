/*
 * The records of a manager as its users see them. Pure.
 */
import { lookUp } from '../base/lookup.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { formatJoinToken } from './identity/joinToken.ts';
import type { NodeRecord, SwarmRecord } from './membership/records.ts';
import type { Presence } from './membership/roster.ts';
import type { Cluster, ClusterNode } from './swarm.ts';

/** A full id, then a name, then what an id begins with. Codes nodeNotFound, nodeAmbiguous. */
export function findNode(ref: string, nodes: ReadonlyMap<string, NodeRecord>): NodeRecord {
  const isCalled = ({ spec, description }: NodeRecord): boolean =>
    spec.name === ref || description.hostname === ref;
  const result = lookUp(ref, nodes, () => [...nodes.values()].filter(isCalled));
  if (result.found !== undefined) return result.found;
  if (result.matches === 0) throw new LinkspanError('nodeNotFound', `node ${ref} not found`);
  throw new LinkspanError('nodeAmbiguous', `node ${ref} is ambiguous (${result.matches} matches found)`);
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
