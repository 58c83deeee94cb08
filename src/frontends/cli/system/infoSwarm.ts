/*
 * The swarm's part of `info`, in the layout of the docker CLI 28. Pure.
 */
import { formatDuration } from '../text/units.ts';

/** Docker's `Swarm` of /info; durations in nanoseconds. */
export interface SwarmOfInfo {
  readonly NodeID?: string;
  readonly NodeAddr?: string;
  readonly LocalNodeState?: string;
  readonly ControlAvailable?: boolean;
  readonly Error?: string;
  readonly RemoteManagers?: readonly { readonly Addr: string }[] | null;
  readonly Nodes?: number;
  readonly Managers?: number;
  readonly Cluster?: {
    readonly ID: string;
    readonly Spec: {
      readonly Orchestration?: { readonly TaskHistoryRetentionLimit?: number };
      readonly Raft?: {
        readonly SnapshotInterval?: number;
        readonly KeepOldSnapshots?: number;
        readonly ElectionTick?: number;
        readonly HeartbeatTick?: number;
      };
      readonly Dispatcher?: { readonly HeartbeatPeriod?: number };
      readonly CAConfig?: {
        readonly NodeCertExpiry?: number;
        readonly ForceRotate?: number;
        readonly SigningCACert?: string;
        readonly ExternalCAs?: readonly { readonly Protocol: string; readonly URL: string }[] | null;
      };
      readonly EncryptionConfig?: { readonly AutoLockManagers?: boolean };
    };
    readonly RootRotationInProgress?: boolean;
    readonly DefaultAddrPool?: readonly string[] | null;
    readonly SubnetSize?: number;
    readonly DataPathPort?: number;
  };
}

function period(nanoseconds = 0): string {
  return formatDuration(nanoseconds / 1e9);
}

function caLines({ CAConfig }: NonNullable<SwarmOfInfo['Cluster']>['Spec']): string[] {
  const externals = CAConfig?.ExternalCAs ?? [];
  return [
    'CA Configuration:',
    ` Expiry Duration: ${period(CAConfig?.NodeCertExpiry)}`,
    ` Force Rotate: ${CAConfig?.ForceRotate ?? 0}`,
    ...(CAConfig?.SigningCACert ? [` Signing CA Certificate: \n${CAConfig.SigningCACert}\n`] : []),
    ...(externals.length > 0
      ? [' External CAs:', ...externals.map((ca) => `   ${ca.Protocol}: ${ca.URL}`)]
      : []),
  ];
}

function clusterLines(swarm: SwarmOfInfo, cluster: NonNullable<SwarmOfInfo['Cluster']>): string[] {
  const { Orchestration, Raft, Dispatcher, EncryptionConfig } = cluster.Spec;
  const pools = cluster.DefaultAddrPool ?? [];
  return [
    `ClusterID: ${cluster.ID}`,
    `Managers: ${swarm.Managers ?? 0}`,
    `Nodes: ${swarm.Nodes ?? 0}`,
    ...(pools.length === 0
      ? []
      : [
          `Default Address Pool: ${pools.map((pool) => `${pool}  `).join('')}`,
          `SubnetSize: ${cluster.SubnetSize ?? 0}`,
        ]),
    `Data Path Port: ${cluster.DataPathPort ?? 0}`,
    'Orchestration:',
    ` Task History Retention Limit: ${Orchestration?.TaskHistoryRetentionLimit ?? 0}`,
    'Raft:',
    ` Snapshot Interval: ${Raft?.SnapshotInterval ?? 0}`,
    ...(Raft?.KeepOldSnapshots === undefined
      ? []
      : [` Number of Old Snapshots to Retain: ${Raft.KeepOldSnapshots}`]),
    ` Heartbeat Tick: ${Raft?.HeartbeatTick ?? 0}`,
    ` Election Tick: ${Raft?.ElectionTick ?? 0}`,
    'Dispatcher:',
    ` Heartbeat Period: ${period(Dispatcher?.HeartbeatPeriod)}`,
    ...caLines(cluster.Spec),
    `Autolock Managers: ${EncryptionConfig?.AutoLockManagers ?? false}`,
    `Root Rotation In Progress: ${cluster.RootRotationInProgress ?? false}`,
  ];
}

/** The lines from ` Swarm: ` on. */
export function formatSwarm(swarm: SwarmOfInfo | undefined): string {
  const state = swarm?.LocalNodeState || 'inactive';
  if (swarm === undefined || state === 'inactive' || state === 'locked') return ` Swarm: ${state}\n`;
  const { Cluster, ControlAvailable = false, Error = '', RemoteManagers } = swarm;
  const isKnown = ControlAvailable && Error === '' && state !== 'error';
  const managers = (RemoteManagers ?? []).map(({ Addr }) => Addr).sort();
  const lines = [
    `NodeID: ${swarm.NodeID ?? ''}`,
    ...(Error === '' ? [] : [`Error: ${Error}`]),
    `Is Manager: ${ControlAvailable}`,
    ...(isKnown && Cluster !== undefined ? clusterLines(swarm, Cluster) : []),
    `Node Address: ${swarm.NodeAddr ?? ''}`,
    ...(managers.length > 0 ? ['Manager Addresses:', ...managers.map((address) => ` ${address}`)] : []),
  ];
  return ` Swarm: ${state}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
