/*
 * The image commands, and the small ones: inspect, tag, rmi, prune.
 */

import { CliError, isDaemonStatus, silentExit } from '../cliError.ts';
import { type Command, noArguments, someArguments, twoArguments } from '../command.ts';
import { withPruneFilters } from '../configFile.ts';
import { confirm } from '../confirm.ts';
import { encodeFilters } from '../filters.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { type Pruned, prunedList } from '../pruned.ts';
import { flag } from '../flags.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { formatSize } from '../text/units.ts';
import { buildCommand } from './build.ts';
import { historyCommand, imagesCommand } from './list.ts';
import { loginCommand, logoutCommand } from './login.ts';
import { platformQuery } from './platform.ts';
import { pullCommand } from './pull.ts';
import { pushCommand } from './push.ts';
import { parseReference, type Reference } from './reference.ts';
import { importCommand, loadCommand, saveCommand } from './transfer.ts';

interface Removed {
  readonly Untagged?: string;
  readonly Deleted?: string;
}

function removedLines(removed: readonly Removed[]): string {
  return removed
    .map(({ Untagged, Deleted }) =>
      Deleted === undefined ? `Untagged: ${Untagged ?? ''}\n` : `Deleted: ${Deleted}\n`,
    )
    .join('');
}

const inspectCommand: Command = {
  paths: ['image inspect'],
  summary: 'Display detailed information on one or more images',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  arity: someArguments,
  completes: 'image',
  flags: [
    flag('-f, --format', 'string', formatUsage),
    flag('--platform', 'string', 'Inspect a specific platform of the multi-platform image'),
  ],
  examples: [['Its command', "image inspect -f '{{.Config.Cmd}}' busybox"]],
  run: async ({ client, flags, args, io }) => {
    const query = { platform: platformQuery(flags.text('platform')) };
    await inspectAll(io, args, flags.text('format'), (name) =>
      client.text('GET', `/images/${encodeURIComponent(name)}/json`, { query }),
    );
  },
};

function parseTarget(text: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(
      `Error parsing reference: ${JSON.stringify(text)} is not a valid repository/tag: ${error.message}`,
    );
  }
}

const tagCommand: Command = {
  paths: ['tag', 'image tag'],
  summary: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE',
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  arity: twoArguments,
  completes: 'image',
  flags: [],
  examples: [['A second name', 'tag busybox:latest mine:1']],
  run: async ({ client, args }) => {
    const [source = '', target = ''] = args;
    const { name, tag, digest } = parseTarget(target);
    if (digest !== undefined) throw new CliError('refusing to create a tag with a digest reference');
    const query = { repo: name, tag: tag ?? 'latest' };
    await client.text('POST', `/images/${encodeURIComponent(source)}/tag`, { query });
  },
};

const removeCommand: Command = {
  paths: ['rmi', 'image rm', 'image remove'],
  summary: 'Remove one or more images',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  arity: someArguments,
  completes: 'image',
  flags: [
    flag('-f, --force', 'bool', 'Force removal of the image'),
    flag('--no-prune', 'bool', 'Do not delete untagged parents'),
    flag(
      '--platform',
      'strings',
      'Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    ),
  ],
  examples: [['One tag; the image goes with its last', 'rmi mine:1']],
  run: async ({ client, flags, args, io }) => {
    const query = {
      force: flags.bool('force') ? '1' : undefined,
      noprune: flags.bool('no-prune') ? '1' : undefined,
      platforms: flags.list('platform').flatMap((text) => platformQuery(text) ?? []),
    };
    const failures: CliError[] = [];
    for (const name of args) {
      try {
        io.out(
          removedLines(
            await client.json<Removed[]>('DELETE', `/images/${encodeURIComponent(name)}`, { query }),
          ),
        );
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        failures.push(error);
      }
    }
    if (failures.length === 0) return;
    io.err(`${failures.map(({ message }) => message).join('\n')}\n`);
    // With -f an image that is already gone is reported, but is no failure.
    if (!flags.bool('force') || !failures.every((error) => isDaemonStatus(error, 404))) throw silentExit(1);
  },
};

export async function pruneImages(
  client: ApiClient,
  filters: readonly string[],
  isAll: boolean,
): Promise<Pruned> {
  const query = { filters: encodeFilters([...filters, `dangling=${isAll ? 'false' : 'true'}`]) };
  const report = await client.json<{ ImagesDeleted: Removed[] | null; SpaceReclaimed: number }>(
    'POST',
    '/images/prune',
    { query },
  );
  const lines = (report.ImagesDeleted ?? []).map(({ Untagged, Deleted }) =>
    Deleted === undefined ? `untagged: ${Untagged ?? ''}` : `deleted: ${Deleted}`,
  );
  return prunedList('Deleted Images', lines, report.SpaceReclaimed);
}

const pruneCommand: Command = {
  paths: ['image prune'],
  summary: 'Remove unused images',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-a, --all', 'bool', 'Remove all unused images, not just dangling ones'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "until=<timestamp>")'),
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
  ],
  examples: [['All that no container uses, without asking', 'image prune -a -f']],
  run: async ({ client, flags, io, config }) => {
    const isAll = flags.bool('all');
    const warning = isAll
      ? 'This will remove all images without at least one container associated to them.'
      : 'This will remove all dangling images.';
    if (!flags.bool('force') && !(await confirm(io, warning))) return;
    const { text, reclaimedBytes } = await pruneImages(
      client,
      withPruneFilters(flags.list('filter'), config),
      isAll,
    );
    io.out(`${text}Total reclaimed space: ${formatSize(reclaimedBytes)}\n`);
  },
};

export const imageCommands: readonly Command[] = [
  buildCommand,
  imagesCommand,
  pullCommand,
  pushCommand,
  loginCommand,
  logoutCommand,
  importCommand,
  loadCommand,
  saveCommand,
  tagCommand,
  removeCommand,
  historyCommand,
  inspectCommand,
  pruneCommand,
];
