/*
 * `swarm join`, `swarm join-token` and `swarm leave`.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments, oneArgument } from '../command.ts';
import { flag } from '../flags.ts';
import { type JoinRole, printJoinCommand } from './joinCommandText.ts';
import { addressesOf, addressFlags } from './specFlags.ts';
import { getInfo, getSwarm, updateSwarm } from './swarmApi.ts';

export const swarmJoinCommand: Command = {
  paths: ['swarm join'],
  summary: 'Join a swarm as a node and/or manager',
  usage: '[OPTIONS] HOST:PORT',
  arity: oneArgument,
  flags: [...addressFlags, flag('--token', 'string', 'Token for entry into the swarm')],
  examples: [['As the token says, a worker or a manager', 'swarm join --token SWMTKN-1-… 192.0.2.11:2377']],
  run: async ({ flags, args, client, io }) => {
    const json = { ...addressesOf(flags), RemoteAddrs: args, JoinToken: flags.text('token') };
    await client.text('POST', '/swarm/join', { json });
    const { Swarm } = await getInfo(client);
    io.out(`This node joined a swarm as a ${Swarm?.ControlAvailable === true ? 'manager' : 'worker'}.\n`);
  },
};

function toRole(word: string): JoinRole {
  if (word === 'worker' || word === 'manager') return word;
  throw new CliError(`unknown role ${word}`);
}

export const swarmJoinTokenCommand: Command = {
  paths: ['swarm join-token'],
  summary: 'Manage join tokens',
  usage: '[OPTIONS] (worker|manager)',
  arity: oneArgument,
  flags: [flag('-q, --quiet', 'bool', 'Only display token'), flag('--rotate', 'bool', 'Rotate join token')],
  examples: [
    ['How another machine joins', 'swarm join-token worker'],
    ['A new token; the old one lets nobody in any more', 'swarm join-token --rotate worker'],
  ],
  run: async ({ flags, args, client, io }) => {
    const role = toRole(args[0] ?? '');
    const isQuiet = flags.bool('quiet');
    if (flags.bool('rotate')) {
      const before = await getSwarm(client);
      await updateSwarm(client, before, before.Spec, { [role]: true });
      if (!isQuiet) io.out(`Successfully rotated ${role} join token.\n\n`);
    }
    const { JoinTokens } = await getSwarm(client);
    if (isQuiet) return io.out(`${role === 'worker' ? JoinTokens.Worker : JoinTokens.Manager}\n`);
    const { Swarm } = await getInfo(client);
    await printJoinCommand(io, client, Swarm?.NodeID ?? '', role);
  },
};

export const swarmLeaveCommand: Command = {
  paths: ['swarm leave'],
  summary: 'Leave the swarm',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [flag('-f, --force', 'bool', 'Force this node to leave the swarm, ignoring warnings')],
  examples: [['Also as the last manager, which ends the swarm', 'swarm leave --force']],
  run: async ({ flags, client, io }) => {
    const query = { force: flags.bool('force') ? '1' : undefined };
    await client.text('POST', '/swarm/leave', { query });
    io.out('Node left the swarm.\n');
  },
};
