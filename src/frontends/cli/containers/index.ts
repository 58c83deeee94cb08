/*
 * The container commands, and the small ones that only show something: inspect, top, port.
 */
import { CliError } from '../cliError.ts';
import { type Command, someArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { alignColumns } from '../text/columns.ts';
import { attachCommand, startCommand } from './attach.ts';
import { createCommand } from './create.ts';
import { execCommand } from './exec.ts';
import { lifecycleCommands } from './lifecycle.ts';
import { listCommand } from './list.ts';
import { logsCommand } from './logs.ts';
import { joinHostPort } from './ports.ts';
import { runCommand } from './run.ts';

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

type PortMap = Readonly<
  Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
>;

const portCommand: Command = {
  paths: ['port', 'container port'],
  summary: 'List port mappings or a specific mapping for the container',
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  arity: { type: 'between', low: 1, high: 2 },
  completes: 'container',
  flags: [],
  examples: [['Where port 80 can be reached', 'port web 80']],
  run: async ({ client, args, io }) => {
    const [name = '', wanted] = args;
    const path = `/containers/${encodeURIComponent(name)}/json`;
    const info = await client.json<{ NetworkSettings: { Ports: PortMap | null } }>('GET', path);
    const ports = info.NetworkSettings.Ports ?? {};
    if (wanted === undefined) {
      const lines = Object.entries(ports).flatMap(([inner, bindings]) =>
        (bindings ?? []).map(({ HostIp, HostPort }) => `${inner} -> ${joinHostPort(HostIp, HostPort)}\n`),
      );
      return io.out(lines.sort().join(''));
    }
    const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
    const bindings = ports[key];
    if (bindings === undefined || bindings === null)
      throw new CliError(`Error: No public port '${wanted}' published for ${name}`);
    io.out(bindings.map(({ HostIp, HostPort }) => `${joinHostPort(HostIp, HostPort)}\n`).join(''));
  },
};

export const containerCommands: readonly Command[] = [
  runCommand,
  execCommand,
  listCommand,
  attachCommand,
  createCommand,
  inspectCommand,
  logsCommand,
  portCommand,
  startCommand,
  topCommand,
  ...lifecycleCommands,
];
