/*
 * The `node` commands.
 */
import { type Command, someArguments } from '../command.ts';
import { forEachName } from '../eachName.ts';
import { flag } from '../flags.ts';
import { nodePath } from '../swarm/swarmApi.ts';
import { nodeInspectCommand } from './inspect.ts';
import { nodeListCommand } from './list.ts';
import { nodePathsCommand, nodeRotateKeyCommand } from './paths.ts';
import { nodeTasksCommand } from './tasks.ts';
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
