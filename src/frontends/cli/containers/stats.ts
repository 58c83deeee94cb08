/*
 * `stats`: what containers use, once or as a table that renews itself. A container has one row; its connection brings a
 * report each second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, silentExit } from '../cliError.ts';
import type { Command, Invocation } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { jsonTexts } from '../http/jsonLines.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { formatListing, type Listing } from '../text/listing.ts';
import { formatBinarySize, formatSize } from '../text/units.ts';

interface CpuReport {
  readonly cpu_usage: { readonly total_usage: number; readonly percpu_usage?: readonly number[] | null };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
}

/** The fields of API 1.50 that the table shows. */
export interface StatsReport {
  readonly name: string;
  readonly id: string;
  readonly cpu_stats: CpuReport;
  readonly precpu_stats: CpuReport;
  readonly memory_stats: {
    readonly usage?: number;
    readonly limit?: number;
    readonly stats?: Readonly<Record<string, number>>;
  };
  readonly pids_stats: { readonly current?: number };
  readonly blkio_stats: {
    readonly io_service_bytes_recursive: readonly { readonly op: string; readonly value: number }[] | null;
  };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
}

interface Row {
  /** As the user called it. */
  readonly container: string;
  report?: StatsReport;
  error?: CliError;
  isOver: boolean;
}

const refreshMs = 500;
const unknown = '--';

/** Of all processors together, so that two busy ones are 200. */
function cpuPercent({ cpu_stats: now, precpu_stats: before }: StatsReport): number {
  const used = now.cpu_usage.total_usage - before.cpu_usage.total_usage;
  const passed = (now.system_cpu_usage ?? 0) - (before.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || (now.cpu_usage.percpu_usage ?? []).length;
  return passed > 0 && used > 0 ? (used / passed) * cpus * 100 : 0;
}

/** Without what the kernel would give up at once. */
function memoryUsed({ memory_stats: { usage = 0, stats = {} } }: StatsReport): number {
  const cache = stats['total_inactive_file'] ?? stats['inactive_file'] ?? 0;
  return cache < usage ? usage - cache : usage;
}

function memoryPercent(report: StatsReport): number {
  const limit = report.memory_stats.limit ?? 0;
  return limit === 0 ? 0 : (memoryUsed(report) / limit) * 100;
}

function blockBytes({ blkio_stats }: StatsReport, letter: 'r' | 'w'): number {
  return (blkio_stats.io_service_bytes_recursive ?? [])
    .filter(({ op }) => op.charAt(0).toLowerCase() === letter)
    .reduce((sum, { value }) => sum + value, 0);
}

function networkBytes({ networks = {} }: StatsReport, key: 'rx_bytes' | 'tx_bytes'): number {
  return Object.values(networks).reduce((sum, counters) => sum + counters[key], 0);
}

function listing(isTruncated: boolean): Listing<Row> {
  const shown =
    (format: (report: StatsReport) => string, none = unknown) =>
    ({ report, error }: Row): string =>
      report === undefined || error !== undefined ? none : format(report);
  const pair = (one: number, other: number): string => `${formatSize(one, 3)} / ${formatSize(other, 3)}`;
  return {
    typeName: '*container.statsContext',
    table:
      '{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}',
    headers: {
      ID: 'CONTAINER ID',
      CPUPerc: 'CPU %',
      MemUsage: 'MEM USAGE / LIMIT',
      MemPerc: 'MEM %',
      NetIO: 'NET I/O',
      BlockIO: 'BLOCK I/O',
      PIDs: 'PIDS',
    },
    columns: {
      BlockIO: shown((report) => pair(blockBytes(report, 'r'), blockBytes(report, 'w'))),
      CPUPerc: shown((report) => `${cpuPercent(report).toFixed(2)}%`),
      Container: ({ container }) => container,
      ID: shown(({ id }) => (isTruncated ? id.slice(0, 12) : id)),
      MemPerc: shown((report) => `${memoryPercent(report).toFixed(2)}%`),
      MemUsage: shown(
        (report) =>
          `${formatBinarySize(memoryUsed(report))} / ${formatBinarySize(report.memory_stats.limit ?? 0)}`,
        `${unknown} / ${unknown}`,
      ),
      Name: shown(({ name }) => name.replace(/^\//, '')),
      NetIO: shown((report) => pair(networkBytes(report, 'rx_bytes'), networkBytes(report, 'tx_bytes'))),
      PIDs: shown((report) => String(report.pids_stats.current ?? 0)),
    },
  };
}

/** Fills the row until its connection ends. Does not reject. */
async function follow(client: ApiClient, row: Row, isStream: boolean, onFirst: () => void): Promise<void> {
  try {
    const path = `/containers/${encodeURIComponent(row.container)}/stats`;
    const { body } = await client.request('GET', path, { query: { stream: isStream ? '1' : '0' } });
    for await (const text of jsonTexts(body)) {
      row.report = JSON.parse(text) as StatsReport;
      onFirst();
    }
  } catch (error) {
    row.error = error instanceof CliError ? error : new CliError(String(error));
  }
  row.isOver = true;
  onFirst();
}

class Table {
  readonly rows = new Map<string, Row>();
  readonly #client: ApiClient;
  readonly #isStream: boolean;

  constructor(client: ApiClient, isStream: boolean) {
    this.#client = client;
    this.#isStream = isStream;
  }

  /** Resolves with its first report, or once there will be none. */
  add(container: string): Promise<void> {
    if (this.rows.has(container)) return Promise.resolve();
    const row: Row = { container, isOver: false };
    this.rows.set(container, row);
    const first = Promise.withResolvers<void>();
    void follow(this.#client, row, this.#isStream, () => first.resolve());
    return first.promise;
  }
}

interface ContainerEvent {
  readonly Action: string;
  readonly Actor: { readonly ID: string };
}

/** Rows come and go with the containers. Ends with the daemon. */
async function followEvents(client: ApiClient, table: Table, isAll: boolean): Promise<void> {
  const filters = encodeFilters(['type=container']);
  const { body } = await client.request('GET', '/events', { query: { filters } });
  for await (const text of jsonTexts(body)) {
    const { Action: action, Actor: actor } = JSON.parse(text) as ContainerEvent;
    if (action === (isAll ? 'create' : 'start')) void table.add(actor.ID.slice(0, 12));
    if (action === 'destroy' || (action === 'die' && !isAll)) table.rows.delete(actor.ID.slice(0, 12));
  }
}

async function addAll(client: ApiClient, table: Table, isAll: boolean): Promise<void> {
  const query = { all: isAll ? '1' : undefined };
  const found = await client.json<{ readonly Id: string }[]>('GET', '/containers/json', { query });
  await Promise.all(found.map(({ Id }) => table.add(Id.slice(0, 12))));
}

/** The table over the one before: from the top of the screen, the rest of each line and of the screen erased. */
function redraw(text: string): string {
  const lines = text.split('\n').map((line) => `${line} \x1b[K\n`);
  return `\x1b[H${lines.join('')}\x1b[J`;
}

async function run({ client, flags, args, io, config }: Invocation): Promise<void> {
  const isStream = !flags.bool('no-stream');
  const isAll = flags.bool('all');
  const format = listFormat({ flags, config }, 'statsFormat');
  const shape = listing(!flags.bool('no-trunc'));
  const table = new Table(client, isStream);
  const text = (): string => formatListing(shape, [...table.rows.values()], format);
  let isDaemonGone = false;
  if (args.length > 0) {
    await Promise.all(args.map((name) => table.add(name)));
    const errors = [...table.rows.values()].flatMap(({ error }) => error ?? []);
    if (errors.length > 0) {
      io.err(`${errors.map(({ message }) => message).join('\n')}\n`);
      throw silentExit(1);
    }
  } else {
    const end = (): void => void (isDaemonGone = true);
    if (isStream) void followEvents(client, table, isAll).then(end, end);
    await addAll(client, table, isAll);
  }
  if (!isStream) return io.out(text());
  const isLive = (): boolean =>
    args.length === 0 ? !isDaemonGone : [...table.rows.values()].some(({ isOver }) => !isOver);
  do {
    io.out(redraw(text()));
    await sleep(refreshMs);
  } while (isLive());
}

export const statsCommand: Command = {
  paths: ['stats', 'container stats'],
  summary: 'Display a live stream of container(s) resource usage statistics',
  usage: '[OPTIONS] [CONTAINER...]',
  arity: { type: 'atLeast', count: 0 },
  completes: 'container',
  flags: [
    flag('-a, --all', 'bool', 'Show all containers (default shows just running)'),
    flag('--format', 'string', tableFormatUsage),
    flag('--no-stream', 'bool', 'Disable streaming stats and only pull the first result'),
    flag('--no-trunc', 'bool', 'Do not truncate output'),
  ],
  examples: [['Once, of all that run', "stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}}'"]],
  run,
};
