/*
 * What the event log is told of networks, and of the swarm. Contract: events of Docker Engine 28.
 */
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import type { EventLog } from '../events.ts';
import type { Network } from '../model.ts';

/** `more`: attributes beside the network's name and driver. */
export function emitNetworkEvent(
  events: EventLog,
  action: string,
  { id, name, driver }: Network,
  more: Readonly<Record<string, string>> = {},
): void {
  events.emit({ type: 'network', action, actorId: id, attributes: { ...more, name, type: driver } });
}

/** On managers: what happens to nodes and networks of the swarm, beside what becomes of the networks on this machine. */
export function emitSwarmEvents(events: EventLog, swarm: Pick<SwarmNetworks, 'events'>): Disposable {
  return swarm.events.on('happened', ({ type, action, id, name, changes }) =>
    events.emit({ scope: 'swarm', type, action, actorId: id, attributes: { name, ...changes } }),
  );
}
