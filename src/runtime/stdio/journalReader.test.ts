/* What is read of a journal that takes entries as they are sent, and is printed by a stand-in for journalctl. */
import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { readJournal } from './journalReader.ts';
import { JournalWriter } from './journalWriter.ts';
import type { LogQuery, LogRecord } from './stdio.ts';

const all: LogQuery = { stdout: true, stderr: true, isFollow: false };
const never = new AbortController().signal;

function openJournal(t: TestContext): JournalWriter {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-journal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'journal');
  writeFileSync(path, '');
  const program = join(folder, 'journalctl');
  writeFileSync(
    program,
    `#!/bin/sh\ncase "$*" in *--follow*) exec tail -c +1 -f ${path};; *) exec cat ${path};; esac\n`,
  );
  chmodSync(program, 0o755);
  const before = process.env['PATH'] ?? '';
  process.env['PATH'] = `${folder}${delimiter}${before}`;
  t.after(() => {
    process.env['PATH'] = before;
  });
  return new JournalWriter({
    subject: { id: 'c'.repeat(64), name: 'web', imageName: 'busybox', tag: 'web', extras: {} },
    open: () => ({
      send: (message) => {
        appendFileSync(path, Buffer.concat([message, Buffer.from('\n')]));
        return true;
      },
      hasUntaken: () => false,
      [Symbol.dispose]: () => {},
    }),
    clock: systemClock,
    bufferBytes: undefined,
    onFailure: (error) => assert.fail(String(error)),
  });
}

async function texts(records: AsyncIterable<LogRecord>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { data } of records) found.push(data.toString().trim());
  return found;
}

test('what a process writes after the call is not read, whenever the reading begins', async (t) => {
  const writer = openJournal(t);
  writer.append('stdout', Buffer.from('a\nb\n'));
  const records = readJournal('c', all, writer, never);
  writer.append('stdout', Buffer.from('c\n'));
  await writer.flush();
  assert.deepEqual(await texts(records), ['a', 'b']);
  assert.deepEqual(await texts(readJournal('c', { ...all, tail: 3 }, writer, never)), ['a', 'b', 'c']);
  assert.deepEqual(await texts(readJournal('c', all, undefined, never)), ['a', 'b', 'c']);
});

test('a run is followed to its last line, however long its lines take where they go', async (t) => {
  const writer = openJournal(t);
  // No time passes: only the last line is the end.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  writer.append('stdout', Buffer.from('a\n'));
  const found: string[] = [];
  for await (const { data } of readJournal('c', { ...all, isFollow: true }, writer, never)) {
    found.push(data.toString().trim());
    if (found.length > 1) continue;
    writer.append('stdout', Buffer.from(`${'b\n'.repeat(5000)}end`));
    await writer.close();
  }
  assert.deepEqual([found.length, found.at(-1)], [5002, 'end']);
});

test('who leaves ends the reading', async (t) => {
  const writer = openJournal(t);
  writer.append('stdout', Buffer.from('a\n'));
  const leave = new AbortController();
  for await (const { data } of readJournal('c', { ...all, isFollow: true }, writer, leave.signal)) {
    assert.equal(data.toString(), 'a\n');
    leave.abort();
  }
  await writer.close();
});
