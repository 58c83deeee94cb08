/*
 * Test support: answers of a daemon for `startStubDaemon`, in the shapes of API 1.50. Not part of the program.
 */
import { frame, type StubRoutes } from './stubDaemon.ts';
import { stubSwarm, swarmOfInfo } from './stubSwarm.ts';

const netId = 'a1'.repeat(32);
const webId = 'c0ffee'.repeat(10) + 'abcd';
const jobId = 'd00d'.repeat(16);
const imageId = `sha256:${'e5'.repeat(32)}`;

const mynet = {
  Name: 'mynet',
  Id: netId,
  Created: '2026-11-24T04:00:00.123456789Z',
  Scope: 'local',
  Driver: 'bridge',
  EnableIPv4: true,
  EnableIPv6: false,
  IPAM: { Driver: 'default', Options: {}, Config: [{ Subnet: '172.18.0.0/16', Gateway: '172.18.0.1' }] },
  Internal: false,
  Attachable: false,
  Ingress: false,
  ConfigFrom: { Network: '' },
  ConfigOnly: false,
  Containers: {
    [webId]: {
      Name: 'web',
      EndpointID: 'ee'.repeat(32),
      MacAddress: '02:42:ac:12:00:02',
      IPv4Address: '172.18.0.2/16',
      IPv6Address: '',
    },
  },
  Options: {},
  Labels: { a: 'x<y' },
};

const data = {
  CreatedAt: '2026-11-24T04:00:00Z',
  Driver: 'local',
  Labels: { a: 'b' },
  Mountpoint: '/var/lib/docker/volumes/data/_data',
  Name: 'data',
  Options: null,
  Scope: 'local',
};

const bridge = { ...mynet, Name: 'bridge', Id: 'b2'.repeat(32), Containers: {}, Labels: {} };

const web = {
  Id: webId,
  Names: ['/web'],
  Image: 'busybox',
  ImageID: imageId,
  Command: "sh -c 'while :; do echo tick; sleep 1; done'",
  Created: 1795470905,
  Ports: [
    { IP: '127.0.0.1', PrivatePort: 80, PublicPort: 18080, Type: 'tcp' },
    { PrivatePort: 90, Type: 'tcp' },
    { PrivatePort: 91, Type: 'tcp' },
    { IP: '::', PrivatePort: 70, PublicPort: 70, Type: 'udp' },
    { IP: '::', PrivatePort: 71, PublicPort: 71, Type: 'udp' },
  ],
  Labels: { x: 'y' },
  State: 'running',
  Status: 'Up 3 minutes',
  HostConfig: { NetworkMode: 'mynet' },
  NetworkSettings: { Networks: { mynet: { NetworkID: netId } } },
  Mounts: [{ Type: 'bind', Source: '/srv/a/very/long/path', Destination: '/io', Mode: '', RW: true }],
  SizeRw: 1234567,
  SizeRootFs: 22345678,
};

const job = {
  ...web,
  Id: jobId,
  Names: ['/job'],
  Image: imageId,
  Ports: [],
  Command: 'true',
  Labels: {},
  State: 'exited',
  Status: 'Exited (3) 2 hours ago',
  NetworkSettings: { Networks: {} },
  Mounts: [],
};

const webInspect = {
  Id: webId,
  Created: '2026-11-23T21:55:05.753080823Z',
  Path: 'sh',
  Args: ['-c', 'echo <&>'],
  State: {
    Status: 'running',
    Running: true,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: 28383,
    ExitCode: 0,
    Error: '',
    StartedAt: '2026-11-23T21:55:06.187520493Z',
    FinishedAt: '0001-01-01T00:00:00Z',
  },
  Image: imageId,
  Name: '/web',
  RestartCount: 0,
  Driver: 'overlayfs',
  Platform: 'linux',
  ExecIDs: null,
  HostConfig: {
    Binds: ['/srv/x:/io'],
    NetworkMode: 'mynet',
    Memory: 67108864,
    AutoRemove: false,
    CapAdd: null,
  },
  Mounts: [],
  Config: {
    Hostname: 'h1',
    Env: ['A=b', 'PATH=/bin'],
    Cmd: ['sh'],
    Image: 'busybox',
    Tty: false,
    OpenStdin: false,
    Entrypoint: null,
    Labels: { x: 'y' },
  },
  NetworkSettings: {
    SandboxID: 'aa',
    Ports: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '18080' }], '90/tcp': null },
    IPAddress: '',
    Networks: { mynet: { IPAMConfig: null, Aliases: null, IPAddress: '172.18.0.2', IPPrefixLen: 16 } },
  },
};

const image = {
  Id: imageId,
  ParentId: '',
  RepoTags: ['busybox:latest'],
  RepoDigests: [`busybox@sha256:${'f6'.repeat(32)}`],
  Created: 1790000000,
  Size: 4426751,
  SharedSize: -1,
  Containers: -1,
  Labels: null,
};
const dangling = { ...image, Id: `sha256:${'a7'.repeat(32)}`, RepoTags: [], RepoDigests: [], Size: 999999 };

const event = {
  status: 'start',
  id: webId,
  Type: 'container',
  Action: 'start',
  Actor: { ID: webId, Attributes: { name: 'web', image: 'busybox' } },
  scope: 'local',
  time: 1795470905,
  timeNano: 1795470905123456789n,
};
const eventText = JSON.stringify(event, (_key, value: unknown) =>
  typeof value === 'bigint' ? `#${value}#` : value,
);
const eventLine = `${eventText.replace(/"#(\d+)#"/, '$1')}\n`;

const created = { status: 201, body: { Id: webId, Warnings: ['a warning'] } };
const missing = (what: string): { status: number; body: unknown } => ({
  status: 404,
  body: { message: what },
});

/** Every answer that the tests of the CLI need. */
const cpu = { usage_in_kernelmode: 1, usage_in_usermode: 2 };

const stats = {
  name: '/web',
  id: webId,
  read: '2026-11-24T04:00:01Z',
  preread: '2026-11-24T04:00:00Z',
  pids_stats: { current: 3, limit: 20 },
  blkio_stats: {
    io_service_bytes_recursive: [
      { major: 8, minor: 0, op: 'Read', value: 4_096_000 },
      { major: 8, minor: 0, op: 'write', value: 12 },
      { major: 8, minor: 0, op: 'Total', value: 99 },
    ],
  },
  num_procs: 0,
  storage_stats: {},
  cpu_stats: {
    cpu_usage: { total_usage: 3_000_000_000, ...cpu },
    system_cpu_usage: 20_000_000_000,
    online_cpus: 4,
    throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
  },
  precpu_stats: {
    cpu_usage: { total_usage: 2_500_000_000, ...cpu },
    system_cpu_usage: 16_000_000_000,
    online_cpus: 4,
    throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
  },
  memory_stats: { usage: 10_000_000, limit: 67_108_864, stats: { total_inactive_file: 1_000_000 } },
  networks: {
    eth0: { rx_bytes: 1_234_567, tx_bytes: 890, rx_packets: 1, tx_packets: 2 },
    eth1: { rx_bytes: 1, tx_bytes: 10, rx_packets: 1, tx_packets: 2 },
  },
};

const pushed = [
  { status: 'The push refers to repository [docker.io/library/busybox]' },
  { status: 'Preparing', progressDetail: {}, id: '2f614b7935b1' },
  {
    status: 'Pushing',
    progressDetail: { current: 512, total: 2130432 },
    progress: '[>  ]',
    id: '2f614b7935b1',
  },
  { status: 'Pushed', progressDetail: {}, id: '2f614b7935b1' },
  { status: `1: digest: sha256:${'9'.repeat(64)} size: 527` },
  { progressDetail: {}, aux: { Tag: '1', Digest: `sha256:${'9'.repeat(64)}`, Size: 527 } },
]
  .map((line) => `${JSON.stringify(line)}\r\n`)
  .join('');

export const stubReplies: StubRoutes = {
  'GET /networks': { body: [mynet, bridge, { ...mynet, Name: 'n10' }, { ...mynet, Name: 'n2' }] },
  'GET /networks/mynet': { body: mynet },
  'GET /networks/ingress': { body: { ...mynet, Name: 'ingress', Ingress: true } },
  'DELETE /networks/ingress': { status: 204 },
  'GET /networks/nope': missing('network nope not found'),
  'DELETE /networks/nope': missing('network nope not found'),
  'DELETE /networks/mynet': { status: 204 },
  'POST /networks/create': { status: 201, body: { Id: netId, Warning: '' } },
  'POST /networks/mynet/connect': {},
  'POST /networks/mynet/disconnect': {},
  'POST /networks/prune': { body: { NetworksDeleted: ['n2', 'n10'] } },
  'POST /containers/create': created,
  'POST /containers/create?name=missingcommand': {
    status: 201,
    body: { Id: 'missingcommand', Warnings: [] },
  },
  'POST /containers/missingcommand/start': {
    status: 400,
    body: { message: 'failed to create task: exec: "nosuch": executable file not found in $PATH' },
  },
  'POST /containers/missingcommand/wait': { body: { StatusCode: 127 } },
  'POST /containers/missingcommand/attach': { stream: Buffer.alloc(0) },
  [`POST /containers/${webId}/attach`]: { stream: Buffer.concat([frame(1, 'out\n'), frame(2, 'err\n')]) },
  [`POST /containers/${webId}/start`]: { status: 204 },
  [`POST /containers/${webId}/wait`]: { body: { StatusCode: 3 } },
  'GET /containers/json': { body: [web, job] },
  'GET /containers/web/json': { body: webInspect },
  [`GET /containers/${webId}/json`]: { body: webInspect },
  'GET /containers/nope/json': missing('No such container: nope'),
  'GET /images/nope/json': missing('No such image: nope'),
  'GET /images/busybox/json': {
    body: { ...image, Created: '2026-11-24T04:00:00Z', Config: { Cmd: ['sh'], Env: null } },
  },
  'GET /volumes': {
    body: {
      Volumes: [{ ...data, Name: 'data10' }, data, { ...data, Name: 'x'.repeat(64), Labels: null }],
      Warnings: null,
    },
  },
  'GET /volumes/data': { body: data },
  'GET /volumes/nope': missing('get nope: no such volume'),
  'GET /containers/data/json': missing('No such container: data'),
  'GET /images/data/json': missing('No such image: data'),
  'GET /networks/data': missing('network data not found'),
  'POST /volumes/create': { status: 201, body: data },
  'DELETE /volumes/data': { status: 204 },
  'DELETE /volumes/nope': missing('get nope: no such volume'),
  'POST /volumes/prune': { body: { VolumesDeleted: ['data'], SpaceReclaimed: 4096 } },
  'GET /containers/web/top': {
    body: { Titles: ['UID', 'PID', 'CMD'], Processes: [['root', '12', 'sh -c x']] },
  },
  'POST /containers/web/start': { status: 204 },
  'POST /containers/web/stop': { status: 204 },
  'POST /containers/web/restart': { status: 204 },
  'POST /containers/web/kill': { status: 204 },
  'POST /containers/web/pause': { status: 204 },
  'POST /containers/web/unpause': { status: 204 },
  'GET /containers/web/stats': { body: stats },
  [`GET /containers/${webId}/stats`]: { body: stats },
  [`GET /containers/${webId.slice(0, 12)}/stats`]: { body: stats },
  'POST /containers/web/update': { body: { Warnings: ['first warning', 'second'] } },
  'GET /containers/web/changes': {
    body: [
      { Path: '/etc', Kind: 0 },
      { Path: '/etc/new', Kind: 1 },
      { Path: '/gone', Kind: 2 },
    ],
  },
  'GET /containers/job/changes': { body: 'null' },
  'GET /containers/nope/changes': missing('No such container: nope'),
  'POST /images/docker.io/library/busybox/push': { body: pushed },
  'POST /images/reg:5000/a/b/push': { body: pushed },
  'POST /images/docker.io/library/nope/push': {
    body: '{"status":"The push refers to repository [docker.io/library/nope]"}\r\n{"errorDetail":{"message":"An image does not exist locally with the tag: nope"},"error":"An image does not exist locally with the tag: nope"}\r\n',
  },
  'POST /auth': {
    status: 401,
    body: { message: 'login attempt to https://reg:5000/v2/ failed with status: 401 Unauthorized' },
  },
  'GET /images/get': { body: 'what a tar would be' },
  'GET /images/get?names=nope': missing('No such image: nope'),
  'GET /containers/web/export': { body: 'what a tar would be' },
  'GET /containers/nope/export': missing('No such container: nope'),
  'POST /commit': { status: 201, body: { Id: 'sha256:0123' } },
  'POST /commit?author=&comment=&container=nope&repo=&tag=': missing('No such container: nope'),
  'POST /containers/web/rename': { status: 204 },
  'POST /containers/web/wait': { body: { StatusCode: 3 } },
  'POST /containers/nope/stop': missing('No such container: nope'),
  'POST /containers/nope/start': missing('No such container: nope'),
  'DELETE /containers/web': { status: 204 },
  'DELETE /containers/nope': missing('No such container: nope'),
  'POST /containers/prune': { body: { ContainersDeleted: [jobId], SpaceReclaimed: 12345 } },
  [`GET /containers/${webId}/logs`]: {
    body: `${frame(1, 'one\n').toString('latin1')}${frame(2, 'two\n').toString('latin1')}`,
  },
  'POST /containers/web/exec': { status: 201, body: { Id: 'execid' } },
  'POST /exec/execid/start': { stream: frame(1, 'ran\n') },
  'GET /exec/execid/json': { body: { ID: 'execid', Running: false, ExitCode: 7 } },
  'GET /images/json': { body: [image, dangling] },
  'GET /images/busybox/history': {
    body: [
      {
        Id: imageId,
        Created: 1790000000,
        CreatedBy: '/bin/sh -c #(nop)  CMD ["sh"]',
        Size: 0,
        Tags: ['x'],
        Comment: '',
      },
      {
        Id: '<missing>',
        Created: 1790000000,
        CreatedBy: 'ADD a-very-long-file-name-for-this-layer in / ',
        Size: 4426751,
        Tags: null,
        Comment: 'c',
      },
    ],
  },
  'POST /images/busybox/tag': { status: 201 },
  'DELETE /images/busybox': { body: [{ Untagged: 'busybox:latest' }, { Deleted: imageId }] },
  'DELETE /images/nope': missing('No such image: nope:latest'),
  'POST /images/prune': {
    body: { ImagesDeleted: [{ Untagged: 'a:b' }, { Deleted: imageId }], SpaceReclaimed: 4426751 },
  },
  'POST /build/prune': { body: { CachesDeleted: ['c1'], SpaceReclaimed: 5 } },
  'GET /system/df': {
    body: {
      LayersSize: 9_000_000,
      Images: [
        { ...image, SharedSize: 1_000_000, Containers: 2 },
        { ...dangling, SharedSize: 0, Containers: 0 },
      ],
      Containers: [web, { ...job, SizeRw: 17 }],
      Volumes: [
        { ...data, UsageData: { RefCount: 1, Size: 1500 } },
        { ...data, Name: 'unused', UsageData: { RefCount: 0, Size: 3333 } },
      ],
      BuildCache: [],
    },
  },
  'POST /images/load': { body: '{"stream":"Loaded image: busybox:latest\\n"}\n' },
  'POST /images/create': {
    body: [
      { status: 'Pulling from library/busybox', id: 'latest' },
      { status: 'Pulling fs layer', progressDetail: {}, id: 'aaaa' },
      { status: 'Downloading', progressDetail: { current: 10, total: 100 }, id: 'aaaa' },
      { status: 'Pull complete', progressDetail: {}, id: 'aaaa' },
      { status: `Digest: sha256:${'f6'.repeat(32)}` },
    ]
      .map((each) => `${JSON.stringify(each)}\r\n`)
      .join(''),
  },
  'GET /events': { body: eventLine },
  'GET /info': {
    body: {
      ID: 'i',
      Containers: 2,
      ContainersRunning: 1,
      Name: 'host',
      NCPU: 2,
      MemTotal: 4e9,
      Swarm: swarmOfInfo,
    },
  },
  ...stubSwarm,
};
