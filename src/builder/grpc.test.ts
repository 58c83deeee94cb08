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

const { NGHTTP2_CANCEL } = process.getBuiltinModule('node:http2').constants;

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
    call.close(NGHTTP2_CANCEL);
  }
  await new Promise(setImmediate);
  assert.deepEqual(await answers(session, 'c'), ['a']);
  await Promise.all(closed);
});

test('forwardCall: many values of a field, and long ones', async (t) => {
  const ends: (() => void)[] = [];
  t.after(() => ends.forEach((end) => end()));
  const seen: unknown[] = [];
  const session = await through((stream, _path, headers) => {
    seen.push(headers['many'], headers['long']);
    stream.resume();
    endCall(stream);
  }, ends);
  const many = Array.from({ length: 3000 }, (_, place) => `pattern/${place}/**`);
  const long = Array.from({ length: 100 }, (_, place) => String(place % 10).repeat(1000));
  const call = openCall(session, '/x/Y', { many, long });
  call.end();
  assert.deepEqual(await Array.fromAsync(answersOf(call)), []);
  assert.deepEqual(seen, [many, long]);
});

/** One HTTP/2 frame (RFC 9113, 4.1). */
function rawFrame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** True once a client's bytes have the HEADERS of its call. */
function hasHeaders(bytes: Buffer): boolean {
  const preface = 24;
  for (let at = preface; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    if (bytes[at + 3] === 1) return true;
  return false;
}

/** `content-type: a` (HPACK: literal, not indexed, name 31 of the static table), which may be there once. */
const contentType = Buffer.from([0x0f, 0x10, 1, 0x61]);
const status200 = Buffer.from([0x88]);
const [endHeaders, endStream] = [4, 1];

for (const [where, frames] of [
  ['head', [rawFrame(1, endHeaders, 1, Buffer.concat([status200, contentType, contentType]))]],
  [
    'trailers',
    [
      rawFrame(1, endHeaders, 1, Buffer.concat([status200, contentType])),
      rawFrame(1, endHeaders | endStream, 1, Buffer.concat([contentType, contentType])),
    ],
  ],
] as const)
  test(`forwardCall: an answer that Node does not send (${where}) ends that call alone`, async (t) => {
    const ends: (() => void)[] = [];
    t.after(() => ends.forEach((end) => end()));
    // Node's server refuses to say this, so it is said in bytes.
    const listener = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(rawFrame(4, 0, 0, Buffer.alloc(0)));
      let sent = Buffer.alloc(0);
      const answer = (chunk: Buffer): void => {
        sent = Buffer.concat([sent, chunk]);
        if (!hasHeaders(sent)) return;
        socket.off('data', answer).resume();
        for (const frame of frames) socket.write(frame);
      };
      socket.on('data', answer);
    }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const socket = connect((listener.address() as { port: number }).port, '127.0.0.1');
    await once(socket, 'connect');
    const upstream = clientOn(socket);
    ends.push(
      () => upstream.destroy(),
      () => listener.close(),
    );
    const session = await pair((stream, path, headers) => {
      if (path === '/other') endCall(stream);
      else forwardCall(stream, headers, upstream);
    }, ends);
    await assert.rejects(answers(session, 'a'), { name: 'GrpcError' });
    const other = openCall(session, '/other');
    other.end();
    assert.deepEqual(await Array.fromAsync(answersOf(other)), []);
  });
