/*
 * This node and its swarm: makes one, joins one, leaves, becomes what the swarm says that it is, and on a manager answers
 * for it.
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
import { formatUnlockKey, isLocked, parseUnlockKey, type StoredSelf } from './identity/autolock.ts';
import { parseJoinToken } from './identity/joinToken.ts';
import { OwnRecord } from './identity/ownRecord.ts';
import type { StoreMembers } from './managers/storeMember.ts';
import type { Manager } from './managing.ts';
import { hostOf, resolveAddresses, type SystemAddress } from './membership/addresses.ts';
import { asWorker, type NodeRecord, type SelfPart, type SelfRecord, selfKey } from './membership/records.ts';
import type { Roster } from './membership/roster.ts';
import { NodeNetworks } from './networks/nodeNetworks.ts';
import { refusals } from './refusals.ts';
import { RoleKeeper } from './roleKeeper.ts';
import { openStanding, type Standing } from './standing.ts';
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
import { findNode, toCluster, toClusterNode, toStatus } from './views.ts';

export interface LocalSwarmDependencies {
  readonly store: Store;
  /** Where a swarm's records go; absent: into `store`. */
  readonly elsewhere?: SwarmStores;
  /** Of the store that managers share from the second on; absent: there is one manager. */
  readonly members?: StoreMembers;
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
/** How long this node waits for others to say what it is before it goes on alone. */
const patienceMs = 3000;

/** What a member knows and has open. */
interface Membership extends Standing {
  readonly self: SelfRecord;
}

export class LocalSwarm implements Swarm, AsyncDisposable {
  readonly #deps: LocalSwarmDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #networks: NodeNetworks;
  readonly #records: SwarmRecords;
  readonly #own: OwnRecord;
  readonly #role: RoleKeeper;
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
    const { clock, logger, members } = deps;
    this.#role = new RoleKeeper({
      ...{ clock, logger, records: this.#records, ending: this.#closing.signal },
      ...(members === undefined ? {} : { members }),
      place: () => this.#membership,
      save: (part, unlockKey) => this.#changeSelf(part, unlockKey),
      reopen: () => this.#reopen(),
      goOn: (failure, work, waitMs = 0) =>
        this.#goOn(async () => {
          // Aborted: nothing is tried any more.
          await clock.sleep(waitMs, this.#closing.signal).catch(() => {});
          await this.#untilDone(failure, work);
        }),
    });
  }

  /**
   * Takes up what an earlier daemon was a member of. A port that is taken is trouble, not a failure; a store that does not
   * answer is tried again.
   */
  static async open(deps: LocalSwarmDependencies): Promise<LocalSwarm> {
    const swarm = new LocalSwarm(deps);
    const stored = await swarm.#own.find();
    if (stored === undefined) {
      await swarm.#records.forget();
      await deps.members?.wipe();
    }
    swarm.#goOn(() => swarm.#forgetElsewhere());
    if (stored === undefined) return swarm;
    if (!isLocked(stored)) await swarm.#endMove(stored);
    await swarm.#enterOrKeep(stored);
    return swarm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#pending);
    const hasMember = this.#membership?.self.member !== undefined;
    await this.#close();
    // Another leads at once. One whose daemon dies outlives it.
    if (hasMember) await this.#deps.members?.stop();
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
    if (membership === undefined) {
      const state = this.#isLocked ? 'locked' : this.#trouble === '' ? 'inactive' : 'error';
      return toStatus({ state, error: this.#trouble });
    }
    const { self, manager } = membership;
    const state = this.#isRemoved ? 'error' : 'active';
    return toStatus({ state, error: this.#trouble, self }, manager?.roster, manager?.record.swarm);
  }

  init(request: InitRequest): Promise<string> {
    return this.#alone(async () => {
      const { clock, describe, logger } = this.#deps;
      if (request.isForcedNew && (await this.#own.find())?.isManager === true) return await this.#forceNew();
      this.#checkInactive();
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
      // A manager too is a worker first: it has to be let into the store.
      const self: SelfRecord = {
        ...{ nodeId, swarmId, keys, rootPem, ...addresses, managers, isManager: false },
      };
      await store.txn({ compare: [{ key: selfKey, is: 'absent' }], write: [{ key: selfKey, put: self }] });
      const membership = await this.#enter(self);
      await this.#welcomed(membership, signal);
      if (role === 'manager') await this.#role.become(membership, signal);
      logger.info({ node: nodeId, swarm: swarmId, role }, 'joined a swarm');
    });
  }

  leave(isForced: boolean): Promise<void> {
    return this.#alone(async () => {
      const membership = this.#membership;
      if (membership === undefined && this.#trouble === '')
        throw new LinkspanError('noSwarmHere', 'This node is not part of a swarm');
      if (this.#isLocked && !isForced) throw new LinkspanError('swarmLocked', refusals.leaveLocked);
      const manager = membership?.manager;
      const others = (manager?.roster.managers ?? []).filter(({ id }) => id !== membership?.self.nodeId);
      if (manager !== undefined && !isForced)
        throw new LinkspanError('lastManager', refusals.leaving(others.length));
      const { store, logger, vacate, settled } = this.#deps;
      await vacate();
      if (membership !== undefined && others.length > 0) await this.#role.handOver(membership);
      await store.txn({ write: [{ key: selfKey, del: true }] });
      membership?.session?.leave();
      await this.#close();
      await this.#networks.leave();
      await this.#forget();
      await this.#deps.members?.wipe();
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
        await this.#endMove(self);
        await this.#enter(await this.#asOthersSay(self));
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
    return roster.nodes.map((node) => toClusterNode(node, roster, trust.trust));
  }

  node(ref: string): ClusterNode {
    const { roster, trust } = this.#manager();
    const node = this.#find(ref, roster);
    return toClusterNode(node, roster, trust.trust);
  }

  async updateNode(ref: string, version: number, spec: NodeSpec): Promise<void> {
    const { roster, admission } = this.#manager();
    const { id, spec: before } = this.#find(ref, roster);
    if (before.role === spec.role) {
      await roster.changeSpec(id, version, spec);
      return;
    }
    await roster.changeRole(id, version, spec, async () => {
      if (spec.role === 'manager') return;
      if (roster.managers.length === 1) throw new LinkspanError('demotionRefused', refusals.demotesLast);
      await admission.checkDismissal(id);
    });
    if (spec.role === 'worker' && id !== this.#membership?.self.nodeId) this.#role.dismissLater(id);
  }

  async removeNode(ref: string, isForced: boolean): Promise<void> {
    const { roster } = this.#manager();
    const { id, spec } = this.#find(ref, roster);
    if (spec.role === 'manager') throw new LinkspanError('nodeInUse', refusals.removesManager(id));
    if (!isForced && roster.presenceOf(id).state === 'ready')
      throw new LinkspanError('nodeInUse', refusals.removesReady(id));
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
    const { store, clock, logger, describe, members } = this.#deps;
    const standing = await openStanding(
      {
        ...{ store, clock, logger, describe, networks: this.#networks, records: this.#records },
        ...(members === undefined ? {} : { members }),
        self: () => this.#membership?.self,
        changeSelf: (part) => this.#changeSelf(part),
        trouble: (text) => (this.#trouble = text),
        removed: () => {
          this.#isRemoved = true;
          this.#trouble = 'this node was removed from the swarm: use "docker swarm leave" to let go of it';
          logger.error({ node: self.nodeId }, 'this node was removed from the swarm');
        },
        role: (role) => this.#role.hear(role),
        moveRecords: async () => {
          if (members === undefined)
            throw new LinkspanError('notImplemented', 'this daemon cannot run a store');
          await members.check();
          this.#goOn(() => this.#alone(() => this.#moveRecords()));
        },
      },
      self,
    );
    // What was opened may have changed it: a key, a certificate.
    const stored = await this.#own.find();
    return {
      ...standing,
      self: stored === undefined ? self : this.#own.open(stored),
      [Symbol.asyncDispose]: () => standing[Symbol.asyncDispose](),
    };
  }

  /** What cannot be taken up keeps its place. */
  async #enterOrKeep(stored: StoredSelf): Promise<void> {
    const { logger } = this.#deps;
    try {
      await this.#enter(await this.#asOthersSay(this.#own.open(stored)));
    } catch (error) {
      this.#membership = undefined;
      this.#trouble = messageOf(error);
      this.#isLocked = hasCode(error, 'swarmLocked');
      if (this.#isLocked) logger.info({}, 'the swarm is locked');
      else logger.error({ err: error }, 'could not take up the swarm');
      await this.#keepPlace(stored, this.#trouble);
      if (hasCode(error, 'storeUnavailable')) this.#goOn(() => this.#takeUp());
    }
  }

  /** What is stored says what this node is: another kind of standing. What it was can be looked at until then. */
  async #reopen(): Promise<void> {
    await this.#membership?.[Symbol.asyncDispose]();
    const stored = await this.#own.find();
    if (stored !== undefined) await this.#enterOrKeep(stored);
  }

  // Where the swarm's records are

  /** From this machine's own store to one that managers share: the second comes. */
  async #moveRecords(): Promise<void> {
    const before = this.#membership;
    const { clock, logger, members, store } = this.#deps;
    if (before?.gate === undefined || members === undefined || before.self.member !== undefined) return;
    const { moveRecords } = await loadParts();
    this.#networks.pause();
    // What was sent is done; nothing comes after it.
    before.gate.shut();
    await before[Symbol.asyncDispose]();
    let { self } = this.#membership ?? before;
    try {
      const member = await moveRecords({ clock, members, store }, self);
      self = { ...self, member };
      await this.#changeSelf({ member });
      logger.info({ peer: member.peer }, "the swarm's records are in a store that managers share");
      await this.#records.forgetOwn();
    } catch (error) {
      logger.error({ err: error }, "could not move the swarm's records");
      if (self.member === undefined) await members.wipe().catch(() => {});
    }
    await this.#enterOrKeep(self);
  }

  /** A move that was cut short, before or after it counted. */
  async #endMove({ member, isManager }: SelfRecord): Promise<void> {
    if (member === undefined) await this.#deps.members?.wipe();
    else if (isManager) await this.#records.forgetOwn();
  }

  /** This manager is the only one from now on, with what it has. */
  async #forceNew(): Promise<string> {
    const { members, logger } = this.#deps;
    const stored = await this.#own.find();
    if (stored === undefined) throw new LinkspanError('noSwarmHere', 'This node is not part of a swarm');
    const self = this.#own.open(stored);
    const { member } = self;
    if (member === undefined || members === undefined) return self.nodeId;
    const { beginAlone } = await loadParts();
    await this.#close();
    try {
      await beginAlone(members, self, member);
      await this.#changeSelf({ managers: [self.advertise] });
      logger.warn({ node: self.nodeId }, 'this node is the only manager now');
    } finally {
      await this.#reopen();
    }
    return self.nodeId;
  }

  /** Resolves with the first welcome. Code joinTimeout; the node is a member all the same, and goes on trying. */
  async #welcomed({ session }: Membership, signal: AbortSignal): Promise<void> {
    // It may have come before anybody listened for it here.
    if (session === undefined || session.hasBeenWelcome) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    using _listening = session.events.on('welcome', () => resolve());
    const late =
      'Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the "docker info" command to see the current swarm status of your node.';
    signal.addEventListener('abort', () => reject(new LinkspanError('joinTimeout', late)), { once: true });
    await promise;
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
  async #keepPlace(stored: StoredSelf, trouble: string): Promise<void> {
    const { nodeId, isManager, dataPath, dataPathPort = defaultDataPathPort, isElsewhere = false } = stored;
    // What is locked may be shared: then there is a cache, otherwise it is empty.
    const isShared = isElsewhere || isLocked(stored) || stored.member !== undefined;
    if (isManager)
      await this.#networks.enter({ nodeId, address: dataPath, port: () => dataPathPort, trouble, isShared });
  }

  /** Once its store answers, unless the node has left by then. */
  #takeUp(): Promise<void> {
    return this.#untilDone('still cannot take up the swarm', async () => {
      const stored = await this.#own.find();
      if (stored === undefined || this.#membership !== undefined) return;
      try {
        const { self } = await this.#enter(await this.#asOthersSay(this.#own.open(stored)));
        this.#deps.logger.info({ swarm: self.swarmId }, 'took up the swarm');
      } catch (error) {
        this.#trouble = messageOf(error);
        throw error;
      }
    });
  }

  /**
   * A manager that was demoted while it was away cannot hear it from the store, and must not begin its member again: with
   * others that were demoted by force it would be a second swarm.
   */
  async #asOthersSay(self: SelfRecord): Promise<SelfRecord> {
    if (!self.isManager || self.member === undefined) return self;
    const { askRole } = await loadParts();
    if ((await askRole(self, AbortSignal.timeout(patienceMs))) !== 'worker') return self;
    await this.#changeSelf(asWorker(self));
    await this.#deps.members?.wipe();
    return this.#own.open((await this.#own.find()) ?? self);
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

  /**
   * Part of what this node knows of its swarm; what is undefined goes. One that has left meanwhile knows nothing. Managers
   * keep it locked with the swarm's key of today, or with `unlockKey` if they are about to become one.
   */
  #changeSelf(part: SelfPart, unlockKey?: string): Promise<void> {
    return this.#mutex.run(selfKey, async () => {
      const before = this.#membership;
      const today =
        before?.manager === undefined ? this.#own.unlockKey : before.manager.record.swarm.unlockKey;
      const key = part.isManager === false ? undefined : (unlockKey ?? today);
      const self = await this.#own.change(part, { unlockKey: key });
      if (self !== undefined && before !== undefined && this.#membership === before)
        this.#membership = { ...before, self };
    });
  }

  /** What this manager keeps is locked with the swarm's key of today, or is not. */
  async #relock(): Promise<void> {
    if (this.#own.unlockKey !== this.#membership?.manager?.record.swarm.unlockKey) await this.#changeSelf({});
  }

  async #close(): Promise<void> {
    const membership = this.#membership;
    this.#membership = undefined;
    this.#trouble = '';
    this.#isRemoved = false;
    this.#isLocked = false;
    await membership?.[Symbol.asyncDispose]();
  }
}
