/*
 * This node and its swarm: makes one, joins one, leaves, and on a manager answers for it. One manager so far: a second
 * needs a store that managers share.
 *
 * What is stored decides: `swarm/self` is written last of all that makes a node a member, and goes first when it leaves,
 * so that a change that was cut short is none. Sessions and the port come up from the records, at start as after a change.
 */

import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { KeyedMutex } from '../base/mutex.ts';
import { hasCode, LinkspanError, messageOf } from '../errors/linkspanError.ts';
import type { Store } from '../store/store.ts';
import { defaultDataPathPort, foundSwarm } from './founding.ts';
import { formatUnlockKey, parseUnlockKey, type StoredSelf } from './identity/autolock.ts';
import { parseJoinToken } from './identity/joinToken.ts';
import { OwnRecord } from './identity/ownRecord.ts';
import type { Manager } from './managing.ts';
import { hostOf, resolveAddresses, type SystemAddress } from './membership/addresses.ts';
import type { ManagerSession } from './membership/managerSession.ts';
import { protocolVersion } from './membership/protocol.ts';
import { type NodeRecord, type SelfRecord, selfKey } from './membership/records.ts';
import { keepFresh } from './membership/renewal.ts';
import type { Roster } from './membership/roster.ts';
import { NodeNetworks } from './networks/nodeNetworks.ts';
import { refusals } from './refusals.ts';
import type {
  Cluster,
  ClusterNode,
  ClusterSpec,
  InitRequest,
  JoinRequest,
  NodeDescription,
  NodeSpec,
  Rotation,
  Swarm,
  SwarmStatus,
} from './swarm.ts';
import type { OwnEndpoints, SwarmNetworks } from './swarmNetworks.ts';
import { SwarmRecords, type SwarmStores } from './swarmRecords.ts';
import { findNode, toCluster, toClusterNode } from './views.ts';

export interface LocalSwarmDependencies {
  readonly store: Store;
  /** Where a swarm's records go; absent: into `store`. */
  readonly elsewhere?: SwarmStores;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly describe: () => NodeDescription;
  /** Addresses of this machine but for loopback and link-local ones. */
  readonly systemAddresses: () => readonly SystemAddress[];
  /** Asked from `start` on. */
  readonly ownEndpoints: OwnEndpoints;
  /** This node is about to leave, and managers still hear what its endpoints do: takes them off the swarm's networks. */
  readonly vacate: () => Promise<void>;
  /** Resolves when what `networks` told is done. */
  readonly settled: () => Promise<void>;
}

const loadParts = (): Promise<typeof import('./membership/parts.ts')> => import('./membership/parts.ts');

/** Docker waits as long. */
const joinTimeoutMs = 20_000;
/** Until a swarm that could not be taken up is tried again; doubled up to the longest. */
const firstRetryMs = 1000;
const longestRetryMs = 15_000;

/** What a member has open. */
interface Membership {
  readonly self: SelfRecord;
  readonly session?: ManagerSession;
  /** Of a manager. */
  readonly manager?: Manager;
  readonly stopping: AbortController;
}

export class LocalSwarm implements Swarm, AsyncDisposable {
  readonly #deps: LocalSwarmDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #networks: NodeNetworks;
  readonly #records: SwarmRecords;
  readonly #own: OwnRecord;
  readonly #closing = new AbortController();
  /** What goes on by itself. */
  readonly #pending = new Set<Promise<void>>();
  #membership: Membership | undefined;
  /** Why the node is out of touch; empty if it is not. */
  #trouble = '';
  #isRemoved = false;
  /** Nobody has unlocked this manager since its daemon began. */
  #isLocked = false;

  private constructor(deps: LocalSwarmDependencies) {
    this.#deps = deps;
    this.#networks = new NodeNetworks(deps);
    this.#records = new SwarmRecords(deps.store, deps.elsewhere);
    this.#own = new OwnRecord(deps.store);
  }

  /**
   * Takes up what an earlier daemon was a member of. A port that is taken is trouble, not a failure; a store that does not
   * answer is tried again.
   */
  static async open(deps: LocalSwarmDependencies): Promise<LocalSwarm> {
    const swarm = new LocalSwarm(deps);
    const stored = await swarm.#own.find();
    if (stored === undefined) await swarm.#records.forget();
    swarm.#goOn(() => swarm.#forgetElsewhere());
    if (stored === undefined) return swarm;
    try {
      await swarm.#enter(swarm.#own.open(stored));
    } catch (error) {
      swarm.#trouble = messageOf(error);
      swarm.#isLocked = hasCode(error, 'swarmLocked');
      if (swarm.#isLocked) deps.logger.info({}, 'the swarm is locked');
      else deps.logger.error({ err: error }, 'could not take up the swarm');
      await swarm.#keepPlace(stored, swarm.#trouble);
      if (hasCode(error, 'storeUnavailable')) swarm.#goOn(() => swarm.#takeUp());
    }
    return swarm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#pending);
    await this.#close();
    await this.#networks.close();
  }

  /** There before, during and after a membership. */
  get networks(): SwarmNetworks {
    return this.#networks;
  }

  /** The engine knows its endpoints: from now on managers are told of them, and endpoints can be claimed. */
  start(): void {
    this.#networks.start();
  }

  status(): SwarmStatus {
    const membership = this.#membership;
    const nothing = {
      nodeId: '',
      address: '',
      isManager: false,
      managers: [],
      nodeCount: 0,
      managerCount: 0,
    };
    if (membership === undefined) {
      const state = this.#isLocked ? 'locked' : this.#trouble === '' ? 'inactive' : 'error';
      return { ...nothing, state, error: this.#trouble };
    }
    const { self, manager } = membership;
    const nodes = manager?.roster.nodes ?? [];
    return {
      state: this.#isRemoved ? 'error' : 'active',
      error: this.#trouble,
      nodeId: self.nodeId,
      address: hostOf(self.advertise),
      isManager: self.isManager,
      managers:
        manager === undefined
          ? self.managers.map((address) => ({ nodeId: '', address }))
          : nodes.flatMap(({ id, managerAddress }) =>
              managerAddress === undefined ? [] : { nodeId: id, address: managerAddress },
            ),
      ...(manager === undefined ? {} : { cluster: this.cluster() }),
      nodeCount: nodes.length,
      managerCount: nodes.filter(({ spec }) => spec.role === 'manager').length,
    };
  }

  init(request: InitRequest): Promise<string> {
    return this.#alone(async () => {
      this.#checkInactive();
      const { clock, describe, logger } = this.#deps;
      if (request.isForcedNew)
        throw new LinkspanError(
          'notImplemented',
          '--force-new-cluster is not supported yet: there is one manager',
        );
      const addresses = resolveAddresses(request, this.#deps.systemAddresses());
      const founded = await foundSwarm(clock, request, addresses, describe());
      const self = { ...founded.self, ...(this.#records.isElsewhere ? { isElsewhere: true } : {}) };
      const { nodeId, swarmId } = self;
      try {
        await this.#records.make(self, this.#own.lock(self, founded.unlockKey), founded.writes);
        await this.#enter(self);
      } catch (error) {
        await this.#networks.leave();
        await this.#forget();
        throw error;
      }
      logger.info({ node: nodeId, swarm: swarmId, address: addresses.advertise }, 'made a swarm');
      return nodeId;
    });
  }

  join(request: JoinRequest): Promise<void> {
    return this.#alone(async () => {
      this.#checkInactive();
      const token = parseJoinToken(request.token);
      if (token === undefined) throw new LinkspanError('joinRefused', 'invalid join token');
      const { store, logger, describe } = this.#deps;
      const addresses = resolveAddresses(request, this.#deps.systemAddresses());
      const call = {
        description: describe(),
        address: hostOf(addresses.advertise),
        dataPath: addresses.dataPath,
        availability: request.availability,
      };
      const signal = AbortSignal.timeout(joinTimeoutMs);
      const { askToJoin } = await loadParts();
      const { answer, rootPem, keys } = await askToJoin(request.remotes, token, call, signal);
      const { nodeId, swarmId, role, managers } = answer;
      const self: SelfRecord = {
        ...{ nodeId, swarmId, keys, rootPem, ...addresses, managers },
        isManager: role === 'manager',
      };
      await store.txn({ compare: [{ key: selfKey, is: 'absent' }], write: [{ key: selfKey, put: self }] });
      await this.#welcomed(await this.#enter(self), signal);
      logger.info({ node: nodeId, swarm: swarmId }, 'joined a swarm');
    });
  }

  leave(isForced: boolean): Promise<void> {
    return this.#alone(async () => {
      const membership = this.#membership;
      if (membership === undefined && this.#trouble === '')
        throw new LinkspanError('noSwarmHere', 'This node is not part of a swarm');
      if (this.#isLocked && !isForced) throw new LinkspanError('swarmLocked', refusals.leaveLocked);
      if (membership?.manager !== undefined && !isForced)
        throw new LinkspanError('lastManager', refusals.lastManager);
      const { store, logger, vacate, settled } = this.#deps;
      await vacate();
      await store.txn({ write: [{ key: selfKey, del: true }] });
      membership?.session?.leave();
      await this.#close();
      await this.#networks.leave();
      await this.#forget();
      await settled();
      logger.info({ node: membership?.self.nodeId }, 'left the swarm');
    });
  }

  cluster(): Cluster {
    return toCluster(this.#manager().record.swarm);
  }

  update(version: number, spec: ClusterSpec, rotation: Rotation): Promise<void> {
    return this.#alone(async () => {
      const { record } = this.#manager();
      const { changeSwarm } = await loadParts();
      await record.change((swarm) => changeSwarm(this.#deps.clock, swarm, { version, spec, rotation }));
      await this.#relock();
    });
  }

  unlockKey(): string {
    const { unlockKey } = this.#manager().record.swarm;
    return unlockKey === undefined ? '' : formatUnlockKey(unlockKey);
  }

  unlock(unlockKey: string): Promise<void> {
    return this.#alone(async () => {
      if (!this.#isLocked) {
        this.#manager();
        throw new LinkspanError('swarmNotLocked', refusals.notLocked);
      }
      const key = parseUnlockKey(unlockKey);
      const stored = await this.#own.find();
      if (stored === undefined) throw new LinkspanError('noSwarmHere', 'This node is not part of a swarm');
      const self = this.#own.open(stored, key);
      this.#isLocked = false;
      try {
        await this.#enter(self);
        this.#deps.logger.info({ swarm: self.swarmId }, 'unlocked the swarm');
      } catch (error) {
        this.#trouble = messageOf(error);
        if (hasCode(error, 'storeUnavailable')) this.#goOn(() => this.#takeUp());
        throw error;
      }
    });
  }

  nodes(): readonly ClusterNode[] {
    const { roster, trust } = this.#manager();
    return roster.nodes.map((node) => toClusterNode(node, roster.presenceOf(node.id), trust.trust));
  }

  node(ref: string): ClusterNode {
    const { roster, trust } = this.#manager();
    const node = this.#find(ref, roster);
    return toClusterNode(node, roster.presenceOf(node.id), trust.trust);
  }

  async updateNode(ref: string, version: number, spec: NodeSpec): Promise<void> {
    const { roster } = this.#manager();
    const node = this.#find(ref, roster);
    if (node.spec.role === 'manager' && spec.role === 'worker')
      throw new LinkspanError('demotionRefused', 'attempting to demote the last manager of the swarm');
    if (node.spec.role === 'worker' && spec.role === 'manager')
      throw new LinkspanError('notImplemented', 'A second manager is not supported yet');
    await roster.changeSpec(node.id, version, spec);
  }

  async removeNode(ref: string, isForced: boolean): Promise<void> {
    const { roster } = this.#manager();
    const { id, spec } = this.#find(ref, roster);
    if (spec.role === 'manager')
      throw new LinkspanError(
        'nodeInUse',
        `node ${id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
      );
    if (!isForced && roster.presenceOf(id).state === 'ready')
      throw new LinkspanError('nodeInUse', `node ${id} is not down and can't be removed`);
    await roster.remove(id);
    this.#deps.logger.info({ node: id }, 'removed a node');
  }

  /** Changes of membership one after the other. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#mutex.run('membership', work);
  }

  #checkInactive(): void {
    if (this.#membership !== undefined || this.#trouble !== '')
      throw new LinkspanError('swarmActive', refusals.member);
  }

  #manager(): Manager {
    if (this.#isLocked) throw new LinkspanError('swarmLocked', refusals.locked);
    if (this.#membership === undefined) throw new LinkspanError('notManager', refusals.noSwarm);
    const { manager } = this.#membership;
    if (manager === undefined) throw new LinkspanError('notManager', refusals.worker);
    return manager;
  }

  #find(ref: string, { byId }: Roster): NodeRecord {
    return findNode(ref === 'self' ? (this.#membership?.self.nodeId ?? ref) : ref, byId);
  }

  /** This node is a member from now on. Rejects, with everything closed again, if the port cannot be had. */
  async #enter(self: SelfRecord): Promise<Membership> {
    const membership = await this.#open(self);
    this.#membership = membership;
    const { manager } = membership;
    if (manager !== undefined) {
      manager.trust.start();
      const relock = (): Promise<void> =>
        this.#relock().catch((error: unknown) =>
          this.#deps.logger.error(
            { err: error },
            'could not lock what this manager keeps with the key of today',
          ),
        );
      manager.record.events.on('changed', () => void relock());
      await relock();
    }
    return membership;
  }

  async #open(self: SelfRecord): Promise<Membership> {
    const stopping = new AbortController();
    const { ManagerSession, TrustFollower, confirm, openManager, renew, trustsOf } = await loadParts();
    if (self.isManager) {
      const store = this.#records.of(self);
      const saveOwn = (own: Partial<SelfRecord>): Promise<void> => this.#changeSelf(own);
      const manager = await openManager({ ...this.#deps, store, networks: this.#networks, saveOwn }, self);
      this.#trouble = '';
      this.#keepFresh(self, () => manager.trust.renew(), stopping.signal);
      return { self: { ...self, sealKey: manager.sealKey }, stopping, manager };
    }
    this.#trouble = '';
    await this.#networks.enter({
      ...{ nodeId: self.nodeId, address: self.dataPath },
      port: () => (this.#membership?.self ?? self).dataPathPort ?? defaultDataPathPort,
    });
    const session = new ManagerSession({
      self: () => this.#membership?.self ?? self,
      hello: () => ({
        type: 'hello',
        versions: [protocolVersion],
        description: this.#deps.describe(),
        address: hostOf(self.advertise),
        dataPath: self.dataPath,
        trusts: trustsOf((this.#membership?.self ?? self).rootPem),
      }),
      clock: this.#deps.clock,
      logger: this.#deps.logger,
    });
    session.events.on('welcome', ({ managers, dataPathPort = defaultDataPathPort, link }) => {
      this.#trouble = '';
      void this.#noteWelcome(managers, dataPathPort);
      this.#networks.connect(link);
    });
    const inTime = (): AbortSignal => AbortSignal.timeout(joinTimeoutMs);
    const follower = new TrustFollower({
      ...this.#deps,
      self: () => this.#membership?.self ?? self,
      save: (own) => this.#changeSelf(own),
      renew: (manager, own) => renew(manager, own, inTime()),
      confirm: (manager, own, trusts) => confirm(manager, own, trusts, inTime()),
    });
    stopping.signal.addEventListener('abort', () => follower[Symbol.dispose](), { once: true });
    session.events.on('trust', ({ manager, push }) => follower.hear(manager, push));
    session.events.on('lost', ({ cause }) => (this.#trouble = `no manager answers: ${cause}`));
    session.events.on('removed', () => {
      this.#isRemoved = true;
      this.#trouble = 'this node was removed from the swarm: use "docker swarm leave" to let go of it';
      this.#deps.logger.error({ node: self.nodeId }, 'this node was removed from the swarm');
    });
    session.start();
    const renewOwn = async (): Promise<void> => this.#changeSelf({ keys: await this.#askForKeys(self) });
    this.#keepFresh(self, renewOwn, stopping.signal);
    return { self, stopping, session };
  }

  /** Resolves with the first welcome. Code joinTimeout; the node is a member all the same, and goes on trying. */
  async #welcomed({ session }: Membership, signal: AbortSignal): Promise<void> {
    if (session === undefined) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    using _listening = session.events.on('welcome', () => resolve());
    const late =
      'Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.';
    signal.addEventListener('abort', () => reject(new LinkspanError('joinTimeout', late)), { once: true });
    await promise;
  }

  async #noteWelcome(told: readonly string[], dataPathPort: number): Promise<void> {
    const membership = this.#membership;
    if (membership === undefined) return;
    const { self } = membership;
    const managers = told.length === 0 ? self.managers : told;
    if (String(managers) === String(self.managers) && dataPathPort === self.dataPathPort) return;
    await this.#changeSelf({ managers, dataPathPort }).catch((error: unknown) =>
      this.#deps.logger.error({ err: error }, 'could not store what this node knows of its swarm'),
    );
  }

  /** What is left of a membership that is over. */
  async #forget(): Promise<void> {
    await this.#records.forget();
    // The node has left, whether or not the other store answers.
    await this.#records.forgetElsewhere().catch((error: unknown) => {
      this.#deps.logger.warn({ err: error }, 'records of a swarm that is over are left in its store for now');
      this.#goOn(() => this.#forgetElsewhere());
    });
  }

  #forgetElsewhere(): Promise<void> {
    return this.#untilDone('could not remove the records of a swarm that is over', () =>
      this.#records.forgetElsewhere(),
    );
  }

  /** A manager that could not be taken up: its containers stay on the swarm's networks. */
  async #keepPlace(
    { nodeId, isManager, dataPath, dataPathPort }: StoredSelf,
    trouble: string,
  ): Promise<void> {
    const port = dataPathPort ?? defaultDataPathPort;
    if (isManager) await this.#networks.enter({ nodeId, address: dataPath, port: () => port, trouble });
  }

  /** Once its store answers, unless the node has left by then. */
  #takeUp(): Promise<void> {
    return this.#untilDone('still cannot take up the swarm', async () => {
      const stored = await this.#own.find();
      if (stored === undefined || this.#membership !== undefined) return;
      try {
        const { self } = await this.#enter(this.#own.open(stored));
        this.#deps.logger.info({ swarm: self.swarmId }, 'took up the swarm');
      } catch (error) {
        this.#trouble = messageOf(error);
        throw error;
      }
    });
  }

  /** Tries until it works or the daemon ends, alone each time. */
  async #untilDone(failure: string, work: () => Promise<void>): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#closing;
    for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(2 * waitMs, longestRetryMs)) {
      const error: unknown = await this.#alone(work).then(
        () => undefined,
        (cause: unknown) => cause ?? failure,
      );
      if (error === undefined || signal.aborted) return;
      logger.warn({ err: error }, failure);
      // Aborted: the loop ends.
      await clock.sleep(waitMs, signal).catch(() => {});
    }
  }

  #goOn(work: () => Promise<void>): void {
    const pending = work().finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  /** Part of what this node knows of its swarm. One that has left meanwhile knows nothing. */
  #changeSelf(part: Partial<SelfRecord>): Promise<void> {
    return this.#mutex.run(selfKey, async () => {
      const before = this.#membership;
      const unlockKey = before === undefined ? this.#own.unlockKey : before.manager?.record.swarm.unlockKey;
      const self = await this.#own.change(part, { unlockKey });
      if (self !== undefined && before !== undefined && this.#membership === before)
        this.#membership = { ...before, self };
    });
  }

  /** What this manager keeps is locked with the swarm's key of today, or is not. */
  async #relock(): Promise<void> {
    if (this.#own.unlockKey !== this.#membership?.manager?.record.swarm.unlockKey) await this.#changeSelf({});
  }

  /** A worker's certificate comes from a manager. */
  async #askForKeys(joined: SelfRecord): Promise<SelfRecord['keys']> {
    const self = this.#membership?.self ?? joined;
    const { renew } = await loadParts();
    return await renew(self.managers[0] ?? '', self, AbortSignal.timeout(joinTimeoutMs));
  }

  /** Renews the certificate of `self` in time. */
  #keepFresh(self: SelfRecord, renew: () => Promise<void>, signal: AbortSignal): void {
    const { clock, logger } = this.#deps;
    const certificate = (): string => (this.#membership?.self ?? self).keys.certificatePem;
    void keepFresh({ clock, logger, certificate, renew }, signal);
  }

  async #close(): Promise<void> {
    const membership = this.#membership;
    this.#membership = undefined;
    this.#trouble = '';
    this.#isRemoved = false;
    this.#isLocked = false;
    membership?.stopping.abort();
    membership?.session?.[Symbol.dispose]();
    await membership?.manager?.[Symbol.asyncDispose]();
  }
}
