/*
 * Keeps this node as its swarm says: networks of the table, peers in the kernel, names of containers on other nodes. What
 * it hears is applied in order, network by network; where the kernel refuses, all that is known is set again a moment
 * later.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { Pending } from '../../base/pending.ts';
import type { SwarmEndpoint, SwarmNetwork, SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import type { NamedEndpoint } from '../../dns/names.ts';
import type { Dns } from '../../dns/openDns.ts';
import { isRouted, type OverlayBlock } from '../../drivers/overlay/blocks.ts';
import type { OnDemandOverlay } from '../../drivers/overlay/onDemand.ts';
import type { OverlayPeer } from '../../drivers/overlay/peerTable.ts';
import { parseIp } from '../../net/ip.ts';
import { parseMac } from '../../net/mac.ts';
import { parsePrefix } from '../../net/prefix.ts';
import type { EventLog } from '../events.ts';
import type { Network, NetworkId } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import { emitNetworkEvent } from '../networks/networkEvents.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import type { SwarmClaims } from './claims.ts';
import { viewOf, wayTo } from './nodeWays.ts';
import { toNetwork } from './swarmRecords.ts';

export interface SwarmFollowerDependencies {
  readonly table: NetworkTable;
  readonly swarm: SwarmNetworks;
  /** False: what the swarm's networks are is not known now, so that none is taken for gone. */
  readonly isKnown: () => boolean;
  readonly claims: Pick<SwarmClaims, 'events' | 'followed' | 'isFollowed'>;
  readonly driver: Pick<
    OnDemandOverlay,
    'adopt' | 'setPeers' | 'setBlocks' | 'addPeers' | 'removePeers' | 'forgetPeers' | 'removeNetwork'
  >;
  readonly dns: Pick<Dns, 'events' | 'put' | 'del'>;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes every container of this node off a network that is no more. */
  readonly evict: (network: Network) => Promise<void>;
}

/** After a refusal of the kernel's; doubled up to the longest. */
const firstRetryMs = 1000;
const longestRetryMs = 30_000;

export class SwarmFollower implements Disposable {
  readonly #deps: SwarmFollowerDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  /** Endpoints of other nodes that have names here, by network. */
  readonly #named = new Map<NetworkId, Set<string>>();
  readonly #retrying = new Set<NetworkId>();
  readonly #pending = new Pending();

  constructor(deps: SwarmFollowerDependencies) {
    this.#deps = deps;
    this.#listen();
  }

  /** After containers were adopted. Resolves when what they use is in the kernel; their peers follow. */
  async start(): Promise<void> {
    const { swarm, table, claims, driver } = this.#deps;
    if (this.#deps.isKnown()) await this.#takeStock();
    for (const id of claims.followed) {
      const network = table.find(id);
      if (network === undefined) continue;
      const attached = table.endpointsOf(id).filter(({ state }) => state === 'attached');
      await this.#attempt(id, () =>
        driver.adopt(
          toDriverNetwork(network),
          attached.map((one) => one.id),
        ),
      );
      void swarm.follow(id);
    }
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
  }

  /** Takes every container of this node off the swarm's networks. Never rejects. */
  async vacate(): Promise<void> {
    const { table, evict } = this.#deps;
    const networks = table.networks.filter(({ scope }) => scope === 'global');
    await Promise.all(networks.map((network) => this.#attempt(network.id, () => evict(network))));
  }

  /** Resolves when all that was heard so far is done, or failed. */
  async settled(): Promise<void> {
    await this.#pending.settled();
  }

  #listen(): void {
    const { swarm, dns, claims } = this.#deps;
    this.#listeners.use(
      swarm.events.on('networks', ({ added, removed }) => {
        for (const network of added) this.#begin(network.id, () => this.#add(network));
        for (const { id } of removed) this.#begin(id, () => this.#remove(id as NetworkId));
      }),
    );
    this.#listeners.use(
      swarm.events.on('peers', ({ networkId, isSnapshot, added, removed }) => {
        const id = networkId as NetworkId;
        this.#name(id, isSnapshot, added, removed);
        this.#begin(id, () => (isSnapshot ? this.#setAll(id) : this.#change(id, added, removed)));
      }),
    );
    this.#listeners.use(
      swarm.events.on('blocks', ({ networkId }) => {
        const id = networkId as NetworkId;
        this.#begin(id, () => this.#setAll(id));
      }),
    );
    this.#listeners.use(
      claims.events.on('left', ({ networkId }) => {
        this.#name(networkId, true, [], []);
        this.#begin(networkId, () => this.#setAll(networkId));
      }),
    );
    this.#listeners.use(
      swarm.events.on('nodes', () => {
        for (const id of claims.followed) this.#again(id);
      }),
    );
    this.#listeners.use(
      swarm.events.on('refused', ({ networkId, endpointId, message }) => {
        const network = networkId as NetworkId;
        const endpoint = this.#deps.table.endpointsOf(network).find(({ id }) => id === endpointId);
        // One that has stopped goes with its network, or asks for an address when it starts.
        if (this.#deps.table.find(network) === undefined || endpoint?.state === 'reserved') return;
        this.#deps.logger.error(
          { network: networkId, endpoint: endpointId },
          `the swarm refuses an endpoint of this node: ${message}; restart its container`,
        );
      }),
    );
    this.#listeners.use(
      dns.events.on('lost', () => {
        this.#named.clear();
        for (const id of claims.followed) this.#name(id, true, swarm.peers(id), []);
      }),
    );
  }

  /** What came and went while this daemon did not run. */
  async #takeStock(): Promise<void> {
    const { table, swarm } = this.#deps;
    const known = new Set(swarm.networks.map(({ id }) => id));
    for (const { id, scope } of table.networks)
      if (scope === 'global' && !known.has(id)) await this.#attempt(id, () => this.#remove(id));
    for (const network of swarm.networks)
      await this.#attempt(network.id as NetworkId, () => this.#add(network));
  }

  async #add(network: SwarmNetwork): Promise<void> {
    const { table, events, logger } = this.#deps;
    const record = toNetwork(network);
    if (table.find(record.id) !== undefined) return;
    await table.putNetwork(record);
    logger.info({ network: record.name, id: record.id }, 'the swarm has a network');
    emitNetworkEvent(events, 'create', record);
  }

  async #remove(id: NetworkId): Promise<void> {
    const { table, driver, evict, events, logger } = this.#deps;
    const network = table.find(id);
    if (network === undefined) return;
    await evict(network);
    await driver.removeNetwork(toDriverNetwork(network), []);
    this.#name(id, true, [], []);
    await table.delNetwork(network);
    logger.info({ network: network.name, id }, 'the swarm has a network no more');
    emitNetworkEvent(events, 'destroy', network);
  }

  async #setAll(id: NetworkId): Promise<void> {
    const { table, swarm, driver, claims } = this.#deps;
    const network = table.find(id);
    if (network === undefined) return;
    const asDriver = toDriverNetwork(network);
    if (!claims.isFollowed(id)) driver.forgetPeers(asDriver);
    else if (isRouted(asDriver)) await driver.setBlocks(asDriver, this.#blocksOf(network));
    else await driver.setPeers(asDriver, this.#peersOf(network, swarm.peers(id)));
  }

  async #change(
    id: NetworkId,
    added: readonly SwarmEndpoint[],
    removed: readonly SwarmEndpoint[],
  ): Promise<void> {
    const { table, driver } = this.#deps;
    const network = table.find(id);
    if (network === undefined) return;
    const asDriver = toDriverNetwork(network);
    // Their blocks are enough.
    if (isRouted(asDriver)) return;
    if (removed.length > 0) await driver.removePeers(asDriver, removed.flatMap(addressesOf));
    const peers = this.#peersOf(network, added);
    if (peers.length > 0) await driver.addPeers(asDriver, peers);
  }

  #again(id: NetworkId): void {
    this.#name(id, true, this.#deps.swarm.peers(id), []);
    this.#begin(id, () => this.#setAll(id));
  }

  /** Of other nodes. */
  #blocksOf(network: Network): readonly OverlayBlock[] {
    const { swarm } = this.#deps;
    const view = viewOf(swarm);
    return swarm.blocks(network.id).flatMap(({ block: text, nodeId }) => {
      const block = parsePrefix(text);
      const way = wayTo(view, swarm.findNode(nodeId), network.isEncrypted === true);
      if (block === undefined || way === undefined || nodeId === swarm.dataPath?.nodeId) return [];
      return { block, ...way };
    });
  }

  /** An endpoint whose node, or its tunnel, is not known yet is no peer until it is. */
  #peersOf(network: Network, rows: readonly SwarmEndpoint[]): readonly OverlayPeer[] {
    const { swarm } = this.#deps;
    const view = viewOf(swarm);
    return rows.flatMap((row) => {
      const way = wayTo(view, swarm.findNode(row.nodeId), network.isEncrypted === true);
      const mac = parseMac(row.mac);
      if (way === undefined || mac === undefined) return [];
      return addressesOf(row).map((address) => ({ ...address, mac, ...way }));
    });
  }

  /** Names do not lead to endpoints of nodes that are down. */
  #name(
    id: NetworkId,
    isAll: boolean,
    added: readonly SwarmEndpoint[],
    removed: readonly SwarmEndpoint[],
  ): void {
    const { dns, swarm, table } = this.#deps;
    const known = this.#named.get(id) ?? new Set<string>();
    this.#named.set(id, known);
    const networkName = table.find(id)?.name ?? '';
    const reachable = added.filter(({ nodeId }) => swarm.findNode(nodeId)?.isDown !== true);
    const kept = new Set(reachable.map(({ endpointId }) => endpointId));
    const gone = isAll
      ? [...known].filter((one) => !kept.has(one))
      : [...removed, ...added].map(({ endpointId }) => endpointId).filter((one) => !kept.has(one));
    for (const one of gone) if (known.delete(one)) dns.del(one);
    for (const one of kept) known.add(one);
    if (reachable.length > 0) dns.put(reachable.map((row) => toNamed(row, networkName)));
    if (known.size === 0) this.#named.delete(id);
  }

  #begin(id: string, work: () => Promise<void>): void {
    this.#pending.add(this.#attempt(id as NetworkId, work));
  }

  /** In turn with all else of the network. Never rejects. */
  async #attempt(id: NetworkId, work: () => Promise<void>): Promise<void> {
    try {
      await this.#mutex.run(id, work);
    } catch (error) {
      this.#deps.logger.error({ network: id, err: error }, 'could not follow the swarm');
      void this.#retry(id);
    }
  }

  async #retry(id: NetworkId): Promise<void> {
    if (this.#retrying.has(id)) return;
    this.#retrying.add(id);
    try {
      for (let waitMs = firstRetryMs; ; waitMs = Math.min(2 * waitMs, longestRetryMs)) {
        await this.#deps.clock.sleep(waitMs, this.#stopping.signal);
        try {
          await this.#mutex.run(id, () => this.#settle(id));
          return;
        } catch (error) {
          this.#deps.logger.warn({ network: id, err: error }, 'still cannot follow the swarm');
        }
      }
    } catch {
      // Stopped.
    } finally {
      this.#retrying.delete(id);
    }
  }

  /** Whatever of a network failed: there or not, and its peers. */
  async #settle(id: NetworkId): Promise<void> {
    const network = this.#deps.swarm.networks.find((one) => one.id === id);
    if (network !== undefined) {
      await this.#add(network);
      await this.#setAll(id);
    } else if (this.#deps.isKnown()) await this.#remove(id);
  }
}

function addressesOf({
  endpointId,
  ipv4,
  ipv6,
}: SwarmEndpoint): readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[] {
  return [ipv4, ipv6].flatMap((text) => {
    const ip = parseIp(text ?? '');
    return ip === undefined ? [] : [{ endpointId, ip }];
  });
}

function toNamed(row: SwarmEndpoint, networkName: string): NamedEndpoint {
  const { endpointId: id, networkId: network, dnsNames: names, ipv4, ipv6 } = row;
  return { id, network, networkName, names, addresses: [ipv4, ipv6].flatMap((text) => text ?? []) };
}
