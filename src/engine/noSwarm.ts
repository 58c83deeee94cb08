/*
 * A node that is in no swarm and cannot be in one: says so to every command. Texts are those of Engine 28.
 */
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Cluster, ClusterNode, Swarm, SwarmStatus } from './swarm.ts';

/** What Docker says where only a manager can answer and there is no swarm. */
const notManagerText =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

const inactive: SwarmStatus = {
  state: 'inactive',
  nodeId: '',
  address: '',
  isManager: false,
  error: '',
  managers: [],
  nodeCount: 0,
  managerCount: 0,
};

function notManager(): LinkspanError {
  return new LinkspanError('notManager', notManagerText);
}

function absent(what: string): Promise<never> {
  return Promise.reject(new LinkspanError('notImplemented', `${what} a swarm is not supported yet`));
}

export class NoSwarm implements Swarm {
  status(): SwarmStatus {
    return inactive;
  }

  init(): Promise<string> {
    return absent('Starting');
  }

  join(): Promise<void> {
    return absent('Joining');
  }

  leave(): Promise<void> {
    return Promise.reject(new LinkspanError('noSwarmHere', 'This node is not part of a swarm'));
  }

  cluster(): Cluster {
    throw notManager();
  }

  update(): Promise<void> {
    return Promise.reject(notManager());
  }

  nodes(): readonly ClusterNode[] {
    throw notManager();
  }

  node(): ClusterNode {
    throw notManager();
  }

  updateNode(): Promise<void> {
    return Promise.reject(notManager());
  }

  removeNode(): Promise<void> {
    return Promise.reject(notManager());
  }
}
