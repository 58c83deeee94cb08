/*
 * The container commands, and the small ones that only show something: inspect, top.
 */
import { type Command, someArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { alignColumns } from '../text/columns.ts';
import { attachCommand, startCommand } from './attach.ts';
import { copyCommand } from './copy.ts';
import { createCommand } from './create.ts';
import { execCommand } from './exec.ts';
import { fileCommands } from './files.ts';
import { lifecycleCommands } from './lifecycle.ts';
import { listCommand } from './list.ts';
import { logsCommand } from './logs.ts';
import { portCommands } from './port.ts';
import { runCommand } from './run.ts';
import { statsCommand } from './stats.ts';
import { updateCommand } from './update.ts';

const inspectCommand: Command = {
  paths: ['container inspect'],
  summary: 'Display detailed information on one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: [
    flag('-f, --format', 'string', formatUsage),
    flag('-s, --size', 'bool', 'Display total file sizes'),
  ],
  examples: [['The exit code', "container inspect -f '{{.State.ExitCode}}' job"]],
  run: async ({ client, flags, args, io }) => {
    const query = { size: flags.bool('size') ? '1' : undefined };
    await inspectAll(io, args, flags.text('format'), (name) =>
      client.text('GET', `/containers/${encodeURIComponent(name)}/json`, { query }),
    );
  },
};

const topCommand: Command = {
  paths: ['top', 'container top'],
  summary: 'Display the running processes of a container',
  usage: 'CONTAINER [ps OPTIONS]',
  arity: someArguments,
  stopsAtFirstArgument: true,
  completes: 'container',
  flags: [],
  examples: [['With your own columns', 'top web -o pid,args']],
  run: async ({ client, args, io }) => {
    const [name = '', ...psArgs] = args;
    const query = { ps_args: psArgs.length === 0 ? undefined : psArgs.join(' ') };
    const report = await client.json<{ Titles: string[]; Processes: string[][] | null }>(
      'GET',
      `/containers/${encodeURIComponent(name)}/top`,
      { query },
    );
    // Docker's table here is 20 wide where others are 10; the rest of the rules are the same.
    const rows = [report.Titles, ...(report.Processes ?? [])].map((row) => row.join('\t'));
    io.out(
      alignColumns(rows, 20, 3)
        .map((line) => `${line}\n`)
        .join(''),
    );
  },
};

export const containerCommands: readonly Command[] = [
  runCommand,
  execCommand,
  listCommand,
  attachCommand,
  copyCommand,
  createCommand,
  ...fileCommands,
  inspectCommand,
  logsCommand,
  ...portCommands,
  startCommand,
  statsCommand,
  topCommand,
  updateCommand,
  ...lifecycleCommands,
];
