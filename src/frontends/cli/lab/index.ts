/*
 * The `lab` commands.
 */
import type { Command } from '../command.ts';
import { labHealCommand, labKillCommand, labPartitionCommand, labStartCommand } from './disturb.ts';
import { labDockerCommand, labExecCommand } from './exec.ts';
import { labListCommand } from './list.ts';
import { labDownCommand, labUpCommand } from './up.ts';

export const labCommands: readonly Command[] = [
  labDockerCommand,
  labDownCommand,
  labExecCommand,
  labHealCommand,
  labKillCommand,
  labListCommand,
  labPartitionCommand,
  labStartCommand,
  labUpCommand,
];
