/*
 * Whose network a container has: its own, or in `container:` mode that of the container at the end of the chain.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { resolveCapabilities } from '../../runtime/oci/capabilities.ts';
import type { Container } from '../model.ts';
import type { ContainerTable } from './containerTable.ts';

/** Docker's word for a state in messages. */
function stateWord(state: Container['state']): string {
  return state === 'starting' ? 'created' : state;
}

/**
 * The container whose sandbox `container` joins; undefined if it has its own. Throws containerNotFound or, for a peer
 * that does not run, containerState.
 */
export function findPeer(table: ContainerTable, container: Container): Container | undefined {
  const { networkMode } = container.spec;
  if (networkMode.type !== 'container') return undefined;
  const peer = table.get(networkMode.container);
  if (peer.id === container.id) {
    throw new LinkspanError('containerState', 'cannot join own network namespace');
  }
  if (!peer.isRunning) {
    throw new LinkspanError(
      'containerState',
      `cannot join network namespace of a non running container: container ${peer.record.name} is ${stateWord(peer.record.state)}`,
    );
  }
  return findPeer(table, peer.record) ?? peer.record;
}

/** True if the container has a network of its own to make and take down. */
export function ownsNetwork(container: Container): boolean {
  return container.spec.networkMode.type !== 'container';
}

/** Whose network it has, running or not: its own, or that at the end of the chain; undefined where one of these is gone. */
export function networkOwner(table: ContainerTable, container: Container): Container | undefined {
  const { networkMode } = container.spec;
  if (networkMode.type !== 'container') return container;
  const peer = table.findByRef(networkMode.container)?.record;
  return peer === undefined ? undefined : networkOwner(table, peer);
}

const netAdmin = 'CAP_NET_ADMIN';

function hasNetAdmin({ spec }: Container): boolean {
  const { capAdd: add, capDrop: drop, isPrivileged } = spec;
  return resolveCapabilities({ add, drop, isPrivileged, available: [netAdmin] }).includes(netAdmin);
}

/** True if the container, or one that runs in its sandbox, may change the network there on purpose. */
export function mayChangeNetwork(table: ContainerTable, container: Container): boolean {
  if (hasNetAdmin(container)) return true;
  return table
    .list()
    .filter(({ isRunning, record }) => isRunning && !ownsNetwork(record) && hasNetAdmin(record))
    .some(({ record }) => networkOwner(table, record)?.id === container.id);
}
