/*
 * `swarm init`.
 */
import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { checkedBy, type Flags, flag } from '../flags.ts';
import { programName } from '../help.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { getUnlockKey, printJoinCommand, printUnlockCommand } from './joinCommandText.ts';
import { addressesOf, addressFlags, mergeSpecFlags, parsePools, specFlags } from './specFlags.ts';

/** The specification that the flags are put on. */
const emptySpec = {
  Labels: null,
  Orchestration: {},
  Raft: { ElectionTick: 0, HeartbeatTick: 0 },
  Dispatcher: {},
  CAConfig: {},
  TaskDefaults: {},
  EncryptionConfig: { AutoLockManagers: false },
};

/** The body of POST /swarm/init. */
function initBody(flags: Flags): Record<string, unknown> {
  return {
    ...addressesOf(flags),
    DataPathPort: flags.number('data-path-port'),
    ForceNewCluster: flags.bool('force-new-cluster'),
    Spec: mergeSpecFlags(emptySpec, flags, ''),
    AutoLockManagers: flags.bool('autolock'),
    DefaultAddrPool: flags.list('default-addr-pool').flatMap(parsePools),
    SubnetSize: flags.number('default-addr-pool-mask-length'),
  };
}

async function init(client: ApiClient, flags: Flags): Promise<string> {
  const json = initBody(flags);
  try {
    return await client.json<string>('POST', '/swarm/init', { json });
  } catch (error) {
    const isUnsure =
      error instanceof CliError &&
      /could not choose an IP address to advertise|could not find the system's IP address/.test(
        error.message,
      );
    throw isUnsure ? new CliError(`${error.message} - specify one with --advertise-addr`) : error;
  }
}

export const swarmInitCommand: Command = {
  paths: ['swarm init'],
  summary: 'Initialize a swarm',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    ...addressFlags,
    ...specFlags,
    flag(
      '--autolock',
      'bool',
      'Enable manager autolocking (requiring an unlock key to start a stopped manager)',
    ),
    flag(
      '--data-path-port',
      'uint32',
      'Port number to use for data path traffic (1024 - 49151). If no value is set or is set to 0, the default port (4789) is used.',
    ),
    checkedBy(flag('--default-addr-pool', 'ipNetSlice', 'default address pool in CIDR format'), parsePools),
    flag('--default-addr-pool-mask-length', 'uint32', 'default address pool subnet mask length', '24'),
    flag('--force-new-cluster', 'bool', 'Force create a new cluster from current state'),
  ],
  examples: [
    ['On a machine with several addresses', 'swarm init --advertise-addr 192.0.2.11'],
    [
      'With subnets of your choice for overlay networks',
      'swarm init --default-addr-pool 10.20.0.0/16 --default-addr-pool-mask-length 26',
    ],
  ],
  run: async ({ flags, client, io }) => {
    const id = await init(client, flags);
    io.out(`Swarm initialized: current node (${id}) is now a manager.\n\n`);
    await printJoinCommand(io, client, id, 'worker');
    io.out(
      `To add a manager to this swarm, run '${programName} swarm join-token manager' and follow the instructions.\n`,
    );
    if (flags.bool('autolock')) printUnlockCommand(io, await getUnlockKey(client));
  },
};
