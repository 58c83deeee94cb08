/*
 * `lab up` and `lab down`.
 */
import { downLab, upLab } from '../../lab/lab.ts';
import { parseNat, parseSite, parseSites, planSites } from '../../lab/sites.ts';
import {
  addressOf,
  hostNames,
  isReachable,
  mostHosts,
  planTopology,
  type Topology,
} from '../../lab/topology.ts';
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { checkedBy, type Flags, flag } from '../flags.ts';
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

function topologyOf(flags: Flags): Topology {
  if (!flags.has('site')) {
    if (flags.has('nat')) throw new CliError('lab: --nat needs sites: say them with --site NAME=HOSTS', 125);
    return planTopology(hostNames(flags.number('hosts')));
  }
  if (flags.has('hosts'))
    throw new CliError('lab: --hosts and --site exclude each other: each site has its own number', 125);
  return planSites(parseSites(flags.list('site'), flags.list('nat')));
}

/** Throws if there are not as many hosts as managers that all others reach. */
function managersOf(flags: Flags, topology: Topology): number {
  const managers = flags.number('managers');
  const reachable = topology.hosts.filter((host) => isReachable(topology, host)).length;
  if (managers > reachable) {
    const which = reachable === topology.hosts.length ? '' : ' that are not behind NAT';
    throw new CliError(`${managers} managers need as many hosts${which}: there are ${reachable}`, 125);
  }
  return flags.bool('no-swarm') ? 0 : managers;
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
      flag('--site', 'list', 'A site with a LAN of its own, and how many hosts: NAME=HOSTS'),
      parseSite,
    ),
    checkedBy(
      flag('--nat', 'list', 'A site behind NAT: NAME, or NAME=symmetric (ports change with the destination)'),
      parseNat,
    ),
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
    ['Two sites, one of them behind a NAT', 'lab up --site A=2 --site B=2 --nat B'],
    ['Two that know nothing of each other', 'lab up --hosts 2 --no-swarm'],
  ],
  run: async ({ flags, io }) => {
    const folder = folderOf(flags);
    const topology = topologyOf(flags);
    const managers = managersOf(flags, topology);
    using interruption = abortOnSignals();
    const notice = await upLab(
      {
        folder,
        topology,
        cgroupParent: flags.text('cgroup-parent'),
        managers,
        withImage: true,
      },
      interruption.signal,
    );
    for (const host of topology.hosts) io.out(`${host.name} ${addressOf(host)}\n`);
    if (notice !== undefined) io.err(`${notice}\n`);
    const where = flags.has('folder') ? ` --folder ${folder}` : '';
    io.out(
      `\nTry '${programName} lab docker${where} ${topology.hosts[0]?.name} ps'; '${programName} lab down${where}' removes it all.\n`,
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
