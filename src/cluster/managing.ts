/*
 * What a manager has open: the swarm's records, the roster, the book of networks, and the port that nodes talk to. Its own
 * node talks to it within the process.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Mirror } from '../store/mirror.ts';
import type { Store } from '../store/store.ts';
import { Authority, publicKeyOf, requestCertificate } from './identity/authority.ts';
import { ManagerServer, type ManagerState } from './membership/managerServer.ts';
import { clusterPrefix, liveManagerKey, nodeIdOf, type SelfRecord } from './membership/records.ts';
import { Roster } from './membership/roster.ts';
import { SwarmBook } from './membership/swarmBook.ts';
import { localLink } from './networks/link.ts';
import { NetworkBook } from './networks/networkBook.ts';
import type { NodeNetworks } from './networks/nodeNetworks.ts';
import { TableServer } from './networks/tableServer.ts';

export interface Manager extends AsyncDisposable {
  /** Of the swarm's records. */
  readonly store: Store;
  readonly record: SwarmBook;
  readonly authority: Authority;
  readonly roster: Roster;
  readonly book: NetworkBook;
  /** A new certificate of this node, in use from now on. */
  renew(): Promise<SelfRecord['keys']>;
}

export interface ManagerDependencies {
  /** Of the swarm's records. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly networks: NodeNetworks;
}

/** A manager needs nobody for that. Without `known`, the node's id comes from the key. */
export async function certifySelf(
  authority: Authority,
  swarmId: string,
  lifeMs: number,
  known?: string,
): Promise<{ readonly nodeId: string; readonly keys: SelfRecord['keys'] }> {
  const { requestPem, keyPem } = await requestCertificate();
  const nodeId = known ?? nodeIdOf(await publicKeyOf(requestPem));
  const certificatePem = await authority.issue(requestPem, { nodeId, swarmId, role: 'manager' }, lifeMs);
  return { nodeId, keys: { certificatePem, keyPem } };
}

/** What happens until then goes out together. */
const turn = (work: () => void): void => void setImmediate(work);

/** Resolves when this node knows what its swarm has. Rejects, with all closed again, if the port cannot be had. */
export async function openManager(deps: ManagerDependencies, self: SelfRecord): Promise<Manager> {
  const { store, clock, logger, networks } = deps;
  await using parts = new AsyncDisposableStack();
  const mirror = parts.use(await Mirror.open(store, clusterPrefix, clock));
  const record = parts.use(new SwarmBook({ store, mirror, clock }));
  const authority = await Authority.open(clock, record.swarm.root);
  const roster = parts.use(new Roster({ store, mirror, clock, selfId: self.nodeId }));
  const book = parts.use(await NetworkBook.open({ store, mirror, clock, turn, pools: record.swarm }));
  const tables = parts.use(await TableServer.open({ book, roster, clock, logger, turn }));
  const state = (): ManagerState => {
    const { spec, secrets, id, dataPathPort } = record.swarm;
    const { certificateLifeMs, heartbeatMs } = spec;
    const { managers } = self;
    return { swarmId: id, authority, secrets, certificateLifeMs, heartbeatMs, managers, dataPathPort };
  };
  // First, since the server waits for those that are unknown.
  roster.note(self.nodeId, { state: 'ready', message: '' });
  const { keys, rootPem } = self;
  const server = parts.use(
    await ManagerServer.listen({ roster, tables, clock, logger, state, keys, rootPem }, self.listen),
  );
  store.live?.set(liveManagerKey(self.nodeId), { address: self.advertise });
  parts.defer(() => store.live?.delete(liveManagerKey(self.nodeId)));
  const { dataPathPort } = record.swarm;
  await networks.enter({ nodeId: self.nodeId, address: self.dataPath, port: () => dataPathPort, book });
  const [own, far] = localLink(turn);
  parts.defer(() => own.drop());
  tables.accept(self.nodeId, roster.find(self.nodeId)?.epoch ?? 0, far);
  networks.connect(own);
  await networks.told();
  const opened = parts.move();
  return {
    ...{ store, record, authority, roster, book },
    renew: async () => {
      const { certificateLifeMs } = record.swarm.spec;
      const renewed = await certifySelf(authority, self.swarmId, certificateLifeMs, self.nodeId);
      server.setKeys(renewed.keys);
      return renewed.keys;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
