/*
 * Swarms and nodes at the edge: the engine's records in the shapes of Docker Engine API 1.50.
 */
import type { Cluster, ClusterNode, ClusterSpec, SwarmStatus } from '../../cluster/swarm.ts';
import { pluginList } from './plugins.ts';
import { issuerOf } from './swarmCertificate.ts';

type Shape = Record<string, unknown>;

const nsPerMs = 1_000_000;

/** Raft's figures that Docker shows and that have no meaning here: ours are these, and no others are accepted. */
export const fixedRaft = { LogEntriesForSlowFollowers: 500, ElectionTick: 10, HeartbeatTick: 1 } as const;

function specShape(spec: ClusterSpec): Shape {
  return {
    Name: spec.name,
    Labels: spec.labels,
    Orchestration: { TaskHistoryRetentionLimit: spec.taskHistoryLimit },
    Raft: { SnapshotInterval: spec.snapshotInterval, KeepOldSnapshots: spec.maxSnapshots, ...fixedRaft },
    Dispatcher: { HeartbeatPeriod: spec.heartbeatMs * nsPerMs },
    CAConfig: {
      NodeCertExpiry: spec.certificateLifeMs * nsPerMs,
      ...(spec.forceRotate ? { ForceRotate: spec.forceRotate } : {}),
    },
    TaskDefaults: {},
    EncryptionConfig: { AutoLockManagers: spec.isAutolocked },
  };
}

function issuerShape(pem: string): Shape {
  const { subject, publicKey } = issuerOf(pem);
  return { CertIssuerSubject: subject, CertIssuerPublicKey: publicKey };
}

/** Without the tokens, as `info` has it. */
export function clusterShape(cluster: Cluster): Shape {
  return {
    ID: cluster.id,
    Version: { Index: cluster.version },
    CreatedAt: cluster.createdAt,
    UpdatedAt: cluster.updatedAt,
    Spec: specShape(cluster.spec),
    TLSInfo: { TrustRoot: cluster.rootCertificatePem, ...issuerShape(cluster.issuerCertificatePem) },
    RootRotationInProgress: cluster.isRootRotating,
    DefaultAddrPool: cluster.addressPools.length === 0 ? null : cluster.addressPools,
    SubnetSize: cluster.subnetLength,
    DataPathPort: cluster.dataPathPort,
  };
}

/** `GET /swarm`. */
export function swarmShape(cluster: Cluster): Shape {
  const { worker, manager } = cluster.tokens;
  return { ...clusterShape(cluster), JoinTokens: { Worker: worker, Manager: manager } };
}

/** The `Swarm` of `info`. Counts of zero are left out, as Docker does. */
export function swarmInfoShape(status: SwarmStatus): Shape {
  const { cluster, managers, nodeCount, managerCount } = status;
  return {
    NodeID: status.nodeId,
    NodeAddr: status.address,
    LocalNodeState: status.state,
    ControlAvailable: cluster !== undefined,
    Error: status.error,
    RemoteManagers:
      managers.length === 0
        ? null
        : managers.map(({ nodeId, address }) => ({ NodeID: nodeId, Addr: address })),
    ...(nodeCount > 0 && { Nodes: nodeCount }),
    ...(managerCount > 0 && { Managers: managerCount }),
    ...(cluster !== undefined && { Cluster: clusterShape(cluster) }),
  };
}

/** The `Swarm` header of a ping: by it Docker's client chooses what its help shows. */
export function swarmHeader({ state, isManager }: SwarmStatus): string {
  return state === 'active' ? `active/${isManager ? 'manager' : 'worker'}` : state;
}

/** What `info` warns of. */
export function swarmWarnings({ state, managerCount }: SwarmStatus): readonly string[] {
  return state === 'active' && managerCount === 2
    ? [
        'WARNING: two managers tolerate no failure: without either of them the swarm cannot be changed. Have one, or three.',
      ]
    : [];
}

function managerShape({ manager }: ClusterNode): Shape {
  if (manager === undefined) return {};
  const { isLeader, isReachable, address } = manager;
  return {
    ManagerStatus: {
      ...(isLeader && { Leader: true }),
      Reachability: isReachable ? 'reachable' : 'unreachable',
      Addr: address,
    },
  };
}

/**
 * One node. Its TLS information is the swarm's, but for what it has not taken over yet, which clients show as "Needs
 * Rotation".
 */
export function nodeShape(
  node: ClusterNode,
  root: Pick<Cluster, 'rootCertificatePem' | 'issuerCertificatePem'>,
): Shape {
  const { spec, engineLabels } = node;
  return {
    ID: node.id,
    Version: { Index: node.version },
    CreatedAt: node.createdAt,
    UpdatedAt: node.updatedAt,
    Spec: {
      ...(spec.name !== '' && { Name: spec.name }),
      Labels: spec.labels,
      Role: spec.role,
      Availability: spec.availability,
    },
    Description: {
      Hostname: node.hostname,
      Platform: { Architecture: node.architecture, OS: node.os },
      Resources: { NanoCPUs: node.nanoCpus, MemoryBytes: node.memoryBytes },
      Engine: {
        EngineVersion: node.engineVersion,
        ...(Object.keys(engineLabels).length > 0 && { Labels: engineLabels }),
        Plugins: pluginList,
      },
      TLSInfo: {
        ...(node.trustsRoot && { TrustRoot: root.rootCertificatePem }),
        ...(node.isTrusted && issuerShape(root.issuerCertificatePem)),
      },
    },
    Status: {
      State: node.state,
      ...(node.message !== '' && { Message: node.message }),
      Addr: node.address,
    },
    ...managerShape(node),
  };
}
