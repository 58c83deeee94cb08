import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { capturedBytes } from './captured.ts';
import {
  decodeAcknowledgement,
  decodeAttributes,
  decodeMessages,
  decodeNested,
  setSequence,
  stringOf,
  u8Of,
  u32beOf,
  u32Of,
  Writer,
} from './core.ts';
import { treesOf } from './referenceTree.ts';

const anyAttributes = fc.uniqueArray(
  fc.record({ type: fc.integer({ min: 1, max: 0x3fff }), value: fc.uint8Array({ maxLength: 40 }) }),
  { selector: ({ type }) => type, maxLength: 20 },
);

test('attributes written are the attributes decoded, by both decoders', () => {
  fc.assert(
    fc.property(anyAttributes, fc.boolean(), (attributes, isNested) => {
      const w = new Writer();
      const writeAll = (): void => {
        for (const { type, value } of attributes) w.bytesAttribute(type, value);
      };
      w.message(99, 0x405, () => (isNested ? w.nested(7, writeAll) : writeAll()));
      const bytes = w.finish();
      setSequence(bytes, 0xfffffffe);
      const [message, ...others] = decodeMessages(bytes);
      assert.ok(message);
      assert.deepEqual(
        [message.type, message.flags, message.sequence, others.length],
        [99, 0x405, 0xfffffffe, 0],
      );
      const outer = decodeAttributes(message.payload);
      const found = isNested ? decodeNested(outer, 7) : outer;
      assert.deepEqual(
        [...found].map(([type, value]) => ({ type, value: Buffer.from(value).toString('hex') })),
        attributes.map(({ type, value }) => ({ type, value: Buffer.from(value).toString('hex') })),
      );
      if (isNested) return;
      const [tree] = treesOf(Buffer.from(bytes).toString('hex'));
      const expected = attributes.map(({ type, value }) => [type, Buffer.from(value).toString('hex')]);
      assert.deepEqual(
        tree?.attributes,
        expected.sort((a, b) => Number(a[0]) - Number(b[0])),
      );
    }),
    { examples: [[[{ type: 1, value: new Uint8Array(0) }], false]] },
  );
});

test('several messages in one datagram come apart again, with numbers in both byte orders', () => {
  const w = new Writer();
  for (const type of [20, 21, 22])
    w.message(type, 1, () => {
      w.u8Attribute(1, type);
      w.u32Attribute(2, 0xdeadbeef);
      w.u32beAttribute(3, 0xdeadbeef);
      w.stringAttribute(4, 'br0');
    });
  const messages = decodeMessages(w.finish());
  assert.deepEqual(
    messages.map(({ type }) => type),
    [20, 21, 22],
  );
  for (const { type, payload } of messages) {
    const attributes = decodeAttributes(payload);
    assert.equal(u8Of(attributes.get(1)), type);
    assert.equal(u32Of(attributes.get(2)), 0xdeadbeef);
    assert.equal(u32beOf(attributes.get(3)), 0xdeadbeef);
    assert.equal(Buffer.from(attributes.get(3) ?? []).toString('hex'), 'deadbeef');
    assert.equal(stringOf(attributes.get(4)), 'br0');
  }
});

test('lengths that do not fit are refused, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
      for (const decode of [decodeMessages, decodeAttributes]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }
    }),
  );
});

for (const [name, errno] of [
  ['ack', 0],
  ['noSuchDevice', 19],
] as const) {
  test(`an acknowledgement as captured: ${name}`, () => {
    const [message] = decodeMessages(capturedBytes(name));
    assert.ok(message);
    assert.deepEqual(decodeAcknowledgement(message), { errno, text: undefined });
  });
}

test('the sentence of an extended acknowledgement is found behind a capped and a whole request', () => {
  for (const isCapped of [true, false]) {
    const request = Buffer.alloc(32);
    request.writeUInt32LE(32, 0);
    const w = new Writer();
    w.message(2, 0x200 | (isCapped ? 0x100 : 0), () => {
      w.u32(-17);
      w.bytes(isCapped ? request.subarray(0, 16) : request);
      w.stringAttribute(1, 'Name not unique');
    });
    const [message] = decodeMessages(w.finish());
    assert.ok(message);
    assert.deepEqual(decodeAcknowledgement(message), { errno: 17, text: 'Name not unique' });
  }
});
