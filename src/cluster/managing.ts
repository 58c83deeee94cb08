/*
 * What a manager has open: the swarm's records, the roster, the book of networks, and the port that nodes talk to. Its own
 * node talks to it within the process.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { parseIp } from '../net/ip.ts';
import { Mirror } from '../store/mirror.ts';
import type { Store } from '../store/store.ts';
import { type Authority, publicKeyOf, requestCertificate } from './identity/authority.ts';
import { bundleOf } from './identity/trust.ts';
import { type OwnIdentity, TrustKeeper } from './identity/trustKeeper.ts';
import { newKey } from './identity/vault.ts';
import { Admission } from './managers/admission.ts';
import type { StoreMember } from './managers/storeMember.ts';
import { hostOf } from './membership/addresses.ts';
import { ManagerServer, type ManagerState } from './membership/managerServer.ts';
import { clusterPrefix, liveManagerKey, nodeIdOf, type SelfRecord } from './membership/records.ts';
import { Roster } from './membership/roster.ts';
import { SwarmBook } from './membership/swarmBook.ts';
import { localLink } from './networks/link.ts';
import { NetworkBook } from './networks/networkBook.ts';
import type { NodeNetworks } from './networks/nodeNetworks.ts';
import { TableServer } from './networks/tableServer.ts';
import { refusals } from './refusals.ts';
import type { NodeDescription } from './swarm.ts';
import { watchSwarm } from './swarmEvents.ts';

export interface Manager extends AsyncDisposable {
  /** Of the swarm's records. */
  readonly store: Store;
  readonly record: SwarmBook;
  /** Opens what is secret in it. */
  readonly sealKey: string;
  readonly trust: TrustKeeper;
  readonly roster: Roster;
  readonly book: NetworkBook;
  readonly admission: Pick<Admission, 'checkDismissal' | 'dismiss'>;
  /** `192.0.2.11:2377` of each that is. */
  readonly managers: () => readonly string[];
  /** Nodes are to find another manager, or may come again. */
  readonly letGo: (isAway: boolean) => void;
}

export interface ManagerDependencies {
  /** Of the swarm's records. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly networks: NodeNetworks;
  /** What this node shows and trusts, for its next start. */
  readonly saveOwn: (own: Partial<OwnIdentity> & Pick<SelfRecord, 'sealKey'>) => Promise<void>;
  readonly describe: () => NodeDescription;
  /** This node's member of the store that managers share, if they do. */
  readonly member?: StoreMember;
  /** Another manager comes, and they do not. */
  readonly moveRecords: () => Promise<void>;
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

/** Until others have done it themselves. */
const tidyMs = 10_000;
/** What happens until then goes out together. */
const turn = (work: () => void): void => void setImmediate(work);

/** Resolves when this node knows what its swarm has. Rejects, with all closed again, if the port cannot be had. */
export async function openManager(deps: ManagerDependencies, self: SelfRecord): Promise<Manager> {
  const { store, clock, logger, networks } = deps;
  await using parts = new AsyncDisposableStack();
  const mirror = parts.use(await Mirror.open(store, clusterPrefix, clock));
  // A daemon of before had none, and the record is clear.
  const sealKey = self.sealKey ?? newKey();
  const record = parts.use(new SwarmBook({ mirror, clock, sealKey }));
  if (self.sealKey === undefined) await deps.saveOwn({ sealKey });
  if (record.isClear) await record.change((swarm) => ({ ...swarm }));
  const roster = parts.use(new Roster({ store, mirror, clock, selfId: self.nodeId }));
  const book = parts.use(await NetworkBook.open({ store, mirror, clock, turn, pools: record.swarm }));
  parts.use(watchSwarm(roster, book, (event) => networks.events.emit('happened', event)));
  const advertised = parseIp(hostOf(self.advertise));
  const tables = parts.use(await TableServer.open({ book, roster, clock, logger, turn, advertised }));
  const trust = parts.use(
    await TrustKeeper.open(
      {
        ...{ record, roster, clock, logger, nodeId: self.nodeId },
        certify: async (authority, { id, spec: { certificateLifeMs } }) =>
          (await certifySelf(authority, id, certificateLifeMs, self.nodeId)).keys,
        show: (own) => server.show(own),
        save: deps.saveOwn,
        tell: () => server.tellTrust(),
      },
      self,
    ),
  );
  const knownManagers = (): Pick<ManagerState, 'managers' | 'managerIds'> => {
    const found = roster.managers.filter(({ managerAddress }) => managerAddress !== undefined);
    return found.length === 0
      ? { managers: self.managers, managerIds: [] }
      : {
          managers: found.map(({ managerAddress = '' }) => managerAddress),
          managerIds: found.map(({ id }) => id),
        };
  };
  const admission = openAdmission(deps, { ...self, sealKey }, roster, record);
  const state = (): ManagerState => {
    const { spec, secrets, id, dataPathPort } = record.swarm;
    const { certificateLifeMs, heartbeatMs } = spec;
    return {
      ...{ swarmId: id, authority: trust.authority, trust: trust.trust, secrets },
      ...{ certificateLifeMs, heartbeatMs, dataPathPort, ...knownManagers() },
    };
  };
  // First, since the server waits for those that are unknown.
  const [address, managerAddress] = [hostOf(self.advertise), self.advertise];
  await roster.begin(self.nodeId, {
    ...{ description: deps.describe(), address, dataPath: self.dataPath, managerAddress },
  });
  roster.note(self.nodeId, { state: 'ready', message: '' });
  const own = { keys: self.keys, rootPem: bundleOf(trust.trust.roots) };
  const server = parts.use(
    await ManagerServer.listen({ roster, tables, admission, clock, logger, state, own }, self.listen),
  );
  store.live?.set(liveManagerKey(self.nodeId), { address: self.advertise });
  parts.defer(() => store.live?.delete(liveManagerKey(self.nodeId)));
  const { dataPathPort } = record.swarm;
  await networks.enter({
    ...{ nodeId: self.nodeId, address: self.dataPath, port: () => dataPathPort, book },
    isShared: store.live !== undefined,
  });
  const [near, far] = localLink(turn);
  parts.defer(() => near.drop());
  tables.accept(self.nodeId, roster.find(self.nodeId)?.epoch ?? 0, far);
  networks.connect(near);
  await networks.told();
  parts.use(keepTidy(deps, { roster, book, admission }));
  const opened = parts.move();
  return {
    ...{ store, record, sealKey, trust, roster, book, admission },
    managers: () => knownManagers().managers,
    letGo: (isAway) => server.letGo(isAway),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What a manager that died was about to do: at the start, and whenever one is gone. */
function keepTidy(
  { clock, logger }: ManagerDependencies,
  parts: Pick<Manager, 'roster' | 'book'> & { readonly admission: Pick<Admission, 'tidy'> },
): Disposable {
  const { roster, book, admission } = parts;
  const stopping = new AbortController();
  const tidy = async (): Promise<void> => {
    await clock.sleep(tidyMs, stopping.signal);
    await admission.tidy();
    await book.finishRemovals();
  };
  const begin = (): void =>
    void tidy().catch((error: unknown) => {
      if (!stopping.signal.aborted) logger.warn({ err: error }, 'could not finish what a manager left');
    });
  begin();
  const listener = roster.events.on('managerLost', begin);
  return {
    [Symbol.dispose]: () => {
      stopping.abort();
      listener[Symbol.dispose]();
    },
  };
}

/** Where managers do not share a store of their own, there are no members to let in. */
function openAdmission(
  { member, moveRecords, clock, logger }: ManagerDependencies,
  { isElsewhere = false, sealKey }: SelfRecord & { readonly sealKey: string },
  roster: Roster,
  record: SwarmBook,
): Pick<Admission, 'admit' | 'promote' | 'hasMember' | 'checkDismissal' | 'dismiss' | 'tidy'> {
  if (member !== undefined)
    return new Admission({ member, roster, swarm: () => record.swarm, sealKey, clock, logger });
  const move = async (): Promise<never> => {
    await moveRecords();
    throw new LinkspanError('storeUnavailable', "the swarm's records move to a store that managers share");
  };
  return {
    admit: () => (isElsewhere ? Promise.resolve({ isElsewhere, sealKey }) : move()),
    promote: () => (isElsewhere ? Promise.resolve() : move()),
    checkDismissal: (id) => {
      const others = roster.managers.filter((node) => node.id !== id);
      if (others.some((node) => roster.managerState(node.id).isReachable)) return Promise.resolve();
      return Promise.reject(new LinkspanError('demotionRefused', refusals.losesQuorum));
    },
    hasMember: () => Promise.resolve(false),
    dismiss: () => Promise.resolve(),
    tidy: () => Promise.resolve(),
  };
}
