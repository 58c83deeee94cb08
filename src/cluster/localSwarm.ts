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
import { timestamp } from '../base/timestamp.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import type { Store, Write } from '../store/store.ts';
import type { Authority } from './identity/authority.ts';
import { newSecret, parseJoinToken } from './identity/joinToken.ts';
import { hostOf, resolveAddresses, type SystemAddress } from './membership/addresses.ts';
import type { ManagerServer, ManagerState } from './membership/managerServer.ts';
import type { ManagerSession } from './membership/managerSession.ts';
import { protocolVersion } from './membership/protocol.ts';
import {
  type NodeRecord,
  nodeIdOf,
  nodeKey,
  type SelfRecord,
  type SwarmRecord,
  selfKey,
  swarmKey,
} from './membership/records.ts';
import { keepFresh } from './membership/renewal.ts';
import { Roster } from './membership/roster.ts';
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
import { findNode, toCluster, toClusterNode } from './views.ts';

export interface LocalSwarmDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly describe: () => NodeDescription;
  /** Addresses of this machine but for loopback and link-local ones. */
  readonly systemAddresses: () => readonly SystemAddress[];
}

const loadParts = (): Promise<typeof import('./membership/parts.ts')> => import('./membership/parts.ts');

/** Of a certificate; an hour, as Docker has it. */
const shortestLifeMs = 3_600_000;
/** Docker waits as long. */
const joinTimeoutMs = 20_000;
const defaultDataPathPort = 4789;
const defaultSubnetLength = 24;
const defaultAddressPool = '10.0.0.0/8';

const notActive =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
const notManager =
  "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
const alreadyActive =
  'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.';
const leavingAsLast =
  'You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.';

/** What a member has open. */
interface Membership {
  readonly self: SelfRecord;
  readonly session?: ManagerSession;
  /** Of a manager. */
  readonly manager?: Manager;
  readonly stopping: AbortController;
}

interface Manager {
  /** Its record of today. */
  readonly record: { swarm: SwarmRecord };
  readonly authority: Authority;
  readonly roster: Roster;
  readonly server: ManagerServer;
}

export class LocalSwarm implements Swarm, AsyncDisposable {
  readonly #deps: LocalSwarmDependencies;
  readonly #mutex = new KeyedMutex();
  #membership: Membership | undefined;
  /** Why the node is out of touch; empty if it is not. */
  #trouble = '';
  #isRemoved = false;

  private constructor(deps: LocalSwarmDependencies) {
    this.#deps = deps;
  }

  /** Takes up what an earlier daemon was a member of. A port that is taken is trouble, not a failure. */
  static async open(deps: LocalSwarmDependencies): Promise<LocalSwarm> {
    const swarm = new LocalSwarm(deps);
    const entry = await deps.store.get(selfKey);
    if (entry === undefined) return swarm;
    try {
      swarm.#membership = await swarm.#enter(entry.value as SelfRecord);
    } catch (error) {
      swarm.#trouble = messageOf(error);
      deps.logger.error({ err: error }, 'could not take up the swarm');
    }
    return swarm;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
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
    if (membership === undefined)
      return { ...nothing, state: this.#trouble === '' ? 'inactive' : 'error', error: this.#trouble };
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
      const { store, clock, describe, logger } = this.#deps;
      checkSpec(request.spec);
      if (request.isForcedNew)
        throw new LinkspanError(
          'notImplemented',
          '--force-new-cluster is not supported yet: there is one manager',
        );
      const addresses = resolveAddresses(request, this.#deps.systemAddresses());
      const { Authority } = await loadParts();
      const authority = await Authority.create(clock);
      const swarmId = nodeIdOf(Buffer.from(newSecret()));
      const { certificateLifeMs } = request.spec;
      const { nodeId, keys } = await this.#certifySelf(authority, swarmId, certificateLifeMs);
      const now = timestamp(clock);
      const made = { version: 1, createdAt: now, updatedAt: now };
      const swarm: SwarmRecord = {
        ...{ id: swarmId, ...made, spec: request.spec, root: authority.keys },
        secrets: { worker: newSecret(), manager: newSecret() },
        dataPathPort: request.dataPathPort || defaultDataPathPort,
        addressPools: request.addressPools.length > 0 ? request.addressPools : [defaultAddressPool],
        subnetLength: request.subnetLength || defaultSubnetLength,
      };
      const node: NodeRecord = {
        ...{ id: nodeId, ...made, epoch: 1, description: describe() },
        spec: { name: '', labels: {}, role: 'manager', availability: request.availability },
        address: hostOf(addresses.advertise),
        managerAddress: addresses.advertise,
      };
      const self: SelfRecord = {
        ...{ nodeId, swarmId, ...addresses, isManager: true, managers: [addresses.advertise] },
        keys,
        rootPem: authority.keys.certificatePem,
      };
      const records: readonly Write[] = [
        { key: swarmKey, put: swarm },
        { key: nodeKey(nodeId), put: node },
        { key: selfKey, put: self },
      ];
      await store.txn({ compare: [{ key: selfKey, is: 'absent' }], write: records });
      try {
        this.#membership = await this.#enter(self);
      } catch (error) {
        await store.txn({ write: records.map(({ key }) => ({ key, del: true as const })) });
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
      this.#membership = await this.#enter(self);
      await this.#welcomed(this.#membership, signal);
      logger.info({ node: nodeId, swarm: swarmId }, 'joined a swarm');
    });
  }

  leave(isForced: boolean): Promise<void> {
    return this.#alone(async () => {
      const membership = this.#membership;
      if (membership === undefined && this.#trouble === '')
        throw new LinkspanError('noSwarmHere', 'This node is not part of a swarm');
      if (membership?.manager !== undefined && !isForced)
        throw new LinkspanError('lastManager', leavingAsLast);
      const { store, logger } = this.#deps;
      const left = (await store.list('cluster/')).entries.map(({ key }) => ({ key, del: true as const }));
      await store.txn({ write: [{ key: selfKey, del: true }, ...left] });
      membership?.session?.leave();
      await this.#close();
      logger.info({ node: membership?.self.nodeId }, 'left the swarm');
    });
  }

  cluster(): Cluster {
    const { record, authority } = this.#manager();
    return toCluster(record.swarm, authority.digest);
  }

  update(version: number, spec: ClusterSpec, rotation: Rotation): Promise<void> {
    return this.#alone(async () => {
      const { record } = this.#manager();
      const { swarm } = record;
      checkSpec(spec);
      if (swarm.version !== version) throw new LinkspanError('outOfSequence', 'update out of sequence');
      const secrets = {
        worker: rotation.workerToken ? newSecret() : swarm.secrets.worker,
        manager: rotation.managerToken ? newSecret() : swarm.secrets.manager,
      };
      const { clock, store } = this.#deps;
      const next = { ...swarm, spec, secrets, version: version + 1, updatedAt: timestamp(clock) };
      await store.txn({ write: [{ key: swarmKey, put: next }] });
      record.swarm = next;
    });
  }

  nodes(): readonly ClusterNode[] {
    const { roster } = this.#manager();
    return roster.nodes.map((node) => toClusterNode(node, roster.presenceOf(node.id)));
  }

  node(ref: string): ClusterNode {
    const { roster } = this.#manager();
    const node = this.#find(ref, roster);
    return toClusterNode(node, roster.presenceOf(node.id));
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
      throw new LinkspanError('swarmActive', alreadyActive);
  }

  #manager(): Manager {
    if (this.#membership === undefined) throw new LinkspanError('notManager', notActive);
    const { manager } = this.#membership;
    if (manager === undefined) throw new LinkspanError('notManager', notManager);
    return manager;
  }

  #find(ref: string, { byId }: Roster): NodeRecord {
    return findNode(ref === 'self' ? (this.#membership?.self.nodeId ?? ref) : ref, byId);
  }

  /** Opens what a member has. Rejects, with everything closed again, if the port cannot be had. */
  async #enter(self: SelfRecord): Promise<Membership> {
    const stopping = new AbortController();
    this.#trouble = '';
    this.#isRemoved = false;
    if (self.isManager) return { self, stopping, manager: await this.#manage(self, stopping.signal) };
    const { ManagerSession } = await loadParts();
    const session = new ManagerSession({
      self: () => this.#membership?.self ?? self,
      hello: () => ({
        type: 'hello',
        versions: [protocolVersion],
        description: this.#deps.describe(),
        address: hostOf(self.advertise),
      }),
      clock: this.#deps.clock,
      logger: this.#deps.logger,
    });
    session.events.on('welcome', ({ managers }) => {
      this.#trouble = '';
      void this.#noteManagers(managers);
    });
    session.events.on('lost', ({ cause }) => (this.#trouble = `no manager answers: ${cause}`));
    session.events.on('removed', () => {
      this.#isRemoved = true;
      this.#trouble = 'this node was removed from the swarm: use "docker swarm leave" to let go of it';
      this.#deps.logger.error({ node: self.nodeId }, 'this node was removed from the swarm');
    });
    session.start();
    this.#keepFresh(self, () => this.#askForKeys(self), stopping.signal);
    return { self, stopping, session };
  }

  async #manage(self: SelfRecord, signal: AbortSignal): Promise<Manager> {
    const { store, clock, logger } = this.#deps;
    const entry = await store.get(swarmKey);
    if (entry === undefined) throw new LinkspanError('store', 'the record of the swarm is gone');
    const record = { swarm: entry.value as SwarmRecord };
    const { Authority, ManagerServer } = await loadParts();
    const authority = await Authority.open(clock, record.swarm.root);
    const roster = await Roster.open(store, clock);
    const state = (): ManagerState => {
      const { spec, secrets, id } = record.swarm;
      const { certificateLifeMs, heartbeatMs } = spec;
      return { swarmId: id, authority, secrets, certificateLifeMs, heartbeatMs, managers: self.managers };
    };
    const server = await ManagerServer.listen(
      { roster, clock, logger, state, keys: self.keys, rootPem: self.rootPem },
      self.listen,
    );
    roster.note(self.nodeId, { state: 'ready', message: '' });
    const renewOnce = async (): Promise<SelfRecord['keys']> => {
      const { certificateLifeMs } = record.swarm.spec;
      const { keys } = await this.#certifySelf(authority, self.swarmId, certificateLifeMs, self.nodeId);
      server.setKeys(keys);
      return keys;
    };
    this.#keepFresh(self, renewOnce, signal);
    return { record, authority, roster, server };
  }

  /** A manager needs nobody for that. Without `known`, the node's id comes from the key. */
  async #certifySelf(
    authority: Authority,
    swarmId: string,
    lifeMs: number,
    known?: string,
  ): Promise<{ readonly nodeId: string; readonly keys: SelfRecord['keys'] }> {
    const { publicKeyOf, requestCertificate } = await loadParts();
    const { requestPem, keyPem } = await requestCertificate();
    const nodeId = known ?? nodeIdOf(await publicKeyOf(requestPem));
    const certificatePem = await authority.issue(requestPem, { nodeId, swarmId, role: 'manager' }, lifeMs);
    return { nodeId, keys: { certificatePem, keyPem } };
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

  async #noteManagers(managers: readonly string[]): Promise<void> {
    const membership = this.#membership;
    if (membership === undefined || managers.length === 0) return;
    if (String(managers) === String(membership.self.managers)) return;
    await this.#saveSelf(membership, { ...membership.self, managers });
  }

  async #saveSelf(membership: Membership, self: SelfRecord): Promise<void> {
    try {
      await this.#deps.store.txn({ write: [{ key: selfKey, put: self }] });
      if (this.#membership === membership) this.#membership = { ...membership, self };
    } catch (error) {
      this.#deps.logger.error({ err: error }, 'could not store what this node knows of its swarm');
    }
  }

  /** A worker's certificate comes from a manager. */
  async #askForKeys(joined: SelfRecord): Promise<SelfRecord['keys']> {
    const self = this.#membership?.self ?? joined;
    const { renew } = await loadParts();
    return await renew(self.managers[0] ?? '', self, AbortSignal.timeout(joinTimeoutMs));
  }

  /** Renews the certificate of `self` in time, and stores what comes. */
  #keepFresh(self: SelfRecord, renewOnce: () => Promise<SelfRecord['keys']>, signal: AbortSignal): void {
    const { clock, logger } = this.#deps;
    const certificate = (): string => (this.#membership?.self ?? self).keys.certificatePem;
    const renewAndSave = async (): Promise<void> => {
      const keys = await renewOnce();
      const membership = this.#membership;
      if (membership !== undefined) await this.#saveSelf(membership, { ...membership.self, keys });
    };
    void keepFresh({ clock, logger, certificate, renew: renewAndSave }, signal);
  }

  async #close(): Promise<void> {
    const membership = this.#membership;
    this.#membership = undefined;
    this.#trouble = '';
    this.#isRemoved = false;
    membership?.stopping.abort();
    membership?.session?.[Symbol.dispose]();
    await membership?.manager?.server[Symbol.asyncDispose]();
  }
}

function checkSpec({ certificateLifeMs, heartbeatMs, isAutolocked }: ClusterSpec): void {
  if (certificateLifeMs < shortestLifeMs)
    throw new LinkspanError(
      'requestInvalid',
      'invalid CAConfig: the certificate expiry must be at least one hour',
    );
  if (heartbeatMs < 1000)
    throw new LinkspanError(
      'requestInvalid',
      'invalid DispatcherConfig: the heartbeat period must be at least one second',
    );
  if (isAutolocked) throw new LinkspanError('notImplemented', 'Autolock is not supported yet');
}
