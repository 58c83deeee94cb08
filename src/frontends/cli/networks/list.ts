/*
 * `network ls`.
 */
import { type Command, noArguments } from '../command.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { formatValue } from '../template/values.ts';
import { formatGoTime } from '../text/goTime.ts';
import { formatLabels, formatListing, type Listing } from '../text/listing.ts';

export interface NetworkRow {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Created: string;
  readonly EnableIPv4?: boolean;
  readonly EnableIPv6?: boolean;
  readonly Internal: boolean;
  readonly Labels: Readonly<Record<string, string>> | null;
}

/** What `--format` says in help wherever a table is the default. */
export const tableFormatUsage: string = [
  'Format output using a custom template:',
  "'table':            Print output in table format with column headers (default)",
  "'table TEMPLATE':   Print output in table format using the given Go template",
  "'json':             Print in JSON format",
  "'TEMPLATE':         Print output using the given Go template.",
  'Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates',
].join('\n');

function listing(isTruncated: boolean): Listing<NetworkRow> {
  return {
    typeName: '*network.networkContext',
    table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
    headers: { ID: 'NETWORK ID', CreatedAt: 'CREATED AT' },
    columns: {
      ID: (row) => (isTruncated ? row.Id.slice(0, 12) : row.Id),
      Name: (row) => row.Name,
      Driver: (row) => row.Driver,
      Scope: (row) => row.Scope,
      IPv4: (row) => String(row.EnableIPv4 ?? false),
      IPv6: (row) => String(row.EnableIPv6 ?? false),
      Internal: (row) => String(row.Internal),
      Labels: (row) => formatLabels(row.Labels),
      CreatedAt: (row) => formatGoTime(row.Created),
    },
    methods: { Label: (row, name) => row.Labels?.[formatValue(name)] ?? '' },
  };
}

/** Docker sorts names so that numbers in them count: n2 before n10. */
export function compareNatural(a: string, b: string): number {
  const parts = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x = '', y = ''] = [left[i], right[i]];
    if (x === y) continue;
    if (/^\d/.test(x) && /^\d/.test(y) && Number(x) !== Number(y)) return Number(x) - Number(y);
    return x < y ? -1 : 1;
  }
  return left.length - right.length;
}

export const networkListCommand: Command = {
  paths: ['network ls', 'network list'],
  summary: 'List networks',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-q, --quiet', 'bool', 'Only display network IDs'),
    flag('--no-trunc', 'bool', 'Do not truncate the output'),
    flag('--format', 'string', tableFormatUsage),
    flag('-f, --filter', 'filter', 'Provide filter values (e.g. "driver=bridge")'),
  ],
  examples: [
    ['Only the networks of one driver', 'network ls --filter driver=bridge'],
    ['Names and subnets for a script', "network ls --format '{{.Name}}: {{.Driver}}'"],
  ],
  run: async ({ flags, client, io, config }) => {
    const query = { filters: encodeFilters(flags.list('filter')) };
    const rows = await client.json<NetworkRow[]>('GET', '/networks', { query });
    rows.sort((a, b) => compareNatural(a.Name, b.Name));
    const chosen = listFormat({ flags, config }, 'networksFormat');
    const format = flags.bool('quiet') && chosen === '' ? '{{.ID}}' : chosen;
    io.out(formatListing(listing(!flags.bool('no-trunc')), rows, format));
  },
};
