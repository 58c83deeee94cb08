/*
 * `system prune`: the prunes of containers, networks, volumes, images and build cache, one after the other.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { withPruneFilters } from '../configFile.ts';
import { confirm } from '../confirm.ts';
import { pruneContainers } from '../containers/lifecycle.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { pruneImages } from '../images/index.ts';
import { pruneNetworks } from '../networks/index.ts';
import { type Pruned, prunedList } from '../pruned.ts';
import { formatSize } from '../text/units.ts';
import { pruneVolumes } from '../volumes/index.ts';

async function pruneBuildCache(
  client: ApiClient,
  filters: readonly string[],
  isAll: boolean,
): Promise<Pruned> {
  const query = { all: isAll ? '1' : undefined, filters: encodeFilters(filters) ?? '' };
  const report = await client.json<{ CachesDeleted: readonly string[] | null; SpaceReclaimed: number }>(
    'POST',
    '/build/prune',
    { query },
  );
  return prunedList('Deleted build cache objects', report.CachesDeleted, report.SpaceReclaimed);
}

function warningText(filters: readonly string[], isAll: boolean, hasVolumes: boolean): string {
  const kinds = [
    'all stopped containers',
    'all networks not used by at least one container',
    ...(hasVolumes ? ['all anonymous volumes not used by at least one container'] : []),
    isAll ? 'all images without at least one container associated to them' : 'all dangling images',
    isAll ? 'all build cache' : 'unused build cache',
  ];
  const lines = (items: readonly string[]): string => items.map((item) => `  - ${item}\n`).join('');
  const chosen =
    filters.length === 0 ? '' : `\n  Items to be pruned will be filtered with:\n${lines(filters)}`;
  return `This will remove:\n${lines(kinds)}${chosen}`;
}

export const systemPruneCommand: Command = {
  paths: ['system prune'],
  summary: 'Remove unused data',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-a, --all', 'bool', 'Remove all unused images not just dangling ones'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "label=<key>=<value>")'),
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
    flag('--volumes', 'bool', 'Prune anonymous volumes'),
  ],
  examples: [['All that nothing uses, without asking', 'system prune -a -f --volumes']],
  run: async ({ client, flags, io, config }) => {
    const filters = withPruneFilters(flags.list('filter'), config);
    const isAll = flags.bool('all');
    const hasVolumes = flags.bool('volumes');
    if (hasVolumes && filters.some((filter) => /^until=/i.test(filter)))
      throw new CliError('ERROR: The "until" filter is not supported with "--volumes"');
    if (!flags.bool('force') && !(await confirm(io, warningText(filters, isAll, hasVolumes)))) return;
    let reclaimedBytes = 0;
    for (const prune of [
      () => pruneContainers(client, filters),
      () => pruneNetworks(client, filters),
      ...(hasVolumes ? [() => pruneVolumes(client, filters)] : []),
      () => pruneImages(client, filters, isAll),
      () => pruneBuildCache(client, filters, isAll),
    ]) {
      const pruned = await prune();
      reclaimedBytes += pruned.reclaimedBytes;
      io.out(pruned.text);
    }
    io.out(`Total reclaimed space: ${formatSize(reclaimedBytes)}\n`);
  },
};
