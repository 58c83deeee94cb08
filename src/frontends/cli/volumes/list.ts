/*
 * `volume ls`.
 */
import { type Command, noArguments } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { compareNatural, tableFormatUsage } from '../networks/list.ts';
import { formatValue } from '../template/values.ts';
import { formatLabels, formatListing, type Listing } from '../text/listing.ts';
import { formatSize } from '../text/units.ts';

export interface VolumeRow {
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Mountpoint: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  /** From `system df` only; -1 = not known. */
  readonly UsageData?: { readonly RefCount: number; readonly Size: number };
}

/** Columns that only volumes of a cluster have a value for. */
const notKnown = (): string => 'N/A';

export const volumeListing: Listing<VolumeRow> = {
  typeName: '*formatter.volumeContext',
  table: '{{.Driver}}\t{{.Name}}',
  headers: { Name: 'VOLUME NAME' },
  columns: {
    Availability: notKnown,
    Driver: (row) => row.Driver,
    Group: notKnown,
    Labels: (row) => formatLabels(row.Labels),
    Links: ({ UsageData }) => (UsageData === undefined ? 'N/A' : String(UsageData.RefCount)),
    Mountpoint: (row) => row.Mountpoint,
    Name: (row) => row.Name,
    Scope: (row) => row.Scope,
    Size: ({ UsageData }) => (UsageData === undefined ? 'N/A' : formatSize(UsageData.Size)),
    Status: notKnown,
  },
  methods: { Label: (row, name) => row.Labels?.[formatValue(name)] ?? '' },
};

export const volumeListCommand: Command = {
  paths: ['volume ls', 'volume list'],
  summary: 'List volumes',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-q, --quiet', 'bool', 'Only display volume names'),
    flag('--format', 'string', tableFormatUsage),
    flag('-f, --filter', 'filter', 'Provide filter values (e.g. "dangling=true")'),
  ],
  examples: [['Those that no container has', 'volume ls --filter dangling=true']],
  run: async ({ flags, client, io, config }) => {
    const query = { filters: encodeFilters(flags.list('filter')) };
    const { Volumes } = await client.json<{ Volumes: VolumeRow[] | null }>('GET', '/volumes', { query });
    const rows = (Volumes ?? []).sort((a, b) => compareNatural(a.Name, b.Name));
    const chosen = listFormat({ flags, config }, 'volumesFormat');
    const format = flags.bool('quiet') && chosen === '' ? '{{.Name}}' : chosen;
    io.out(formatListing(volumeListing, rows, format));
  },
};
