/*
 * Commands that change the state of containers that exist: stop, restart, kill, pause, unpause, wait, rm, rename.
 */
import { CliError, isDaemonStatus } from '../cliError.ts';
import { type Command, noArguments, someArguments, twoArguments } from '../command.ts';
import { withPruneFilters } from '../configFile.ts';
import { confirm } from '../confirm.ts';
import { forEachName } from '../eachName.ts';
import { encodeFilters } from '../filters.ts';
import { type Pruned, prunedList } from '../pruned.ts';
import { type FlagSpec, flag, flagAlias } from '../flags.ts';
import type { ApiClient, Query } from '../http/apiClient.ts';
import { formatSize } from '../text/units.ts';
import { watchExit } from './exitStatus.ts';

async function post(client: ApiClient, name: string, verb: string, query: Query = {}): Promise<string> {
  await client.text('POST', `/containers/${encodeURIComponent(name)}/${verb}`, { query });
  return name;
}

const timeoutFlag = flag('-t, --timeout', 'int', 'Seconds to wait before killing the container');
const signalFlag = flag('-s, --signal', 'string', 'Signal to send to the container');
const stopFlags: readonly FlagSpec[] = [signalFlag, timeoutFlag, flagAlias('time', timeoutFlag)];

function stopLike(verb: 'stop' | 'restart', summary: string, example: readonly [string, string]): Command {
  return {
    paths: [verb, `container ${verb}`],
    summary,
    usage: '[OPTIONS] CONTAINER [CONTAINER...]',
    arity: someArguments,
    completes: 'container',
    flags: stopFlags,
    examples: [example],
    run: async ({ client, flags, args, io }) => {
      const query = {
        t: flags.has('timeout') ? flags.text('timeout') : undefined,
        signal: flags.text('signal') || undefined,
      };
      await forEachName(io, args, (name) => post(client, name, verb, query));
    },
  };
}

const stopCommand = stopLike('stop', 'Stop one or more running containers', [
  'Give it two seconds',
  'stop -t 2 web',
]);
const restartCommand = stopLike('restart', 'Restart one or more containers', ['At once', 'restart -t 0 web']);

const killCommand: Command = {
  paths: ['kill', 'container kill'],
  summary: 'Kill one or more running containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: [signalFlag],
  examples: [['Ask a server to read its configuration again', 'kill -s HUP web']],
  run: async ({ client, flags, args, io }) => {
    const query = { signal: flags.text('signal') || undefined };
    await forEachName(io, args, (name) => post(client, name, 'kill', query));
  },
};

function pauseLike(verb: 'pause' | 'unpause', summary: string): Command {
  return {
    paths: [verb, `container ${verb}`],
    summary,
    usage: 'CONTAINER [CONTAINER...]',
    arity: someArguments,
    completes: 'container',
    flags: [],
    examples: [['By name', `${verb} web`]],
    run: async ({ client, args, io }) => forEachName(io, args, (name) => post(client, name, verb)),
  };
}

const waitCommand: Command = {
  paths: ['wait', 'container wait'],
  summary: 'Block until one or more containers stop, then print their exit codes',
  usage: 'CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: [],
  examples: [['The exit code of a job', 'wait job']],
  run: async ({ client, args, io }) => {
    await forEachName(io, args, async (name) =>
      String(await (await watchExit(client, name, 'not-running'))()),
    );
  },
};

const removeCommand: Command = {
  paths: ['rm', 'container rm', 'container remove'],
  summary: 'Remove one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: [
    flag('-f, --force', 'bool', 'Force the removal of a running container (uses SIGKILL)'),
    flag('-l, --link', 'bool', 'Remove the specified link'),
    flag('-v, --volumes', 'bool', 'Remove anonymous volumes associated with the container'),
  ],
  examples: [['Even if it runs', 'rm -f web']],
  run: async ({ client, flags, args, io }) => {
    const query = {
      force: flags.bool('force') ? '1' : undefined,
      link: flags.bool('link') ? '1' : undefined,
      v: flags.bool('volumes') ? '1' : undefined,
    };
    await forEachName(io, args, async (raw) => {
      const name = raw.replace(/^\/+|\/+$/g, '');
      if (name === '') throw new CliError('Container name cannot be empty');
      try {
        await client.text('DELETE', `/containers/${encodeURIComponent(name)}`, { query });
      } catch (error) {
        if (!flags.bool('force') || !isDaemonStatus(error, 404)) throw error;
        io.err(`${error.message}\n`);
        return undefined;
      }
      return raw;
    });
  },
};

const renameCommand: Command = {
  paths: ['rename', 'container rename'],
  summary: 'Rename a container',
  usage: 'CONTAINER NEW_NAME',
  arity: twoArguments,
  completes: 'container',
  flags: [],
  examples: [['A new name', 'rename web www']],
  run: async ({ client, args }) => {
    const [from = '', to = ''] = args;
    if (from.trim() === '' || to.trim() === '') throw new CliError('neither old nor new names may be empty');
    await post(client, from, 'rename', { name: to });
  },
};

interface PruneReport {
  readonly ContainersDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
}

export async function pruneContainers(client: ApiClient, filters: readonly string[]): Promise<Pruned> {
  const query = { filters: encodeFilters(filters) };
  const report = await client.json<PruneReport>('POST', '/containers/prune', { query });
  return prunedList('Deleted Containers', report.ContainersDeleted, report.SpaceReclaimed);
}

const pruneCommand: Command = {
  paths: ['container prune'],
  summary: 'Remove all stopped containers',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "until=<timestamp>")'),
  ],
  examples: [['Without asking', 'container prune -f']],
  run: async ({ client, flags, io, config }) => {
    if (!flags.bool('force') && !(await confirm(io, 'This will remove all stopped containers.'))) return;
    const filters = withPruneFilters(flags.list('filter'), config);
    const { text, reclaimedBytes } = await pruneContainers(client, filters);
    io.out(`${text}Total reclaimed space: ${formatSize(reclaimedBytes)}\n`);
  },
};

export const lifecycleCommands: readonly Command[] = [
  stopCommand,
  restartCommand,
  killCommand,
  pauseLike('pause', 'Pause all processes within one or more containers'),
  pauseLike('unpause', 'Unpause all processes within one or more containers'),
  waitCommand,
  removeCommand,
  renameCommand,
  pruneCommand,
];
