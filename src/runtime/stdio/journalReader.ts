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
import type { LogQuery, LogRecord } from './stdio.ts';

/** How long the last entries of a run may take from the journal's socket to its files. */
const settleMs = 1000;

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

/** Fires when `signal` does, and when the journal should have all of a run that has ended. */
function endOf(live: JournalWriter | undefined, isComplete: () => boolean, signal: AbortSignal): AbortSignal {
  if (live === undefined) return signal;
  const end = new AbortController();
  void live.closed.then(() => {
    if (isComplete()) end.abort();
    else setTimeout(() => end.abort(), settleMs).unref();
  });
  return AbortSignal.any([signal, end.signal]);
}

/**
 * The lines of the container with `id` that `query` wants, oldest first. With `isFollow` it goes on while `live`, the
 * writer of a process that runs, is open; without, it has what was written until now. Ends when `signal` fires. Throws
 * notImplemented where there is no journalctl.
 */
export async function* readJournal(
  id: string,
  query: LogQuery,
  live: JournalWriter | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogRecord, void, undefined> {
  await live?.flush();
  const followed = query.isFollow ? live : undefined;
  if (followed === undefined && query.tail === 0) return;
  let seen = query.tail === 0 ? (followed?.ordinal ?? 0) : 0;
  const isComplete = (): boolean => followed?.isOpen === false && seen >= followed.ordinal;
  const end = endOf(followed, isComplete, signal);
  for await (const entry of journalEntries(argumentsFor(id, query, followed !== undefined), end)) {
    const record = decodeEntry(entry);
    const timeMs = parseTimestamp(record?.time ?? '');
    if (query.untilMs !== undefined && timeMs > query.untilMs) return;
    const isWanted = query.sinceMs === undefined || timeMs >= query.sinceMs;
    if (record !== undefined && isWanted && query[record.stream]) yield record;
    if (textOf(entry, 'CONTAINER_LOG_EPOCH') === followed?.epoch)
      seen = Number(textOf(entry, 'CONTAINER_LOG_ORDINAL'));
    if (isComplete()) return;
  }
}
