/*
 * Test support: answers of a manager of a swarm for `startStubDaemon`, in the shapes of API 1.50. Not part of the program.
 */
import type { StubReply, StubRoutes } from './stubDaemon.ts';

const ownId = 'odekb9o17n6tx32l6qtybpqcm';
const workerId = 'w0rk3rb9o17n6tx32l6qtybpq';
const joinedId = '0therm4nag3rx32l6qtybpqcm';

const tlsInfo = {
  TrustRoot: '-----BEGIN CERTIFICATE-----\nMIIBajCCARCg\n-----END CERTIFICATE-----\n',
  CertIssuerSubject: 'MBMxETAPBgNVBAMTCHN3YXJtLWNh',
  CertIssuerPublicKey: 'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7QYN',
};

const node = {
  ID: ownId,
  Version: { Index: 9 },
  CreatedAt: '2026-11-23T21:56:10.756962539Z',
  UpdatedAt: '2026-11-23T21:56:11.275711817Z',
  Spec: { Labels: {}, Role: 'manager', Availability: 'active' },
  Description: {
    Hostname: 'host1',
    Platform: { Architecture: 'x86_64', OS: 'linux' },
    Resources: { NanoCPUs: 2000000000, MemoryBytes: 25276502016 },
    Engine: {
      EngineVersion: '28.2.2',
      Labels: { rack: '7' },
      Plugins: [
        { Type: 'Log', Name: 'json-file' },
        { Type: 'Network', Name: 'overlay' },
        { Type: 'Network', Name: 'bridge' },
      ],
    },
    TLSInfo: tlsInfo,
  },
  Status: { State: 'ready', Addr: '192.0.2.11' },
  ManagerStatus: { Leader: true, Reachability: 'reachable', Addr: '192.0.2.11:2377' },
};

const { ManagerStatus: _none, ...plain } = node;

const worker = {
  ...plain,
  ID: workerId,
  Version: { Index: 15 },
  Spec: { Name: 'builder', Labels: { zone: 'b', a: '<x>' }, Role: 'worker', Availability: 'drain' },
  Description: {
    ...node.Description,
    Hostname: 'host10',
    Engine: { EngineVersion: '28.2.2' },
    TLSInfo: { ...tlsInfo, TrustRoot: 'other' },
  },
  Status: { State: 'down', Message: 'heartbeat failure', Addr: '192.0.2.12' },
};

const other = {
  ...node,
  ID: joinedId,
  Description: { ...node.Description, Hostname: 'host2', TLSInfo: {} },
  Status: { State: 'ready', Addr: '192.0.2.13' },
  ManagerStatus: { Reachability: 'unreachable', Addr: '192.0.2.13:2377' },
};

const spec = {
  Name: 'default',
  Labels: {},
  Orchestration: { TaskHistoryRetentionLimit: 5 },
  Raft: {
    SnapshotInterval: 10000,
    KeepOldSnapshots: 0,
    LogEntriesForSlowFollowers: 500,
    ElectionTick: 10,
    HeartbeatTick: 1,
  },
  Dispatcher: { HeartbeatPeriod: 5000000000 },
  CAConfig: { NodeCertExpiry: 7776000000000000 },
  TaskDefaults: {},
  EncryptionConfig: { AutoLockManagers: false },
};

const clusterInfo = {
  ID: 'xygazgewqoqwi3ogmddekbwr6',
  Version: { Index: 10 },
  CreatedAt: '2026-11-23T21:56:10.756936105Z',
  UpdatedAt: '2026-11-23T21:56:11.285928079Z',
  Spec: spec,
  TLSInfo: tlsInfo,
  RootRotationInProgress: false,
  DefaultAddrPool: ['10.0.0.0/8'],
  SubnetSize: 24,
  DataPathPort: 4789,
};

const tokens = {
  Worker: `SWMTKN-1-${'a1'.repeat(25)}-worker`,
  Manager: `SWMTKN-1-${'a1'.repeat(25)}-manager`,
};

/** What `info` says of a swarm. */
export const swarmOfInfo: Readonly<Record<string, unknown>> = {
  NodeID: ownId,
  NodeAddr: '192.0.2.11',
  LocalNodeState: 'active',
  ControlAvailable: true,
  Error: '',
  RemoteManagers: [
    { NodeID: joinedId, Addr: '192.0.2.13:2377' },
    { NodeID: ownId, Addr: '192.0.2.11:2377' },
  ],
  Nodes: 3,
  Managers: 2,
  Cluster: clusterInfo,
};

const missing: StubReply = { status: 404, body: { message: 'node nope not found' } };
const notDown: StubReply = {
  status: 400,
  body: {
    message: "rpc error: code = FailedPrecondition desc = node builder is not down and can't be removed",
  },
};

export const stubSwarm: StubRoutes = {
  'GET /swarm': { body: { ...clusterInfo, JoinTokens: tokens } },
  'POST /swarm/init': { body: JSON.stringify(ownId) },
  'POST /swarm/join': {},
  'POST /swarm/leave': {
    status: 503,
    body: { message: 'You are attempting to leave the swarm on a node that is participating as a manager.' },
  },
  'POST /swarm/leave?force=1': {},
  'POST /swarm/update': {},
  'POST /swarm/unlock': {},
  'GET /swarm/unlockkey': { body: { UnlockKey: 'SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8' } },
  'GET /nodes': { body: [other, worker, node] },
  [`GET /nodes/${ownId}`]: { body: node },
  'GET /nodes/self': { body: node },
  'GET /nodes/host2': { body: other },
  'GET /nodes/builder': { body: worker },
  'GET /nodes/nope': missing,
  [`POST /nodes/${ownId}/update`]: {},
  [`POST /nodes/${workerId}/update`]: {},
  [`POST /nodes/${joinedId}/update`]: {
    status: 400,
    body: {
      message:
        'rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm',
    },
  },
  'DELETE /nodes/nope': missing,
  'DELETE /nodes/builder': notDown,
  'DELETE /nodes/builder?force=1': {},
  'GET /tasks': { body: [] },
};
