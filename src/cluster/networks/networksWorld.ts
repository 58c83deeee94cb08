/*
 * For tests of a swarm's networks: a manager and its nodes in one process over a real store. Who holds an address is read
 * from the store, not from what is believed in memory.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { HandClock } from '../../base/handClock.ts';
import { silentLogger } from '../../base/logger.ts';
import { openSeam } from '../../base/seam.ts';
import { Mirror } from '../../store/mirror.ts';
import { openSqliteStore } from '../../store/sqliteStore.ts';
import type { Store } from '../../store/store.ts';
import { Roster } from '../membership/roster.ts';
import type { EndpointClaim, SwarmEndpoint, SwarmNetworkSpec } from '../swarmNetworks.ts';
import type { Writer } from './endpointBook.ts';
import { type Link, localLink } from './link.ts';
import { NetworkBook } from './networkBook.ts';
import { NodeNetworks } from './nodeNetworks.ts';
import { type Holder, holdersPrefix } from './records.ts';
import { TableServer } from './tableServer.ts';

export const turn = (work: () => void): void => void setImmediate(work);
const pools = { addressPools: ['10.0.0.0/8'], subnetLength: 24 };

export const spec = (name: string, n: number, more: Partial<SwarmNetworkSpec> = {}): SwarmNetworkSpec => ({
  ...{ name, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true, hasIpv6: false },
  pools: [{ subnet: `10.0.${n}.0/24`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
  ...{ vnis: [4096 + n], options: {}, labels: {} },
  ...more,
});

/** Five addresses, of which the first is the gateway's. */
export const tiny = (n: number): Partial<SwarmNetworkSpec> => ({
  pools: [{ subnet: `10.0.${n}.0/29`, gateway: `10.0.${n}.1`, auxAddresses: { printer: `10.0.${n}.2` } }],
});

export const claimOf = (
  networkId: string,
  endpointId: string,
  more: Partial<EndpointClaim> = {},
): EndpointClaim => ({
  ...{ networkId, endpointId, containerId: `c-${endpointId}`, containerName: endpointId, isUp: true },
  ...{ mac: '02:00:00:00:00:01', dnsNames: [endpointId], ...more },
});

export const ids = (rows: readonly SwarmEndpoint[]): readonly string[] =>
  rows.map(({ endpointId }) => endpointId).sort();
export const signed = (sign: string, rows: readonly SwarmEndpoint[]): string =>
  ids(rows)
    .map((id) => `${sign}${id}`)
    .join();
export const always: Writer = { check: () => [] };

export interface Node {
  readonly id: string;
  readonly networks: NodeNetworks;
  own: readonly EndpointClaim[];
  link: Link | undefined;
  readonly refused: string[];
}

export async function openBook(store: Store, clock: HandClock, mirror?: Mirror): Promise<NetworkBook> {
  const seen = mirror ?? (await Mirror.open(store, 'cluster/', clock));
  return await NetworkBook.open({ store, mirror: seen, clock, turn, pools });
}

/** A manager and its store; nodes are added. */
export class World implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'linkspan-networks-'));
  readonly clock: HandClock = new HandClock();
  store!: Store;
  mirror!: Mirror;
  roster!: Roster;
  book!: NetworkBook;
  server!: TableServer;
  readonly #local: Store[] = [];

  static async open(): Promise<World> {
    const world = new World();
    world.store = await world.openStore('manager');
    await world.openManager();
    return world;
  }

  openStore(name: string): Promise<Store> {
    return openSqliteStore(join(this.folder, name, 'state.db'), openSeam());
  }

  /** As a daemon that starts again. */
  async openManager(): Promise<void> {
    const { store, clock } = this;
    this.server?.[Symbol.dispose]();
    this.mirror = await Mirror.open(store, 'cluster/', clock);
    const { mirror } = this;
    this.roster = new Roster({ store, mirror, clock, selfId: 'manager' });
    this.book = await openBook(store, clock, mirror);
    const { roster, book } = this;
    this.server = await TableServer.open({ roster, book, clock, turn, logger: silentLogger });
  }

  async addNode(id: string, store?: Store): Promise<Node> {
    await this.roster.add({
      ...{ id, address: '192.0.2.1', dataPath: '198.51.100.1' },
      description: {
        ...{ hostname: id, architecture: '', os: '', nanoCpus: 0, memoryBytes: 0 },
        ...{ engineVersion: '', engineLabels: {} },
      },
      spec: { name: '', labels: {}, role: 'worker', availability: 'active' },
    });
    const local = store ?? (await this.openStore(id));
    if (store === undefined) this.#local.push(local);
    const refused: string[] = [];
    const networks: NodeNetworks = new NodeNetworks({
      ...{ store: local, clock: this.clock, logger: silentLogger },
      ownEndpoints: () => node.own,
    });
    const node: Node = { id, networks, own: [], link: undefined, refused };
    networks.events.on('refused', ({ endpointId }) => refused.push(endpointId));
    networks.start();
    await networks.enter({ nodeId: id, address: '198.51.100.1', port: () => 4789 });
    await this.connect(node);
    return node;
  }

  /** A new session; the one before it, if any, is not ended by the node. */
  async connect(node: Node): Promise<void> {
    const record = await this.roster.begin(node.id, {
      ...this.roster.find(node.id)!,
    });
    const [own, far] = localLink(turn);
    this.server.accept(node.id, record?.epoch ?? 0, far);
    node.networks.connect(own);
    node.link = own;
    await node.networks.told();
    await this.settle();
  }

  /** Lets everything run that needs no time to pass. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i += 1) {
      for (const store of [this.store, ...this.#local]) await store.get('nothing');
      for (let j = 0; j < 3; j += 1) await nextTurn();
    }
  }

  async create(name: string, n: number, more: Partial<SwarmNetworkSpec> = {}): Promise<string> {
    const { id } = await this.book.create(() => spec(name, n, more));
    await this.settle();
    return id;
  }

  /** Of the store: addresses and who holds them, and the rows: each has the other. */
  async holders(networkId: string): Promise<readonly string[]> {
    const { entries } = await this.store.list(holdersPrefix(networkId));
    const rows = (await this.store.list(`cluster/endpoints/${networkId}/`)).entries;
    const fromRows = rows.flatMap(({ value }) => {
      const { endpointId, ipv4, ipv6 } = value as SwarmEndpoint;
      return [ipv4, ipv6].flatMap((ip) => (ip === undefined ? [] : `${ip} ${endpointId}`));
    });
    const found = entries.map(
      ({ key, value }) => `${key.slice(holdersPrefix(networkId).length)} ${(value as Holder).endpointId}`,
    );
    assert.deepEqual([...fromRows].sort(), [...found].sort());
    return [...found].sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server[Symbol.dispose]();
    for (const store of [this.store, ...this.#local]) await store[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true });
  }
}
