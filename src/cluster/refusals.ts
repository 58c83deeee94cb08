/*
 * What Docker says where a node is not what a command needs (Engine 28, daemon/cluster/errors.go).
 */
export const refusals = {
  noSwarm:
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  worker:
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
  member:
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
  locked:
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.',
  leaveLocked:
    'Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message.',
  wrongKey: 'swarm could not be unlocked: invalid key provided',
  notLocked: 'swarm is not locked',
  demotesLast:
    'rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm',
  losesQuorum:
    "rpc error: code = FailedPrecondition desc = can't remove member from the raft: this would result in a loss of quorum",
  removesReady: (id: string): string =>
    `rpc error: code = FailedPrecondition desc = node ${id} is not down and can't be removed`,
  removesManager: (id: string): string =>
    `rpc error: code = FailedPrecondition desc = node ${id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
  /** `left`: managers without this one. */
  leaving: (left: number): string => {
    const isManager = 'You are attempting to leave the swarm on a node that is participating as a manager. ';
    if (left === 0)
      return `${isManager}Removing the last manager erases all current state of the swarm. Use \`--force\` to ignore this message.`;
    const forceNew =
      'The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use `--force` to suppress this message.';
    return `${isManager}${forceNew}`;
  },
} as const;
