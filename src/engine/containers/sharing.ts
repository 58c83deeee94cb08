/*
 * What a container has of another one: in `container:` mode the network of the container at the end of the chain, and
 * with `--pid` and `--ipc` the namespaces of the one that it names.
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

/** What `container:NAME` names; undefined for another mode. */
export function joinedRef(mode: string): string | undefined {
  return mode.startsWith('container:') ? mode.slice('container:'.length) : undefined;
}

/**
 * The container whose PID or IPC namespace `mode` joins; undefined if it joins none. Throws containerState for one that
 * does not run, containerConfigInvalid for one that does not exist, with Docker's texts.
 */
export function findJoined(table: ContainerTable, name: 'PID' | 'IPC', mode: string): Container | undefined {
  const ref = joinedRef(mode);
  if (ref === undefined) return undefined;
  const failed = `failed to join ${name} namespace`;
  const other = table.findByRef(ref);
  if (other === undefined)
    throw new LinkspanError(
      'containerConfigInvalid',
      `${failed}: ${ref === '' ? 'invalid name or ID supplied: ""' : `No such container: ${ref}`}`,
    );
  if (other.record.state === 'restarting')
    throw new LinkspanError(
      'containerState',
      `${failed}: Container ${other.id} is restarting, wait until the container is running`,
    );
  if (!other.isRunning)
    throw new LinkspanError('containerState', `${failed}: container ${other.id} is not running`);
  return other.record;
}

/** The containers that this one needs to run before it is started; those that do not exist are left out. */
export function neededBy(table: ContainerTable, { id, spec }: Container): readonly Container[] {
  const network = spec.networkMode.type === 'container' ? spec.networkMode.container : undefined;
  return [network, joinedRef(spec.pidMode), joinedRef(spec.ipcMode)].flatMap((ref) => {
    const other = ref === undefined ? undefined : table.findByRef(ref)?.record;
    return other === undefined || other.id === id ? [] : [other];
  });
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
