/*
 * Which networks a container is on, changed after its creation: Docker's rules and texts (Engine 28), and the record.
 * A running container's sandbox is changed by the network side; a stopped one's record is all there is to change.
 * Called with the container's mutex held.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Survival } from '../../store/store.ts';
import type { AttachmentRequest, Container, Network } from '../model.ts';
import type { ContainersContext } from './dependencies.ts';
import { ownNames, readText, updateHosts, writeInPlace } from './etcFiles.ts';
import type { LiveContainer } from './liveContainer.ts';
import { ownsNetwork } from './sharing.ts';
import { ownHostname } from './specValues.ts';
import { addressesOf } from './starter.ts';

function refuse(message: string): never {
  throw new LinkspanError('containerConfigInvalid', message);
}

const sharesMessage =
  'container sharing network namespace with another container or host cannot be connected to any other network';

function checkNotGoing({ id, state }: Container): void {
  if (state === 'removing' || state === 'dead')
    throw new LinkspanError(
      'containerState',
      `Container ${id} is marked for removal and cannot be connected or disconnected to the network`,
    );
}

/** The networks that the container's record names and that exist. */
function networksOf({ network }: ContainersContext, { spec }: Container): readonly Network[] {
  return spec.attachments.flatMap((request) => network.findNetwork(request.network) ?? []);
}

/** `none` and the networks of others' namespaces do not go with any other network. */
function checkModes(record: Container, network: Network, others: readonly Network[]): void {
  const { type } = record.spec.networkMode;
  if (type === 'container' || (type === 'host' && network.driver !== 'host')) refuse(sharesMessage);
  if (type !== 'host' && network.driver === 'host')
    refuse('cannot connect container to host network - container must be created in host network mode');
  const isNone = ({ driver }: Network): boolean => driver === 'null';
  if (others.some(({ id }) => id !== network.id) && (isNone(network) || others.some(isNone)))
    refuse(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
}

async function putAttachments(
  { table }: ContainersContext,
  live: LiveContainer,
  attachments: readonly AttachmentRequest[],
  survives: Survival,
): Promise<void> {
  await table.update(live, { spec: { ...live.record.spec, attachments } }, survives);
}

/** The container's own lines in its hosts file, which a running one has bind-mounted. */
function updateHostsFile(context: ContainersContext, { record }: LiveContainer): void {
  if (!ownsNetwork(record)) return;
  const hostname = ownHostname(record.id, record.spec, context.hostname);
  const addresses = addressesOf(context.network.endpoints(record));
  const names = ownNames(hostname, record.spec.domainname ?? '');
  const before = readText(record.hostsPath);
  const after = updateHosts(before, addresses, names);
  if (after !== before) writeInPlace(record.hostsPath, after);
}

/** The hosts file is written while the record goes to the disk. */
async function connectRunning(
  context: ContainersContext,
  live: LiveContainer,
  request: AttachmentRequest,
  commit: () => Promise<void>,
): Promise<void> {
  let isNamed = false;
  let failure: { readonly error: unknown } | undefined;
  const nameIt = (): void => {
    isNamed = true;
    try {
      updateHostsFile(context, live);
    } catch (error) {
      failure = { error };
    }
  };
  try {
    await context.network.connect(live.record, request, async () => {
      const committed = commit();
      nameIt();
      await committed;
    });
  } catch (error) {
    if (isNamed) nameIt();
    throw error;
  }
  if (failure !== undefined) throw failure.error;
}

/** A stopped container that is on the network already is left as it is, as Docker does. */
export async function connectContainer(
  context: ContainersContext,
  live: LiveContainer,
  wish: AttachmentRequest,
): Promise<void> {
  const { record, isRunning } = live;
  checkNotGoing(record);
  const network = context.network.getNetwork(wish.network);
  // By name, as Docker keeps it: a prefix may mean another network tomorrow.
  const request = { ...wish, network: network.name };
  const others = networksOf(context, record);
  checkModes(record, network, others);
  context.network.check(request);
  const commit = (): Promise<void> =>
    putAttachments(context, live, [...live.record.spec.attachments, request], 'machine');
  if (isRunning) {
    await connectRunning(context, live, request, commit);
  } else if (!others.some(({ id }) => id === network.id)) await commit();
}

export async function disconnectContainer(
  context: ContainersContext,
  live: LiveContainer,
  ref: string,
  isForced: boolean,
): Promise<void> {
  const { record, isRunning } = live;
  checkNotGoing(record);
  const network = isRunning && !isForced ? context.network.getNetwork(ref) : context.network.findNetwork(ref);
  if (isRunning && network?.driver === 'host' && record.spec.networkMode.type === 'host')
    refuse('cannot disconnect container from host network - container was created in host network mode');
  const isIt = (request: AttachmentRequest): boolean =>
    network === undefined
      ? request.network === ref
      : context.network.findNetwork(request.network)?.id === network.id;
  const rest = record.spec.attachments.filter((request) => !isIt(request));
  const hasEndpoint = context.network
    .endpoints(record)
    .some(({ networkId, state }) => networkId === network?.id && state === 'attached');
  if (rest.length === record.spec.attachments.length && !hasEndpoint)
    throw new LinkspanError(
      'endpointNotFound',
      `container ${record.id} is not connected to ${isRunning ? '' : 'the '}network ${network?.name ?? ref}`,
    );
  // The record comes first, so that all else is done while it goes to the disk.
  let synced: Promise<void> | undefined;
  const commit = async (): Promise<void> => {
    await putAttachments(context, live, rest, 'process');
    synced = context.table.sync();
    // Heard below, if nothing else fails before.
    synced.catch(() => {});
  };
  if (network === undefined) await commit();
  else await context.network.disconnect(record, network, commit);
  if (isRunning) updateHostsFile(context, live);
  await synced;
}
