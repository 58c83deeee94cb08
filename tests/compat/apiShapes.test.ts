/*
 * The shapes of the API's answers: each place and kind of value that a Docker Engine 28.5 answers with, for the same
 * requests. Its shapes are in testdata/apiShapes.json, written by this file itself at that dockerd:
 * LINKSPAN_COMPAT_ENGINE=dockerd LINKSPAN_TEST_RECORD=1, with its program first in PATH (scripts/test-tools newer).
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Shape, shapeDifferences, shapeOf } from './apiShape.ts';
import { callApi } from './api.ts';
import { isV2 } from './cgroups.ts';
import { eventually } from './command.ts';
import { type Daemon, engines, startDaemon } from './daemonFixture.ts';
import { ownEngines } from './reference.ts';

const recorded = join(import.meta.dirname, 'testdata/apiShapes.json');
const isRecording = process.env['LINKSPAN_TEST_RECORD'] === '1';
const version = 'v1.50';

const web = {
  Image: 'busybox',
  Cmd: ['sh', '-c', 'echo said; sleep 600'],
  Env: ['A=1'],
  Labels: { l: '1' },
  ExposedPorts: { '80/tcp': {} },
  Volumes: { '/anonymous': {} },
  Healthcheck: { Test: ['CMD', 'true'], Interval: 1_000_000_000 },
  HostConfig: {
    NetworkMode: 'shapes',
    PortBindings: { '80/tcp': [{ HostPort: '18080' }] },
    Mounts: [{ Type: 'volume', Source: 'kept', Target: '/kept' }],
    Binds: ['/usr:/bound:ro'],
    Tmpfs: { '/t': 'size=1m' },
    RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
    Memory: 64 << 20,
    PidsLimit: 100,
    Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }],
    Sysctls: { 'net.ipv4.ip_forward': '0' },
    ExtraHosts: ['a:192.0.2.1'],
    Dns: ['192.0.2.53'],
    LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
    Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/nothing', CgroupPermissions: 'r' }],
  },
  NetworkingConfig: {
    EndpointsConfig: { shapes: { Aliases: ['w'], IPAMConfig: { IPv4Address: '10.66.0.10' } } },
  },
};
const network = {
  Name: 'shapes',
  Driver: 'bridge',
  Labels: { l: '1' },
  Options: { 'com.docker.network.driver.mtu': '1400' },
  IPAM: {
    Driver: 'default',
    Config: [{ Subnet: '10.66.0.0/24', Gateway: '10.66.0.1', IPRange: '10.66.0.0/25' }],
  },
};

/** What is otherwise, and why. Each has to be so: one that is not any more fails, too. */
const known: readonly (readonly [why: string, differences: readonly string[]])[] = [
  [
    'layers are snapshots of containerd, of which Docker with the same store says nothing either',
    [
      'GET /containers/{created}/json .GraphDriver.Data: null, not object',
      'GET /containers/{running}/json .GraphDriver.Data: null, not object',
      'GET /containers/{exited}/json .GraphDriver.Data: null, not object',
      'GET /images/{name}/json .GraphDriver.Data: null, not object',
    ],
  ],
  [
    'names are settled when a container is made, and told in lists as well',
    [
      'GET /containers/{created}/json .NetworkSettings.Networks.*.DNSNames[]: is not known',
      ...['GET /containers/json []', 'GET /system/df .Containers[]'].flatMap((list) => [
        `${list}.NetworkSettings.Networks.*.Aliases[]: is not known`,
        `${list}.NetworkSettings.Networks.*.DNSNames[]: is not known`,
      ]),
    ],
  ],
  ['docs/differences.md', ['GET /images/{name}/json .ContainerConfig: is not known']],
  ['of an overlay, what its containers are given', ['GET /networks/{overlay} .MTU: is not known']],
  ...['GET /info', 'GET /info, of a swarm'].map(
    (info) =>
      [
        'devices by CDI and a limit of TCP buffers there are not; a runtime is not asked what it can; what encrypts is a label',
        [
          `${info} .CDISpecDirs[]: is missing`,
          `${info} .KernelMemoryTCP: is missing`,
          `${info} .Runtimes.*.status: is missing`,
          `${info} .Labels[]: is not known`,
        ],
      ] as const,
  ),
];

interface Step {
  /** What its shape is called, where it is compared. */
  readonly name?: string;
  readonly method?: string;
  readonly path: string;
  readonly body?: unknown;
  /** The answer is one JSON value a line, of which each type is compared by itself. */
  readonly isLines?: boolean;
  /** Asked again until the answer has this in it. */
  readonly until?: RegExp;
}

const compared = (path: string, name = `GET ${path.split('?')[0]}`): Step => ({ name, path });
const posted = (path: string, body: unknown, name?: string): Step => ({
  ...{ method: 'POST', path, body },
  ...(name !== undefined && { name }),
});

const steps: readonly Step[] = [
  posted('/networks/create', network, 'POST /networks/create'),
  posted('/networks/create', { Name: 'more', Driver: 'bridge' }),
  posted('/volumes/create', { Name: 'kept', Labels: { l: '1' } }, 'POST /volumes/create'),
  posted('/containers/create?name=web', web, 'POST /containers/create'),
  compared('/containers/web/json', 'GET /containers/{created}/json'),
  posted('/containers/web/start', undefined),
  posted('/networks/more/connect', { Container: 'web' }),
  posted('/containers/create?name=done', { Image: 'busybox', Cmd: ['sh', '-c', 'exit 3'] }),
  posted('/containers/done/start', undefined),
  posted('/containers/done/wait', undefined, 'POST /containers/{id}/wait'),
  { path: '/containers/web/json', until: /"Log":\[\{/ },
  posted('/containers/web/exec', { Cmd: ['true'], AttachStdout: true }, 'POST /containers/{id}/exec'),
  posted(
    '/containers/web/update',
    { Memory: 65 << 20, MemorySwap: 130 << 20 },
    'POST /containers/{id}/update',
  ),
  compared('/containers/web/json?size=1', 'GET /containers/{running}/json'),
  compared('/containers/done/json', 'GET /containers/{exited}/json'),
  compared('/containers/json?all=1&size=1'),
  compared('/containers/web/top', 'GET /containers/{id}/top'),
  compared('/containers/web/stats?stream=false', 'GET /containers/{id}/stats'),
  compared('/containers/web/changes', 'GET /containers/{id}/changes'),
  compared('/networks'),
  compared('/networks/shapes', 'GET /networks/{id}'),
  compared('/volumes'),
  compared('/volumes/kept', 'GET /volumes/{name}'),
  compared('/images/json?all=1&shared-size=1'),
  compared('/images/busybox/json', 'GET /images/{name}/json'),
  compared('/images/busybox/history', 'GET /images/{name}/history'),
  compared('/system/df'),
  compared('/version'),
  compared('/info'),
  compared('/containers/nobody/json', 'an error'),
  posted('/images/busybox/tag?repo=other', undefined),
  { method: 'DELETE', path: '/images/other', name: 'DELETE /images/{name}' },
  { method: 'DELETE', path: '/containers/web?force=1' },
  posted('/containers/prune', undefined, 'POST /containers/prune'),
  posted('/networks/prune', undefined, 'POST /networks/prune'),
  posted('/volumes/prune?filters={"all":["1"]}', undefined, 'POST /volumes/prune'),
  posted('/images/prune', undefined, 'POST /images/prune'),
  { path: '/events?since=0&until=UNTIL', name: 'GET /events', isLines: true },
  posted('/swarm/init', { ListenAddr: '0.0.0.0:2377', AdvertiseAddr: '192.0.2.11' }, 'POST /swarm/init'),
  compared('/swarm'),
  compared('/nodes'),
  compared('/info', 'GET /info, of a swarm'),
  posted('/networks/create', { Name: 'over', Driver: 'overlay', Attachable: true }),
  compared('/networks/over', 'GET /networks/{overlay}'),
  posted('/swarm/leave?force=1', undefined),
];

async function takeShapes({ socketPath }: Daemon): Promise<Readonly<Record<string, Shape>>> {
  const shapes: Record<string, Shape> = {};
  for (const { name, method = 'GET', path, body, isLines = false, until = /^/ } of steps) {
    const now = String(Math.ceil(Date.now() / 1000));
    const target = `/${version}${encodeURI(path.replace('UNTIL', now))}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    let answer = await callApi(socketPath, method, target, text);
    await eventually(async () => {
      if (!until.test(answer.body)) answer = await callApi(socketPath, method, target, text);
      return until.test(answer.body);
    });
    assert.ok(
      answer.status < 400 || name === 'an error',
      `${method} ${path}: ${answer.status} ${answer.body}`,
    );
    if (name === undefined) continue;
    if (!isLines) {
      shapes[name] = shapeOf(JSON.parse(answer.body));
      continue;
    }
    const events = answer.body
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { Type: string });
    for (const type of new Set(events.map(({ Type }) => Type)))
      shapes[`${name}, ${type}`] = shapeOf(...events.filter(({ Type }) => Type === type));
  }
  return shapes;
}

const judged = isRecording ? engines() : ownEngines('the shapes are of Docker 28', 'docker');
/** The recorded ones have the files of cgroup v1 in their statistics. */
const skip = isV2 ? 'cgroup v1: the recorded shapes have its statistics' : false;

for (const engine of judged)
  describe(engine.name, { skip }, () => {
    let daemon: Daemon;
    before(async () => {
      daemon = await startDaemon(engine);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
    });

    test('every answer has the places and kinds of Docker 28', async () => {
      const shapes = await takeShapes(daemon);
      if (isRecording) {
        writeFileSync(recorded, `${JSON.stringify(shapes, undefined, 1)}\n`);
        return;
      }
      const expected = JSON.parse(readFileSync(recorded, 'utf8')) as Record<string, Shape>;
      const lines = Object.entries(expected).flatMap(([name, shape]) =>
        shapeDifferences(shapes[name] ?? {}, shape).map((line) => `${name} ${line}`),
      );
      const allowed = known.flatMap(([, differences]) => differences);
      assert.deepEqual(lines.toSorted(), allowed.toSorted());
    });
  });
