import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMessage, encodeMessage, flag, type Message, rcode, recordType } from './message.ts';
import { encodeReply, isAnswerTo, passOn, type Query, readRequest, udpLimit, withId } from './query.ts';

const question = { name: 'Web.n1', type: recordType.a as number, class: 1 };
const plain: Message = {
  ...{ id: 7, flags: flag.recursionDesired, questions: [question] },
  ...{ answers: [], authorities: [], additionals: [] },
};
const edns = { udpBytes: 1400, version: 0, rcodeHigh: 0, isDnssecOk: true, options: new Uint8Array(0) };

function queryOf(message: Message): Query {
  const request = readRequest(encodeMessage(message, 65535));
  assert.ok(request !== undefined && 'query' in request);
  return request.query;
}

function refusalOf(bytes: Uint8Array): Message {
  const request = readRequest(bytes);
  assert.ok(request !== undefined && 'refusal' in request);
  return decodeMessage(request.refusal);
}

test('a question is read, and its answer has the addresses under the name as asked', () => {
  const query = queryOf({ ...plain, edns });
  assert.equal(query.folded, 'web.n1');
  assert.equal(udpLimit(query), 1400);
  const reply = decodeMessage(encodeReply(query, rcode.noError, 600, [Uint8Array.of(10, 0, 0, 1)], 1400));
  assert.deepEqual(reply.questions, [question]);
  assert.deepEqual(reply.answers, [{ ...question, ttlS: 600, data: Uint8Array.of(10, 0, 0, 1) }]);
  assert.deepEqual([reply.id, reply.flags, reply.edns?.isDnssecOk], [7, 0x8180, true]);
});

test('ANY is answered with addresses of both families', () => {
  const query = queryOf({ ...plain, questions: [{ ...question, type: recordType.any }] });
  const data = [Uint8Array.of(10, 0, 0, 1), new Uint8Array(16)];
  const { answers } = decodeMessage(encodeReply(query, 0, 600, data, 512));
  assert.deepEqual(
    answers.map(({ type }) => type),
    [recordType.a, recordType.aaaa],
  );
});

test('records that do not fit are left out and TC is set', () => {
  const data = Array.from({ length: 100 }, (_, i) => Uint8Array.of(10, 0, 0, i));
  const bytes = encodeReply(queryOf(plain), 0, 600, data, 512);
  const reply = decodeMessage(bytes);
  assert.ok(bytes.length <= 512 && reply.answers.length === 30);
  assert.notEqual(reply.flags & flag.truncated, 0);
  assert.equal(decodeMessage(encodeReply(queryOf(plain), 0, 600, data, 65535)).answers.length, 100);
});

test('what is not one plain question is refused with the code that says why', () => {
  const encode = (change: Partial<Message>): Uint8Array => encodeMessage({ ...plain, ...change }, 512);
  const table: readonly (readonly [Uint8Array, number])[] = [
    [encode({ flags: 0x2800 }), rcode.notImplemented],
    [encode({ questions: [] }), rcode.formatError],
    [encode({ questions: [question, question] }), rcode.formatError],
    [encode({}).subarray(0, 14), rcode.formatError],
    [Uint8Array.from([...encode({}), 0]), rcode.formatError],
  ];
  for (const [bytes, code] of table) assert.equal(refusalOf(bytes).flags & 0xf, code);
  const bad = refusalOf(encode({ edns: { ...edns, version: 1 } }));
  assert.deepEqual([bad.flags & 0xf, bad.edns?.rcodeHigh, bad.edns?.version], [0, 1, 0]);
});

test('answers and scraps get no answer at all', () => {
  assert.equal(readRequest(encodeMessage({ ...plain, flags: flag.response }, 512)), undefined);
  for (let length = 0; length < 12; length++) assert.equal(readRequest(new Uint8Array(length)), undefined);
});

test('whatever comes, a refusal is no longer than what it refuses, and none is answered again', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const request = readRequest(bytes);
      if (request === undefined || !('refusal' in request)) return;
      assert.ok(request.refusal.length <= bytes.length);
      assert.equal(readRequest(request.refusal), undefined);
    }),
    { numRuns: 500 },
  );
});

test('only an answer to the same question under the same id is taken', () => {
  const query = queryOf(plain);
  const answer = (change: Partial<Message>): Uint8Array =>
    encodeMessage({ ...plain, id: 99, flags: 0x8180, ...change }, 512);
  const table: readonly (readonly [string, Uint8Array, boolean])[] = [
    ['the answer', answer({}), true],
    ['in another case', answer({ questions: [{ ...question, name: 'wEB.N1' }] }), true],
    ['an error without the question', answer({ questions: [], flags: 0x8181 }), true],
    ['success without the question', answer({ questions: [] }), false],
    ['another id', answer({ id: 98 }), false],
    ['another name', answer({ questions: [{ ...question, name: 'web' }] }), false],
    ['another type', answer({ questions: [{ ...question, type: 28 }] }), false],
    ['another class', answer({ questions: [{ ...question, class: 3 }] }), false],
    ['a question', answer({ flags: 0x100 }), false],
    ['an update', answer({ flags: 0xa800 }), false],
    ['scraps', answer({}).subarray(0, 20), false],
    ['nothing', new Uint8Array(0), false],
  ];
  for (const [what, bytes, expected] of table) assert.equal(isAnswerTo(query, 99, bytes), expected, what);
});

test('another server\u2019s answer keeps everything but the id, or is cut to what the asker takes', () => {
  const query = queryOf(plain);
  const answers = Array.from({ length: 60 }, (_, i) => ({
    ...question,
    ttlS: 5,
    data: Uint8Array.of(1, 2, 3, i),
  }));
  const whole = encodeMessage({ ...plain, id: 99, flags: 0x8580, answers }, 65535);
  assert.deepEqual(passOn(query, whole, 65535), withId(whole, 7));
  const cut = decodeMessage(passOn(query, whole, 512));
  assert.deepEqual([cut.id, cut.flags, cut.answers.length], [7, 0x8580 | flag.truncated, 30]);
  // One that cannot be read is not sent half: only its header's meaning is.
  const broken = decodeMessage(passOn(query, Uint8Array.from([...whole, 1]), 512));
  assert.deepEqual([broken.id, broken.answers.length, broken.flags & flag.truncated], [7, 0, flag.truncated]);
});
