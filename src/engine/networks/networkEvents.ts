/*
 * What the event log is told of networks. Contract: events of Docker Engine 28.
 */
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
