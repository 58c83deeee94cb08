/*
 * `lab partition`, `lab heal`, `lab kill` and `lab start`: what goes wrong between hosts and on them, and its end.
 */
import { killDaemon, startDaemon } from '../../lab/labDaemon.ts';
import { getStation, type Station } from '../../lab/topology.ts';
import { heal, healAll, partition } from '../../lab/underlay.ts';
import { CliError } from '../cliError.ts';
import { type Command, type Invocation, oneArgument, twoArguments } from '../command.ts';
import { programName } from '../help.ts';
import { folderFlag, hostArgument, ownLab, type StandingLab } from './labCommand.ts';

function pairOf({ state }: StandingLab, { args }: Invocation): readonly [Station, Station] {
  const [a, b] = args.map((name) => getStation(state.topology, name));
  if (a === undefined || b === undefined)
    throw new CliError(
      `lab: a partition is between two hosts: '${programName} lab heal HOST HOST', or no name for all`,
    );
  if (a === b) throw new CliError(`lab: ${a.name} cannot be partitioned from itself`);
  return [a, b];
}

export const labPartitionCommand: Command = {
  paths: ['lab partition'],
  summary: 'Drop everything between two hosts of a LAN, or two sites, in both directions',
  usage: '[OPTIONS] HOST|SITE HOST|SITE',
  arity: twoArguments,
  completes: 'labHost',
  flags: [folderFlag],
  examples: [
    ['The manager loses a node', 'lab partition host1 host3'],
    ['The line between two sites breaks', 'lab partition A B'],
  ],
  run: async (invocation) => {
    const lab = ownLab(invocation);
    await partition(lab.folder, ...pairOf(lab, invocation));
  },
};

export const labHealCommand: Command = {
  paths: ['lab heal'],
  summary: 'Take back a partition, or all',
  usage: '[OPTIONS] [HOST|SITE HOST|SITE]',
  arity: { type: 'atMost', count: 2 },
  completes: 'labHost',
  flags: [folderFlag],
  examples: [],
  run: async (invocation) => {
    const lab = ownLab(invocation);
    if (invocation.args.length === 0) await healAll(lab.folder);
    else await heal(lab.folder, ...pairOf(lab, invocation));
  },
};

export const labKillCommand: Command = {
  paths: ['lab kill'],
  summary: 'Kill the daemon of a host (SIGKILL); its containers go on',
  usage: '[OPTIONS] HOST',
  arity: oneArgument,
  completes: 'labHost',
  flags: [folderFlag],
  examples: [],
  run: async (invocation) => {
    const lab = ownLab(invocation);
    await killDaemon(lab.folder, hostArgument(lab, invocation.args[0]));
  },
};

export const labStartCommand: Command = {
  paths: ['lab start'],
  summary: 'Start the daemon of a host again',
  usage: '[OPTIONS] HOST',
  arity: oneArgument,
  completes: 'labHost',
  flags: [folderFlag],
  examples: [],
  run: async (invocation) => {
    const lab = ownLab(invocation);
    await startDaemon(lab.folder, hostArgument(lab, invocation.args[0]), lab.state.cgroup);
  },
};
