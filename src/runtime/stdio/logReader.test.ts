import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { systemClock } from '../../base/clock.ts';
import { parseTimestamp, timestamp } from '../../base/timestamp.ts';
import { encodeLogRecord } from './logFormat.ts';
import { readLog } from './logReader.ts';
import { LogWriter, type LogWriterOptions } from './logWriter.ts';
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
  writeFileSync(path, records.map((one) => encodeLogRecord(one)).join(''));
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
  const log = new LogWriter({
    path: join(folder.path, 'log'),
    clock: systemClock,
    onFailure: assert.ifError,
  });
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
  const log = new LogWriter({
    path: join(folder.path, 'log'),
    clock: systemClock,
    onFailure: assert.ifError,
  });
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

const small = { maxBytes: 2000, maxFiles: 4, compresses: false, keepsBytes: false };

function writerIn(folder: string, rules: LogWriterOptions['rules']): LogWriter {
  return new LogWriter({
    path: join(folder, 'log'),
    clock: systemClock,
    onFailure: assert.ifError,
    ...(rules && { rules }),
  });
}

/** `count` lines with their numbers, some of them in batches. */
async function writeNumbers(log: LogWriter, from: number, count: number): Promise<string> {
  const lines = Array.from({ length: count }, (_, i) => `${from + i}\n`);
  for (const [i, line] of lines.entries()) {
    log.append('stdout', Buffer.from(line));
    if (i % 13 === 0) await log.flush();
  }
  await log.flush();
  return lines.join('');
}

for (const compresses of [false, true]) {
  test(`a full file is followed by a new one, and all that are kept are read (compressed: ${compresses})`, async () => {
    using folder = temporaryFolder();
    const log = writerIn(folder.path, { ...small, compresses });
    const written = await writeNumbers(log, 0, 400);
    const ended = compresses ? '.gz' : '';
    const expectFiles = ['log', 'log.1', `log.2${ended}`, `log.3${ended}`];
    // The newest of them is compressed beside the writing.
    const names = readdirSync(folder.path).map((name) =>
      name.replace(/^log\.1\.gz$|^log\.gz\.tmp$/, 'log.1'),
    );
    assert.deepEqual([...new Set(names)].toSorted(), expectFiles);
    assert.ok(statSync(join(folder.path, 'log')).size < small.maxBytes + 100);
    const all_ = await texts(readLog(log.path, all, log, never));
    assert.ok(all_.length > 300 && written.endsWith(all_), 'the end of what was written, without a gap');
    const lines = all_.split('\n').slice(0, -1);
    for (const tail of [0, 1, 5, 30, 60, lines.length - 1, lines.length, 1000])
      assert.equal(
        await texts(readLog(log.path, { ...all, tail }, log, never)),
        lines
          .slice(Math.max(0, lines.length - tail))
          .map((line) => `${line}\n`)
          .join(''),
        `--tail ${tail}`,
      );
    await log.close();
    assert.equal(await texts(readLog(log.path, all, undefined, never)), all_);
    // The next run goes on in the same files.
    const again = writerIn(folder.path, { ...small, compresses });
    const more = await writeNumbers(again, 400, 10);
    await again.close();
    assert.ok((await texts(readLog(log.path, all, undefined, never))).endsWith(`399\n${more}`));
  });
}

test('a follower loses and repeats no line over rotations, also of one file alone', async () => {
  for (const rules of [
    { ...small, compresses: true },
    { ...small, maxFiles: 1 },
  ]) {
    using folder = temporaryFolder();
    const log = writerIn(folder.path, rules);
    const seen = texts(readLog(log.path, { ...all, isFollow: true, tail: 0 }, log, never));
    await nextTurn();
    const written = await writeNumbers(log, 0, 1000);
    await log.close();
    assert.equal(await seen, written);
  }
});

test('a reader that does not follow ends where the log was when it began', async () => {
  using folder = temporaryFolder();
  const log = writerIn(folder.path, undefined);
  const before = await writeNumbers(log, 0, 5);
  let seen = '';
  for await (const { data } of readLog(log.path, all, log, never)) {
    seen += data.toString();
    await writeNumbers(log, 100, 5);
  }
  assert.equal(seen, before);
  await log.close();
});

test('what a crash leaves is read past, and mended by what is written next', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  const log = writerIn(folder.path, small);
  await writeNumbers(log, 0, 100);
  await log.close();
  // Between two names, with a record cut short, with half a compressed file.
  renameSync(`${path}.2`, `${path}.3`);
  const kept = await texts(readLog(path, all, undefined, never));
  appendFileSync(path, '{"log":"cut sh');
  writeFileSync(`${path}.gz.tmp`, 'half');
  writeFileSync(`${path}.next`, 'never named');
  assert.equal(await texts(readLog(path, all, undefined, never)), kept);
  const again = writerIn(folder.path, { ...small, compresses: true });
  const more = await writeNumbers(again, 100, 20);
  assert.equal(await texts(readLog(path, all, again, never)), kept + more);
  await again.close();
  assert.deepEqual(
    readdirSync(folder.path).filter((name) => !/^log(\.[123](\.gz)?)?$/.test(name)),
    [],
  );
});

test('bytes that are no text come back as they were where the log keeps them, and attributes with every record', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  const rules = { ...small, keepsBytes: true };
  const attributes = { tag: '<web>' };
  const log = new LogWriter({ path, clock: systemClock, onFailure: assert.ifError, rules, attributes });
  const bytes = Buffer.from([0xff, 0, 0x80, 0x0a, 0x61, 0x0a]);
  log.append('stdout', bytes);
  await log.close();
  const records = await Array.fromAsync(readLog(path, all, undefined, never));
  assert.deepEqual(Buffer.concat(records.map(({ data }) => data)), bytes);
  assert.deepEqual(
    records.map((one) => one.attributes),
    [attributes, attributes],
  );
});

test('a disk that refuses a new file is told of once, and the old one goes on', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  const told: boolean[] = [];
  const onFailure = (_error: unknown, isLost: boolean): void => void told.push(isLost);
  const log = new LogWriter({ path, clock: systemClock, rules: small, onFailure });
  // Nothing can be made or renamed over a folder that is not empty.
  mkdirSync(join(folder.path, 'log.next', 'x'), { recursive: true });
  const written = await writeNumbers(log, 0, 100);
  assert.deepEqual(told, [false]);
  assert.equal(await texts(readLog(path, all, log, never)), written);
  rmSync(join(folder.path, 'log.next'), { recursive: true });
  const more = await writeNumbers(log, 100, 3);
  assert.equal(await texts(readLog(path, all, log, never)), written + more);
  assert.ok(readdirSync(folder.path).includes('log.1'));
  await log.close();
});

test('short lines with a long attribute wait in their own size', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'log');
  const attributes = { label: 'x'.repeat(100_000) };
  const rules = { ...small, maxBytes: 1_000_000, maxFiles: 2 };
  const log = new LogWriter({ path, clock: systemClock, onFailure: assert.ifError, rules, attributes });
  assert.equal(log.append('stdout', Buffer.alloc(2000, '\n')), false);
  await log.flush();
  await log.close();
  const kept = readdirSync(folder.path).map((name) => statSync(join(folder.path, name)).size);
  assert.ok(kept.length === 2 && kept.every((size) => size < 1_200_000), String(kept));
});

test('a log that somebody removes or cuts is rotated still, and what a hole makes of a line is passed over', async () => {
  using folder = temporaryFolder();
  const log = writerIn(folder.path, small);
  await writeNumbers(log, 0, 100);
  rmSync(log.path);
  const lost = await writeNumbers(log, 100, 100);
  const read = await texts(readLog(log.path, all, log, never));
  assert.ok(read !== '' && lost.endsWith(read));
  assert.ok(readdirSync(folder.path).length > 2);

  // After a rotation, too, what is written goes to the end of what there is.
  truncateSync(log.path, 0);
  const more = await writeNumbers(log, 200, 1);
  assert.ok((await texts(readLog(log.path, all, log, never))).endsWith(more));
  await log.close();
  assert.ok(statSync(log.path).size < 200);
  truncateSync(log.path, 20 << 20);
  const again = writerIn(folder.path, undefined);
  await writeNumbers(again, 300, 2);
  await again.close();
  assert.match(await texts(readLog(log.path, all, undefined, never)), /200\n(300\n)?301\n$/);
});
