import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ApiServer } from './apiServer.ts';
import type { FakeEngine } from './fakes/fakeEngine.ts';
import { startTestServer, type TestServer } from './fakes/testServer.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
type Answer = Awaited<ReturnType<ApiServer['inject']>> & { readonly json: unknown };

let server: TestServer;
let engine: FakeEngine;
const condition = { id: 'x', severity: 'warning', since: '2026-11-24T00:00:00Z', text: 'no bridge' } as const;

before(async () => {
  server = await startTestServer([condition]);
  engine = server.engine;
});
after(() => server[Symbol.asyncDispose]());

async function call(method: Method, url: string, body?: unknown, type = 'application/json'): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const reply = await server.api.inject({
    method,
    url,
    ...(body !== undefined && { body: text, headers: { 'content-type': type } }),
  });
  const isJson = /^[[{].*[\]}]$/.test(reply.text);
  return { ...reply, json: isJson ? JSON.parse(reply.text) : undefined };
}

const lines = ({ text }: Answer): unknown[] =>
  text
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line) as unknown);

test('doctor and the firewall have resources of their own', async () => {
  const report = (await call('GET', '/linkspan/v1/doctor')).json as { severity: string; conditions: unknown };
  assert.deepEqual([report.severity, report.conditions], ['warning', [condition]]);
  assert.match((await call('GET', '/linkspan/v1/firewall')).text, /^table inet linkspan/);
});

test('/metrics counts requests by route, whatever they ask for', async () => {
  await call('GET', '/networks/nope');
  await call('GET', '/networks/nada');
  await call('GET', '/nosuch');
  const { status, headers, text } = await call('GET', '/metrics');
  assert.equal(status, 200);
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  assert.match(
    text,
    /^linkspan_api_request_seconds_count\{method="GET",route="\/networks\/:id",status="404"\} 2$/m,
  );
  assert.match(text, /route="none",status="404"\} 1$/m);
  assert.doesNotMatch(text, /nope|nosuch/);
});

test('ping tells the versions by both methods', async () => {
  for (const method of ['GET', 'HEAD'] as const) {
    const { status, headers, text } = await call(method, '/_ping');
    assert.equal(status, 200);
    assert.equal(text, method === 'GET' ? 'OK' : '');
    assert.equal(headers['api-version'], '1.50');
    assert.equal(headers.ostype, 'linux');
    assert.equal(headers['docker-experimental'], 'false');
    assert.equal(headers['builder-version'], '1');
    assert.equal(headers.swarm, 'inactive');
    assert.equal(headers.server, 'Linkspan/0.1.0 (linux)');
  }
});

for (const [url, status, message] of [
  ['/nosuch', 404, 'page not found'],
  ['/v1.50/nosuch', 404, 'page not found'],
  ['/v1.99/nosuch', 404, 'page not found'],
  ['/vx/_ping', 404, 'page not found'],
  ['/images/busybox/nosuch', 404, 'page not found'],
  [
    '/v1.10/networks',
    400,
    'client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
  ],
  ['/v1.99/networks', 400, 'client version 1.99 is too new. Maximum supported API version is 1.50'],
  ['/v2/networks', 400, 'client version 2 is too new. Maximum supported API version is 1.50'],
  ['/networks/nope', 404, 'network nope not found'],
  ['/containers/nope/json', 404, 'No such container: nope'],
  ['/exec/nope/json', 404, 'No such exec instance: nope'],
  ['/images/nope/json', 404, 'No such image: nope'],
  ['/networks?filters={', 400, 'invalid filter'],
  ['/networks?filters={"foo":["a"]}', 400, "invalid filter 'foo'"],
  ['/networks?filters={"type":["x"]}', 400, "invalid filter: 'type'='x'"],
  ['/networks?filters={"dangling":["maybe"]}', 400, "invalid filter 'dangling=[maybe]'"],
  ['/containers/json?filters={"status":["rubbish"]}', 400, "invalid filter 'status=rubbish'"],
  ['/containers/json?limit=x', 400, 'strconv.Atoi: parsing "x": invalid syntax'],
  ['/containers/nope/logs?stdout=1', 404, 'No such container: nope'],
  ['/events?since=2&until=1', 400, '`since` time (2) cannot be after `until` time (1)'],
  ['/volumes/nope', 404, 'get nope: no such volume'],
  ['/volumes?filters={"foo":["a"]}', 400, "invalid filter 'foo'"],
  ['/containers/x/stats?one-shot=1', 400, 'cannot have stream=true and one-shot=true'],
  ['/images/nosuch/get', 404, 'No such image: nosuch'],
  ['/images/get?names=busybox&names=nosuch', 404, 'No such image: nosuch'],
  ['/images/get', 400, 'no image is named'],
] as const) {
  test(`GET ${url} answers ${status}`, async () => {
    const answer = await call('GET', encodeURI(url));
    assert.equal(answer.status, status);
    assert.deepEqual(answer.json, { message });
    assert.equal(answer.headers['content-type'], 'application/json', 'no charset: the CLI would not read it');
  });
}

for (const [method, url] of [
  ['POST', '/build'],
  ['POST', '/session'],
  ['PUT', '/volumes/x'],
  ['GET', '/services'],
  ['GET', '/tasks/x/logs'],
  ['GET', '/secrets'],
  ['GET', '/configs'],
  ['GET', '/plugins'],
  ['GET', '/plugins/a/b/json'],
  ['GET', '/distribution/a/b/json'],
  ['GET', '/containers/x/attach/ws'],
  ['POST', '/containers/x/checkpoints'],
  ['GET', '/images/search'],
] as const) {
  test(`${method} ${url} is known but absent`, async () => {
    assert.equal((await call(method, `/v1.44${url}`)).status, 501);
  });
}

for (const [body, type, status, message] of [
  ['{"Name":', 'application/json', 400, 'invalid JSON: unexpected EOF'],
  ['  ', 'application/json', 400, 'invalid JSON: got EOF while reading request body'],
  [
    '[]',
    'application/json',
    400,
    'invalid JSON: json: cannot unmarshal array into Go struct field  of type CreateRequest',
  ],
  ['{}', 'text/plain', 400, "unsupported Content-Type header (text/plain): must be 'application/json'"],
  ['{}', 'nonsense', 400, 'malformed Content-Type header (nonsense): mime: expected slash after first token'],
  [
    `{"Name":"${'x'.repeat(5 * 1024 * 1024)}"}`,
    'application/json',
    413,
    'the request body is too large: at most 4194304 bytes of JSON are accepted',
  ],
] as const) {
  test(`a body ${body.slice(0, 10)} of type ${type} is refused with ${status}`, async () => {
    const answer = await call('POST', '/networks/create', body, type);
    assert.equal(answer.status, status);
    assert.deepEqual(answer.json, { message });
  });
}

test('a create without a body is refused', async () => {
  const answer = await call('POST', '/containers/create');
  assert.equal(answer.status, 400);
  assert.deepEqual(answer.json, { message: 'config cannot be empty in order to create a container' });
});

test('version and info have what clients look for', async () => {
  const version = (await call('GET', '/version')).json as Record<string, unknown>;
  assert.equal(version.ApiVersion, '1.50');
  assert.equal(version.MinAPIVersion, '1.24');
  const info = (await call('GET', '/info')).json as Record<string, unknown>;
  assert.equal((info.Swarm as { LocalNodeState: string }).LocalNodeState, 'inactive');
  assert.deepEqual(info.Warnings, ['WARNING: no bridge']);
  assert.deepEqual(info.FirewallBackend, { Driver: 'nftables' });
  assert.deepEqual((await call('GET', '/linkspan/v1/conditions')).json, [condition]);
});

test('a network is created, listed, inspected, filtered and removed', async () => {
  const created = await call('POST', '/v1.41/networks/create', {
    Name: 'n1',
    CheckDuplicate: true,
    EnableIPv4: false,
    Labels: { a: 'b' },
    IPAM: { Config: [{ Subnet: '10.9.0.0/24', IPRange: null }] },
  });
  assert.equal(created.status, 201);
  const { Id, Warning } = created.json as { Id: string; Warning: string };
  assert.match(Id, /^[0-9a-f]{64}$/);
  assert.equal(Warning, '');
  assert.ok(!('ipv4' in (engine.networks.requests.at(-1) ?? {})), 'EnableIPv4 came with 1.48');

  const byLabel = await call('GET', '/networks?filters={"label":{"a=b":true}}');
  assert.deepEqual(
    (byLabel.json as { Name: string }[]).map(({ Name }) => Name),
    ['n1'],
  );
  const network = (await call('GET', `/networks/${Id.slice(0, 12)}`)).json as Record<string, unknown>;
  assert.deepEqual(Object.keys(network), [
    ...['Name', 'Id', 'Created', 'Scope', 'Driver', 'EnableIPv4', 'EnableIPv6', 'IPAM', 'Internal'],
    ...['Attachable', 'Ingress', 'ConfigFrom', 'ConfigOnly', 'Containers', 'Options', 'Labels'],
  ]);
  assert.equal((await call('POST', '/networks/create', { Name: 'n1' })).status, 409);
  assert.equal((await call('GET', '/networks/n1?scope=swarm')).status, 404);
  assert.equal((await call('DELETE', '/networks/n1')).status, 204);
  assert.equal((await call('DELETE', '/networks/n1')).status, 404);
});

test('connect and disconnect reach the engine, prune answers names', async () => {
  await call('POST', '/networks/create', { Name: 'n2', Labels: { keep: '' } });
  await call('POST', '/networks/create', { Name: 'n3' });
  const settings = { IPAMConfig: { IPv4Address: '10.9.0.7' }, Aliases: ['z'], GwPriority: 4 };
  const connected = await call('POST', '/networks/n2/connect', { Container: 'c', EndpointConfig: settings });
  assert.equal(connected.status, 200);
  assert.equal(connected.text, '');
  assert.deepEqual(engine.containers.connections.at(-1), [
    'c',
    { network: 'n2', ipv4: '10.9.0.7', aliases: ['z'], links: [], driverOptions: {}, gatewayPriority: 4 },
  ]);
  const gone = await call('POST', '/networks/n2/disconnect', { Container: 'c' });
  assert.equal(gone.status, 500);
  const pruned = await call('POST', '/networks/prune?filters={"label!":["keep"],"until":["0s"]}');
  assert.deepEqual(pruned.json, { NetworksDeleted: ['n3'] });
  const again = await call('POST', '/networks/prune?filters={"label!":["keep"]}');
  assert.deepEqual(again.json, { NetworksDeleted: null });
});

test('several networks at create need API 1.44, as in Docker', async () => {
  await call('POST', '/networks/create', { Name: 'n4' });
  const body = {
    Image: 'busybox',
    HostConfig: { NetworkMode: 'n4' },
    NetworkingConfig: { EndpointsConfig: { n4: {}, bridge: { GwPriority: 2 } } },
  };
  const old = await call('POST', '/v1.43/containers/create', body);
  assert.equal(old.status, 400);
  assert.match(old.text, /Container cannot be connected to network endpoints: n4, bridge/);
  assert.equal((await call('POST', '/v1.44/containers/create?name=many', body)).status, 201);
  assert.deepEqual(
    engine.containers.specs
      .at(-1)
      ?.attachments.map(({ network, gatewayPriority }) => [network, gatewayPriority]),
    [
      ['n4', 0],
      ['bridge', 2],
    ],
  );
  assert.equal((await call('DELETE', '/containers/many')).status, 204);
  assert.equal((await call('DELETE', '/networks/n4')).status, 204);
});

test('a container lives, and its states have Docker’s statuses', async () => {
  const created = await call('POST', '/containers/create?name=c1', {
    Image: 'busybox',
    Cmd: ['sleep', '9 9'],
    Labels: { l: '1' },
    ExposedPorts: { '80/tcp': {} },
  });
  assert.equal(created.status, 201);
  const { Id } = created.json as { Id: string };
  assert.equal((await call('POST', '/containers/c1/stop')).status, 304);
  assert.equal((await call('POST', '/containers/c1/kill')).status, 409);
  assert.equal((await call('POST', '/containers/c1/start')).status, 204);
  assert.equal((await call('POST', '/containers/c1/start')).status, 304);

  const [row] = (await call('GET', '/containers/json?filters={"name":["c1"]}')).json as Record<
    string,
    unknown
  >[];
  assert.equal(row?.Command, "sleep '9 9'");
  assert.equal(row?.Status, 'Up Less than a second');
  assert.deepEqual(row?.Ports, [{ PrivatePort: 80, Type: 'tcp' }]);
  const inspected = (await call('GET', `/containers/${Id}/json?size=1`)).json as {
    SizeRw: number;
    NetworkSettings: Record<string, unknown> & { Networks: Record<string, Record<string, unknown>> };
  };
  assert.equal(inspected.SizeRw, 7);
  const { NetworkSettings: settings } = inspected;
  assert.equal(settings.IPAddress, '172.17.0.2', 'the legacy copy of the default network');
  assert.deepEqual(settings.Ports, { '80/tcp': null });
  assert.equal(settings.Networks.bridge?.IPPrefixLen, 16);
  assert.equal(settings.Networks.bridge?.Gateway, '172.17.0.1');

  assert.equal((await call('POST', '/containers/c1/pause')).status, 204);
  assert.equal((await call('POST', '/containers/c1/start')).status, 409);
  assert.equal((await call('POST', '/containers/c1/unpause')).status, 204);
  assert.equal((await call('DELETE', '/containers/c1')).status, 409);
  assert.equal((await call('POST', '/containers/c1/stop?t=2&signal=INT')).status, 204);
  assert.equal(engine.containers.calls.at(-1), 'stop c1 2 INT');
  const stopped = (await call('GET', '/containers/c1/json')).json as typeof inspected;
  assert.equal(stopped.NetworkSettings.IPAddress, '');
  assert.equal(stopped.NetworkSettings.Networks.bridge?.IPAddress, '');
  assert.equal((await call('POST', '/containers/c1/resize?h=33&w=101')).status, 200);
  assert.equal((await call('POST', '/containers/c1/resize')).status, 400);
  assert.equal((await call('POST', '/containers/c1/rename?name=c2')).status, 204);
  assert.equal((await call('DELETE', '/containers/c2?v=1')).status, 204);
});

test('lists follow their filters', async () => {
  for (const name of ['f1', 'f2', 'f3'])
    await call('POST', `/containers/create?name=${name}`, {
      Image: 'busybox',
      Cmd: ['sleep'],
      Labels: { x: name },
    });
  await call('POST', '/containers/f2/start');
  const names = async (query: string): Promise<string[]> =>
    ((await call('GET', `/containers/json?${query}`)).json as { Names: string[] }[]).map(
      ({ Names }) => Names[0] ?? '',
    );
  assert.deepEqual(await names(''), ['/f2']);
  assert.deepEqual((await names('all=1')).toSorted(), ['/f1', '/f2', '/f3']);
  assert.deepEqual(await names('limit=-1&all=0'), ['/f2']);
  assert.deepEqual(await names('filters={"status":["created"],"name":["^f1$"]}'), ['/f1']);
  assert.deepEqual(await names('all=1&filters={"label":{"x=f3":true}}'), ['/f3']);
  assert.deepEqual(await names('filters={"network":["bridge"]}'), ['/f2']);
  assert.deepEqual(await names('filters={"ancestor":["busybox"]}'), ['/f2']);
  assert.deepEqual(await names('filters={"ancestor":["nosuch"]}'), []);
  assert.deepEqual(await names('filters={"exited":["0"]}&all=1'), []);
  assert.equal((await call('GET', '/containers/json?filters={"before":["nope"]}')).status, 404);
  const pruned = await call('POST', '/containers/prune?filters={"label":["x"]}');
  assert.equal((pruned.json as { SpaceReclaimed: number }).SpaceReclaimed, 14);
  await call('DELETE', '/containers/f2?force=1');
});

test('a missing image is a 404 that makes the CLI pull', async () => {
  const answer = await call('POST', '/containers/create', { Image: 'nosuch:1' });
  assert.equal(answer.status, 404);
  assert.deepEqual(answer.json, { message: 'No such image: nosuch:1' });
});

test('an image for another platform counts as missing', async () => {
  const create = (platform: string): Promise<Answer> =>
    call('POST', `/containers/create?platform=${encodeURIComponent(platform)}`, { Image: 'busybox' });
  assert.equal((await create('linux/amd64')).status, 201);
  assert.equal((await create('x86_64')).status, 201);
  assert.equal((await create('linux')).status, 201);
  const other = await create('linux/arm64/v8');
  assert.equal(other.status, 404);
  assert.match(other.text, /its platform \(linux\/amd64\) does not match the specified platform/);
  await call('POST', '/containers/prune');
});

test('prune takes unused images, by default only untagged ones', async () => {
  const url = '/images/prune?filters={"dangling":["false"]}';
  assert.deepEqual((await call('POST', '/images/prune')).json, { ImagesDeleted: null, SpaceReclaimed: 0 });
  const pruned = (await call('POST', url)).json as { ImagesDeleted: unknown[]; SpaceReclaimed: number };
  assert.equal(pruned.ImagesDeleted.length, 2);
  assert.equal(pruned.SpaceReclaimed, 1984162);
  engine.images.isPrunedElsewhere = true;
  const late = await call('POST', url);
  engine.images.isPrunedElsewhere = false;
  assert.deepEqual([late.status, late.json], [200, { ImagesDeleted: null, SpaceReclaimed: 0 }]);
  const cache = await call('POST', '/build/prune');
  assert.deepEqual(cache.json, { CachesDeleted: null, SpaceReclaimed: 0 });
});

test('images: list, inspect, history, tag and remove, with slashes in names', async () => {
  const [row] = (await call('GET', '/images/json')).json as Record<string, unknown>[];
  assert.deepEqual(row?.RepoTags, ['busybox:latest']);
  assert.ok(row !== undefined && !('VirtualSize' in row));
  const [older] = (await call('GET', '/v1.41/images/json')).json as Record<string, unknown>[];
  assert.equal(older?.VirtualSize, 1984162);
  assert.deepEqual((await call('GET', '/images/json?filters={"reference":["other*"]}')).json, []);
  assert.equal(((await call('GET', '/images/json?filters={"reference":["busy*"]}')).json as []).length, 1);
  assert.equal((await call('GET', '/images/busybox/json')).status, 200);
  assert.equal((await call('GET', '/images/busybox/history')).status, 200);
  assert.equal((await call('POST', '/images/a%2Fb/tag?repo=c%2Fd&tag=e')).status, 201);
  assert.equal(engine.images.calls.at(-1), 'tag a/b c/d:e');
  assert.deepEqual((await call('DELETE', '/images/a/b?force=1')).json, [
    { Untagged: 'a/b:latest' },
    { Deleted: `sha256:${'5'.repeat(64)}` },
  ]);
});

test('a login is asked of the registry', async () => {
  const body = { username: 'ann', password: 'secret', serveraddress: 'reg:5000' };
  const answer = await call('POST', '/auth', body);
  assert.deepEqual(answer.json, { IdentityToken: '', Status: 'Login Succeeded' });
  assert.equal(engine.images.calls.at(-1), 'logIn reg:5000 ann');
  assert.equal((await call('POST', '/auth', { ...body, password: 'wrong' })).status, 401);
  assert.equal((await call('POST', '/auth')).status, 400);
});

test('pull, push, import and load stream their progress', async () => {
  const credentials = Buffer.from('{"username":"u"}').toString('base64url');
  const pulled = await server.api.inject({
    method: 'POST',
    url: '/images/create?fromImage=docker.io%2Flibrary%2Fx&tag=1',
    headers: { 'x-registry-auth': credentials },
  });
  assert.equal(engine.images.calls.at(-1), 'pull docker.io/library/x:1 u');
  assert.equal(pulled.headers['content-type'], 'application/json');
  assert.deepEqual(JSON.parse(pulled.text.split('\r\n')[1] ?? ''), {
    status: 'Downloading',
    progressDetail: { current: 1, total: 2 },
    id: 'abc',
  });
  await call('POST', `/images/create?fromImage=x&tag=sha256:${'a'.repeat(64)}`);
  assert.match(engine.images.calls.at(-1) ?? '', /^pull x@sha256:a/);
  assert.equal((await call('POST', '/images/create?fromImage=refused&tag=1')).status, 500);
  assert.equal((await call('POST', '/images/create?fromImage=x')).status, 200);
  assert.equal(engine.images.calls.at(-1), 'pull x  all');
  const broken = lines(await call('POST', '/images/create?fromImage=broken&tag=1'));
  assert.deepEqual(broken.at(-1), { errorDetail: { message: 'digest mismatch' }, error: 'digest mismatch' });

  const pushed = lines(await call('POST', '/images/reg:5000/a/b/push?tag=2'));
  assert.equal(engine.images.calls.at(-1), 'push reg:5000/a/b:2 ');
  assert.deepEqual(pushed.at(-1), {
    progressDetail: {},
    aux: { Tag: '1', Digest: `sha256:${'5'.repeat(64)}`, Size: 527 },
  });

  const imported = await call(
    'POST',
    '/images/create?fromSrc=-&repo=r&tag=t&changes=A&changes=B',
    'tar',
    'text/plain',
  );
  assert.deepEqual(lines(imported), [{ status: `sha256:${'5'.repeat(64)}` }]);
  assert.equal(engine.images.calls.at(-1), 'import 3 r:t A|B');
  assert.equal((await call('POST', '/images/create?fromSrc=http://x/y')).status, 501);
  const loaded = await call('POST', '/images/load?quiet=1', 'tarball', 'application/x-tar');
  assert.deepEqual(lines(loaded), [{ stream: 'Loaded image: busybox:latest\n' }]);
  assert.equal(engine.images.calls.at(-1), 'load 7');
});

test('events that are kept are shown by type, and until ends the stream', async () => {
  await call('POST', '/containers/create?name=e1', { Image: 'busybox', Labels: { who: 'me' } });
  const filters = '{"container":["e1"],"event":["create"],"image":["busybox"],"label":["who=me"]}';
  const answer = await call('GET', `/events?since=10m&until=0s&filters=${encodeURIComponent(filters)}`);
  const [event, ...rest] = lines(answer) as Record<string, unknown>[];
  assert.deepEqual(rest, []);
  assert.equal(event?.status, 'create');
  assert.equal(event?.from, 'busybox');
  assert.equal(event?.Type, 'container');
  assert.equal(event?.scope, 'local');
  assert.match(answer.text, /"timeNano":\d{19}\}/);
  const none = await call('GET', '/events?since=10m&until=0s&filters={"type":["volume"]}');
  assert.equal(none.text, '');
});

test('an exec is refused without a command and shown with one', async () => {
  await call('POST', '/containers/create?name=x1', { Image: 'busybox', Cmd: ['sleep'] });
  assert.equal((await call('POST', '/containers/x1/exec', { Cmd: ['ls'] })).status, 409);
  await call('POST', '/containers/x1/start');
  const refused = await call('POST', '/containers/x1/exec', { Cmd: [] });
  assert.deepEqual(refused.json, { message: 'no exec command specified' });
  const { Id } = (await call('POST', '/containers/x1/exec', { Cmd: ['exit', '4'], User: 'u' })).json as {
    Id: string;
  };
  const started = await call('POST', `/exec/${Id}/start`, { Detach: true });
  assert.equal(started.status, 200);
  const shape = (await call('GET', `/exec/${Id}/json`)).json as Record<string, unknown>;
  assert.equal(shape.ExitCode, 4);
  assert.equal(shape.Running, false);
  assert.deepEqual(shape.ProcessConfig, {
    tty: false,
    entrypoint: 'exit',
    arguments: ['4'],
    privileged: false,
    user: 'u',
  });
  assert.equal((await call('POST', `/exec/${Id}/resize?h=1&w=2`)).status, 200);
});

test('logs need a stream, and come in frames with times', async () => {
  await call('POST', '/containers/create?name=l1', { Image: 'busybox', Cmd: ['echo', 'hi'] });
  await call('POST', '/containers/l1/start');
  const refused = await call('GET', '/containers/l1/logs');
  assert.deepEqual(refused.json, { message: 'Bad parameters: you must choose at least one stream' });
  const plain = await call('GET', '/containers/l1/logs?stdout=1&tail=all');
  assert.equal(plain.text, '\u0001\0\0\0\0\0\0\u0003hi\n');
  assert.equal(plain.headers['content-type'], 'application/vnd.docker.multiplexed-stream');
  const timed = await call('GET', '/v1.41/containers/l1/logs?stdout=1&timestamps=1');
  assert.match(timed.text, /2026-11-24T01:02:03\.500000000Z hi\n$/);
  assert.equal(timed.headers['content-type'], 'application/vnd.docker.raw-stream');
});
