/*
 * `ps` and `container ls`.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { formatValue, type GoValue } from '../template/values.ts';
import { formatLocalTime } from '../text/goTime.ts';
import { ellipsis, formatLabels, formatListing, type Listing, usesField } from '../text/listing.ts';
import { formatDuration, formatSize } from '../text/units.ts';
import { formatPorts, type PortRow } from './ports.ts';

export interface ContainerRow {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly ImageID: string;
  readonly Command: string;
  readonly Created: number;
  readonly Ports: readonly PortRow[] | null;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly State: string;
  readonly Status: string;
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly NetworkSettings?: { readonly Networks: Readonly<Record<string, unknown>> | null };
  readonly Mounts?:
    | readonly { readonly Name?: string; readonly Source: string; readonly Driver?: string }[]
    | null;
  readonly ImageManifestDescriptor?: {
    readonly platform?: { readonly os: string; readonly architecture: string };
  };
}

function names(row: ContainerRow, isTruncated: boolean): string {
  const bare = row.Names.map((name) => name.replace(/^\//, ''));
  return (isTruncated ? bare.filter((name) => !name.includes('/')) : bare).join(',');
}

function truncateId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

function image(row: ContainerRow, isTruncated: boolean): string {
  if (row.Image === '') return '<no image>';
  if (!isTruncated) return row.Image;
  if (truncateId(row.ImageID) === truncateId(row.Image)) return truncateId(row.Image);
  const [name = '', digest] = row.Image.split('@');
  return digest === undefined ? row.Image : name;
}

function size(row: ContainerRow): string {
  const own = formatSize(row.SizeRw ?? 0, 3);
  return (row.SizeRootFs ?? 0) > 0 ? `${own} (virtual ${formatSize(row.SizeRootFs ?? 0, 3)})` : own;
}

function mounts(row: ContainerRow, isTruncated: boolean): string {
  const shown = (row.Mounts ?? []).map(({ Name, Source }) => Name || Source);
  return shown.map((name) => (isTruncated ? ellipsis(name, 15) : name)).join(',');
}

function platform(row: ContainerRow): GoValue {
  const known = row.ImageManifestDescriptor?.platform;
  return known === undefined ? null : new Map(Object.entries(known));
}

function quoteCommand(text: string, isTruncated: boolean): string {
  return JSON.stringify(isTruncated ? ellipsis(text, 20) : text);
}

export function containerListing(
  isTruncated: boolean,
  hasSize: boolean,
  nowMs: number,
): Listing<ContainerRow> {
  return {
    typeName: '*formatter.ContainerContext',
    errorPrefix: 'failed to execute template',
    table: `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}${hasSize ? '\t{{.Size}}' : ''}`,
    headers: {
      ID: 'CONTAINER ID',
      RunningFor: 'CREATED',
      CreatedAt: 'CREATED AT',
      LocalVolumes: 'LOCAL VOLUMES',
    },
    columns: {
      Command: (row) => quoteCommand(row.Command, isTruncated),
      CreatedAt: (row) => formatLocalTime(row.Created),
      ID: (row) => (isTruncated ? truncateId(row.Id) : row.Id),
      Image: (row) => image(row, isTruncated),
      Labels: (row) => formatLabels(row.Labels),
      LocalVolumes: (row) => String((row.Mounts ?? []).filter(({ Driver }) => Driver === 'local').length),
      Mounts: (row) => mounts(row, isTruncated),
      Names: (row) => names(row, isTruncated),
      Networks: (row) =>
        Object.keys(row.NetworkSettings?.Networks ?? {})
          .sort()
          .join(','),
      Platform: platform,
      Ports: (row) => formatPorts(row.Ports ?? []),
      RunningFor: (row) => `${formatDuration(nowMs / 1000 - row.Created)} ago`,
      Size: size,
      State: (row) => row.State,
      Status: (row) => row.Status,
    },
    methods: { Label: (row, name) => row.Labels?.[formatValue(name)] ?? '' },
  };
}

const sampleRow: ContainerRow = {
  Id: '',
  Names: [''],
  Image: '',
  ImageID: '',
  Command: '',
  Created: 0,
  Ports: [],
  Labels: {},
  State: '',
  Status: '',
};

/** Refuses a template with an unknown field before the daemon is asked, so that it fails without containers too. */
function checkFields(format: string): void {
  if (format === '') return;
  try {
    formatListing(containerListing(true, false, 0), [sampleRow], format);
  } catch (error) {
    if (error instanceof CliError && error.message.includes("can't evaluate field")) throw error;
  }
}

export const listCommand: Command = {
  paths: ['ps', 'container ls', 'container list', 'container ps'],
  summary: 'List containers',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-a, --all', 'bool', 'Show all containers (default shows just running)'),
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', tableFormatUsage),
    flag('-n, --last', 'int', 'Show n last created containers (includes all states)', '-1'),
    flag('-l, --latest', 'bool', 'Show the latest created container (includes all states)'),
    flag('--no-trunc', 'bool', "Don't truncate output"),
    flag('-q, --quiet', 'bool', 'Only display container IDs'),
    flag('-s, --size', 'bool', 'Display total file sizes'),
  ],
  examples: [
    ['Stopped ones too', 'ps -a'],
    ['The containers of a network', "ps --filter network=mynet --format '{{.Names}}'"],
  ],
  run: async ({ flags, client, io, config }) => {
    const format = listFormat({ flags, config }, 'psFormat');
    const isQuiet = flags.bool('quiet');
    if (isQuiet && flags.text('format') !== '')
      io.err('WARNING: Ignoring custom format, because both --format and --quiet are set.\n');
    const last = flags.bool('latest') && flags.number('last') === -1 ? 1 : flags.number('last');
    const hasSize = flags.bool('size') || (format !== '' && usesField(format, 'Size'));
    checkFields(format);
    const rows = await client.json<ContainerRow[]>('GET', '/containers/json', {
      query: {
        all: flags.bool('all') ? '1' : undefined,
        limit: last > 0 ? String(last) : undefined,
        size: hasSize ? '1' : undefined,
        filters: encodeFilters(flags.list('filter')),
      },
    });
    const chosen = isQuiet ? '{{.ID}}' : format;
    const shape = containerListing(!flags.bool('no-trunc'), flags.bool('size'), io.nowMs());
    io.out(formatListing(shape, rows, chosen));
  },
};
