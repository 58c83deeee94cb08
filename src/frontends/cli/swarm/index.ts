/*
 * The `swarm` commands.
 */
import type { Command } from '../command.ts';
import { swarmInitCommand } from './init.ts';
import { swarmJoinCommand, swarmJoinTokenCommand, swarmLeaveCommand } from './join.ts';
import { swarmUnlockCommand, swarmUnlockKeyCommand } from './unlock.ts';
import { swarmCaCommand, swarmUpdateCommand } from './update.ts';

export const swarmCommands: readonly Command[] = [
  swarmCaCommand,
  swarmInitCommand,
  swarmJoinCommand,
  swarmJoinTokenCommand,
  swarmLeaveCommand,
  swarmUnlockCommand,
  swarmUnlockKeyCommand,
  swarmUpdateCommand,
];
