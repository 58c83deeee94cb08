/*
 * A manager and its nodes in one process and in virtual time, with a disk each, sessions that break anywhere, and programs
 * that die anywhere. What must hold of networks and addresses is checked at every commit and after every step; what
 * must come to hold once all is well, at the end.
 *
 * An endpoint lives on a host from when its record is written there, after the claim, until the host lets go of it.
 */
import assert from 'node:assert/strict';
import { silentLogger } from '../../src/base/logger.ts';
import { Roster } from '../../src/cluster/membership/roster.ts';
import { NetworkBook } from '../../src/cluster/networks/networkBook.ts';
import { NodeNetworks } from '../../src/cluster/networks/nodeNetworks.ts';
import type { NetworkRecord } from '../../src/cluster/networks/records.ts';
import { TableServer } from '../../src/cluster/networks/tableServer.ts';
import type { EndpointClaim, SwarmEndpoint, SwarmNetworkSpec } from '../../src/cluster/swarmNetworks.ts';
import { LinkspanError } from '../../src/errors/linkspanError.ts';
import { Mirror } from '../../src/store/mirror.ts';
import type { Write } from '../../src/store/store.ts';
import { checkAllocation } from './checkAllocation.ts';
import { checkBlocksAtEnd, checkOwnBlock } from './checkBlocks.ts';
import { Disk, SimulatedLink, SimulatedStore, VirtualTime } from './virtualTime.ts';

interface Manager {
  readonly store: SimulatedStore;
  readonly roster: Roster;
  readonly book: NetworkBook;
  readonly server: TableServer;
  /** Its ends of sessions. */
  readonly links: SimulatedLink[];
}

interface Host {
  readonly id: string;
  readonly disk: Disk;
  /** Endpoints that live here, by network and id; they outlive the daemon. */
  readonly records: Map<string, EndpointClaim>;
  readonly followed: Set<string>;
  /** What the daemon's listener has made of what it was told. */
  readonly told: Map<string, Map<string, SwarmEndpoint>>;
  /** How far its stored tables went. */
  readonly marks: Map<string, { readonly epoch: string; readonly revision: number }>;
  /** Undefined: the daemon is dead. */
  daemon: { readonly networks: NodeNetworks; readonly store: SimulatedStore; isReady: boolean } | undefined;
  link: SimulatedLink | undefined;
  isCutOff: boolean;
  isRemoved: boolean;
  /** Counts attempts to begin a session. */
  attempt: number;
}

type Rows = ReadonlyMap<string, SwarmEndpoint>;

/** What a refused claim may say. */
const expected = [
  'managerUnreachable',
  'store',
  'storeUnavailable',
  'addressTaken',
  'addressesExhausted',
  'addressInvalid',
  'networkFull',
  'networkNotFound',
  'nodeRefused',
];
const pools = { addressPools: ['10.0.0.0/8'], subnetLength: 29 };
const keyOf = ({ networkId, endpointId }: EndpointClaim): string => `${networkId}/${endpointId}`;

export class SimulatedSwarm {
  readonly time: VirtualTime;
  readonly #disk = new Disk();
  readonly #hosts: Host[] = [];
  #manager: Manager | undefined;
  readonly #blockBits: number | undefined;
  #failures = 0;
  #count = 0;
  /** Of each network, from each revision on. */
  readonly #history = new Map<string, { readonly revision: number; readonly rows: Rows }[]>();
  /** In which sessions of its node something was said of an endpoint. */
  readonly #saidIn = new Map<string, Set<number>>();
  /** The first thing that did not hold. */
  #violation: unknown;

  /** `blockBits`: of the networks that are made here. */
  constructor(seed: number, hostCount: number, blockBits?: number) {
    this.#blockBits = blockBits;
    this.time = new VirtualTime(seed);
    this.#disk.onCommit = (write) => this.#guarded(() => this.#checkCommit(write));
    for (let i = 0; i < hostCount; i += 1) this.#hosts.push(this.#newHost(`node${i}`));
  }

  async begin(): Promise<void> {
    this.#startManager();
    await this.pass(15_000);
    assert.ok(this.#manager, 'the manager has begun');
    for (const { id } of this.#hosts)
      void this.#manager.roster.add({
        ...{
          id,
          address: '192.0.2.1',
          spec: { name: '', labels: {}, role: 'worker', availability: 'active' },
        },
        description: {
          ...{ hostname: id, architecture: '', os: '', nanoCpus: 0, memoryBytes: 0 },
          ...{ engineVersion: '', engineLabels: {} },
        },
      });
    await this.pass(2000);
    for (const host of this.#hosts) void this.#startDaemon(host);
    await this.pass(2000);
    this.#failures = 0.02;
  }

  async pass(ms: number): Promise<void> {
    await this.time.run(ms, () => {
      if (this.#violation !== undefined) throw this.#violation;
    });
    if (this.#violation !== undefined) throw this.#violation;
  }

  createNetwork(): void {
    const name = `n${this.#count++}`;
    const book = this.#manager?.book;
    void this.#expecting(async () => {
      await book?.create(({ networks }): SwarmNetworkSpec => {
        let n = 1;
        while (networks.some(({ vnis }) => vnis.includes(4096 + n))) n += 1;
        return {
          ...{ name, isInternal: false, isAttachable: true, isIngress: false, hasIpv4: true, hasIpv6: false },
          pools: [{ subnet: `10.0.${n}.0/${this.#length}`, gateway: `10.0.${n}.1`, auxAddresses: {} }],
          ...(this.#blockBits === undefined ? {} : { blockBits: this.#blockBits }),
          ...{ vnis: [4096 + n], options: {}, labels: {} },
        };
      });
    }, 'swarmNetworkInUse');
  }

  get #length(): number {
    return this.#blockBits === undefined ? 29 : 28;
  }

  removeNetwork(which: number): void {
    const book = this.#manager?.book;
    const id = this.#pickNetwork(book?.networks ?? [], which);
    if (book !== undefined && id !== undefined)
      void this.#expecting(() => book.remove(id), 'swarmNetworkInUse');
  }

  claim(who: number, which: number, address: number | undefined): void {
    const host = this.#host(who);
    const daemon = host.daemon;
    const id = this.#pickNetwork(daemon?.networks.networks ?? [], which);
    const network = daemon?.networks.networks.find((one) => one.id === id);
    if (daemon === undefined || network === undefined || host.isRemoved) return;
    const endpointId = `e${this.#count++}`;
    const subnet = network.pools[0]?.subnet.split('/')[0]?.replace(/\d+$/, '') ?? '';
    const claim: EndpointClaim = {
      ...{ networkId: network.id, endpointId, containerId: endpointId, containerName: endpointId },
      ...{ mac: '02:00:00:00:00:01', dnsNames: [endpointId], isUp: true },
      ...(address === undefined
        ? {}
        : { ipv4: `${subnet}${2 + (address % (this.#blockBits === undefined ? 5 : 13))}` }),
    };
    void this.#expecting(async () => {
      const { ipv4 = '' } = await daemon.networks.claim(claim);
      if (host.daemon !== daemon) return;
      if (this.time.chance() < 0.1) {
        await daemon.networks.release([claim]);
        return;
      }
      // The engine writes it down; until then it has not happened to anybody who starts again.
      await this.time.sleep(this.time.chance() * (this.time.chance() < 0.3 ? 3000 : 20));
      if (host.daemon !== daemon || host.isRemoved) return;
      // Of which no manager need have heard, so that it does not keep its network.
      if (!daemon.networks.networks.some((one) => one.id === network.id)) {
        await daemon.networks.release([{ ...claim, ipv4 }]);
        return;
      }
      this.#guarded(() => {
        host.records.set(keyOf(claim), { ...claim, ipv4 });
        this.#checkLives();
      });
    });
  }

  release(who: number, which: number): void {
    const host = this.#host(who);
    const record = this.#pickRecord(host, which);
    if (record === undefined) return;
    host.records.delete(keyOf(record));
    void this.#expecting(async () => await host.daemon?.networks.release([record]));
  }

  amend(who: number, which: number): void {
    const host = this.#host(who);
    const record = this.#pickRecord(host, which);
    const { daemon } = host;
    if (record === undefined || daemon === undefined) return;
    const next = { ...record, isUp: !record.isUp };
    void this.#expecting(async () => {
      // What has stopped asks before it starts: its network may be gone.
      if (next.isUp) {
        await daemon.networks.claim(next);
        await this.time.sleep(this.time.chance() * (this.time.chance() < 0.3 ? 3000 : 20));
      }
      if (host.daemon !== daemon) return;
      const now = host.records.get(keyOf(record));
      if (now === undefined) await daemon.networks.release([record]);
      else if (now !== record) await daemon.networks.amend([now]);
      if (now !== record) return;
      this.#guarded(() => {
        host.records.set(keyOf(record), next);
        this.#checkLives();
      });
      if (!next.isUp) await daemon.networks.amend([next]);
    });
  }

  follow(who: number, which: number): void {
    const host = this.#host(who);
    const id = this.#pickNetwork(host.daemon?.networks.networks ?? [], which);
    if (host.daemon === undefined || id === undefined) return;
    host.followed.add(id);
    this.#followNow(host, host.daemon.networks, id);
  }

  unfollow(who: number, which: number): void {
    const host = this.#host(who);
    const id = [...host.followed][which % Math.max(1, host.followed.size)];
    if (host.daemon !== undefined && id !== undefined) this.#unfollow(host, host.daemon.networks, id);
  }

  breakLink(who: number, isByManager: boolean): void {
    const { link } = this.#host(who);
    if (link === undefined) return;
    if (isByManager) link.cut();
    else link.drop();
  }

  cutOff(who: number): void {
    const host = this.#host(who);
    host.isCutOff = !host.isCutOff;
    if (host.isCutOff) host.link?.drop();
    else this.#connectLater(host);
  }

  killDaemon(who: number): void {
    const host = this.#host(who);
    if (host.daemon === undefined) return;
    host.daemon.store.die();
    host.daemon = undefined;
    host.told.clear();
    host.link?.drop();
    this.time.after(this.time.chance() * 3000, () => void this.#startDaemon(host));
  }

  killManager(): void {
    const manager = this.#manager;
    if (manager === undefined) return;
    this.#manager = undefined;
    manager.store.die();
    for (const link of manager.links) link.cut();
    this.time.after(this.time.chance() * 3000, () => this.#startManager());
  }

  removeNode(who: number): void {
    const host = this.#host(who);
    const manager = this.#manager;
    // Its containers may run on: an administrator said that they do not count. The last one stays.
    if (manager === undefined || this.#hosts.filter(({ isRemoved }) => !isRemoved).length < 2) return;
    host.isRemoved = true;
    host.records.clear();
    void this.#expecting(() => manager.roster.remove(host.id));
  }

  /** All is well again, for long enough. */
  async settle(): Promise<void> {
    this.#failures = 0;
    for (const host of this.#hosts) {
      host.isCutOff = false;
      this.#connectLater(host);
    }
    await this.pass(30_000);
    const { book } = this.#manager ?? {};
    assert.ok(book, 'the manager is back');
    for (const host of this.#hosts) if (host.isRemoved) void this.#manager?.roster.remove(host.id);
    await this.pass(5000);
    this.#checkEnd(book);
  }

  #checkEnd(book: NetworkBook): void {
    const living = this.#hosts.flatMap(({ id, records }) =>
      [...records.values()].map((record) => `${id} ${keyOf(record)} ${record.ipv4} ${record.isUp}`),
    );
    const stored = this.#disk
      .list('cluster/endpoints/')
      .map(({ value }) => value as SwarmEndpoint)
      .filter(({ block }) => block === undefined)
      .map((row) => `${row.nodeId} ${keyOf(row)} ${row.ipv4} ${row.isUp}`);
    assert.deepEqual(stored.sort(), living.sort(), 'the store has what lives, and nothing else');
    const present = this.#hosts.filter(({ isRemoved }) => !isRemoved);
    checkBlocksAtEnd(this.#disk, present, (id) => !this.#isGoing(id));
    const networks = this.#disk
      .list('cluster/networks/')
      .map(({ key }) => key.slice('cluster/networks/'.length));
    assert.deepEqual(book.networks.map(({ id }) => id).sort(), networks.sort());
    for (const host of this.#hosts.filter(({ isRemoved }) => !isRemoved)) {
      assert.ok(host.daemon && host.link?.isOver === false, `${host.id} is back`);
      const { networks: known } = host.daemon;
      assert.deepEqual(known.networks.map(({ id }) => id).sort(), networks, 'a node knows all networks');
      for (const other of this.#hosts) {
        const found = known.findNode(other.id);
        assert.equal(found?.isDown, other.isRemoved ? undefined : false, `${host.id} knows of ${other.id}`);
      }
      for (const id of host.followed) {
        const wanted = [...(this.#history.get(id)?.at(-1)?.rows.values() ?? [])]
          .filter((row) => row.isUp && row.nodeId !== host.id)
          .map(({ endpointId, revision }) => `${endpointId} ${revision}`);
        const has = known.peers(id).map(({ endpointId, revision }) => `${endpointId} ${revision}`);
        assert.deepEqual(has.sort(), wanted.sort(), 'a follower has the table of the store');
      }
    }
  }

  // Checks at every step

  #guarded(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#violation ??= error;
    }
  }

  #checkCommit(write: readonly Write[]): void {
    const touched = new Set(
      write.flatMap(({ key }) => (key.startsWith('cluster/endpoints/') ? (key.split('/')[2] ?? '') : [])),
    );
    checkAllocation(this.#disk);
    for (const id of touched) this.#remember(id);
    for (const one of write)
      if ('put' in one && one.key.startsWith('cluster/endpoints/')) this.#checkWriter(one.put);
    this.#checkLives();
  }

  /** What is written was said in the node's session of today. */
  #checkWriter(put: unknown): void {
    const { nodeId, endpointId } = put as SwarmEndpoint;
    const node = this.#disk.entries.get(`cluster/nodes/${nodeId}`)?.value as { epoch: number } | undefined;
    assert.ok(node, 'nobody writes for a node that was removed');
    assert.ok(this.#saidIn.get(endpointId)?.has(node.epoch), 'an earlier session writes nothing');
  }

  /** No address lives twice, and what lives has its row; what has stopped has it while there is a network. */
  #checkLives(): void {
    const seen = new Map<string, string>();
    for (const { id, records } of this.#hosts)
      for (const record of records.values()) {
        const address = `${record.networkId} ${record.ipv4}`;
        assert.equal(seen.get(address), undefined, `${address} lives twice`);
        seen.set(address, record.endpointId);
        if ((!record.isUp || this.#blockBits !== undefined) && this.#isGoing(record.networkId)) continue;
        // Nobody need have heard of it.
        if (this.#blockBits !== undefined) {
          checkOwnBlock(this.#disk, id, record, this.#blockBits);
          continue;
        }
        const row = this.#disk.entries.get(`cluster/endpoints/${keyOf(record)}`)?.value as
          | SwarmEndpoint
          | undefined;
        assert.deepEqual(
          [row?.ipv4, row?.nodeId],
          [record.ipv4, id],
          `${record.endpointId} lives and has its row`,
        );
      }
  }

  #isGoing(networkId: string): boolean {
    const entry = this.#disk.entries.get(`cluster/networks/${networkId}`);
    return (entry?.value as NetworkRecord | undefined)?.isRemoving !== false;
  }

  #remember(networkId: string): void {
    const entries = this.#disk.list(`cluster/endpoints/${networkId}/`);
    const rows = new Map(
      entries.map(({ value, revision }) => {
        const row = { ...(value as SwarmEndpoint), revision };
        return [row.endpointId, row] as const;
      }),
    );
    const history = this.#history.get(networkId) ?? [];
    history.push({ revision: this.#disk.revision, rows });
    this.#history.set(networkId, history);
  }

  /** A table that a node has stored is the store's at the revision that it says. */
  #checkCache(host: Host, write: readonly Write[]): void {
    for (const { key } of write) {
      if (!key.startsWith('swarm/tables/')) continue;
      const id = key.slice('swarm/tables/'.length);
      const mark = host.disk.entries.get(key)?.value as { epoch: string; revision: number } | undefined;
      const before = host.marks.get(id);
      host.marks.delete(id);
      if (mark === undefined || mark.epoch === '') continue;
      host.marks.set(id, mark);
      if (before?.epoch === mark.epoch) assert.ok(mark.revision >= before.revision, 'revisions only grow');
      const has = host.disk.list(`swarm/endpoints/${id}/`).map(({ value }) => value as SwarmEndpoint);
      const wanted = this.#history.get(id)?.findLast(({ revision }) => revision <= mark.revision)?.rows;
      const texts = (rows: readonly SwarmEndpoint[]): readonly string[] =>
        rows.map(({ endpointId, revision }) => `${endpointId} ${revision}`).sort();
      assert.deepEqual(
        texts(has),
        texts([...(wanted?.values() ?? [])]),
        `the table of ${host.id} is the store's`,
      );
    }
  }

  // Programs

  #newHost(id: string): Host {
    const host: Host = {
      ...{ id, disk: new Disk(), records: new Map(), followed: new Set(), told: new Map(), marks: new Map() },
      ...{ daemon: undefined, link: undefined, isCutOff: false, isRemoved: false, attempt: 0 },
    };
    host.disk.onCommit = (write) => this.#guarded(() => this.#checkCache(host, write));
    return host;
  }

  #startManager(): void {
    const { time } = this;
    const store = new SimulatedStore(time, this.#disk, () => this.#failures);
    const turn = (work: () => void): void => time.after(0, work);
    // Until it has begun, nothing waits for it; what fails is tried again.
    const opening = async (): Promise<void> => {
      const mirror = await Mirror.open(store, 'cluster/', time);
      const roster = new Roster({ store, mirror, clock: time, selfId: 'manager' });
      const book = await NetworkBook.open({ store, mirror, clock: time, turn, pools });
      const server = await TableServer.open({ book, roster, clock: time, logger: silentLogger, turn });
      this.#manager = { store, roster, book, server, links: [] };
    };
    opening().catch(() => time.after(500, () => this.#startManager()));
  }

  async #startDaemon(host: Host): Promise<void> {
    if (host.daemon !== undefined) return;
    const store = new SimulatedStore(this.time, host.disk, () => this.#failures);
    const networks = new NodeNetworks({
      ...{ store, clock: this.time, logger: silentLogger },
      ownEndpoints: () => (host.daemon?.networks === networks ? [...host.records.values()] : []),
    });
    const daemon = { networks, store, isReady: false };
    host.daemon = daemon;
    this.#listen(host, networks);
    try {
      await networks.enter({ nodeId: host.id, address: '192.0.2.1', port: () => 4789 });
    } catch {
      this.killDaemon(this.#hosts.indexOf(host));
      return;
    }
    daemon.isReady = true;
    this.#forgetGone(host, networks);
    networks.start();
    for (const id of host.followed) this.#followNow(host, networks, id);
    this.#connectLater(host);
  }

  #listen(host: Host, networks: NodeNetworks): void {
    networks.events.on('refused', ({ networkId, endpointId, message }) =>
      this.#guarded(() => {
        const record = [...host.records.values()].find((one) => one.endpointId === endpointId);
        if (host.daemon?.networks !== networks || host.isRemoved) return;
        if ((record?.isUp !== true || this.#blockBits !== undefined) && this.#isGoing(networkId)) return;
        assert.fail(`${host.id} is refused what it has: ${endpointId}: ${message}`);
      }),
    );
    networks.events.on('networks', () => {
      if (host.daemon?.networks === networks) this.#forgetGone(host, networks);
    });
    networks.events.on('peers', ({ networkId, isSnapshot, added, removed }) =>
      this.#guarded(() => {
        if (host.daemon?.networks !== networks) return;
        const told = host.told.get(networkId);
        assert.ok(told, 'nobody hears of what he does not follow');
        if (isSnapshot) told.clear();
        for (const { endpointId } of removed) told.delete(endpointId);
        for (const row of added) told.set(row.endpointId, row);
        const texts = (rows: Iterable<SwarmEndpoint>): readonly string[] =>
          [...rows].map(({ endpointId, revision }) => `${endpointId} ${revision}`).sort();
        assert.deepEqual(
          texts(told.values()),
          texts(networks.peers(networkId)),
          'events add up to the table',
        );
      }),
    );
  }

  /** As an engine does: what is on a network that is gone. */
  #forgetGone(host: Host, daemon: NodeNetworks): void {
    const isGone = (networkId: string): boolean => !daemon.networks.some(({ id }) => id === networkId);
    for (const [key, record] of host.records)
      if ((!record.isUp || this.#blockBits !== undefined) && isGone(record.networkId)) {
        host.records.delete(key);
        void this.#expecting(() => daemon.release([record]));
      }
    for (const id of host.followed) if (isGone(id)) this.#unfollow(host, daemon, id);
  }

  #unfollow(host: Host, daemon: NodeNetworks, id: string): void {
    host.followed.delete(id);
    host.told.delete(id);
    daemon.unfollow(id);
  }

  #followNow(host: Host, networks: NodeNetworks, id: string): void {
    // It tells at once what an earlier daemon's cache has of the network.
    if (!host.told.has(id)) host.told.set(id, new Map());
    void networks.follow(id);
    host.told.set(id, new Map(networks.peers(id).map((row) => [row.endpointId, row])));
  }

  #connectLater(host: Host): void {
    const attempt = ++host.attempt;
    this.time.after(this.time.chance() * (this.time.chance() < 0.5 ? 20 : 500), () => {
      if (attempt === host.attempt) this.#connect(host, attempt);
    });
  }

  #connect(host: Host, attempt: number): void {
    const { daemon } = host;
    const manager = this.#manager;
    // A session begins once the daemon knows what an earlier one knew; it connects then.
    if (daemon?.isReady !== true || host.isCutOff || host.link?.isOver === false) return;
    // Where nothing comes of it, once more.
    this.time.after(2000, () => {
      if (attempt === host.attempt && host.link?.isOver !== false) this.#connectLater(host);
    });
    if (manager === undefined) return;
    const record = manager.roster.find(host.id);
    if (record === undefined) return;
    void this.#expecting(async () => {
      const node = await manager.roster.begin(host.id, record);
      if (node === undefined || manager !== this.#manager) return;
      const [own, far] = SimulatedLink.pair(this.time);
      manager.links.push(far);
      far.onMessage = (value) => this.#note(node.epoch, value);
      manager.server.accept(host.id, node.epoch, far);
      manager.roster.note(host.id, { state: 'ready', message: '' });
      far.onEnd = () => manager.roster.note(host.id, { state: 'disconnected', message: '' });
      own.onEnd = () => {
        if (host.link === own) this.#connectLater(host);
      };
      this.time.after(this.time.chance() * 10, () => {
        if (own.isOver || host.daemon !== daemon || host.isCutOff || attempt !== host.attempt) own.drop();
        else {
          host.link = own;
          daemon.networks.connect(own);
        }
      });
    }, 'nodeNotFound');
  }

  #note(epoch: number, value: unknown): void {
    const { params } = value as {
      params?: { claim?: EndpointClaim; claims?: readonly EndpointClaim[] };
    };
    for (const { endpointId } of [...(params?.claims ?? []), ...(params?.claim ? [params.claim] : [])])
      this.#saidIn.set(endpointId, (this.#saidIn.get(endpointId) ?? new Set()).add(epoch));
  }

  async #expecting(work: () => Promise<void>, ...more: readonly string[]): Promise<void> {
    try {
      await work();
    } catch (error) {
      const isExpected = error instanceof LinkspanError && [...expected, ...more].includes(error.code);
      if (!isExpected) this.#violation ??= error;
    }
  }

  #host(who: number): Host {
    const host = this.#hosts[who % this.#hosts.length];
    assert.ok(host);
    return host;
  }

  #pickNetwork(
    networks: readonly { readonly id: string; readonly isIngress: boolean }[],
    which: number,
  ): string | undefined {
    const own = networks.filter(({ isIngress }) => !isIngress);
    return own[which % Math.max(1, own.length)]?.id;
  }

  #pickRecord(host: Host, which: number): EndpointClaim | undefined {
    return host.daemon === undefined
      ? undefined
      : [...host.records.values()][which % Math.max(1, host.records.size)];
  }
}
