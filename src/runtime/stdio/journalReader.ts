/*
 * Reads what a container has in systemd's journal, through journalctl(1): a journal's files are mapped memory, and one
 * that is cut short under a reader ends its process, which must not be the daemon. docs/adr/0029-journald.md.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProgram, systemPath } from '../../base/programs.ts';
import { parseTimestamp } from '../../base/timestamp.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type JournalEntry, JournalExport } from './journalFormat.ts';
import type { JournalWriter } from './journalWriter.ts';
import { RunEnd } from './runEnd.ts';
import type { LogQuery, LogRecord } from './stdio.ts';

/** What is no attribute of a line: fields of the journal itself and those of the driver, as in Docker. */
const ownFields =
  /^(_.*|MESSAGE(_ID)?|PRIORITY|CODE_(FILE|LINE|FUNC)|ERRNO|SYSLOG_\w+|CONTAINER_(ID|ID_FULL|NAME|TAG)|CONTAINER_(LOG|PARTIAL)_\w+|IMAGE_NAME)$/;

const textOf = (entry: JournalEntry, name: string): string | undefined => entry.get(name)?.toString();

/** Microseconds since 1970 as RFC 3339. */
function formatMicros(text: string): string {
  const iso = new Date(Number(text.slice(0, -6)) * 1000).toISOString();
  return iso.replace('.000Z', `.${text.slice(-6)}000Z`);
}

/** Undefined for an entry without a message. */
function decodeEntry(entry: JournalEntry): LogRecord | undefined {
  const message = entry.get('MESSAGE');
  if (message === undefined) return undefined;
  const isPart = textOf(entry, 'CONTAINER_PARTIAL_MESSAGE') === 'true';
  const attributes = [...entry].filter(([name]) => !ownFields.test(name));
  return {
    stream: textOf(entry, 'PRIORITY') === '3' ? 'stderr' : 'stdout',
    time:
      textOf(entry, 'SYSLOG_TIMESTAMP') ?? formatMicros(textOf(entry, '__REALTIME_TIMESTAMP') ?? '0000000'),
    data: isPart ? message : Buffer.concat([message, Buffer.from('\n')]),
    ...(attributes.length > 0 && {
      attributes: Object.fromEntries(attributes.map(([name, value]) => [name, value.toString()])),
    }),
  };
}

function argumentsFor(id: string, query: LogQuery, isFollowing: boolean): readonly string[] {
  const { tail, sinceMs } = query;
  return [
    ...['--output=export', '--all', '--quiet', '--no-pager'],
    ...(isFollowing ? ['--follow'] : []),
    ...(tail === undefined ? (isFollowing ? ['--no-tail'] : []) : [`--lines=${tail}`]),
    // Entries come there after the time of their lines; `tail` counts before this holds.
    ...(sinceMs === undefined || tail !== undefined ? [] : [`--since=@${Math.floor(sinceMs / 1000)}`]),
    `CONTAINER_ID_FULL=${id}`,
  ];
}

/** Entries that journalctl prints, until it ends or is ended by `signal`. Throws what it says where it fails. */
async function* journalEntries(
  args: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<JournalEntry, void, undefined> {
  const program = await findProgram('journalctl');
  if (program === undefined)
    throw new LinkspanError('notImplemented', 'configured logging driver does not support reading');
  const env = { PATH: systemPath(), LC_ALL: 'C' };
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
    signal,
    killSignal: 'SIGKILL',
  });
  // What ends it by `signal` is told as an error, too.
  child.on('error', () => {});
  const ended = once(child, 'close').catch(() => [1]);
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-1000);
  });
  try {
    const decoder = new JournalExport();
    for await (const chunk of child.stdout) yield* decoder.feed(chunk as Buffer);
    const [code] = (await ended) as readonly (number | null)[];
    if (code !== 0 && !signal.aborted)
      throw new LinkspanError('runtimeFailed', `error reading the journal: ${words.trim()}`);
  } finally {
    child.kill('SIGKILL');
  }
}

/** Whether `entry` is of the run that `live` writes, and was appended after its entry `ordinal`. */
function isAfter(entry: JournalEntry, live: JournalWriter, ordinal: number): boolean {
  const isOwn = textOf(entry, 'CONTAINER_LOG_EPOCH') === live.epoch;
  return isOwn && Number(textOf(entry, 'CONTAINER_LOG_ORDINAL')) > ordinal;
}

/**
 * The lines of the container with `id` that `query` wants, oldest first. With `isFollow` it goes on while `live`, the
 * writer of a process that runs, is open; without, it has what was appended before this call (with `tail`, the last of
 * what there is when it is read). Ends when `signal` fires. Throws notImplemented where there is no journalctl.
 */
export function readJournal(
  id: string,
  query: LogQuery,
  live: JournalWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  return query.isFollow && live !== undefined
    ? followJournal(id, query, live, signal)
    : readWritten(id, query, live, live?.queuedOrdinal ?? 0, signal);
}

async function* readWritten(
  id: string,
  query: LogQuery,
  live: JournalWriter | undefined,
  lastOrdinal: number,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  await live?.flush();
  if (query.tail === 0) return;
  for await (const entry of journalEntries(argumentsFor(id, query, false), signal)) {
    if (live !== undefined && query.tail === undefined && isAfter(entry, live, lastOrdinal)) return;
    const { record, isPast } = select(entry, query);
    if (isPast) return;
    if (record !== undefined) yield record;
  }
}

async function* followJournal(
  id: string,
  query: LogQuery,
  live: JournalWriter,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  await live.flush();
  let seen = query.tail === 0 ? live.ordinal : 0;
  const isComplete = (): boolean => !live.isOpen && seen >= live.ordinal;
  using end = new RunEnd();
  using _listener = live.events.on('closed', () => end.ended(isComplete()));
  if (!live.isOpen) end.ended(isComplete());
  const either = AbortSignal.any([signal, end.signal]);
  for await (const entry of journalEntries(argumentsFor(id, query, true), either)) {
    end.waits(false);
    const { record, isPast } = select(entry, query);
    if (isPast) return;
    if (record !== undefined) yield record;
    if (isAfter(entry, live, seen)) seen = Number(textOf(entry, 'CONTAINER_LOG_ORDINAL'));
    if (isComplete()) return;
    end.waits(true);
  }
}

/** The entry's record where `query` wants it, and whether it and all that follow are later than it wants. */
function select(
  entry: JournalEntry,
  query: LogQuery,
): { readonly record: LogRecord | undefined; readonly isPast: boolean } {
  const record = decodeEntry(entry);
  const timeMs = parseTimestamp(record?.time ?? '');
  const isWanted =
    record !== undefined && query[record.stream] && (query.sinceMs === undefined || timeMs >= query.sinceMs);
  return {
    record: isWanted ? record : undefined,
    isPast: query.untilMs !== undefined && timeMs > query.untilMs,
  };
}
