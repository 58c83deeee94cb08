/*
 * The commands about the daemon as a whole.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { programName } from '../help.ts';
import { doctorCommand, firewallCommands } from './doctor.ts';
import { eventsCommand } from './events.ts';
import { infoCommand } from './info.ts';
import { inspectCommand } from './inspect.ts';
import { versionCommand } from './version.ts';

const systemPruneCommand: Command = {
  paths: ['system prune'],
  summary:
    'Remove unused data (not implemented yet: prune containers, networks, volumes and images one by one)',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-a, --all', 'bool', 'Remove all unused images not just dangling ones'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "label=<key>=<value>")'),
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
    flag('--volumes', 'bool', 'Prune anonymous volumes'),
  ],
  examples: [],
  run: async () => {
    const instead = ['container', 'network', 'volume', 'image'].map(
      (group) => `'${programName} ${group} prune'`,
    );
    return Promise.reject(
      new CliError(`${programName}: 'system prune' is not implemented yet; use ${instead.join(', ')}`),
    );
  },
};

export const systemCommands: readonly Command[] = [
  inspectCommand,
  infoCommand,
  versionCommand,
  eventsCommand,
  systemPruneCommand,
  doctorCommand,
  ...firewallCommands,
];
