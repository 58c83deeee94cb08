/*
 * Attach, exec start and wait over a real socket, byte by byte as the docker CLI does it.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawClient, startTestServer, type TestServer } from './fakes/testServer.ts';

let server: TestServer;
before(async () => {
  server = await startTestServer();
});
after(() => server[Symbol.asyncDispose]());

const upgrade = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';

function post(path: string, headers = '', body = ''): string {
  const length = `Content-Length: ${body.length}\r\n`;
  const type = body === '' ? '' : 'Content-Type: application/json\r\n';
  return `POST ${path} HTTP/1.1\r\nHost: docker\r\n${headers}${type}${length}\r\n${body}`;
}

/** A created container; `tty` gives it a terminal. */
async function create(command: readonly string[], isTty = false): Promise<string> {
  const body = JSON.stringify({ Image: 'busybox', Cmd: command, Tty: isTty, OpenStdin: true });
  const headers = { 'content-type': 'application/json' };
  const { text } = await server.api.inject({ method: 'POST', url: '/containers/create', headers, body });
  return (JSON.parse(text) as { Id: string }).Id;
}

const start = (id: string): ReturnType<TestServer['api']['inject']> =>
  server.api.inject({ method: 'POST', url: `/containers/${id}/start` });

async function createExec(command: readonly string[], stdin = false): Promise<string> {
  const id = await create(['sleep']);
  await start(id);
  const body = JSON.stringify({ Cmd: command, AttachStdin: stdin, AttachStdout: true, AttachStderr: true });
  const headers = { 'content-type': 'application/json' };
  const { text } = await server.api.inject({ method: 'POST', url: `/containers/${id}/exec`, headers, body });
  return (JSON.parse(text) as { Id: string }).Id;
}

const head = (type: string): string =>
  `HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`;
const frame = (stream: number, text: string): string =>
  String.fromCharCode(stream, 0, 0, 0, 0, 0, 0, text.length) + text;

test('attach without stdin: an early FIN does not cut the output off', async () => {
  const id = await create(['echo', 'hi']);
  using client = new RawClient(server.socketPath);
  client.send(post(`/v1.50/containers/${id}/attach?stderr=1&stdout=1&stream=1`, upgrade));
  await client.until(/\r\n\r\n/);
  client.finish();
  assert.equal((await start(id)).status, 204);
  assert.equal(await client.untilEnd(), head('multiplexed-stream') + frame(1, 'hi\n'));
});

test('attach of an older client and of a terminal is called a raw stream', async () => {
  const id = await create(['err', 'oh']);
  using old = new RawClient(server.socketPath);
  await old.send(post(`/v1.41/containers/${id}/attach?stderr=1&stream=1`, upgrade)).until(/\r\n\r\n/);
  const terminal = await create(['echo', 'tty'], true);
  using client = new RawClient(server.socketPath);
  await client.send(post(`/containers/${terminal}/attach?stdout=1&stream=1`, upgrade)).until(/\r\n\r\n/);
  await start(id);
  await start(terminal);
  assert.equal(await old.untilEnd(), head('raw-stream') + frame(2, 'oh\n'));
  assert.equal(await client.untilEnd(), `${head('raw-stream')}tty\n`, 'no frames');
});

test('stdin that is sent before the start arrives, and FIN ends it', async () => {
  const id = await create(['cat']);
  using client = new RawClient(server.socketPath);
  client.send(post(`/containers/${id}/attach?stdin=1&stdout=1&stderr=1&stream=1`, upgrade));
  await client.until(/\r\n\r\n/);
  client.send('abc\n').finish();
  await start(id);
  assert.equal(await client.untilEnd(), head('multiplexed-stream') + frame(1, 'abc\n'));
});

test('a process that ends before its stdin frees the connection once the client closes', async () => {
  const id = await create(['exit', '0']);
  using client = new RawClient(server.socketPath);
  client.send(post(`/containers/${id}/attach?stdin=1&stdout=1&stream=1`, upgrade));
  await client.until(/\r\n\r\n/);
  await start(id);
  await client.untilEnd();
  client.send('nobody reads this').finish();
  await client.untilClosed();
});

test('stdin in the packet of the request is not lost', async () => {
  const id = await create(['cat']);
  await start(id);
  using client = new RawClient(server.socketPath);
  client.send(`${post(`/containers/${id}/attach?stdin=1&stdout=1&stream=1`, upgrade)}early\n`).finish();
  assert.equal(await client.untilEnd(), head('multiplexed-stream') + frame(1, 'early\n'));
});

const startBody = '{"Detach":false,"Tty":false}\n';

test('exec start reads its body with the head or after it', async () => {
  const together = await createExec(['echo', 'ex']);
  using one = new RawClient(server.socketPath);
  one.send(post(`/exec/${together}/start`, upgrade, startBody)).finish();
  assert.equal(await one.untilEnd(), head('multiplexed-stream') + frame(1, 'ex\n'));

  const apart = await createExec(['cat'], true);
  const [before = '', body = ''] = post(`/exec/${apart}/start`, upgrade, startBody).split('\r\n\r\n');
  using two = new RawClient(server.socketPath);
  two.send(`${before}\r\n\r\n`);
  await new Promise(setImmediate);
  two.send(body);
  await two.until(/101 UPGRADED/);
  two.send('in\n').finish();
  assert.equal(await two.untilEnd(), head('multiplexed-stream') + frame(1, 'in\n'));
});

test('an exec that cannot start says so in the stream', async () => {
  const id = await createExec(['nosuch']);
  using client = new RawClient(server.socketPath);
  const received = await client.send(post(`/exec/${id}/start`, upgrade, startBody)).untilEnd();
  assert.match(received, /^HTTP\/1\.1 101 UPGRADED/);
  assert.match(received, /.{4}OCI runtime exec failed[^\n]*\r\n$/s);
});

test('what cannot be attached is refused before the upgrade', async () => {
  for (const [path, status, message] of [
    ['/containers/nope/attach?stream=1', 404, 'No such container: nope'],
    ['/exec/nope/start', 404, 'No such exec instance: nope'],
    ['/v1.99/exec/nope/start', 400, 'client version 1.99 is too new. Maximum supported API version is 1.50'],
  ] as const) {
    using client = new RawClient(server.socketPath);
    const received = await client.send(post(path, upgrade, startBody)).untilEnd();
    assert.match(received, new RegExp(`^HTTP/1.1 ${status} `));
    assert.ok(received.endsWith(`${JSON.stringify({ message })}\n`), received);
  }
});

test('without Upgrade the reply is 200 and then raw, stdin included', async () => {
  const id = await create(['cat']);
  await start(id);
  using client = new RawClient(server.socketPath);
  client.send(post(`/v1.50/containers/${id}/attach?stdin=1&stdout=1&stream=1`));
  await client.until(/\r\n\r\n/);
  client.send('GET / HTTP/1.1\n');
  await client.until(/\n$/);
  client.finish();
  assert.equal(
    await client.untilEnd(),
    `HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n${frame(1, 'GET / HTTP/1.1\n')}`,
  );
  const exec = await createExec(['echo', 'plain']);
  using other = new RawClient(server.socketPath);
  const received = await other.send(post(`/exec/${exec}/start`, '', startBody)).untilEnd();
  assert.match(received, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(received.endsWith(frame(1, 'plain\n')));
});

test('another protocol in Upgrade is ignored', async () => {
  using client = new RawClient(server.socketPath);
  client.send('GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
  assert.match(await client.until(/OK$/), /^HTTP\/1\.1 200 OK/);
});

test('wait sends its head at once and its answer after the stream has ended', async () => {
  const id = await create(['exit', '3']);
  using attached = new RawClient(server.socketPath);
  await attached.send(post(`/containers/${id}/attach?stdout=1&stream=1`, upgrade)).until(/\r\n\r\n/);
  using waiting = new RawClient(server.socketPath);
  waiting.send(post(`/containers/${id}/wait?condition=next-exit`));
  const early = await waiting.until(/\r\n\r\n/);
  assert.match(early, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(!early.includes('StatusCode'));
  await start(id);
  await attached.untilEnd();
  assert.match(await waiting.until(/StatusCode/), /\{"StatusCode":3\}/);
});

test('wait refuses unknown conditions', async () => {
  const id = await create(['sleep']);
  const { status, text } = await server.api.inject({
    method: 'POST',
    url: `/containers/${id}/wait?condition=bored`,
  });
  assert.equal(status, 400);
  assert.deepEqual(JSON.parse(text), { message: 'invalid condition: "bored"' });
});

test('live events arrive as they happen', async () => {
  using client = new RawClient(server.socketPath);
  client.send('GET /events?filters=%7B%22type%22%3A%5B%22image%22%5D%7D HTTP/1.1\r\nHost: docker\r\n\r\n');
  await client.until(/\r\n\r\n/);
  server.engine.events.emit({ type: 'network', action: 'create', actorId: 'n', attributes: {} });
  server.engine.events.emit({ type: 'image', action: 'pull', actorId: 'busybox', attributes: {} });
  assert.match(await client.until(/timeNano/), /"status":"pull","id":"busybox","Type":"image"/);
});

test('an oversized body is read to its end, so that the answer is too', async () => {
  using client = new RawClient(server.socketPath);
  const body = JSON.stringify({ Name: 'x'.repeat(6 * 1024 * 1024) });
  client.send(post('/networks/create', '', body));
  assert.match(await client.until(/message/), /^HTTP\/1\.1 413 /);
  client.send('GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n');
  assert.match(await client.until(/OK$/), /200 OK/);
});

test('close ends attached clients and frees the socket for another server', async () => {
  const other = await startTestServer();
  const { text } = await other.api.inject({
    method: 'POST',
    url: '/containers/create',
    headers: { 'content-type': 'application/json' },
    body: '{"Image":"busybox","Cmd":["sleep"]}',
  });
  const { Id } = JSON.parse(text) as { Id: string };
  using client = new RawClient(other.socketPath);
  await client.send(post(`/containers/${Id}/attach?stdout=1&stream=1`, upgrade)).until(/\r\n\r\n/);
  await assert.rejects(server.api.listen({ socketPath: other.socketPath, mode: 0o600 }), {
    code: 'daemonRunning',
  });
  await other.api.close();
  await client.untilEnd();
  await server.api.listen({ socketPath: other.socketPath, mode: 0o600 });
  await other[Symbol.asyncDispose]();
});

test('a TCP address is listened on as well', async () => {
  const url = await server.api.listen({ host: '127.0.0.1', port: 0 });
  const reply = await fetch(`${url.replace('tcp:', 'http:')}/_ping`);
  assert.equal(await reply.text(), 'OK');
});

test('requests that take their connection over are in the metrics, whatever became of them', async () => {
  const id = await create(['echo', 'hi']);
  using client = new RawClient(server.socketPath);
  await client.send(post(`/containers/${id}/attach?stdout=1&stream=1`, upgrade)).until(/\r\n\r\n/);
  using lost = new RawClient(server.socketPath);
  await lost.send(post('/containers/nobody/attach?stdout=1&stream=1', upgrade)).until(/\r\n\r\n/);
  const { text } = await server.api.inject({ method: 'GET', url: '/metrics' });
  for (const status of [101, 404])
    assert.match(
      text,
      new RegExp(
        `^linkspan_api_request_seconds_count\\{method="POST",route="/containers/:id/attach",status="${status}"\\} \\d`,
        'm',
      ),
    );
  await start(id);
  await client.untilEnd();
});
