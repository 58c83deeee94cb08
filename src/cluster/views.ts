/*
 * The records of a manager as its users see them. Pure.
 */
import { lookUp } from '../base/lookup.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { digestOf, formatJoinToken } from './identity/joinToken.ts';
import type { Trust } from './identity/trust.ts';
import { hostOf } from './membership/addresses.ts';
import type { NodeRecord, SelfRecord, SwarmRecord } from './membership/records.ts';
import type { Roster } from './membership/roster.ts';
import type { Cluster, ClusterNode, SwarmStatus } from './swarm.ts';

/** A full id, then a name, then what an id begins with. Codes nodeNotFound, nodeAmbiguous. */
export function findNode(ref: string, nodes: ReadonlyMap<string, NodeRecord>): NodeRecord {
  const isCalled = ({ spec, description }: NodeRecord): boolean =>
    spec.name === ref || description.hostname === ref;
  const result = lookUp(ref, nodes, () => [...nodes.values()].filter(isCalled));
  if (result.found !== undefined) return result.found;
  if (result.matches === 0) throw new LinkspanError('nodeNotFound', `node ${ref} not found`);
  throw new LinkspanError('nodeAmbiguous', `node ${ref} is ambiguous (${result.matches} matches found)`);
}

/** What a node did not say since managers ask is what it has unless the root is being changed. */
export function toClusterNode(
  record: NodeRecord,
  roster: Pick<Roster, 'presenceOf' | 'managerState'>,
  trust: Trust,
): ClusterNode {
  const { state, message } = roster.presenceOf(record.id);
  const { id, version, createdAt, updatedAt, spec, description, address, managerAddress, tls } = record;
  const has = (told: string | undefined, wanted: string): boolean =>
    told === undefined ? trust.crossPem === undefined : told === wanted;
  return {
    ...{ id, version, createdAt, updatedAt, spec, ...description, state, message, address },
    isTrusted: has(tls?.issuer, trust.wanted.issuer),
    // The one of before is trusted by all until the end.
    trustsRoot: trust.crossPem !== undefined || has(tls?.trusts, trust.wanted.trusts),
    ...(managerAddress === undefined || spec.role === 'worker'
      ? {}
      : { manager: { ...roster.managerState(id), address: managerAddress } }),
  };
}

export function toCluster(swarm: SwarmRecord): Cluster {
  const { id, version, createdAt, updatedAt, spec, root, rotation, secrets } = swarm;
  const digest = digestOf(root.certificatePem);
  const { dataPathPort, addressPools, subnetLength } = swarm;
  const tokenOf = (secret: string): string => formatJoinToken({ digest, secret });
  return {
    ...{ id, version, createdAt, updatedAt, spec, dataPathPort, addressPools, subnetLength },
    rootCertificatePem: root.certificatePem,
    issuerCertificatePem: (rotation?.root ?? root).certificatePem,
    isRootRotating: rotation !== undefined,
    tokens: { worker: tokenOf(secrets.worker), manager: tokenOf(secrets.manager) },
  };
}

/** `self`: of a member; `roster` and `swarm`: as a manager knows them. */
export function toStatus(
  { self, ...how }: Pick<SwarmStatus, 'state' | 'error'> & { readonly self?: SelfRecord },
  roster?: Pick<Roster, 'nodes' | 'managers'>,
  swarm?: SwarmRecord,
): SwarmStatus {
  const known =
    roster === undefined
      ? (self?.managers ?? []).map((address) => ({ nodeId: self?.managerIds?.[address] ?? '', address }))
      : roster.managers.flatMap(({ id, managerAddress }) =>
          managerAddress === undefined ? [] : { nodeId: id, address: managerAddress },
        );
  return {
    ...how,
    nodeId: self?.nodeId ?? '',
    address: self === undefined ? '' : hostOf(self.advertise),
    isManager: self?.isManager ?? false,
    managers: known,
    ...(swarm === undefined ? {} : { cluster: toCluster(swarm) }),
    nodeCount: roster?.nodes.length ?? 0,
    managerCount: roster?.managers.length ?? 0,
  };
}
