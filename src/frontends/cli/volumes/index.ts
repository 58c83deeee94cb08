/*
 * The `volume` commands.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments, someArguments } from '../command.ts';
import { withPruneFilters } from '../configFile.ts';
import { confirm } from '../confirm.ts';
import { forEachName } from '../eachName.ts';
import { encodeFilters } from '../filters.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { type Pruned, prunedList } from '../pruned.ts';
import { flag } from '../flags.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { formatSize } from '../text/units.ts';
import { volumeListCommand } from './list.ts';

/** As Go leaves empty maps and texts out. */
function whenGiven(key: string, value: string | Readonly<Record<string, string>>): Record<string, unknown> {
  const isEmpty = typeof value === 'string' ? value === '' : Object.keys(value).length === 0;
  return isEmpty ? {} : { [key]: value };
}

const volumeCreateCommand: Command = {
  paths: ['volume create'],
  summary: 'Create a volume',
  usage: '[OPTIONS] [VOLUME]',
  arity: { type: 'atMost', count: 1 },
  flags: [
    flag('-d, --driver', 'string', 'Specify volume driver name', 'local'),
    flag('--label', 'list', 'Set metadata for a volume'),
    flag('-o, --opt', 'map', 'Set driver specific options'),
  ],
  examples: [
    ['A volume, and a container that has it', 'volume create data'],
    ['With a label', 'volume create --label stage=test data'],
  ],
  run: async ({ flags, args, client, io }) => {
    const json = {
      ...whenGiven('Driver', flags.text('driver')),
      ...whenGiven('DriverOpts', flags.map('opt')),
      ...whenGiven('Labels', flags.map('label')),
      ...whenGiven('Name', args[0] ?? ''),
    };
    const created = await client.json<{ Name: string }>('POST', '/volumes/create', { json });
    io.out(`${created.Name}\n`);
  },
};

const volumeInspectCommand: Command = {
  paths: ['volume inspect'],
  summary: 'Display detailed information on one or more volumes',
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  arity: someArguments,
  completes: 'volume',
  flags: [flag('-f, --format', 'string', formatUsage)],
  examples: [['Where its files are', "volume inspect -f '{{.Mountpoint}}' data"]],
  run: async ({ flags, args, client, io }) => {
    await inspectAll(io, args, flags.text('format'), (name) =>
      client.text('GET', `/volumes/${encodeURIComponent(name)}`),
    );
  },
};

const volumeRemoveCommand: Command = {
  paths: ['volume rm', 'volume remove'],
  summary: 'Remove one or more volumes',
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  arity: someArguments,
  completes: 'volume',
  flags: [flag('-f, --force', 'bool', 'Force the removal of one or more volumes')],
  examples: [['With all that is in it', 'volume rm data']],
  run: async ({ flags, args, client, io }) => {
    const query = { force: flags.bool('force') ? '1' : undefined };
    await forEachName(io, args, async (name) => {
      await client.text('DELETE', `/volumes/${encodeURIComponent(name)}`, { query });
      return name;
    });
  },
};

interface PruneReport {
  readonly VolumesDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
}

export async function pruneVolumes(client: ApiClient, filters: readonly string[]): Promise<Pruned> {
  const query = { filters: encodeFilters(filters) };
  const report = await client.json<PruneReport>('POST', '/volumes/prune', { query });
  return prunedList('Deleted Volumes', report.VolumesDeleted, report.SpaceReclaimed);
}

const volumePruneCommand: Command = {
  paths: ['volume prune'],
  summary: 'Remove unused local volumes',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-a, --all', 'bool', 'Remove all unused volumes, not just anonymous ones'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "label=<label>")'),
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
  ],
  examples: [['Named ones too, without asking', 'volume prune -af']],
  run: async ({ flags, client, io, config }) => {
    const filters = withPruneFilters(flags.list('filter'), config);
    const isAll = flags.bool('all');
    if (isAll && filters.some((filter) => filter.startsWith('all=')))
      throw new CliError('conflicting options: cannot specify both --all and --filter all=1');
    const kind = isAll ? 'all local volumes' : 'anonymous local volumes';
    const warning = `This will remove ${kind} not used by at least one container.`;
    if (!flags.bool('force') && !(await confirm(io, warning))) return;
    const pruned = await pruneVolumes(client, isAll ? [...filters, 'all=true'] : filters);
    io.out(`${pruned.text}Total reclaimed space: ${formatSize(pruned.reclaimedBytes)}\n`);
  },
};

export const volumeCommands: readonly Command[] = [
  volumeCreateCommand,
  volumeInspectCommand,
  volumeListCommand,
  volumePruneCommand,
  volumeRemoveCommand,
];
