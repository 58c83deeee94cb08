/*
 * What the VXLAN devices of this host's networks are told of the other hosts: known here, programmed into the kernel
 * while a network is up, compared with it after a failure and at a repair. The caller does one thing of a network at a
 * time.
 */
import type { HopRoute } from '../../codec/netlink/routing.ts';
import type { Logger } from '../../base/logger.ts';
import type { Kernel, Peers } from '../../kernel/kernel.ts';
import { formatIp } from '../../net/ip.ts';
import type { DriverNetwork } from '../interface.ts';
import type { Carrier } from './carrier.ts';
import { isRouted, type OverlayBlock, routeDifference, toRoute, toRouter } from './blocks.ts';
import { type Difference, differenceOf, type OverlayPeer, PeerTable, piecesOf } from './peerTable.ts';
import { detourOf, findSegment, type Segment } from './segments.ts';

export type PeerProgramKernel = Pick<
  Kernel,
  'changePeers' | 'peers' | 'changeRoutes' | 'routes' | 'findLink' | 'announce'
>;

/** Second devices of a network that is not encrypted, for peers that only the encrypted tunnels lead to. */
export interface DetourDevices {
  /** With what carries them; idempotent. Sentences for what was put right. */
  ensure(network: DriverNetwork): Promise<readonly string[]>;
  /** Success if there are none. */
  remove(network: DriverNetwork): Promise<void>;
  areThere(network: DriverNetwork): Promise<boolean>;
}

export interface PeerProgramDependencies {
  readonly kernel: PeerProgramKernel;
  readonly carrierOf: (network: DriverNetwork) => Carrier;
  readonly carriers: { readonly plain: Carrier; readonly encrypted: Carrier };
  readonly detours: DetourDevices;
  readonly logger: Logger;
  /** Of the network's namespace. */
  readonly pathOf: (networkId: string) => string;
  readonly segmentsOf: (network: DriverNetwork) => readonly Segment[];
}

/** What is known of a network; the kernel may lag behind. */
interface NetworkState {
  /** The network is set up in the kernel, so that peers can be. */
  isUp: boolean;
  /** By the name of the device; empty until the first snapshot: then the kernel may have more than is known. */
  tables: Map<string, PeerTable>;
  /** Whether the second devices are there. */
  detours: 'there' | 'none' | 'unknown';
  /** Likewise; of networks that are routed between hosts. */
  routes: Map<string, readonly HopRoute[]>;
  hasSnapshot: boolean;
  /** A change failed half-way: the kernel is to be read before the next one. */
  isUncertain: boolean;
}

/** A VXLAN device of a segment, by which some of its peers are reached. */
interface Device {
  readonly segment: Segment;
  readonly isDetour: boolean;
}

type OwnPeers<P> = Device & { readonly own: P[] };

/** Entries for peers that are set in one call, some 10 ms, so that attaching a container need not wait for thousands. */
const entriesAtOnce = 1000;
/** Of a change with more peers nobody is told: those whose MAC changed are asked for anew within half a minute. */
const mostAnnounced = 256;

export class PeerProgram {
  readonly #deps: PeerProgramDependencies;
  readonly #states = new Map<string, NetworkState>();

  constructor(deps: PeerProgramDependencies) {
    this.#deps = deps;
  }

  /** The network's devices are there; what is known is programmed by `apply`. `isNew`: nothing else is. */
  noteUp(networkId: string, isNew = false): void {
    const state = this.#stateOf(networkId);
    state.isUp = true;
    if (isNew) state.detours = 'none';
  }

  noteDown(networkId: string): void {
    const state = this.#states.get(networkId);
    if (state !== undefined) state.isUp = false;
  }

  forget(networkId: string): void {
    this.#states.delete(networkId);
  }

  async setPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void> {
    await this.#setAll(network, peers, []);
  }

  async setBlocks(network: DriverNetwork, blocks: readonly OverlayBlock[]): Promise<void> {
    const routers = blocks.map((block) => toRouter(network.id, block));
    await this.#setAll(network, routers, blocks.map(toRoute));
  }

  async addPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void> {
    await this.#change(network, peers, (table, device) => {
      const { own } = device;
      const others = own.filter((peer) => !isOf(peer, device)).map(({ ip }) => ip);
      return [table.give(others), table.add(own.filter((peer) => isOf(peer, device)))];
    });
  }

  async removePeers(
    network: DriverNetwork,
    peers: readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[],
  ): Promise<void> {
    await this.#change(network, peers, (table, { own }) => [table.remove(own)]);
  }

  /**
   * Reads what every device has and makes it what is known; a sentence for what was put right. Peers that only the
   * encrypted tunnels lead to come last, with `applyDetours`: others do not wait for the tunnels.
   */
  async apply(network: DriverNetwork): Promise<readonly string[]> {
    const state = this.#stateOf(network.id);
    if (!state.isUp) return [];
    return await this.#certainly(state, () =>
      this.#applyAll(network, state, this.#devicesOf(network, false)),
    );
  }

  /** With the devices for them, which go when there are no such peers. */
  async applyDetours(network: DriverNetwork): Promise<readonly string[]> {
    const state = this.#stateOf(network.id);
    const devices = this.#devicesOf(network, true);
    if (!state.isUp || devices.length === 0 || !(await this.#settleDetours(network, state, devices)))
      return [];
    const { detours } = state;
    return await this.#certainly(state, async () => {
      state.detours = 'unknown';
      const made = await this.#deps.detours.ensure(network);
      const causes = await this.#applyAll(network, state, devices);
      state.detours = 'there';
      return detours === 'there' ? [...made, ...causes] : [];
    });
  }

  /** False if there are none, now. */
  async #settleDetours(
    network: DriverNetwork,
    state: NetworkState,
    devices: readonly Device[],
  ): Promise<boolean> {
    const { detours } = this.#deps;
    if (hasPeers(state, devices)) return true;
    // Nobody has told of the peers of an earlier daemon's yet.
    if (!state.hasSnapshot) return state.detours !== 'none' && (await detours.areThere(network));
    if (state.detours === 'none') return false;
    await detours.remove(network);
    state.detours = 'none';
    return false;
  }

  async #applyAll(
    network: DriverNetwork,
    state: NetworkState,
    devices: readonly Device[],
  ): Promise<readonly string[]> {
    const causes: string[] = [];
    for (const device of devices) {
      causes.push(...(await this.#applyPeers(network, state, device)));
      if (isRouted(network)) causes.push(...(await this.#applyRoutes(network, state, device.segment)));
    }
    return causes;
  }

  async #setAll(
    network: DriverNetwork,
    peers: readonly OverlayPeer[],
    routes: readonly HopRoute[],
  ): Promise<void> {
    const state = this.#stateOf(network.id);
    const found = this.#byDevice(network, peers).map((one) => ({
      link: one.segment.vxlan,
      own: one.own.filter((peer) => isOf(peer, one)),
    }));
    state.tables = new Map(found.map(({ link, own }) => [link, new PeerTable(own)]));
    state.routes = new Map(
      found.map(({ link, own }) => {
        const ips = new Set(own.map(({ ip }) => formatIp(ip)));
        return [link, routes.filter(({ gateway }) => ips.has(formatIp(gateway)))];
      }),
    );
    state.hasSnapshot = true;
    await this.apply(network);
    await this.applyDetours(network);
  }

  async #change<P extends Pick<OverlayPeer, 'ip'>>(
    network: DriverNetwork,
    peers: readonly P[],
    change: (table: PeerTable, own: OwnPeers<P>) => readonly (Difference | undefined)[],
  ): Promise<void> {
    const state = this.#stateOf(network.id);
    const changes = this.#byDevice(network, peers).flatMap((own) => {
      const { vxlan } = own.segment;
      const table = state.tables.get(vxlan) ?? new PeerTable();
      state.tables.set(vxlan, table);
      return change(table, own).flatMap((difference) =>
        difference === undefined ? [] : { device: own, difference },
      );
    });
    if (!state.isUp) return;
    const detours = this.#devicesOf(network, true);
    const { isUncertain } = state;
    const isOther = isUncertain || hasPeers(state, detours) !== (state.detours === 'there');
    if (isUncertain) await this.apply(network);
    else
      await this.#certainly(state, async () => {
        for (const { device, difference } of changes) {
          if (device.isDetour && isOther) continue;
          await this.#guard(network, state, device);
          await this.#program(network, device.segment, difference);
        }
      });
    if (isOther) await this.applyDetours(network);
  }

  #devicesOf(network: DriverNetwork, isDetour: boolean): readonly Device[] {
    const segments = this.#deps.segmentsOf(network);
    if (!isDetour) return segments.map((segment) => ({ segment, isDetour }));
    // Packets of an encrypted network have no other way.
    const { carrierOf, carriers } = this.#deps;
    if (carrierOf(network) !== carriers.plain) return [];
    return segments.map((segment) => ({ segment: detourOf(segment), isDetour }));
  }

  /** All peers of a device's segment, whichever device is theirs. */
  #byDevice<P extends Pick<OverlayPeer, 'ip'>>(
    network: DriverNetwork,
    peers: readonly P[],
  ): readonly OwnPeers<P>[] {
    const found = [false, true].flatMap((isDetour) =>
      this.#devicesOf(network, isDetour).map((device) => ({ ...device, own: [] as P[] })),
    );
    const segments = this.#deps.segmentsOf(network);
    for (const peer of peers) {
      const bridge = findSegment(segments, peer.ip)?.bridge;
      for (const one of found) if (one.segment.bridge === bridge) one.own.push(peer);
    }
    return found;
  }

  /** Containers of this host may remember another MAC for the address, of an endpoint that had it before. */
  #announce(network: DriverNetwork, { bridge }: Segment, { neighbours }: Peers): void {
    if (neighbours.length > mostAnnounced || isRouted(network)) return;
    for (const { ip, mac } of neighbours)
      this.#deps.kernel.announce(bridge, mac, ip, this.#deps.pathOf(network.id)).catch((error: unknown) => {
        this.#deps.logger.debug({ network: network.id, err: error }, 'could not announce a peer');
      });
  }

  async #program(network: DriverNetwork, segment: Segment, difference: Difference): Promise<void> {
    const at = { namespace: this.#deps.pathOf(network.id), link: segment.vxlan };
    const { forwards, neighbours } = difference.replace;
    const { macs, ips } = difference.del;
    const count = forwards.length + neighbours.length + macs.length + ips.length;
    // A few in one call.
    const pieces = count > entriesAtOnce ? piecesOf(difference, entriesAtOnce) : [difference];
    for (const piece of pieces) await this.#deps.kernel.changePeers({ ...at, ...piece });
    this.#announce(network, segment, difference.replace);
  }

  /** Before the first snapshot a host that nobody has told of yet may be a member's. */
  async #guard(
    network: DriverNetwork,
    { tables, hasSnapshot }: NetworkState,
    { segment: { vni, vxlan }, isDetour }: Device,
  ): Promise<void> {
    const { carrierOf, carriers } = this.#deps;
    const { plain } = carriers;
    const carrier = isDetour ? carriers.encrypted : carrierOf(network);
    // An encrypted network's come through the tunnels, and from nobody otherwise.
    if (!isDetour && carrier !== plain) await plain.guard.allow(vni, []);
    if (hasSnapshot) await carrier.guard.allow(vni, tables.get(vxlan)?.vteps() ?? []);
  }

  /** The kernel is what is known only if all of `work` gets through. */
  async #certainly<T>(state: NetworkState, work: () => Promise<T>): Promise<T> {
    state.isUncertain = true;
    const result = await work();
    state.isUncertain = false;
    return result;
  }

  async #applyPeers(network: DriverNetwork, state: NetworkState, device: Device): Promise<readonly string[]> {
    const { segment } = device;
    const { vxlan: link } = segment;
    const actual = await this.#deps.kernel.peers(link, this.#deps.pathOf(network.id));
    const wanted = (state.tables.get(link) ?? new PeerTable()).peers();
    const difference = differenceOf(actual, wanted);
    await this.#guard(network, state, device);
    if (difference === undefined) return [];
    const { replace, del } = difference;
    // Before the first snapshot nobody knows whose the others are.
    const swept = state.hasSnapshot ? del : { macs: [], ips: [] };
    await this.#program(network, segment, { replace, del: swept });
    const where = `on ${link} of network ${network.name}`;
    const added = replace.forwards.length + replace.neighbours.length;
    const removed = swept.macs.length + swept.ips.length;
    return [
      ...(added > 0 ? [`${added} entries for peers ${where} were missing or wrong: set`] : []),
      ...(removed > 0 ? [`${removed} entries ${where} were of no peer: removed`] : []),
    ];
  }

  async #applyRoutes(
    network: DriverNetwork,
    state: NetworkState,
    { vxlan: link }: Segment,
  ): Promise<readonly string[]> {
    const { kernel, pathOf } = this.#deps;
    const namespace = pathOf(network.id);
    const [found, routes] = await Promise.all([kernel.findLink(link, namespace), kernel.routes(namespace)]);
    const actual = routes.flatMap(({ ifindex, destination, gateway }) =>
      ifindex === found?.ifindex && destination !== undefined && gateway !== undefined
        ? { destination, gateway }
        : [],
    );
    const difference = routeDifference(actual, state.routes.get(link) ?? []);
    if (difference === undefined) return [];
    const { replace } = difference;
    const del = state.hasSnapshot ? difference.del : [];
    await kernel.changeRoutes({ namespace, link, replace, del });
    const where = `by ${link} of network ${network.name}`;
    return [
      ...(replace.length > 0 ? [`${replace.length} routes ${where} were missing or wrong: set`] : []),
      ...(del.length > 0 ? [`${del.length} routes ${where} led to no block: removed`] : []),
    ];
  }

  #stateOf(networkId: string): NetworkState {
    const found = this.#states.get(networkId);
    if (found !== undefined) return found;
    const state: NetworkState = {
      ...{ isUp: false, tables: new Map(), routes: new Map(), hasSnapshot: false, isUncertain: false },
      detours: 'unknown',
    };
    this.#states.set(networkId, state);
    return state;
  }
}

function isOf(peer: OverlayPeer, { isDetour }: Device): boolean {
  return (peer.isDetour === true) === isDetour;
}

function hasPeers({ tables }: NetworkState, devices: readonly Device[]): boolean {
  return devices.some(({ segment }) => (tables.get(segment.vxlan)?.size ?? 0) > 0);
}
