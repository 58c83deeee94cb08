import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../base/clock.ts';
import { parseTimestamp, timestamp } from '../../base/timestamp.ts';
import { encodeLogRecord } from './logFormat.ts';
import { readLog } from './logReader.ts';
import { LogWriter } from './logWriter.ts';
import type { LogQuery, LogRecord } from './stdio.ts';

const all: LogQuery = { stdout: true, stderr: true, isFollow: false };
const never = new AbortController().signal;

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'linkspan-log-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

function record(second: number, stream: LogRecord['stream'], text: string): LogRecord {
  return { stream, time: `2026-01-01T00:00:${String(second).padStart(2, '0')}.5Z`, data: Buffer.from(text) };
}

async function texts(records: AsyncIterable<LogRecord>): Promise<string> {
  let text = '';
  for await (const { data } of records) text += data.toString();
  return text;
}

test('tail, since, until and streams', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  const records = [record(1, 'stdout', 'a\n'), record(2, 'stderr', 'b\n'), record(3, 'stdout', 'c\n')];
  writeFileSync(path, records.map(encodeLogRecord).join(''));
  const at = (second: number): number => Date.parse('2026-01-01T00:00:00Z') + second * 1000;
  const table: readonly [Partial<LogQuery>, string][] = [
    [{}, 'a\nb\nc\n'],
    [{ tail: 0 }, ''],
    [{ tail: 1 }, 'c\n'],
    [{ tail: 2 }, 'b\nc\n'],
    [{ tail: 9 }, 'a\nb\nc\n'],
    [{ stderr: false }, 'a\nc\n'],
    // Counted before the streams are chosen.
    [{ stderr: false, tail: 2 }, 'c\n'],
    [{ sinceMs: at(2) }, 'b\nc\n'],
    [{ sinceMs: at(2.5) }, 'b\nc\n'],
    [{ sinceMs: at(2.501) }, 'c\n'],
    [{ untilMs: at(2.5) }, 'a\nb\n'],
  ];
  for (const [query, expected] of table) {
    assert.equal(await texts(readLog(path, { ...all, ...query }, undefined, never)), expected);
  }
  assert.equal(await texts(readLog(join(folder.path, 'none'), all, undefined, never)), '');
});

test('tail finds its line wherever the blocks fall', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(40_000), { minLength: 1, maxLength: 8 }),
      fc.nat(9),
      async (lengths, tail) => {
        const lines = lengths.map((length, i) => `${i}${'x'.repeat(length)}\n`);
        writeFileSync(path, lines.map((line) => encodeLogRecord(record(0, 'stdout', line))).join(''));
        const expected = tail === 0 ? '' : lines.slice(-tail).join('');
        assert.equal(await texts(readLog(path, { ...all, tail }, undefined, never)), expected);
      },
    ),
    { numRuns: 40 },
  );
});

test('following sees every line until the log is closed, and a rest without a newline', async () => {
  using folder = temporaryFolder();
  const log = new LogWriter(join(folder.path, 'log'), systemClock, assert.ifError);
  log.append('stdout', Buffer.from('before\n'));
  const seen = texts(readLog(log.path, { ...all, isFollow: true }, log, never));
  for (let i = 0; i < 50; i += 1) {
    log.append('stdout', Buffer.from(`${i}\n`));
    if (i % 7 === 0) await log.flush();
  }
  log.append('stderr', Buffer.from('no newline'));
  await log.close();
  const numbers = Array.from({ length: 50 }, (_, i) => `${i}\n`).join('');
  assert.equal(await seen, `before\n${numbers}no newline`);
});

test('following ends when the reader leaves', async () => {
  using folder = temporaryFolder();
  const log = new LogWriter(join(folder.path, 'log'), systemClock, assert.ifError);
  const leave = new AbortController();
  const seen = texts(readLog(log.path, { ...all, isFollow: true }, log, leave.signal));
  setImmediate(() => leave.abort());
  assert.equal(await seen, '');
  await log.close();
});

test('timestamps have no trailing zeros and are read back to the microsecond', () => {
  const clock = { ...systemClock, nowMs: () => Date.parse('2026-01-01T00:00:00.120Z') };
  assert.match(timestamp(clock), /^2026-01-01T00:00:00\.120?\d*[1-9]Z$/);
  assert.equal(parseTimestamp('2026-01-01T00:00:00.5Z'), Date.parse('2026-01-01T00:00:00.500Z'));
  assert.equal(parseTimestamp('2026-01-01T01:00:00+01:00'), Date.parse('2026-01-01T00:00:00Z'));
  assert.ok(Number.isNaN(parseTimestamp('yesterday')));
});
