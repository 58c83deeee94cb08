/*
 * What the VXLAN devices of this host's networks are told of the other hosts: known here, programmed into the kernel
 * while a network is up, compared with it after a failure and at a repair. The caller does one thing of a network at a
 * time.
 */
import type { HopRoute } from '../../codec/netlink/routing.ts';
import type { Logger } from '../../base/logger.ts';
import type { Kernel, PeerChange, Peers } from '../../kernel/kernel.ts';
import type { DriverNetwork } from '../interface.ts';
import type { Carrier } from './carrier.ts';
import { isRouted, type OverlayBlock, routeDifference, toRoute, toRouter } from './blocks.ts';
import { differenceOf, type OverlayPeer, PeerTable, piecesOf } from './peerTable.ts';
import { findSegment, type Segment } from './segments.ts';

export type PeerProgramKernel = Pick<
  Kernel,
  'changePeers' | 'peers' | 'changeRoutes' | 'routes' | 'findLink' | 'announce'
>;

export interface PeerProgramDependencies {
  readonly kernel: PeerProgramKernel;
  readonly carrierOf: (network: DriverNetwork) => Carrier;
  /** Of networks that are not encrypted. */
  readonly plain: Carrier;
  readonly logger: Logger;
  /** Of the network's namespace. */
  readonly pathOf: (networkId: string) => string;
  readonly segmentsOf: (network: DriverNetwork) => readonly Segment[];
}

/** What is known of a network; the kernel may lag behind. */
interface NetworkState {
  /** The network is set up in the kernel, so that peers can be. */
  isUp: boolean;
  /** By the name of the segment's device; empty until the first snapshot: then the kernel may have more than is known. */
  tables: Map<string, PeerTable>;
  /** Likewise; of networks that are routed between hosts. */
  routes: Map<string, readonly HopRoute[]>;
  hasSnapshot: boolean;
  /** A change failed half-way: the kernel is to be read before the next one. */
  isUncertain: boolean;
}

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

  /** The network's devices are there; what is known is programmed by `apply`. */
  noteUp(networkId: string): void {
    this.#stateOf(networkId).isUp = true;
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
    await this.#change(network, peers, (table, own) => table.add(own));
  }

  async removePeers(
    network: DriverNetwork,
    peers: readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[],
  ): Promise<void> {
    await this.#change(network, peers, (table, own) => table.remove(own));
  }

  /** Reads what every device has and makes it what is known; a sentence for what was put right. */
  async apply(network: DriverNetwork): Promise<readonly string[]> {
    const state = this.#stateOf(network.id);
    const causes: string[] = [];
    if (!state.isUp) return causes;
    await this.#certainly(state, async () => {
      for (const segment of this.#deps.segmentsOf(network)) {
        causes.push(...(await this.#applyPeers(network, state, segment)));
        if (isRouted(network)) causes.push(...(await this.#applyRoutes(network, state, segment)));
      }
    });
    return causes;
  }

  async #setAll(
    network: DriverNetwork,
    peers: readonly OverlayPeer[],
    routes: readonly HopRoute[],
  ): Promise<void> {
    const state = this.#stateOf(network.id);
    const found = this.#bySegment(network, peers);
    state.tables = new Map(found.map(({ segment, own }) => [segment.vxlan, new PeerTable(own)]));
    state.routes = new Map(
      found.map(({ segment }) => [
        segment.vxlan,
        routes.filter(({ gateway }) => findSegment([segment], gateway) !== undefined),
      ]),
    );
    state.hasSnapshot = true;
    await this.apply(network);
  }

  async #change<P extends Pick<OverlayPeer, 'ip'>>(
    network: DriverNetwork,
    peers: readonly P[],
    change: (table: PeerTable, own: readonly P[]) => Pick<PeerChange, 'replace' | 'del'> | undefined,
  ): Promise<void> {
    const state = this.#stateOf(network.id);
    const changes = this.#bySegment(network, peers).flatMap(({ segment, own }) => {
      const table = state.tables.get(segment.vxlan) ?? new PeerTable();
      state.tables.set(segment.vxlan, table);
      const difference = change(table, own);
      return difference === undefined ? [] : { segment, difference };
    });
    if (state.isUncertain) await this.apply(network);
    else if (state.isUp)
      await this.#certainly(state, async () => {
        for (const { segment, difference } of changes) {
          await this.#guard(network, state, segment);
          await this.#program(network, segment, difference);
        }
      });
  }

  #bySegment<P extends Pick<OverlayPeer, 'ip'>>(
    network: DriverNetwork,
    peers: readonly P[],
  ): readonly { readonly segment: Segment; readonly own: readonly P[] }[] {
    const found = this.#deps.segmentsOf(network).map((segment) => ({ segment, own: [] as P[] }));
    const segments = found.map(({ segment }) => segment);
    for (const peer of peers) {
      const segment = findSegment(segments, peer.ip);
      found.find((one) => one.segment === segment)?.own.push(peer);
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

  async #program(
    network: DriverNetwork,
    segment: Segment,
    difference: Pick<PeerChange, 'replace' | 'del'>,
  ): Promise<void> {
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
    { vni, vxlan }: Segment,
  ): Promise<void> {
    const { carrierOf, plain } = this.#deps;
    const carrier = carrierOf(network);
    // Its packets come through the encrypted tunnels, and from nobody otherwise.
    if (carrier !== plain) await plain.guard.allow(vni, []);
    if (hasSnapshot) await carrier.guard.allow(vni, tables.get(vxlan)?.vteps() ?? []);
  }

  /** The kernel is what is known only if all of `work` gets through. */
  async #certainly(state: NetworkState, work: () => Promise<void>): Promise<void> {
    state.isUncertain = true;
    await work();
    state.isUncertain = false;
  }

  async #applyPeers(
    network: DriverNetwork,
    state: NetworkState,
    segment: Segment,
  ): Promise<readonly string[]> {
    const { vxlan: link } = segment;
    const actual = await this.#deps.kernel.peers(link, this.#deps.pathOf(network.id));
    const wanted = (state.tables.get(link) ?? new PeerTable()).peers();
    const difference = differenceOf(actual, wanted);
    await this.#guard(network, state, segment);
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
    const state = {
      ...{ isUp: false, tables: new Map(), routes: new Map(), hasSnapshot: false, isUncertain: false },
    };
    this.#states.set(networkId, state);
    return state;
  }
}
