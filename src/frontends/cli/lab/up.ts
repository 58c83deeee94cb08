/*
 * `lab up` and `lab down`.
 */
import { downLab, upLab } from '../../lab/lab.ts';
import { addressOf, hostNames, mostHosts, planTopology } from '../../lab/topology.ts';
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { checkedBy, flag } from '../flags.ts';
import { programName } from '../help.ts';
import { folderFlag, folderOf } from './labCommand.ts';

function parseHostCount(text: string): number {
  const count = Number(text);
  if (count < 1 || count > mostHosts) throw new CliError(`a lab has 1 to ${mostHosts} hosts`);
  return count;
}

function parseManagerCount(text: string): number {
  const count = Number(text);
  if (count < 1) throw new CliError('a swarm has at least one manager');
  return count;
}

/** Aborts at the first signal that asks for the end, until disposed. */
function abortOnSignals(): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, abort);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, abort);
    },
  };
}

export const labUpCommand: Command = {
  paths: ['lab up'],
  summary: 'Make hosts with a daemon each, in namespaces of this machine, and a swarm of them',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    folderFlag,
    checkedBy(flag('--hosts', 'int', `How many hosts (1-${mostHosts})`, '3'), parseHostCount),
    checkedBy(
      flag('--managers', 'int', 'How many of them are managers of the swarm', '1'),
      parseManagerCount,
    ),
    flag('--no-swarm', 'bool', 'Do not make a swarm of the hosts'),
    flag('--cgroup-parent', 'string', 'Cgroup to make that of the lab in', '/'),
  ],
  examples: [
    ['Three hosts; then a command at one of them', 'lab up --hosts 3'],
    ['Five hosts, of which three are managers', 'lab up --hosts 5 --managers 3'],
    ['Two that know nothing of each other', 'lab up --hosts 2 --no-swarm'],
  ],
  run: async ({ flags, io }) => {
    const folder = folderOf(flags);
    const topology = planTopology(hostNames(flags.number('hosts')));
    const managers = flags.number('managers');
    if (managers > topology.hosts.length)
      throw new CliError(`${managers} managers need as many hosts: there are ${topology.hosts.length}`, 125);
    using interruption = abortOnSignals();
    const notice = await upLab(
      {
        folder,
        topology,
        cgroupParent: flags.text('cgroup-parent'),
        managers: flags.bool('no-swarm') ? 0 : managers,
        withImage: true,
      },
      interruption.signal,
    );
    for (const host of topology.hosts) io.out(`${host.name} ${addressOf(host)}\n`);
    if (notice !== undefined) io.err(`${notice}\n`);
    const where = flags.has('folder') ? ` --folder ${folder}` : '';
    io.out(
      `\nTry '${programName} lab docker${where} host1 ps'; '${programName} lab down${where}' removes it all.\n`,
    );
  },
};

export const labDownCommand: Command = {
  paths: ['lab down'],
  summary: 'Remove the hosts with all that runs on them, also those of an up that was cut short',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [folderFlag],
  examples: [],
  run: async ({ flags }) => {
    await downLab(folderOf(flags));
  },
};
