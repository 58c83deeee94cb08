/*
 * The commands about the daemon as a whole.
 */
import type { Command } from '../command.ts';
import { diskUsageCommand } from './diskUsage.ts';
import { doctorCommand, firewallCommands } from './doctor.ts';
import { eventsCommand } from './events.ts';
import { infoCommand } from './info.ts';
import { inspectCommand } from './inspect.ts';
import { systemPruneCommand } from './prune.ts';
import { versionCommand } from './version.ts';

export const systemCommands: readonly Command[] = [
  inspectCommand,
  infoCommand,
  versionCommand,
  eventsCommand,
  diskUsageCommand,
  systemPruneCommand,
  doctorCommand,
  ...firewallCommands,
];
