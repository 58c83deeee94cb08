/* Clients that go, in front of a BuildKit that says nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { openWire } from '../codec/protobuf/wire.ts';
import type { ImageContent } from '../runtime/images/content.ts';
import { BuildKitConnection, clientOn } from './connection.ts';
import { openCall } from './grpc.ts';
import { ImportBook } from './imports.ts';
import { passControl, passSession } from './passThrough.ts';
import { buildkitSchema } from './schema.ts';

const wire = await openWire(buildkitSchema);
const absent = (): never => assert.fail('not asked here');
const content: ImageContent = { localTags: absent, sizeOf: absent, read: absent };
const half = { book: new ImportBook(), images: { load: absent }, content };

/** Both ends of a connection; the server's stays open for writing when the client has ended, as those of our API do. */
async function socketPair(): Promise<readonly [client: Socket, server: Socket]> {
  using ends = new DisposableStack();
  const listener = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  ends.defer(() => listener.close());
  await once(listener, 'listening');
  const accepted = once(listener, 'connection') as Promise<[Socket]>;
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1');
  const [server] = await accepted;
  for (const socket of [client, server]) socket.on('error', () => {});
  return [client, server];
}

async function openBuildKit(): Promise<{ connection: BuildKitConnection; server: Socket }> {
  const [client, server] = await socketPair();
  server.resume();
  server.once('end', () => server.destroy());
  return { connection: new BuildKitConnection(clientOn(client), wire), server };
}

for (const [name, pass] of [
  ['passControl', (client, connection) => passControl(client, connection, half)],
  ['passSession', (client, connection) => passSession(client, {}, connection, half)],
] as readonly [string, (client: Socket, connection: BuildKitConnection) => void][])
  for (const when of ['before', 'after'] as const)
    test(`${name}: a client that ends its side ${when} it is served has gone, and so has the connection behind`, async () => {
      const { connection, server: behind } = await openBuildKit();
      const closed = [once(behind, 'close'), once(connection.session, 'close')];
      const [client, server] = await socketPair();
      closed.push(once(server, 'close'));
      if (when === 'before') client.end();
      pass(server, connection);
      if (when === 'after') {
        if (name === 'passControl') {
          const call = openCall(clientOn(client), '/x/Y');
          call.on('error', () => {});
          await once(call, 'ready');
        }
        client.end();
      }
      await Promise.all(closed);
    });

test('a call to a BuildKit that says nothing ends by its signal', async () => {
  const { connection, server } = await openBuildKit();
  await assert.rejects(connection.call('Control.DiskUsage', {}, AbortSignal.timeout(1)), {
    name: 'GrpcError',
  });
  connection[Symbol.dispose]();
  await once(server, 'close');
});
