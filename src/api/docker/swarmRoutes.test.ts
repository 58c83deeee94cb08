/*
 * /swarm and /nodes over a swarm in memory: shapes, bodies, filters, and what is refused.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { fakeRootPem, fakeWorker, fakeUnlockKey } from './fakes/fakeSwarm.ts';
import { startTestServer, type TestServer } from './fakes/testServer.ts';
import { issuerOf } from './swarmCertificate.ts';

type Json = Record<string, unknown>;

let server: TestServer;
before(async () => {
  server = await startTestServer();
});
after(() => server[Symbol.asyncDispose]());

async function call(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly text: string; readonly json: Json; readonly swarm: unknown }> {
  const { status, text, headers } = await server.api.inject({
    method,
    url: encodeURI(url),
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    }),
  });
  const isObject = /^[[{]/.test(text);
  return { status, text, json: isObject ? (JSON.parse(text) as Json) : {}, swarm: headers['swarm'] };
}

/** What the docker CLI 28 sends for a bare `swarm init`. */
const spec = {
  Labels: null,
  Orchestration: {},
  Raft: { ElectionTick: 0, HeartbeatTick: 0 },
  Dispatcher: {},
  CAConfig: {},
  TaskDefaults: {},
  EncryptionConfig: { AutoLockManagers: false },
};
const init = {
  ListenAddr: '0.0.0.0:2377',
  AdvertiseAddr: '192.0.2.11',
  DataPathAddr: '',
  DataPathPort: 0,
  ForceNewCluster: false,
  Spec: spec,
  AutoLockManagers: false,
  Availability: '',
  DefaultAddrPool: [],
  SubnetSize: 24,
};
const join = {
  ListenAddr: 'eth0',
  AdvertiseAddr: '',
  DataPathAddr: '',
  RemoteAddrs: ['192.0.2.11', '[2001:db8::1]', '2001:db8::2', 'host:99'],
  JoinToken: 'SWMTKN-1-a-b',
  Availability: 'Pause',
};

beforeEach(async () => {
  await call('POST', '/swarm/leave?force=1');
});

test('without a swarm its state is inactive and managers are asked in vain', async () => {
  assert.equal((await call('GET', '/_ping')).swarm, 'inactive');
  assert.deepEqual((await call('GET', '/info')).json['Swarm'], {
    NodeID: '',
    NodeAddr: '',
    LocalNodeState: 'inactive',
    ControlAvailable: false,
    Error: '',
    RemoteManagers: null,
  });
  for (const url of ['/swarm', '/nodes', '/nodes/x']) assert.equal((await call('GET', url)).status, 503, url);
  assert.equal((await call('POST', '/swarm/leave')).status, 503);
});

test('init answers the id as a JSON string, and gives what is not said its default', async () => {
  const { status, text } = await call('POST', '/v1.50/swarm/init', init);
  assert.deepEqual([status, text.trim()], [200, '"odekb9o17n6tx32l6qtybpqcm"']);
  assert.deepEqual(server.engine.swarm.inits.at(-1), {
    listen: '0.0.0.0:2377',
    advertise: '192.0.2.11',
    dataPath: '',
    availability: 'active',
    spec: {
      name: 'default',
      labels: {},
      taskHistoryLimit: 5,
      snapshotInterval: 10_000,
      maxSnapshots: 0,
      heartbeatMs: 5_000,
      certificateLifeMs: 7_776_000_000,
      isAutolocked: false,
    },
    isForcedNew: false,
    dataPathPort: 0,
    addressPools: [],
    subnetLength: 24,
  });
  assert.equal((await call('POST', '/swarm/init', init)).status, 503);
  assert.equal((await call('GET', '/_ping')).swarm, 'active/manager');
});

test('what init says is kept; older clients do not mean what they cannot know', async () => {
  const wanted = {
    ...init,
    DataPathPort: 7789,
    DefaultAddrPool: ['10.20.0.9/16'],
    SubnetSize: 26,
    AutoLockManagers: true,
    Availability: 'DRAIN',
    Spec: {
      ...spec,
      Orchestration: { TaskHistoryRetentionLimit: 0 },
      Raft: { SnapshotInterval: 9, KeepOldSnapshots: 2 },
      Dispatcher: { HeartbeatPeriod: 1_000_000_000 },
      CAConfig: { NodeCertExpiry: 3_600_000_000_000 },
    },
  };
  await call('POST', '/swarm/init', wanted);
  const got = server.engine.swarm.inits.at(-1);
  assert.deepEqual([got?.dataPathPort, got?.addressPools, got?.subnetLength], [7789, ['10.20.0.0/16'], 26]);
  assert.equal(got?.availability, 'drain');
  assert.deepEqual(got?.spec, {
    name: 'default',
    labels: {},
    taskHistoryLimit: 0,
    snapshotInterval: 9,
    maxSnapshots: 2,
    heartbeatMs: 1_000,
    certificateLifeMs: 3_600_000,
    isAutolocked: true,
  });
  await call('POST', '/swarm/leave?force=1');
  await call('POST', '/v1.38/swarm/init', wanted);
  const older = server.engine.swarm.inits.at(-1);
  assert.deepEqual([older?.dataPathPort, older?.addressPools, older?.subnetLength], [0, [], 0]);
});

for (const [what, change, status, message] of [
  ['no address to listen on', { ListenAddr: '' }, 400, 'invalid ListenAddr "": invalid empty address'],
  ['another name', { Spec: { Name: 'x' } }, 400, 'swarm spec must be named "default"'],
  ['an unknown availability', { Availability: 'off' }, 400, 'invalid Availability: "off"'],
  [
    'short certificates',
    { Spec: { CAConfig: { NodeCertExpiry: 1_000_000_000 } } },
    400,
    'rpc error: code = InvalidArgument desc = minimum certificate expiry time is: 1h0m0s',
  ],
  [
    'a negative heartbeat',
    { Spec: { Dispatcher: { HeartbeatPeriod: -1 } } },
    400,
    'rpc error: code = InvalidArgument desc = heartbeat time period cannot be a negative duration',
  ],
  [
    'a negative port',
    { DataPathPort: -1 },
    400,
    'invalid JSON: json: cannot unmarshal number -1 into Go struct field InitRequest.DataPathPort of type uint32',
  ],
  [
    'a port out of range',
    { DataPathPort: 80 },
    400,
    'Datapath port number is not in valid range (1024-49151) : 80',
  ],
  ['subnets too small', { SubnetSize: 30 }, 400, 'subnet size is out of range: 30'],
  [
    'a pool that is none',
    { DefaultAddrPool: ['nope'] },
    400,
    'invalid base pool nope: invalid CIDR address: nope',
  ],
  [
    'a pool smaller than a subnet',
    { DefaultAddrPool: ['10.0.0.0/24'], SubnetSize: 20 },
    400,
    'invalid CIDR: "10.0.0.0/24". Subnet size is too small for pool: 20',
  ],
  [
    'a pool of IPv6',
    { DefaultAddrPool: ['fd00::/16'] },
    501,
    'An IPv6 pool for overlay networks is not supported yet',
  ],
  [
    'a CA elsewhere',
    { Spec: { CAConfig: { ExternalCAs: [{ Protocol: 'cfssl', URL: 'https://ca' }] } } },
    501,
    'An external certificate authority is not supported yet',
  ],
  [
    'a root of its own',
    { Spec: { CAConfig: { SigningCACert: 'x' } } },
    501,
    'A root certificate of your own from the beginning is not supported yet',
  ],
  [
    'a log driver',
    { Spec: { TaskDefaults: { LogDriver: { Name: 'x' } } } },
    501,
    'A default log driver of tasks is not supported yet',
  ],
  [
    'ticks of Raft',
    { Spec: { Raft: { ElectionTick: 11 } } },
    501,
    'A Raft.ElectionTick other than 10 is not supported yet',
  ],
] as const) {
  test(`init with ${what} is refused, and starts nothing`, async () => {
    const before = server.engine.swarm.inits.length;
    const answer = await call('POST', '/swarm/init', { ...init, ...change });
    assert.deepEqual([answer.status, answer.json], [status, { message }]);
    assert.equal(server.engine.swarm.inits.length, before);
  });
}

test('join gets addresses with ports; without a manager to ask it is refused', async () => {
  assert.equal((await call('POST', '/swarm/join', join)).status, 200);
  assert.deepEqual(server.engine.swarm.joins.at(-1), {
    listen: 'eth0:2377',
    advertise: '',
    dataPath: '',
    availability: 'pause',
    remotes: ['192.0.2.11:2377', '[2001:db8::1]:2377', '[2001:db8::2]:2377', 'host:99'],
    token: 'SWMTKN-1-a-b',
  });
  for (const [RemoteAddrs, message] of [
    [[], 'at least 1 RemoteAddr is required to join'],
    [[''], 'invalid remoteAddr "": invalid empty address'],
  ] as const) {
    const answer = await call('POST', '/swarm/join', { ...join, RemoteAddrs });
    assert.deepEqual([answer.status, answer.json], [400, { message }]);
  }
});

test('the swarm is inspected and updated on top of a version; what is inspected may be sent back', async () => {
  await call('POST', '/swarm/init', init);
  const swarm = (await call('GET', '/swarm')).json;
  assert.deepEqual(Object.keys(swarm), [
    ...['ID', 'Version', 'CreatedAt', 'UpdatedAt', 'Spec', 'TLSInfo', 'RootRotationInProgress'],
    ...['DefaultAddrPool', 'SubnetSize', 'DataPathPort', 'JoinTokens'],
  ]);
  assert.deepEqual(swarm['JoinTokens'], { Worker: 'SWMTKN-1-a-w', Manager: 'SWMTKN-1-a-m' });
  assert.equal((swarm['TLSInfo'] as Json)['CertIssuerSubject'], 'MBMxETAPBgNVBAMMCHN3YXJtLWNh');
  const sent = { ...(swarm['Spec'] as Json), Orchestration: { TaskHistoryRetentionLimit: 3 } };
  assert.equal((await call('POST', '/swarm/update?version=10&rotateWorkerToken=true', sent)).status, 200);
  const [version, got, rotation] = server.engine.swarm.updates.at(-1) ?? [];
  assert.deepEqual([version, got?.taskHistoryLimit, got?.heartbeatMs], [10, 3, 5_000]);
  assert.deepEqual(rotation, { workerToken: true, managerToken: false, unlockKey: false });
  assert.equal((await call('POST', '/swarm/update?version=10', sent)).status, 500, 'out of sequence');
});

for (const [query, message] of [
  ['', `invalid swarm version '': strconv.ParseUint: parsing "": invalid syntax`],
  ['?version=-1', `invalid swarm version '-1': strconv.ParseUint: parsing "-1": invalid syntax`],
  ['?version=10&rotateWorkerToken=yes', 'invalid value for rotateWorkerToken: yes'],
  ['?version=10&rotateManagerToken=2', 'invalid value for rotateManagerToken: 2'],
] as const) {
  test(`an update with '${query}' is refused`, async () => {
    await call('POST', '/swarm/init', init);
    const answer = await call('POST', `/swarm/update${query}`, spec);
    assert.deepEqual([answer.status, answer.json], [400, { message }]);
  });
}

test('info of a manager has the swarm, without its tokens', async () => {
  await call('POST', '/swarm/init', init);
  const swarm = (await call('GET', '/info')).json['Swarm'] as Json;
  assert.deepEqual(swarm['RemoteManagers'], [
    { NodeID: 'odekb9o17n6tx32l6qtybpqcm', Addr: '192.0.2.11:2377' },
  ]);
  assert.deepEqual([swarm['ControlAvailable'], swarm['Nodes'], swarm['Managers']], [true, 1, 1]);
  assert.ok(!('JoinTokens' in (swarm['Cluster'] as Json)));
});

test('nodes have what clients look for', async () => {
  await call('POST', '/swarm/init', init);
  server.engine.swarm.members.push(fakeWorker);
  const self = (await call('GET', '/nodes/self')).json;
  assert.deepEqual(self['Spec'], { Labels: {}, Role: 'manager', Availability: 'active' });
  assert.deepEqual(self['ManagerStatus'], {
    Leader: true,
    Reachability: 'reachable',
    Addr: '192.0.2.11:2377',
  });
  assert.deepEqual(
    (self['Description'] as Json)['TLSInfo'],
    (await call('GET', '/swarm')).json['TLSInfo'],
    'a client shows it as Ready',
  );
  const worker = (await call('GET', '/nodes/host2')).json;
  assert.ok(!('ManagerStatus' in worker));
  assert.deepEqual(worker['Status'], { State: 'down', Message: 'heartbeat failure', Addr: '192.0.2.12' });
  assert.deepEqual((worker['Description'] as Json)['TLSInfo'], { TrustRoot: fakeRootPem });
});

test('nodes are filtered as Docker does', async () => {
  await call('POST', '/swarm/init', init);
  server.engine.swarm.members.push(fakeWorker);
  for (const [filters, hosts] of [
    [{}, 'host1 host2'],
    [{ id: ['w0rk'] }, 'host2'],
    [{ name: ['host'] }, 'host1 host2'],
    [{ name: ['ost1'] }, ''],
    [{ role: ['Manager'] }, 'host1'],
    [{ role: ['manager', 'worker'] }, 'host1 host2'],
    [{ role: [''] }, 'host1 host2'],
    [{ membership: ['accepted'] }, 'host1 host2'],
    [{ membership: ['pending'] }, ''],
    [{ label: ['rack=7'] }, 'host2'],
    [{ label: ['zone'] }, ''],
    [{ 'node.label': ['zone'] }, 'host2'],
    [{ 'node.label': ['zone=a'] }, ''],
  ] as const) {
    const found = JSON.parse((await call('GET', `/nodes?filters=${JSON.stringify(filters)}`)).text) as {
      Description: { Hostname: string };
    }[];
    const names = found.map(({ Description }) => Description.Hostname);
    assert.equal(names.join(' '), hosts, JSON.stringify(filters));
  }
  for (const [filters, message] of [
    [{ role: ['boss'] }, "Invalid role filter: 'boss'"],
    [{ membership: ['x'] }, "Invalid membership filter: 'x'"],
    [{ zip: ['x'] }, "invalid filter 'zip'"],
  ] as const) {
    const answer = await call('GET', `/nodes?filters=${JSON.stringify(filters)}`);
    assert.deepEqual([answer.status, answer.json], [400, { message }]);
  }
});

test('nodes are updated and removed', async () => {
  await call('POST', '/swarm/init', init);
  server.engine.swarm.members.push(fakeWorker);
  const wanted = { Labels: { a: 'b' }, Role: 'Manager', Availability: 'active' };
  assert.equal((await call('POST', '/nodes/host2/update?version=9', wanted)).status, 200);
  assert.deepEqual(server.engine.swarm.node('host2').spec, {
    name: '',
    labels: { a: 'b' },
    role: 'manager',
    availability: 'active',
  });
  for (const [query, change, message] of [
    ['?version=9', { Role: '' }, 'invalid Role: ""'],
    ['?version=9', { Availability: 'x' }, 'invalid Availability: "x"'],
    ['', {}, `invalid node version '': strconv.ParseUint: parsing "": invalid syntax`],
  ] as const) {
    const answer = await call('POST', `/nodes/host2/update${query}`, { ...wanted, ...change });
    assert.deepEqual([answer.status, answer.json], [400, { message }]);
  }
  assert.equal((await call('POST', '/nodes/nope/update?version=9', wanted)).status, 404);
  assert.equal((await call('DELETE', '/nodes/host1')).status, 400, 'it is ready');
  assert.equal((await call('DELETE', '/nodes/host2')).status, 200);
  assert.equal((await call('DELETE', '/nodes/nope?force=1')).status, 404);
});

test('the unlock key is there only where managers are locked; a key to unlock goes on as it is', async () => {
  assert.equal((await call('GET', '/swarm/unlockkey')).status, 503);
  await call('POST', '/swarm/init', init);
  assert.deepEqual((await call('GET', '/swarm/unlockkey')).json, { UnlockKey: '' });
  await call('POST', '/swarm/leave?force=1');
  await call('POST', '/swarm/init', { ...init, AutoLockManagers: true });
  assert.deepEqual((await call('GET', '/swarm/unlockkey')).json, { UnlockKey: fakeUnlockKey });
  assert.equal((await call('POST', '/swarm/unlock', { UnlockKey: 'x' })).status, 200);
  assert.deepEqual(server.engine.swarm.unlocks, ['x']);
});

test('subject and key of a root are those that openssl finds', () => {
  assert.deepEqual(issuerOf(fakeRootPem), {
    // SET of SEQUENCE of 2.5.4.3 and the UTF-8 string swarm-ca.
    subject: 'MBMxETAPBgNVBAMMCHN3YXJtLWNh',
    publicKey:
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESEuOlCL/9aOaRWTY/TB6AEJmQw1Z36h4g2WS7IEa9Vz53pHLqW4SL9DeYCtu370TRxToZAY0CzQAk2JUMoQFOA==',
  });
  assert.throws(() => issuerOf('no certificate'));
});
