/*
 * All commands, and the order and grouping in which help shows them.
 */
import type { Command, Group } from './command.ts';
import { containerCommands } from './containers/index.ts';
import { imageCommands } from './images/index.ts';
import { labCommands } from './lab/index.ts';
import { networkCommands } from './networks/index.ts';
import { nodeCommands } from './node/index.ts';
import { swarmCommands } from './swarm/index.ts';
import { completionCommand } from './system/completion.ts';
import { systemCommands } from './system/index.ts';
import { volumeCommands } from './volumes/index.ts';

export const groups: readonly Group[] = [
  { name: 'container', summary: 'Manage containers' },
  { name: 'firewall', summary: 'Look at the firewall rules of Linkspan' },
  { name: 'image', summary: 'Manage images' },
  { name: 'lab', summary: 'Try Linkspan on several hosts, made of namespaces of this machine' },
  { name: 'network', summary: 'Manage networks' },
  { name: 'node', summary: 'Manage Swarm nodes' },
  { name: 'swarm', summary: 'Manage Swarm' },
  { name: 'system', summary: 'Manage Linkspan' },
  { name: 'volume', summary: 'Manage volumes' },
];

/** Shown first in the program's help, in this order. */
export const commonPaths: readonly string[] = ['run', 'exec', 'ps', 'pull', 'images', 'version', 'info'];

export const commands: readonly Command[] = [
  ...containerCommands,
  ...imageCommands,
  ...labCommands,
  ...networkCommands,
  ...nodeCommands,
  ...swarmCommands,
  ...systemCommands,
  ...volumeCommands,
  completionCommand(() => commands),
];

/** Docker's commands that Linkspan does not have yet; named so that the refusal can say so. */
export const absentPaths: ReadonlySet<string> = new Set(
  'search builder checkpoint context manifest plugin trust config secret service stack'.split(' '),
);
