import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { endOfObject } from './jsonLines.ts';
import { FrameDecoder } from './multiplexed.ts';
import { ResponseParser } from './responseParser.ts';

const chunked = Buffer.from(
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n4;x=y\r\nWiki\r\n6\r\npedia \r\n3\r\nin\n\r\n0\r\nT: u\r\n\r\n',
);

function feed(
  parser: ResponseParser,
  pieces: readonly Buffer[],
): { status: number; text: string; ends: number } {
  const events = pieces.flatMap((piece) => parser.push(piece));
  const data = events.flatMap((event) => (event.type === 'data' ? [event.data] : []));
  const head = events.find((event) => event.type === 'head');
  return {
    status: head?.head.status ?? 0,
    text: Buffer.concat(data).toString(),
    ends: events.filter(({ type }) => type === 'end').length,
  };
}

test('ResponseParser reads a chunked body, however the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(chunked.length), { maxLength: 12 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), chunked.length];
      const pieces = at.slice(1).map((end, i) => chunked.subarray(at[i], end));
      assert.deepEqual(feed(new ResponseParser('GET'), pieces), {
        status: 200,
        text: 'Wikipedia in\n',
        ends: 1,
      });
    }),
  );
});

test('ResponseParser knows counted, absent and open bodies, and refuses a cut one', () => {
  const counted = 'HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi';
  assert.equal(feed(new ResponseParser('GET'), [Buffer.from(counted)]).text, 'hi');
  assert.equal(feed(new ResponseParser('HEAD'), [Buffer.from(counted)]).ends, 1);
  assert.equal(feed(new ResponseParser('POST'), [Buffer.from('HTTP/1.1 204 No Content\r\n\r\n')]).ends, 1);
  const open = new ResponseParser('POST');
  assert.equal(feed(open, [Buffer.from('HTTP/1.1 101 UPGRADED\r\n\r\nraw')]).text, 'raw');
  assert.deepEqual(open.finish(), [{ type: 'end' }]);
  const cut = new ResponseParser('GET');
  cut.push(Buffer.from(counted.slice(0, -1)));
  assert.throws(() => cut.finish(), /unexpected EOF/);
  assert.throws(() => new ResponseParser('GET').push(Buffer.from('nonsense\r\n\r\n')), /malformed/);
});

test('FrameDecoder splits streams and holds an error back until it is whole', () => {
  const decoder = new FrameDecoder();
  const frames = decoder.push(Buffer.from('0100000000000002686902000000000000016503000000000000026f', 'hex'));
  assert.deepEqual(
    frames.map(({ stream, payload }) => `${stream}:${payload.toString()}`),
    ['stdout:hi', 'stderr:e'],
  );
  assert.deepEqual(
    decoder.push(Buffer.from('k')).map(({ stream, payload }) => `${stream}:${payload.toString()}`),
    ['systemError:ok'],
  );
  assert.throws(() => new FrameDecoder().push(Buffer.from('0900000000000001', 'hex')), /unrecognized stream/);
});

test('endOfObject minds braces inside strings', () => {
  assert.equal(endOfObject('{"a":"}\\"{"} {"b":1}'), 12);
  assert.equal(endOfObject('{"a":{'), 0);
});
