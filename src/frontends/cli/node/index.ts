/*
 * The `node` commands.
 */
import { CliError } from '../cliError.ts';
import { type Command, someArguments } from '../command.ts';
import { forEachName } from '../eachName.ts';
import { flag } from '../flags.ts';
import { programName } from '../help.ts';
import { nodePath } from '../swarm/swarmApi.ts';
import { nodeInspectCommand } from './inspect.ts';
import { nodeListCommand } from './list.ts';
import { nodePathsCommand, nodeRotateKeyCommand } from './paths.ts';
import { nodeDemoteCommand, nodePromoteCommand, nodeUpdateCommand } from './update.ts';

const nodeRemoveCommand: Command = {
  paths: ['node rm', 'node remove'],
  summary: 'Remove one or more nodes from the swarm',
  usage: '[OPTIONS] NODE [NODE...]',
  arity: someArguments,
  completes: 'node',
  flags: [flag('-f, --force', 'bool', 'Force remove a node from the swarm')],
  examples: [['One that is down and will not come back', 'node rm host3']],
  run: async ({ flags, args, client, io }) => {
    const query = { force: flags.bool('force') ? '1' : undefined };
    await forEachName(io, args, async (ref) => {
      await client.text('DELETE', nodePath(ref), { query });
      return ref;
    });
  },
};

const nodeTasksCommand: Command = {
  paths: ['node ps'],
  summary: 'List tasks running on one or more nodes (not implemented yet: there are no services)',
  usage: '[OPTIONS] [NODE...]',
  arity: { type: 'atLeast', count: 0 },
  completes: 'node',
  flags: [
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', 'Pretty-print tasks using a Go template'),
    flag('--no-resolve', 'bool', 'Do not map IDs to Names'),
    flag('--no-trunc', 'bool', 'Do not truncate output'),
    flag('-q, --quiet', 'bool', 'Only display task IDs'),
  ],
  examples: [],
  run: async () =>
    Promise.reject(
      new CliError(
        `${programName}: 'node ps' is not implemented yet: tasks belong to services, which are not supported`,
      ),
    ),
};

export const nodeCommands: readonly Command[] = [
  nodeDemoteCommand,
  nodeInspectCommand,
  nodeListCommand,
  nodePathsCommand,
  nodePromoteCommand,
  nodeRemoveCommand,
  nodeRotateKeyCommand,
  nodeTasksCommand,
  nodeUpdateCommand,
];
