/*
 * The networks and endpoints that exist, in memory and in the store: the one place that changes either. Memory changes
 * first and synchronously, so that two requests never see the same name or address free; the store follows, and a
 * refused write is taken back by the caller.
 * Keys: `networks/<id>`, `endpoints/<id>`.
 */
import { Events } from '../../base/events.ts';
import { AddressPool } from '../../ipam/addressPool.ts';
import { formatIp, type Ip, parseIp } from '../../net/ip.ts';
import { type Prefix, parseIpWithLength, parsePrefix } from '../../net/prefix.ts';
import type { Store, Survival, Write } from '../../store/store.ts';
import type { PoolStatus } from '../engine.ts';
import type { ContainerId, Endpoint, EndpointId, Network, NetworkId, Pool } from '../model.ts';

/** A pool's record together with its addresses in use. */
interface LivePool {
  readonly pool: Pool;
  readonly subnet: Prefix;
  readonly addresses: AddressPool;
}

interface LiveNetwork {
  network: Network;
  readonly pools: readonly LivePool[];
  readonly endpoints: Map<EndpointId, Endpoint>;
}

function mustParsePrefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new TypeError(`a stored subnet is malformed: ${text}`);
  return prefix;
}

function openPool(pool: Pool): LivePool {
  const subnet = mustParsePrefix(pool.subnet);
  const addresses = new AddressPool(
    subnet,
    pool.ipRange === undefined ? subnet : mustParsePrefix(pool.ipRange),
  );
  for (const text of [pool.gateway, ...Object.values(pool.auxAddresses)]) {
    const ip = text === undefined ? undefined : parseIp(text);
    if (ip !== undefined) addresses.take(ip);
  }
  return { pool, subnet, addresses };
}

function toStatus({ pool, addresses }: LivePool): PoolStatus {
  return { subnet: pool.subnet, inUse: addresses.inUse, available: addresses.available };
}

/** Of pools whose addresses are kept elsewhere, and of which these are leased. */
export function poolStatusOf(pools: readonly Pool[], leased: readonly Ip[]): readonly PoolStatus[] {
  const live = pools.map(openPool);
  for (const ip of leased) live.find(({ addresses }) => addresses.isUsable(ip))?.addresses.take(ip);
  return live.map(toStatus);
}

/** The addresses of an endpoint's record, without lengths. */
function addressesOf(endpoint: Endpoint): readonly Ip[] {
  return [endpoint.ipv4, endpoint.ipv6].flatMap((text) => parseIpWithLength(text ?? '')?.ip ?? []);
}

export interface NetworkTableEvents extends Record<string, unknown> {
  /** An endpoint's record changed; undefined = there was none, there is none. After the memory, before the store. */
  readonly endpoint: { readonly before: Endpoint | undefined; readonly after: Endpoint | undefined };
  /** Likewise a network's. */
  readonly network: { readonly before: Network | undefined; readonly after: Network | undefined };
}

export class NetworkTable {
  readonly events: Events<NetworkTableEvents> = new Events();
  readonly #store: Store;
  readonly #networks = new Map<NetworkId, LiveNetwork>();
  readonly #byName = new Map<string, NetworkId>();
  readonly #byContainer = new Map<ContainerId, Set<EndpointId>>();
  readonly #networkOf = new Map<EndpointId, NetworkId>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Reads everything back. Call once, before anything else. */
  async load(): Promise<void> {
    for (const { value } of (await this.#store.list('networks/')).entries) this.#insert(value as Network);
    const { entries } = await this.#store.list('endpoints/');
    // The store's order is that of ids.
    const endpoints = entries
      .map(({ value }) => value as Endpoint)
      .toSorted((a, b) => (a.ordinal ?? 0) - (b.ordinal ?? 0));
    for (const endpoint of endpoints) {
      // A network's removal takes its endpoints along in one transaction; an orphan cannot be.
      if (this.#networks.has(endpoint.networkId)) this.#insertEndpoint(endpoint);
    }
  }

  get networks(): readonly Network[] {
    return [...this.#networks.values()].map(({ network }) => network);
  }

  find(id: NetworkId): Network | undefined {
    return this.#networks.get(id)?.network;
  }

  byId(): ReadonlyMap<string, Network> {
    return new Map([...this.#networks].map(([id, { network }]) => [id, network]));
  }

  findByName(name: string): Network | undefined {
    const id = this.#byName.get(name);
    return id === undefined ? undefined : this.find(id);
  }

  endpointsOf(id: NetworkId): readonly Endpoint[] {
    return [...(this.#networks.get(id)?.endpoints.values() ?? [])];
  }

  endpointsOfContainer(id: ContainerId): readonly Endpoint[] {
    return [...(this.#byContainer.get(id) ?? [])].flatMap((endpoint) => this.#find(endpoint) ?? []);
  }

  get endpoints(): readonly Endpoint[] {
    return [...this.#networks.values()].flatMap(({ endpoints }) => [...endpoints.values()]);
  }

  /** Subnets of all networks. */
  get subnets(): readonly Prefix[] {
    return [...this.#networks.values()].flatMap(({ pools }) => pools.map(({ subnet }) => subnet));
  }

  /**
   * Adds or replaces; visible at once, durable when it resolves: `ready` for good unless `survives` says otherwise, half-made
   * and half-gone until `sync`. On failure a new network is taken out again.
   */
  async putNetwork(
    network: Network,
    survives: Survival = network.state === 'ready' ? 'machine' : 'process',
  ): Promise<void> {
    const before = this.find(network.id);
    this.#insert(network);
    try {
      await this.#write([{ key: `networks/${network.id}`, put: network }], survives);
    } catch (error) {
      if (before === undefined) this.#drop(network);
      else this.#insert(before);
      throw error;
    }
  }

  /** What was written outlives the machine when it resolves. */
  sync(): Promise<void> {
    return this.#store.sync();
  }

  /** Forgets the network and the endpoints reserved on it. */
  async delNetwork(network: Network, survives: Survival = 'machine'): Promise<void> {
    const endpoints = this.endpointsOf(network.id);
    await this.#write(
      [
        { key: `networks/${network.id}`, del: true },
        ...endpoints.map(({ id }) => ({ key: `endpoints/${id}`, del: true as const })),
      ],
      survives,
    );
    for (const endpoint of endpoints) this.#dropEndpoint(endpoint);
    this.#drop(network);
  }

  poolStatus(id: NetworkId): readonly PoolStatus[] {
    return (this.#networks.get(id)?.pools ?? []).map(toStatus);
  }

  /** The pool that holds `ip`, if any. */
  #poolOf(id: NetworkId, ip: Ip): LivePool | undefined {
    return this.#networks.get(id)?.pools.find(({ addresses }) => addresses.isUsable(ip));
  }

  hasSubnetFor(id: NetworkId, ip: Ip): boolean {
    return this.#poolOf(id, ip) !== undefined;
  }

  /** Leases exactly `ip`; false if it is taken. */
  takeAddress(id: NetworkId, ip: Ip): boolean {
    return this.#poolOf(id, ip)?.addresses.take(ip) ?? false;
  }

  /** Leases the lowest free address of a family; undefined if every pool of it is full. */
  takeLowestAddress(id: NetworkId, family: 4 | 6): Ip | undefined {
    for (const { subnet, addresses } of this.#networks.get(id)?.pools ?? []) {
      const ip = subnet.base.family === family ? addresses.takeLowest() : undefined;
      if (ip !== undefined) return ip;
    }
    return undefined;
  }

  /** The record of a stopped container that has `ip`. */
  findReserved(id: NetworkId, ip: Ip): Endpoint | undefined {
    return this.endpointsOf(id).find(
      (endpoint) =>
        endpoint.state === 'reserved' && addressesOf(endpoint).some((one) => one.bits === ip.bits),
    );
  }

  /** Takes a stopped container's record out of the table; its addresses stay taken, and `putEndpoints` ends it. */
  displace(endpoint: Endpoint): void {
    this.#removeEndpoint(endpoint);
  }

  reinstate(displaced: readonly Endpoint[]): void {
    for (const endpoint of displaced) this.#insertEndpoint(endpoint);
  }

  /** Gives back a lease that no endpoint record holds yet. */
  releaseAddress(id: NetworkId, ip: Ip): void {
    this.#poolOf(id, ip)?.addresses.release(ip);
  }

  /** `172.18.0.2/16` of an address of this network. */
  withLength(id: NetworkId, ip: Ip): string {
    return `${formatIp(ip)}/${this.#poolOf(id, ip)?.subnet.length ?? 32}`;
  }

  /**
   * Gateway (text) for an endpoint with `ip`: that of its pool, unless a reserved address has the name by which Docker
   * gives containers another one.
   */
  gatewayFor(id: NetworkId, ip: Ip): string | undefined {
    const pool = this.#poolOf(id, ip)?.pool;
    return pool?.auxAddresses[`DefaultGatewayIPv${ip.family}`] ?? pool?.gateway;
  }

  /**
   * Adds or replaces records whose addresses are leased already. On failure the records are as before. They outlive
   * the daemon; the record of their container, which is written at the end of each change, makes them outlive the machine.
   * Records that were displaced for them are forgotten with it.
   */
  async putEndpoints(endpoints: readonly Endpoint[], displaced: readonly Endpoint[] = []): Promise<void> {
    if (endpoints.length === 0) return;
    const before = endpoints.map(({ id }) => this.#find(id));
    for (const endpoint of endpoints) this.#insertEndpoint(endpoint);
    try {
      await this.#write(
        [
          ...endpoints.map((endpoint) => ({ key: `endpoints/${endpoint.id}`, put: endpoint })),
          ...displaced.map(({ id }) => ({ key: `endpoints/${id}`, del: true as const })),
        ],
        'process',
      );
    } catch (error) {
      for (const [i, endpoint] of endpoints.entries()) {
        const old = before[i];
        if (old === undefined) this.#removeEndpoint(endpoint);
        else this.#insertEndpoint(old);
      }
      throw error;
    }
    const used = new Set(endpoints.flatMap(addressesOf).map(({ bits }) => bits));
    for (const one of displaced)
      for (const ip of addressesOf(one)) if (!used.has(ip.bits)) this.releaseAddress(one.networkId, ip);
  }

  /** Forgets records and gives their addresses back; durable as `putEndpoints`. */
  async delEndpoints(endpoints: readonly Endpoint[]): Promise<void> {
    if (endpoints.length === 0) return;
    await this.#write(
      endpoints.map(({ id }) => ({ key: `endpoints/${id}`, del: true as const })),
      'process',
    );
    // One that was displaced meanwhile has left its addresses to another.
    for (const endpoint of endpoints) if (this.#find(endpoint.id) !== undefined) this.#dropEndpoint(endpoint);
  }

  async #write(write: readonly Write[], survives: Survival): Promise<void> {
    await this.#store.txn({ write, survives });
  }

  #find(id: EndpointId): Endpoint | undefined {
    const network = this.#networkOf.get(id);
    return network === undefined ? undefined : this.#networks.get(network)?.endpoints.get(id);
  }

  #insert(network: Network): void {
    const live = this.#networks.get(network.id);
    const before = live?.network;
    if (live === undefined) {
      this.#networks.set(network.id, { network, pools: network.pools.map(openPool), endpoints: new Map() });
      // A swarm's network may have the name of one that was here before, and is found by its id then.
      if (!this.#byName.has(network.name)) this.#byName.set(network.name, network.id);
    } else {
      live.network = network;
    }
    this.events.emit('network', { before, after: network });
  }

  #drop(network: Network): void {
    this.#networks.delete(network.id);
    if (this.#byName.get(network.name) === network.id) {
      const heir = this.networks.find(({ name }) => name === network.name);
      if (heir === undefined) this.#byName.delete(network.name);
      else this.#byName.set(network.name, heir.id);
    }
    this.events.emit('network', { before: network, after: undefined });
  }

  #insertEndpoint(endpoint: Endpoint): void {
    const before = this.#find(endpoint.id);
    this.#networks.get(endpoint.networkId)?.endpoints.set(endpoint.id, endpoint);
    this.#networkOf.set(endpoint.id, endpoint.networkId);
    const siblings = this.#byContainer.get(endpoint.containerId) ?? new Set();
    this.#byContainer.set(endpoint.containerId, siblings.add(endpoint.id));
    for (const ip of addressesOf(endpoint)) this.takeAddress(endpoint.networkId, ip);
    this.events.emit('endpoint', { before, after: endpoint });
  }

  /** Out of the tables; the addresses stay with the caller. */
  #removeEndpoint(endpoint: Endpoint): void {
    this.#networks.get(endpoint.networkId)?.endpoints.delete(endpoint.id);
    this.#networkOf.delete(endpoint.id);
    const siblings = this.#byContainer.get(endpoint.containerId);
    siblings?.delete(endpoint.id);
    if (siblings?.size === 0) this.#byContainer.delete(endpoint.containerId);
    this.events.emit('endpoint', { before: endpoint, after: undefined });
  }

  #dropEndpoint(endpoint: Endpoint): void {
    for (const ip of addressesOf(endpoint)) this.releaseAddress(endpoint.networkId, ip);
    this.#removeEndpoint(endpoint);
  }
}
