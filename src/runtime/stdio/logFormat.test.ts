import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeLogRecord, encodeLogRecord, LineSplitter, maxRecordBytes } from './logFormat.ts';

const time = '2026-11-23T21:55:06.187520493Z';

test('a record is one line in Docker\u2019s form', () => {
  assert.equal(
    encodeLogRecord({ stream: 'stdout', time, data: Buffer.from('tick\n') }),
    `{"log":"tick\\n","stream":"stdout","time":"${time}"}\n`,
  );
  assert.equal(
    encodeLogRecord({ stream: 'stderr', time, data: Buffer.from('<a>\t&\\t\u2028"') }),
    `{"log":"\\u003ca\\u003e\\u0009\\u0026\\\\t\\u2028\\"","stream":"stderr","time":"${time}"}\n`,
  );
});

test('text survives the file', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('stdout', 'stderr'), (text, stream) => {
      const data = Buffer.from(text);
      const line = encodeLogRecord({ stream, time, data });
      assert.equal(line.indexOf('\n'), line.length - 1);
      assert.deepEqual(decodeLogRecord(line), { stream, time, data });
    }),
  );
});

test('a line that is cut short is no record', () => {
  assert.equal(decodeLogRecord('{"log":"x'), undefined);
  assert.equal(decodeLogRecord('{"log":1,"time":"x"}'), undefined);
});

test('the splitter keeps every byte, in records of one line or 16 KiB, however the chunks fall', () => {
  const text = fc.array(fc.oneof(fc.constant('\n'), fc.constant('a'.repeat(20_000)), fc.string()), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(text, fc.array(fc.nat(30_000), { maxLength: 8 }), (parts, cuts) => {
      const whole = Buffer.from(parts.join(''));
      const splitter = new LineSplitter();
      const points = [0, ...cuts.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
      const records = points.slice(1).flatMap((end, i) => splitter.feed(whole.subarray(points[i], end)));
      const rest = splitter.end();
      for (const record of records) {
        assert.ok(record.at(-1) === 0x0a || record.length === maxRecordBytes);
        assert.ok(record.subarray(0, -1).indexOf(0x0a) === -1);
      }
      assert.deepEqual(Buffer.concat([...records, rest ?? Buffer.alloc(0)]), whole);
    }),
    { numRuns: 60 },
  );
});
