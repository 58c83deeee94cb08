import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { bodyStream } from './requestBody.ts';

test('a client that leaves before anybody reads its body is told to who reads, and ends nothing else', async (t) => {
  const server = createServer();
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1');
  client.write('PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
  const [request] = (await once(server, 'request')) as [IncomingMessage];
  const body = bodyStream(request);
  const gone = new Promise((resolve) => request.once('close', resolve));
  client.destroy();
  await gone;
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(body.toArray(), { code: 'requestInvalid', message: 'unexpected EOF' });
});
