/*
 * The texts that several swarm commands print: how to join, and how to unlock.
 */
import { CliError, DaemonError } from '../cliError.ts';
import { programName } from '../help.ts';
import type { ApiClient } from '../http/apiClient.ts';
import type { Io } from '../io.ts';
import { getSwarm, type NodeAnswer, nodePath } from './swarmApi.ts';

export type JoinRole = 'worker' | 'manager';

/** The line that lets another machine join through the manager `nodeId`; nothing where that is no manager. */
export async function printJoinCommand(
  io: Io,
  client: ApiClient,
  nodeId: string,
  role: JoinRole,
): Promise<void> {
  const node = await client.json<NodeAnswer>('GET', nodePath(nodeId));
  const { JoinTokens } = await getSwarm(client);
  if (node.ManagerStatus === undefined) return;
  const token = role === 'worker' ? JoinTokens.Worker : JoinTokens.Manager;
  io.out(
    `To add a ${role} to this swarm, run the following command:\n\n` +
      `    ${programName} swarm join --token ${token} ${node.ManagerStatus.Addr ?? ''}\n\n`,
  );
}

export async function getUnlockKey(client: ApiClient): Promise<string> {
  try {
    const { UnlockKey = '' } = await client.json<{ UnlockKey?: string }>('GET', '/swarm/unlockkey');
    return UnlockKey;
  } catch (error) {
    throw error instanceof DaemonError ? new CliError(`could not fetch unlock key: ${error.message}`) : error;
  }
}

export function printUnlockCommand(io: Io, key: string): void {
  if (key === '') return;
  io.out(
    `To unlock a swarm manager after it restarts, run the \`${programName} swarm unlock\`\n` +
      `command and provide the following key:\n\n    ${key}\n\n` +
      'Remember to store this key in a password manager, since without it you\n' +
      'will not be able to restart the manager.\n',
  );
}
