/* POST /build and its neighbours in front of a builder that only notes what it is asked. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { buffer, text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Builder, BuildOptions } from '../../builder/builder.ts';
import type { BuildRequest } from '../../builder/buildRequest.ts';
import { formatNames, planSolve } from '../../builder/buildRequest.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { startTestServer } from './fakes/testServer.ts';

const id = `sha256:${'ab'.repeat(32)}`;
const asked: { request?: BuildRequest; options?: BuildOptions; context?: string; prune?: unknown } = {};
const absent = (): Promise<never> => Promise.reject(new Error('not asked here'));
const builder: Builder = {
  build: async (request, options) => {
    asked.request = request;
    asked.options = options;
    asked.context = options.context === undefined ? '' : (await buffer(options.context)).toString();
    planSolve(request, 'http://x');
    formatNames(request.names);
    await options.onText('Step 1/1 : RUN x\n');
    if (request.target === 'long')
      for (let part = 0; part < 20; part += 1) await options.onText('x'.repeat(1 << 20));
    if (request.target === 'bad')
      throw new LinkspanError('buildFailed', 'it failed', { details: { exitCode: 3 } });
    return { id, names: request.names };
  },
  buildInSession: absent,
  serveControl: absent,
  serveSession: absent,
  cache: () =>
    Promise.resolve([
      {
        ...{
          id: 'c1',
          mutable: false,
          in_use: false,
          size: '12',
          description: 'RUN x',
          record_type: 'regular',
        },
        ...{ shared: true, parents: ['p1'], usage_count: '2', last_used_at: null },
        created_at: { seconds: '1700000000', nanos: 5_000_000 },
      },
    ]),
  prune: ({ signal, ...options }) => {
    asked.prune = { ...options, isCanceled: signal.aborted };
    return builder.cache();
  },
};
const server = await startTestServer([], builder);
const { api } = server;
const post = (
  url: string,
  body = 'tar',
  headers: Record<string, string> = {},
): ReturnType<typeof api.inject> =>
  api.inject({ method: 'POST', url, body, headers: { 'content-type': 'application/x-tar', ...headers } });
const lines = (text: string): unknown[] =>
  text
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line) as unknown);

test('POST /build: what it says, and what the builder is asked', async () => {
  const config = { 'host:5000': { username: 'ann', password: 'pw' } };
  const query = new URLSearchParams([
    ...[
      ['t', 'a:1'],
      ['t', 'b'],
      ['dockerfile', 'D'],
      ['target', 'x'],
      ['nocache', '1'],
      ['pull', '1'],
      ['rm', '1'],
    ],
    ...[
      ['buildargs', '{"K":"v","E":null}'],
      ['labels', '{"l":"m"}'],
      ['platform', 'linux/arm64'],
      ['memory', '0'],
    ],
    ...[
      ['extrahosts', 'h:10.0.0.1'],
      ['extrahosts', '["i:[fd00::1]"]'],
      ['networkmode', 'host'],
      ['shmsize', '99'],
    ],
    ...[
      ['cachefrom', '["c:1"]'],
      ['ulimits', '[{"Name":"nofile","Soft":5,"Hard":6}]'],
    ],
  ] as [string, string][]);
  const header = { 'x-registry-config': Buffer.from(JSON.stringify(config)).toString('base64url') };
  const { status, text } = await post(`/v1.41/build?${query.toString()}`, 'bytes', header);
  assert.equal(status, 200);
  assert.deepEqual(lines(text), [
    ...[
      { stream: 'Step 1/1 : RUN x\n' },
      { aux: { ID: id } },
      { stream: 'Successfully built abababababab\n' },
    ],
    ...[{ stream: 'Successfully tagged a:1\n' }, { stream: 'Successfully tagged b\n' }],
  ]);
  assert.equal(asked.context, 'bytes');
  assert.deepEqual(asked.options?.credentials, config);
  assert.deepEqual(planSolve(asked.request as BuildRequest, 'http://x'), {
    attrs: {
      ...{ context: 'http://x', filename: 'D', target: 'x', 'no-cache': '', 'image-resolve-mode': 'pull' },
      ...{
        platform: 'linux/arm64',
        'add-hosts': 'h=10.0.0.1,i=fd00::1',
        'cache-from': 'c:1',
        'shm-size': '99',
      },
      ...{ ulimit: 'nofile=5:6', 'force-network-mode': 'host', 'build-arg:K': 'v', 'label:l': 'm' },
    },
    entitlements: ['network.host'],
  });
});

test('POST /build: quiet, failing, remote', async () => {
  assert.deepEqual(lines((await post('/build?q=1')).text), [{ stream: `${id}\n` }]);
  assert.deepEqual(lines((await post('/build?target=bad')).text).at(-1), {
    errorDetail: { code: 3, message: 'it failed' },
    error: 'it failed',
  });
  await post('/build?remote=https://example.com/x.git');
  assert.equal(asked.options?.context, undefined);
  assert.equal(
    planSolve(asked.request as BuildRequest, undefined).attrs['context'],
    'https://example.com/x.git',
  );
});

test('POST /build: a client that reads late gets all', async () => {
  const url = { socketPath: server.socketPath, path: '/build?target=long', method: 'POST' };
  const asking = httpRequest(url).end();
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  const all = await readText(answer);
  assert.ok(all.length > 20 << 20);
  assert.match(all.slice(-200), /Successfully built/);
});

for (const [query, status, message] of [
  ['t=a@sha256:' + '0'.repeat(64), 400, /build tag cannot contain a digest/],
  ['squash=1', 501, /option squash/],
  ['memory=5', 501, /option memory/],
  ['cpusetcpus=0-1', 501, /option cpusetcpus/],
  ['isolation=hyperv', 501, /option isolation/],
  ['outputs=[{"Type":"local"}]', 501, /option outputs/],
  ['version=2&outputs=[{"Type":"image"}]', 501, /output image/],
  ['version=2&remote=upload-request', 501, /uploaded tar/],
  ['networkmode=mine', 400, /mine.* not supported by buildkit/],
  ['extrahosts=x:host-gateway', 400, /host-gateway/],
  ['buildargs={', 400, /invalid JSON/],
] as const)
  test(`POST /build?${query} answers ${status}`, async () => {
    const answer = await post(`/build?${encodeURI(query)}`);
    assert.equal(answer.status, status);
    assert.match(answer.text, message);
  });

test('the cache: disk usage by both shapes, prune with its filters, cancel', async () => {
  const get = async (url: string): Promise<Record<string, unknown>> =>
    JSON.parse((await api.inject({ method: 'GET', url })).text) as Record<string, unknown>;
  const record = {
    ...{ ID: 'c1', Type: 'regular', Description: 'RUN x', InUse: false, Shared: true, Size: 12 },
    ...{ CreatedAt: '2023-11-14T22:13:20.005Z', LastUsedAt: null, UsageCount: 2 },
  };
  assert.deepEqual((await get('/system/df?type=build-cache'))['BuildCache'], [
    { ...record, Parents: ['p1'] },
  ]);
  const older = await get('/v1.41/system/df');
  assert.deepEqual([older['BuildCache'], older['BuilderSize']], [[{ ...record, Parent: 'p1' }], 12]);
  const filters = encodeURIComponent('{"until":["1h"],"type":["regular"],"inuse":["false"],"id":["ab"]}');
  const { text } = await post(
    `/build/prune?all=1&keep-storage=7&max-used-space=8&min-free-space=9&filters=${filters}`,
  );
  assert.deepEqual(JSON.parse(text), { CachesDeleted: ['c1'], SpaceReclaimed: 12 });
  assert.deepEqual(asked.prune, {
    ...{ isAll: true, filters: ['id~="ab",type=="regular",inuse==false'], keptBytes: 7 },
    ...{ maxUsedBytes: 8, minFreeBytes: 9, keptSinceMs: 3_600_000, isCanceled: false },
  });
  const byLabel = await post(`/build/prune?filters=${encodeURIComponent('{"label":["a"]}')}`);
  assert.deepEqual(JSON.parse(byLabel.text), { CachesDeleted: null, SpaceReclaimed: 0 });
  assert.equal((await post('/build/cancel?id=none')).status, 204);
  assert.equal((await post('/build/cancel')).status, 400);
  assert.equal((await api.inject({ method: 'GET', url: '/_ping' })).headers['builder-version'], '2');
  assert.equal((await post('/session')).status, 400);
});

test.after(() => server[Symbol.asyncDispose]());
