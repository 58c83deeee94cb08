/*
 * What a node has open as a member of a swarm: a manager its records and port, and its member of the store where managers
 * share one; a worker a session with a manager.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import type { Store } from '../store/store.ts';
import { defaultDataPathPort } from './founding.ts';
import { GatedStore } from './managers/gatedStore.ts';
import type { StoreMember, StoreMembers } from './managers/storeMember.ts';
import type { Manager } from './managing.ts';
import { hostOf } from './membership/addresses.ts';
import type { ManagerSession } from './membership/managerSession.ts';
import { protocolVersion } from './membership/protocol.ts';
import { type SelfRecord, swarmKey } from './membership/records.ts';
import { keepFresh } from './membership/renewal.ts';
import type { NodeNetworks } from './networks/nodeNetworks.ts';
import type { NodeDescription, NodeRole } from './swarm.ts';
import type { SwarmRecords } from './swarmRecords.ts';

export interface StandingDependencies {
  /** The node's own. */
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly describe: () => NodeDescription;
  readonly networks: NodeNetworks;
  readonly records: SwarmRecords;
  readonly members?: StoreMembers;
  /** What this node knows of its swarm today; undefined before it has entered. */
  readonly self: () => SelfRecord | undefined;
  readonly changeSelf: (part: Partial<SelfRecord>) => Promise<void>;
  /** Why the node is out of touch; empty if it is not. */
  readonly trouble: (text: string) => void;
  readonly removed: () => void;
  /** What the swarm says that this node is to be. */
  readonly role: (role: NodeRole) => void;
  /** Another manager wants to come, and the records are on this machine alone. Rejects if they cannot move. */
  readonly moveRecords: () => Promise<void>;
}

export interface Standing extends AsyncDisposable {
  readonly session?: ManagerSession;
  readonly manager?: Manager;
  /** Of a manager: no write passes it once it is shut. */
  readonly gate?: GatedStore;
}

const loadParts = (): Promise<typeof import('./membership/parts.ts')> => import('./membership/parts.ts');

/** Docker waits as long. */
const callTimeoutMs = 20_000;
/** How often a manager asks the store that managers share, and when it believes that no majority answers. */
const wellMs = 2000;
const mostSilences = 3;

const inTime = (): AbortSignal => AbortSignal.timeout(callTimeoutMs);

/** Rejects, with all closed again, if the port cannot be had, or code storeUnavailable if the records cannot be read. */
export async function openStanding(deps: StandingDependencies, self: SelfRecord): Promise<Standing> {
  return self.isManager ? await openManaging(deps, self) : await openWorking(deps, self);
}

/** Renews the certificate of `self` in time. */
function keepCertified(deps: StandingDependencies, self: SelfRecord, renew: () => Promise<void>): Disposable {
  const stopping = new AbortController();
  const certificate = (): string => (deps.self() ?? self).keys.certificatePem;
  void keepFresh({ clock: deps.clock, logger: deps.logger, certificate, renew }, stopping.signal);
  return { [Symbol.dispose]: () => stopping.abort() };
}

async function openMember(
  { members }: StandingDependencies,
  self: SelfRecord,
): Promise<StoreMember | undefined> {
  if (self.member === undefined) return undefined;
  if (members === undefined) throw new LinkspanError('store', 'this daemon cannot run a store');
  return await members.open(self.swarmId, self.nodeId, self.member);
}

async function openManaging(deps: StandingDependencies, self: SelfRecord): Promise<Standing> {
  const { records, changeSelf, moveRecords } = deps;
  const { openManager } = await loadParts();
  await using parts = new AsyncDisposableStack();
  const member = await openMember(deps, self);
  if (member !== undefined) parts.use(member);
  const gate = new GatedStore(member?.store ?? records.of(self), member !== undefined);
  const manager = parts.use(
    await openManager(
      { ...deps, store: gate, saveOwn: changeSelf, moveRecords, ...(member === undefined ? {} : { member }) },
      self,
    ),
  );
  deps.trouble('');
  parts.use(keepCertified(deps, self, () => manager.trust.renew()));
  parts.use(
    manager.roster.events.on('changed', ({ after: { id, spec } }) => {
      if (id === self.nodeId) deps.role(spec.role);
      void noteManagers(deps, manager.managers());
    }),
  );
  parts.use(
    manager.roster.events.on('removed', ({ id }) => {
      if (id === self.nodeId) deps.removed();
    }),
  );
  if (gate.live !== undefined) parts.use(watchStore(deps, self, gate, manager));
  deps.role(manager.roster.find(self.nodeId)?.spec.role ?? 'manager');
  const opened = parts.move();
  return { manager, gate, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** A manager that no majority answers lets its nodes go, as another may have one; and may be a manager no more. */
function watchStore(
  { clock, role, removed, logger }: StandingDependencies,
  self: SelfRecord,
  store: Store,
  manager: Manager,
): Disposable {
  const stopping = new AbortController();
  const { signal } = stopping;
  const look = async (): Promise<void> => {
    const { askRole } = await loadParts();
    for (let silences = 0; ; ) {
      await clock.sleep(wellMs, signal);
      // Only a majority can answer that.
      const isWell = await store.get(swarmKey).then(
        () => true,
        () => false,
      );
      if (signal.aborted) return;
      silences = isWell ? 0 : silences + 1;
      manager.letGo(silences >= mostSilences);
      if (silences < mostSilences) continue;
      if (silences === mostSilences)
        logger.warn({ swarm: self.swarmId }, 'no majority of the managers answers');
      const told = await askRole({ ...self, managers: manager.managers() }, inTime());
      if (told === 'worker') role('worker');
      else if (told === 'removed') removed();
    }
  };
  // Stopped.
  look().catch(() => {});
  return { [Symbol.dispose]: () => stopping.abort() };
}

async function openWorking(deps: StandingDependencies, self: SelfRecord): Promise<Standing> {
  const { networks, clock, logger } = deps;
  const { ManagerSession, TrustFollower, confirm, renew, subjectOf, trustsOf } = await loadParts();
  const today = (): SelfRecord => deps.self() ?? self;
  const parts = new AsyncDisposableStack();
  deps.trouble('');
  await networks.enter({
    ...{ nodeId: self.nodeId, address: self.dataPath },
    port: () => today().dataPathPort ?? defaultDataPathPort,
  });
  const session = parts.use(
    new ManagerSession({
      self: today,
      hello: () => ({
        type: 'hello',
        versions: [protocolVersion],
        description: deps.describe(),
        address: hostOf(self.advertise),
        dataPath: self.dataPath,
        trusts: trustsOf(today().rootPem),
      }),
      ...{ clock, logger },
    }),
  );
  /** By whichever manager does it. */
  const renewOwn = async (): Promise<void> => {
    let failure: unknown = new LinkspanError('managerUnreachable', 'there is no address of a manager');
    for (const manager of today().managers) {
      try {
        await deps.changeSelf({ keys: await renew(manager, today(), inTime()) });
        return;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
  const logFailure = (error: unknown): void =>
    logger.warn({ err: error }, 'could not renew the certificate of this node');
  // Where it was found it may be found again, though it has another address for nodes elsewhere.
  let found: string | undefined;
  const withFound = (managers: readonly string[]): readonly string[] =>
    found === undefined ? managers : [...new Set([...managers, found])];
  session.events.on('welcome', (welcome) => {
    const { managers, managerIds, dataPathPort = defaultDataPathPort } = welcome;
    const { role = 'worker', manager, link } = welcome;
    found = managers.includes(manager) ? undefined : manager;
    deps.trouble('');
    // It was a manager: nobody is to take it for one.
    if (subjectOf(today().keys.certificatePem)?.role === 'manager' && role === 'worker')
      void renewOwn().catch(logFailure);
    void noteManagers(deps, withFound(managers), { dataPathPort, ...toIds(managers, managerIds) });
    networks.connect(link);
    deps.role(role);
  });
  session.events.on('news', ({ managers, managerIds, role }) => {
    void noteManagers(deps, withFound(managers), toIds(managers, managerIds));
    deps.role(role);
  });
  const follower = parts.use(
    new TrustFollower({
      ...{ clock, logger, self: today, save: deps.changeSelf },
      renew: (manager, own) => renew(manager, own, inTime()),
      confirm: (manager, own, trusts) => confirm(manager, own, trusts, inTime()),
    }),
  );
  session.events.on('trust', ({ manager, push }) => follower.hear(manager, push));
  session.events.on('lost', ({ cause }) => deps.trouble(`no manager answers: ${cause}`));
  session.events.on('removed', () => deps.removed());
  session.start();
  parts.use(keepCertified(deps, self, renewOwn));
  return { session, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

type Told = Pick<SelfRecord, 'managerIds' | 'dataPathPort'>;

function toIds(managers: readonly string[], ids: readonly string[] = []): Told {
  const pairs = managers.flatMap((address, i) => (ids[i] === undefined ? [] : [[address, ids[i]] as const]));
  return pairs.length === 0 ? {} : { managerIds: Object.fromEntries(pairs) };
}

/** Where managers are, for the next session and the next daemon. */
async function noteManagers(
  { self, changeSelf, logger }: StandingDependencies,
  told: readonly string[],
  more: Told = {},
): Promise<void> {
  const known = self();
  if (known === undefined) return;
  const part = { ...more, managers: told.length === 0 ? known.managers : told };
  if (isDeepStrictEqual({ ...known, ...part }, known)) return;
  await changeSelf(part).catch((error: unknown) =>
    logger.error({ err: error }, 'could not store what this node knows of its swarm'),
  );
}
