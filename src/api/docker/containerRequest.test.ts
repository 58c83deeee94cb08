/*
 * The bodies in testdata/cliBodies.json are what docker CLI 28.2.2 sends at API 1.50 for
 * `run --rm busybox echo hi` and for a `run` with every option that we support.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toContainerRequest } from './containerRequest.ts';
import { hostConfigShape } from './hostConfigShape.ts';
import { networkCreateBody, toNetworkRequest } from './networkShapes.ts';

interface RunBody {
  readonly HostConfig: Readonly<Record<string, unknown>>;
}

const bodies = JSON.parse(
  readFileSync(join(import.meta.dirname, 'testdata/cliBodies.json'), 'utf8'),
) as Readonly<Record<'runDefault' | 'runFull', RunBody> & Record<'networkDefault' | 'networkFull', unknown>>;

const plain = { aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };

function hostConfig(change: Readonly<Record<string, unknown>>): unknown {
  return { ...bodies.runDefault, HostConfig: { ...bodies.runDefault.HostConfig, ...change } };
}

test('a plain run is on the default network, with the image’s everything', () => {
  const { spec, warnings } = toContainerRequest(bodies.runDefault);
  assert.deepEqual(warnings, []);
  assert.deepEqual(spec.command, ['echo', 'hi']);
  assert.ok(!('entrypoint' in spec) && !('hostname' in spec) && !('shmSizeBytes' in spec));
  assert.deepEqual(spec.networkMode, { type: 'networks' });
  assert.deepEqual(spec.attachments, [{ network: 'bridge', ...plain }]);
  assert.ok(spec.isAutoRemove);
});

test('a run with every supported option arrives whole', () => {
  const { spec } = toContainerRequest(bodies.runFull);
  assert.deepEqual(spec.attachments, [
    {
      network: 'n1',
      ipv4: '10.99.0.9',
      mac: '02:00:00:00:00:09',
      aliases: ['x'],
      links: [],
      driverOptions: {},
      gatewayPriority: 3,
    },
    { network: 'n2', ...plain },
  ]);
  assert.deepEqual(spec.mounts, [
    { type: 'bind', source: '/srv/x', target: '/io', isReadOnly: true, createSource: true },
    { type: 'bind', source: '/srv/y', target: '/io2', isReadOnly: false, createSource: false },
    { type: 'tmpfs', target: '/t', options: 'size=1m' },
  ]);
  const { attachments: _attachments, mounts: _mounts, ...rest } = spec;
  assert.deepEqual(rest, {
    image: 'busybox',
    entrypoint: ['/bin/sh'],
    command: ['-c', 'sleep 1'],
    env: ['A=b'],
    workingDir: '/tmp',
    user: '1:2',
    hostname: 'h1',
    groupAdd: ['5'],
    isTty: false,
    isStdinOpen: false,
    isStdinOnce: false,
    attach: { stdin: false, stdout: false, stderr: false },
    labels: { l: 'm' },
    annotations: {},
    stopSignal: 'INT',
    stopTimeoutS: 3,
    exposedPorts: ['80/tcp'],
    ports: [],
    publishesAllPorts: false,
    isAutoRemove: false,
    isPrivileged: true,
    isReadOnlyRootfs: true,
    hasInit: true,
    capAdd: ['CAP_NET_ADMIN'],
    capDrop: ['ALL'],
    securityOptions: [],
    volumes: [],
    volumesFrom: [],
    sysctls: { 'net.ipv4.ip_forward': '1' },
    shmSizeBytes: 1048576,
    extraHosts: ['h:1.2.3.4'],
    dns: ['9.9.9.9'],
    dnsSearch: [],
    dnsOptions: [],
    networkMode: { type: 'networks' },
    networkModeText: 'n1',
    pidMode: '',
    ipcMode: '',
    utsMode: '',
    cgroupNamespace: '',
    log: { driver: '', options: {} },
  });
});

for (const [field, value] of [
  ['CpuPercent', 5],
  ['DeviceRequests', [{ Driver: 'nvidia' }]],
  ['Isolation', 'hyperv'],
  ['MaskedPaths', ['/proc/x']],
] as const) {
  test(`HostConfig.${field} ${JSON.stringify(value)} is refused by name`, () => {
    assert.throws(() => toContainerRequest(hostConfig({ [field]: value })), { code: 'notImplemented' });
  });
}

for (const [Name, MaximumRetryCount, expected] of [
  ['', 0, undefined],
  ['no', 0, undefined],
  ['always', 0, { name: 'always', maxRetries: 0 }],
  ['unless-stopped', 0, { name: 'unless-stopped', maxRetries: 0 }],
  ['on-failure', 3, { name: 'on-failure', maxRetries: 3 }],
] as const) {
  test(`restart policy '${Name}'`, () => {
    const { spec } = toContainerRequest(
      hostConfig({ AutoRemove: false, RestartPolicy: { Name, MaximumRetryCount } }),
    );
    assert.deepEqual(spec.restartPolicy, expected);
  });
}

const unknownPolicy =
  "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'";
const countAlone = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
for (const [RestartPolicy, message] of [
  [{ Name: 'x' }, unknownPolicy],
  [{ Name: 'always', MaximumRetryCount: 2 }, countAlone],
  [{ Name: 'no', MaximumRetryCount: -2 }, `${countAlone} and cannot be negative`],
  [
    { Name: 'on-failure', MaximumRetryCount: -1 },
    'invalid restart policy: maximum retry count cannot be negative',
  ],
] as const) {
  test(`${JSON.stringify(RestartPolicy)} is refused`, () => {
    assert.throws(() => toContainerRequest(hostConfig({ RestartPolicy })), {
      code: 'containerConfigInvalid',
      message,
    });
  });
}

test('--rm does not go with a restart policy', () => {
  const body = hostConfig({ AutoRemove: true, RestartPolicy: { Name: 'always' } });
  assert.throws(() => toContainerRequest(body), {
    message: "can't create 'AutoRemove' container with restart policy",
  });
});

for (const [field, value] of [
  ['RestartPolicy', { Name: '' }],
  ['LogConfig', { Type: 'json-file', Config: null }],
  ['PidsLimit', -1],
  ['UsernsMode', 'host'],
  ['SomethingNew', true],
] as const) {
  test(`HostConfig.${field} ${JSON.stringify(value)} passes`, () => {
    toContainerRequest(hostConfig({ [field]: value }));
  });
}

test('published ports are dropped with a warning in host network mode only', () => {
  const ports = { PortBindings: { '80/tcp': [{ HostPort: '80' }] } };
  const { warnings, spec } = toContainerRequest(hostConfig({ ...ports, NetworkMode: 'host' }));
  assert.deepEqual(warnings, ['Published ports are discarded when using host network mode']);
  assert.deepEqual(spec.networkMode, { type: 'host' });
});

test('published ports become requests, neighbours merged to runs, with who may connect from labels', () => {
  const ask = (PortBindings: object, Labels = {}): unknown => {
    const body = hostConfig({ PortBindings }) as object;
    return toContainerRequest({ ...body, Labels }).spec.ports;
  };
  const plain = { proto: 'tcp', count: 1, hostIp: '', sources: [] };
  assert.deepEqual(ask({ '80/tcp': [{ HostPort: '8080' }], '81': [{ HostIp: '::1' }] }), [
    { ...plain, port: 80, hostPorts: { first: 8080, last: 8080 } },
    { ...plain, port: 81, hostIp: '::1' },
  ]);
  const many = Array.from({ length: 1000 }, (_, i) => [`${9000 + i}/udp`, [{ HostPort: `${9500 + i}` }]]);
  assert.deepEqual(ask(Object.fromEntries(many)), [
    { ...plain, proto: 'udp', port: 9000, count: 1000, hostPorts: { first: 9500, last: 10499 } },
  ]);
  assert.deepEqual(ask({ '80/tcp': [{ HostPort: '8000-8010' }, { HostPort: '0' }, {}] }), [
    { ...plain, port: 80 },
    { ...plain, port: 80 },
    { ...plain, port: 80, hostPorts: { first: 8000, last: 8010 } },
  ]);
  const labels = { 'linkspan.publish.from.80/tcp': '10.1.2.3/8,192.0.2.7', 'linkspan.publish.from': '::/0' };
  assert.deepEqual(ask({ '80/tcp': [{}], '81/tcp': [{}] }, labels), [
    { ...plain, port: 80, sources: ['10.0.0.0/8', '192.0.2.7/32'] },
    { ...plain, port: 81, sources: ['::/0'] },
  ]);
  for (const [bindings, message] of [
    [{ 'x/tcp': [{}] }, 'invalid port specification: "x"'],
    [{ '0/tcp': [{}] }, 'invalid port specification: "0"'],
    [{ '65536': null }, 'invalid port specification: "65536"'],
    [{ '80/icmp': [{}] }, 'invalid port specification: "80/icmp"'],
    [{ '80/tcp': [{ HostPort: '65536' }] }, 'invalid port specification: "65536"'],
    [{ '80/tcp': [{ HostPort: '90-80' }] }, 'invalid port specification: "90-80"'],
    [{ '80/tcp': [{ HostIp: 'host' }] }, 'invalid IP address: host'],
    [
      { '80-82/tcp': [{ HostPort: '90-91' }] },
      'invalid ranges specified for container and host Ports: 80-82/tcp and 90-91',
    ],
  ] as const)
    assert.throws(() => ask(bindings), { code: 'containerConfigInvalid', message });
  assert.throws(() => ask({ '80/tcp': [{}] }, { 'linkspan.publish.from': 'everybody' }), {
    message: 'invalid source for published port 80/tcp: "everybody" is not a subnet',
  });
});

test('a shared network has no settings of its own', () => {
  const shared = { ...(hostConfig({ NetworkMode: 'container:w1' }) as object), NetworkingConfig: null };
  const { spec } = toContainerRequest(shared);
  assert.deepEqual(spec.networkMode, { type: 'container', container: 'w1' });
  assert.deepEqual(spec.attachments, []);
  for (const [change, what] of [
    [{ Hostname: 'h' }, 'hostname and the network mode'],
    [{ ExposedPorts: { '80/tcp': {} } }, 'port exposing and the container type network mode'],
  ] as const) {
    assert.throws(() => toContainerRequest({ ...shared, ...change }), {
      code: 'containerConfigInvalid',
      message: `conflicting options: ${what}`,
    });
  }
  assert.throws(
    () => toContainerRequest(hostConfig({ NetworkMode: 'container:' })),
    /invalid container format/,
  );
});

test('networks come in order, the one of NetworkMode first', () => {
  const { spec } = toContainerRequest({
    Image: 'x',
    HostConfig: { NetworkMode: 'b' },
    NetworkingConfig: { EndpointsConfig: { a: {}, b: { Aliases: ['z'] }, c: null } },
  });
  assert.deepEqual(
    spec.attachments.map(({ network }) => network),
    ['b', 'a', 'c'],
  );
});

for (const [settings, message] of [
  [
    { IPAMConfig: { IPv4Address: '1.2.3' } },
    'invalid config for network bridge: invalid endpoint settings:\ninvalid IPv4 address: 1.2.3',
  ],
  [{ MacAddress: 'zz' }, 'invalid config for network bridge: invalid MAC address zz'],
] as const) {
  test(`endpoint settings ${JSON.stringify(settings)} are refused`, () => {
    const json = { Image: 'x', NetworkingConfig: { EndpointsConfig: { default: settings } } };
    assert.throws(() => toContainerRequest(json), { code: 'addressInvalid', message });
  });
}

for (const [link, message] of [
  ['', 'empty string specified for links'],
  ['a:b:c', 'bad format for links: a:b:c'],
] as const) {
  test(`the link ${JSON.stringify(link)} is refused, whichever way it comes`, () => {
    const endpoint = { Image: 'x', NetworkingConfig: { EndpointsConfig: { n1: { Links: [link] } } } };
    assert.throws(() => toContainerRequest(endpoint), { message: new RegExp(message) });
    assert.throws(() => toContainerRequest(hostConfig({ Links: [link] })), { message });
  });
}

test('no body is no container', () => {
  assert.throws(() => toContainerRequest(undefined), /config cannot be empty/);
});

test('network create bodies of the CLI become requests', () => {
  const full = toNetworkRequest(networkCreateBody(bodies.networkFull, ''));
  assert.deepEqual(full, {
    name: 'n2',
    driver: 'bridge',
    isInternal: true,
    isAttachable: false,
    isIngress: false,
    isConfigOnly: false,
    ipamDriver: 'default',
    ipamOptions: {},
    pools: [
      {
        subnet: '10.77.0.0/24',
        ipRange: '10.77.0.128/25',
        gateway: '10.77.0.254',
        auxAddresses: { r: '10.77.0.129' },
      },
    ],
    options: { 'com.docker.network.driver.mtu': '1400' },
    labels: { a: 'b' },
  });
  assert.deepEqual(toNetworkRequest(networkCreateBody(bodies.networkDefault, '')).pools, []);
});

for (const [given, wanted] of [
  [{ Memory: 0, MemorySwappiness: -1, OomKillDisable: false, PidsLimit: -1, KernelMemory: 9 }, undefined],
  [
    {
      Memory: 64 << 20,
      MemorySwap: -1,
      MemoryReservation: 32 << 20,
      MemorySwappiness: 0,
      OomKillDisable: true,
    },
    {
      memoryBytes: 64 << 20,
      memorySwapBytes: -1,
      memoryReservationBytes: 32 << 20,
      memorySwappiness: 0,
      isOomKillDisabled: true,
    },
  ],
  [
    { NanoCpus: 15e8, CpuShares: 512, CpusetCpus: '0-1', CpusetMems: '0', PidsLimit: 9 },
    { nanoCpus: 15e8, cpuShares: 512, cpusetCpus: '0-1', cpusetMems: '0', pidsLimit: 9 },
  ],
  [
    { CpuPeriod: 5000, CpuQuota: -1, CpuRealtimePeriod: 3, CpuRealtimeRuntime: 2 },
    { cpuPeriodUs: 5000, cpuQuotaUs: -1, cpuRealtimePeriodUs: 3, cpuRealtimeRuntimeUs: 2 },
  ],
  [
    {
      BlkioWeight: 300,
      BlkioWeightDevice: [{ Path: '/dev/a', Weight: 10 }],
      BlkioDeviceReadBps: [{ Path: '/dev/a', Rate: 1 }],
      BlkioDeviceWriteBps: [{ Path: '/dev/a', Rate: 2 }],
      BlkioDeviceReadIOps: [{ Path: '/dev/a', Rate: 3 }],
      BlkioDeviceWriteIOps: [{ Path: '/dev/a', Rate: 4 }],
    },
    {
      blkioWeight: 300,
      blkioWeightDevices: [{ path: '/dev/a', weight: 10 }],
      readBytesPerS: [{ path: '/dev/a', rate: 1 }],
      writeBytesPerS: [{ path: '/dev/a', rate: 2 }],
      readOperationsPerS: [{ path: '/dev/a', rate: 3 }],
      writeOperationsPerS: [{ path: '/dev/a', rate: 4 }],
    },
  ],
] as const) {
  test(`limits ${JSON.stringify(given)} arrive, and inspect shows them`, () => {
    const { spec } = toContainerRequest(hostConfig(given));
    assert.deepEqual(spec.limits, wanted);
    if (wanted === undefined) return;
    const shown = hostConfigShape(spec, 1, []);
    for (const [field, value] of Object.entries(given)) assert.deepEqual(shown[field], value, field);
  });
}

test('devices, their rules, ulimits, the parent cgroup and the OOM score arrive, and inspect shows them', () => {
  const given = {
    Devices: [{ PathOnHost: '/dev/a', PathInContainer: '/dev/b', CgroupPermissions: 'r' }],
    DeviceCgroupRules: ['c 1:* rwm'],
    Ulimits: [{ Name: 'nofile', Hard: -1, Soft: 5 }],
    CgroupParent: '/x',
    OomScoreAdj: -5,
  };
  const { spec } = toContainerRequest(hostConfig(given));
  assert.deepEqual(spec.devices, [{ hostPath: '/dev/a', containerPath: '/dev/b', access: 'r' }]);
  assert.deepEqual(spec.ulimits, [{ name: 'nofile', soft: 5, hard: -1 }]);
  assert.deepEqual([spec.deviceRules, spec.cgroupParent, spec.oomScoreAdj], [['c 1:* rwm'], '/x', -5]);
  const shown = hostConfigShape(spec, 2, []);
  for (const [field, value] of Object.entries(given)) assert.deepEqual(shown[field], value, field);
  const { spec: short } = toContainerRequest(hostConfig({ Devices: [{ PathOnHost: '/dev/a' }] }));
  assert.deepEqual(short.devices, [{ hostPath: '/dev/a', containerPath: '/dev/a', access: 'rwm' }]);
});
