/* Calls that pass through, between two HTTP/2 connections in this process. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2';
import { createServer, connect } from 'node:net';
import { test } from 'node:test';
import { clientOn, serveOn } from './connection.ts';
import {
  answersOf,
  beginAnswer,
  endCall,
  forwardCall,
  frameMessage,
  GrpcError,
  openCall,
  readMessages,
} from './grpc.ts';

type Serve = Parameters<typeof serveOn>[1];

/** A client of a server on a socket pair; both end with the test. */
async function pair(serve: Serve, ends: (() => void)[]): Promise<ClientHttp2Session> {
  const listener = createServer((socket) => void serveOn(socket, serve)).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const socket = connect((listener.address() as { port: number }).port, '127.0.0.1');
  await once(socket, 'connect');
  const session = clientOn(socket);
  ends.push(
    () => session.destroy(),
    () => listener.close(),
  );
  return session;
}

/** A client whose calls pass through to `serve`. */
async function through(serve: Serve, ends: (() => void)[]): Promise<ClientHttp2Session> {
  const upstream = await pair(serve, ends);
  return await pair((stream, _path, headers) => forwardCall(stream, headers, upstream), ends);
}

async function answers(session: ClientHttp2Session, ...sent: string[]): Promise<string[]> {
  const call = openCall(session, '/x/Y', { 'repeated-field': ['a', 'b, c'] });
  for (const text of sent) call.write(frameMessage(Buffer.from(text)));
  call.end();
  return (await Array.fromAsync(answersOf(call))).map(String);
}

test('forwardCall: messages both ways, every value of a field, the status with its text', async (t) => {
  const ends: (() => void)[] = [];
  t.after(() => ends.forEach((end) => end()));
  const seen: unknown[] = [];
  const big = 'b'.repeat(3_000_000);
  const session = await through((stream, path, headers) => {
    const work = async (): Promise<void> => {
      seen.push(path, headers['repeated-field']);
      beginAnswer(stream);
      for await (const message of readMessages(stream)) stream.write(frameMessage(message));
      endCall(stream, headers['te'] === undefined ? undefined : new GrpcError(5, 'nöt found %'));
    };
    void work();
  }, ends);
  const call = openCall(session, '/x/Y', { 'repeated-field': ['a', 'b, c'] });
  call.end(Buffer.concat(['one', big].map((text) => frameMessage(Buffer.from(text)))));
  const got: number[] = [];
  await assert.rejects(
    async () => {
      for await (const message of answersOf(call)) got.push(message.length);
    },
    { name: 'GrpcError', code: 5, message: 'nöt found %' },
  );
  assert.deepEqual(got, [3, big.length]);
  assert.deepEqual(seen, ['/x/Y', ['a', 'b, c']]);
});

test('forwardCall: a status without messages, and a connection that breaks', async (t) => {
  const ends: (() => void)[] = [];
  t.after(() => ends.forEach((end) => end()));
  let calls = 0;
  const session = await through((stream) => {
    calls += 1;
    if (calls === 1) endCall(stream, new GrpcError(12, 'no such method'));
    else stream.session?.destroy();
  }, ends);
  await assert.rejects(answers(session, 'a'), { code: 12, message: 'no such method' });
  await assert.rejects(answers(session, 'a'), { name: 'GrpcError', code: 14 });
});

test('forwardCall: a client that cancels at any moment of the answer ends the call behind, and nothing else', async (t) => {
  const ends: (() => void)[] = [];
  t.after(() => ends.forEach((end) => end()));
  const closed: Promise<unknown>[] = [];
  const session = await through((stream: ServerHttp2Stream) => {
    closed.push(once(stream, 'close'));
    stream.resume();
    setImmediate(() => {
      if (stream.closed) return;
      beginAnswer(stream);
      stream.write(frameMessage(Buffer.from('a')));
      setImmediate(() => endCall(stream));
    });
  }, ends);
  for (let turns = 0; turns < 40; turns += 1) {
    const call = openCall(session, '/x/Y');
    call.on('error', () => {});
    call.end(frameMessage(Buffer.from('b')));
    for (let turn = 0; turn < turns % 8; turn += 1) await new Promise(setImmediate);
    call.close(process.getBuiltinModule('node:http2').constants.NGHTTP2_CANCEL);
  }
  await new Promise(setImmediate);
  assert.deepEqual(await answers(session, 'c'), ['a']);
  await Promise.all(closed);
});
