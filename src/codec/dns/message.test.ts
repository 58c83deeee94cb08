import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  classInternet,
  type DnsRecord,
  decodeMessage,
  encodeMessage,
  flag,
  type Message,
  recordType,
} from './message.ts';
import { DnsFormatError, encodeName, foldName, parseLabels, readName } from './name.ts';
import { referenceDecode } from './referenceDecoder.ts';

interface Capture {
  readonly name: string;
  readonly hex: string;
}
const { captures } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'testdata/captured.json'), 'utf8'),
) as { readonly captures: readonly Capture[] };

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));

const label = fc
  .oneof(
    fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/).map((text) => [...Buffer.from(text)]),
    fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 63 }),
  )
  .map((bytes) => Uint8Array.from([bytes.length, ...bytes]));
/** Wire form of names that fit. */
const wireName = fc
  .array(label, { maxLength: 6 })
  .map((labels) => Uint8Array.from([...Buffer.concat(labels), 0]))
  .filter(({ length }) => length <= 255);
const name = wireName.map((bytes) => readName(Uint8Array.from([...new Uint8Array(12), ...bytes]), 12).name);
const u16 = fc.integer({ min: 0, max: 0xffff });
const plainType = u16.filter((type) => type !== recordType.opt && ![2, 5, 6, 12, 15, 33].includes(type));
const record: fc.Arbitrary<DnsRecord> = fc.oneof(
  fc.record({
    name,
    type: plainType,
    class: u16,
    ttlS: fc.integer({ min: 0, max: 0xffffffff }),
    data: fc.uint8Array({ maxLength: 60 }),
  }),
  fc.record({
    name,
    type: fc.constantFrom(recordType.ptr, recordType.cname, recordType.ns),
    class: fc.constant(classInternet),
    ttlS: fc.constant(600),
    data: name.map(encodeName),
  }),
);
const message: fc.Arbitrary<Message> = fc.record(
  {
    id: u16,
    flags: u16,
    questions: fc.array(fc.record({ name, type: u16, class: u16 }), { maxLength: 2 }),
    answers: fc.array(record, { maxLength: 6 }),
    authorities: fc.array(record, { maxLength: 2 }),
    additionals: fc.array(record, { maxLength: 2 }),
    edns: fc.record({
      udpBytes: u16,
      version: fc.integer({ min: 0, max: 255 }),
      rcodeHigh: fc.integer({ min: 0, max: 255 }),
      isDnssecOk: fc.boolean(),
      options: fc.uint8Array({ maxLength: 40 }),
    }),
  },
  { requiredKeys: ['id', 'flags', 'questions', 'answers', 'authorities', 'additionals'] },
);

const textOf = (labels: readonly (readonly number[])[]): readonly string[] =>
  labels.map((bytes) => foldName(Buffer.from(bytes).toString('latin1')));

test('names in text and on the wire are one to one', () => {
  fc.assert(
    fc.property(wireName, (wire) => {
      const at12 = Uint8Array.from([...new Uint8Array(12), ...wire]);
      const { name: text, end } = readName(at12, 12);
      assert.equal(end, at12.length);
      assert.deepEqual(encodeName(text), wire);
    }),
  );
  const table: readonly (readonly [string, string])[] = [
    ['', '00'],
    ['web.mynet', '03776562 056d796e6574 00'],
    ['a\\.b.c', '03612e62 0163 00'],
    ['\\000\\255', '0200ff 00'],
  ];
  for (const [text, wire] of table) assert.deepEqual(encodeName(text), hex(wire));
});

test('what is no name in text is refused', () => {
  for (const text of [
    '.',
    'a.',
    'a..b',
    '.a',
    'a\\',
    'a\\999',
    'é\u0101',
    'x'.repeat(64),
    'a.'.repeat(127) + 'ab',
  ])
    assert.throws(() => parseLabels(text), DnsFormatError, text);
});

test('the compressed names of RFC 1035 §4.1.4 are read', () => {
  const bytes = new Uint8Array(93);
  bytes.set(hex('01 46 03 495349 04 41525041 00'), 20);
  bytes.set(hex('03 464f4f c014'), 40);
  bytes.set(hex('c01a'), 64);
  assert.deepEqual(readName(bytes, 20), { name: 'F.ISI.ARPA', end: 32 });
  assert.deepEqual(readName(bytes, 40), { name: 'FOO.F.ISI.ARPA', end: 46 });
  assert.deepEqual(readName(bytes, 64), { name: 'ARPA', end: 66 });
  assert.deepEqual(readName(bytes, 92), { name: '', end: 93 });
});

test('pointers forward, to themselves, in circles and into the header are refused', () => {
  const table: readonly (readonly [string, number])[] = [
    ['c00c', 12],
    ['c00e 0161 00', 12],
    ['c000', 12],
    ['0161 c00c', 12],
    ['c00e c00c', 14],
    ['0161 c00c 0162 c00c', 16],
    ['c0', 12],
    ['4161 00', 12],
    ['8161 00', 12],
    ['0361', 12],
  ];
  for (const [text, at] of table) {
    const bytes = Uint8Array.from([...new Uint8Array(12), ...hex(text)]);
    assert.throws(() => readName(bytes, at), DnsFormatError, text);
  }
  const long = Uint8Array.from([
    ...new Uint8Array(12),
    ...Array.from({ length: 5 }, () => [63, ...new Uint8Array(63)]).flat(),
    0,
  ]);
  assert.throws(() => readName(long, 12), /longer than 255/);
});

test('questions as programs send them decode, and encode to the same bytes', () => {
  const expected: Readonly<Record<string, readonly [string, number]>> = {
    a: ['Web.example.org', recordType.a],
    aaaa: ['Web.example.org', recordType.aaaa],
    ptr: ['2.0.18.172.in-addr.arpa', recordType.ptr],
    srv: ['_http._tcp.web', recordType.srv],
  };
  assert.deepEqual(captures.map((capture) => capture.name).sort(), Object.keys(expected).sort());
  for (const capture of captures) {
    const bytes = hex(capture.hex);
    const decoded = decodeMessage(bytes);
    const [question] = decoded.questions;
    assert.deepEqual(
      [question?.name, question?.type, question?.class],
      [...(expected[capture.name] ?? []), 1],
    );
    assert.equal(decoded.flags, flag.recursionDesired);
    assert.deepEqual(encodeMessage(decoded, 512), bytes);
  }
});

test('messages encoded are the messages decoded, by both decoders', () => {
  fc.assert(
    fc.property(message, (given) => {
      const bytes = encodeMessage(given, 65535);
      const fold = (m: Message): unknown =>
        JSON.parse(
          JSON.stringify(m, (key, value: unknown) => (key === 'name' ? foldName(String(value)) : value)),
        );
      assert.deepEqual(fold(decodeMessage(bytes)), fold(given));
      const other = referenceDecode(bytes);
      assert.deepEqual([other.id, other.flags], [given.id, given.flags]);
      assert.deepEqual(
        other.questions.map(({ labels }) => labels.map(foldName)),
        given.questions.map((question) => textOf(parseLabels(question.name))),
      );
      const [answers = []] = other.sections;
      assert.deepEqual(
        answers.map(({ labels, type, ttl }) => [labels.map(foldName), type, ttl]),
        given.answers.map((one) => [textOf(parseLabels(one.name)), one.type, one.ttlS]),
      );
    }),
  );
});

test('what does not fit is cut at a record, with TC set and EDNS kept', () => {
  fc.assert(
    fc.property(message, fc.integer({ min: 1100, max: 1400 }), (given, maxBytes) => {
      const bytes = encodeMessage(given, maxBytes);
      assert.ok(bytes.length <= maxBytes);
      const decoded = decodeMessage(bytes);
      assert.deepEqual({ ...decoded.edns }, { ...given.edns });
      const isCut =
        decoded.answers.length < given.answers.length ||
        decoded.authorities.length < given.authorities.length;
      if (isCut) assert.ok((decoded.flags & flag.truncated) !== 0);
      else assert.equal(decoded.flags, given.flags);
    }),
  );
  const many = Array.from({ length: 100 }, (_, i) => ({
    ...{ name: 'web', type: recordType.a, class: 1, ttlS: 600 },
    data: Uint8Array.of(10, 0, 0, i),
  }));
  const question = { name: 'web', type: recordType.a, class: 1 };
  const decoded = decodeMessage(
    encodeMessage(
      { id: 1, flags: 0x8180, questions: [question], answers: many, authorities: [], additionals: [] },
      512,
    ),
  );
  assert.deepEqual([decoded.answers.length, decoded.flags], [30, 0x8180 | flag.truncated]);
});

test('any bytes decode or are refused with the one error; both decoders agree on what they take', () => {
  const mutated = fc
    .tuple(message, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }))
    .map(([m, changes]) => {
      const bytes = encodeMessage(m, 65535);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (bytes) => {
      try {
        const { questions, answers } = decodeMessage(bytes);
        const other = referenceDecode(bytes);
        assert.deepEqual(
          [other.questions.length, other.sections[0]?.length],
          [questions.length, answers.length],
        );
      } catch (error) {
        assert.ok(error instanceof DnsFormatError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('a header that promises 65535 records in a short message is refused at once', () => {
  for (const at of [4, 6, 8, 10]) {
    const bytes = new Uint8Array(40);
    bytes.fill(0xff, at, at + 2);
    assert.throws(() => decodeMessage(bytes), DnsFormatError);
  }
});

test('a resolver of another make reads our answers', async () => {
  const server = createSocket('udp4');
  server.on('message', (bytes, { port }) => {
    const { id, questions } = decodeMessage(bytes);
    const [question] = questions;
    const owner = question?.name ?? '';
    const base = { name: owner, type: question?.type ?? 0, class: 1, ttlS: 600 };
    const data =
      question?.type === recordType.ptr
        ? [encodeName('web.mynet')]
        : [Uint8Array.of(10, 0, 0, 1), Uint8Array.of(10, 0, 0, 2)];
    const answers = data.map((one) => ({ ...base, data: one }));
    server.send(
      encodeMessage({ id, flags: 0x8180, questions, answers, authorities: [], additionals: [] }, 512),
      port,
      '127.0.0.1',
    );
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const resolver = new Resolver({ tries: 1, timeout: 5000 });
    resolver.setServers([`127.0.0.1:${server.address().port}`]);
    assert.deepEqual(await resolver.resolve4('web', { ttl: true }), [
      { address: '10.0.0.1', ttl: 600 },
      { address: '10.0.0.2', ttl: 600 },
    ]);
    assert.deepEqual(await resolver.reverse('10.0.0.1'), ['web.mynet']);
  } finally {
    server.close();
  }
});
