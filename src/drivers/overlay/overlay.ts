/*
 * The overlay driver, of one host: a namespace per network with a bridge and a VXLAN device per segment, a veth pair
 * per endpoint, two entries per peer; a second VXLAN device where only the encrypted tunnels lead to some peers. Who the peers are, and which VNI a network has, is told to it. The way out of an
 * overlay network is another network's matter.
 */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { allDone } from '../../base/allDone.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type AttachSpec, type Kernel, KernelError } from '../../kernel/kernel.ts';
import type { Prefix } from '../../net/prefix.ts';
import { type Announcements, Announcer } from '../announcer.ts';
import type { Driver, DriverEndpoint, DriverNetwork, DriverPlan } from '../interface.ts';
import { formatOwnerMark, parseOwnerMark } from '../ownerMark.ts';
import { type PeerKernel, repairPeer } from '../peerRepair.ts';
import type { OverlayBlock } from './blocks.ts';
import type { Carrier } from './carrier.ts';
import { checkOverlayConflict } from './conflict.ts';
import { isDetour, OverlayDevices, type OverlayDevicesKernel } from './devices.ts';
import { portName } from './names.ts';
import { parseOverlayOptions } from './options.ts';
import { PeerProgram, type PeerProgramKernel } from './peerProgram.ts';
import type { OverlayPeer } from './peerTable.ts';
import { detourOf, getSegment, planMtu, planSegments, type Segment } from './segments.ts';
import { SourceGuards } from './sourceGuards.ts';

export interface OverlayDependencies {
  readonly kernel: PeerKernel &
    PeerProgramKernel &
    OverlayDevicesKernel &
    Pick<
      Kernel,
      | 'nft'
      | 'changeElements'
      | 'createNamespace'
      | 'removeNamespace'
      | 'hasNamespace'
      | 'attach'
      | 'ensureUnreachable'
      | 'delUnreachable'
      | 'links'
      | 'findLink'
      | 'setPort'
      | 'delLink'
    >;
  readonly logger: Logger;
  /** Without colons; part of the owner mark. */
  readonly daemonId: string;
  /** Of this daemon's overlay namespaces, and of nothing else; it is made if need be. */
  readonly namespaceFolder: string;
  /** Of networks that are not encrypted, and of those that are, by which those take a detour where there is no other way. */
  readonly carriers: { readonly plain: Carrier; readonly encrypted: Carrier };
}

export interface OverlayDriver extends Driver {
  namespaceOf(network: DriverNetwork): string;
  /**
   * These are all peers of the network from now on: what the kernel has of others goes. Where the network is not set up
   * on this host, they are kept for when it is. An address that no subnet of the network has is passed over. Where this
   * or one of the next two fails, what was told is known all the same, and set with the next of them or a repair.
   */
  setPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void>;
  /** Adds, or changes what is known of their addresses. A daemon that starts calls `setPeers` before. */
  addPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void>;
  /** Success if unknown, or if the address is another endpoint's by now. */
  removePeers(
    network: DriverNetwork,
    peers: readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[],
  ): Promise<void>;
  /**
   * Of a network that nodes have blocks of: these are all of other nodes' from now on, in place of peers. Otherwise as
   * `setPeers`.
   */
  setBlocks(network: DriverNetwork, blocks: readonly OverlayBlock[]): Promise<void>;
  /** Nobody tells of the network's peers any more. */
  forgetPeers(network: DriverNetwork): void;
  /** Out of the kernel, as `removeNetwork`; what is known of peers stays. */
  takeDown(network: DriverNetwork): Promise<void>;
}

/** Gratuitous ARPs of an endpoint to the containers of its own host. */
const announcements: Announcements = { count: 3, intervalMs: 1000 };
/** BR_MAX_PORTS, 1 << 10, less the number 0 and the VXLAN device. */
const endpointPorts = 1022;

class LinuxOverlayDriver implements OverlayDriver {
  readonly name = 'overlay';
  readonly scope = 'global';
  readonly #deps: OverlayDependencies;
  readonly #mutex = new KeyedMutex();
  readonly #program: PeerProgram;
  readonly #announcer: Announcer;
  readonly #sources: SourceGuards;
  readonly #devices: OverlayDevices;

  constructor(deps: OverlayDependencies) {
    this.#deps = deps;
    this.#announcer = new Announcer(deps.kernel, deps.logger);
    const pathOf = (networkId: string): string => this.#pathOf(networkId);
    this.#sources = new SourceGuards({ kernel: deps.kernel, pathOf, linkOf: portName });
    const carrierOf = (network: DriverNetwork): Carrier => this.#carrierOf(network);
    this.#devices = new OverlayDevices({
      ...{
        kernel: deps.kernel,
        daemonId: deps.daemonId,
        pathOf,
        carrierOf,
        tunnels: deps.carriers.encrypted,
      },
    });
    const segmentsOf = (network: DriverNetwork): readonly Segment[] =>
      planSegments(network, parseOverlayOptions(network));
    this.#program = new PeerProgram({
      ...{ kernel: deps.kernel, logger: deps.logger, pathOf, segmentsOf, carrierOf },
      ...{ carriers: deps.carriers, detours: this.#devices },
    });
  }

  plan(network: Omit<DriverNetwork, 'pools'>): DriverPlan {
    const underlay = this.#carrierOf(network).underlay();
    return {
      mtuBytes: planMtu(parseOverlayOptions(network), underlay, network.hasIpv6),
      needsPools: true,
      gatewayFamilies: [4, 6],
      interfacePrefix: 'eth',
      // Their ends are in the overlay's namespace.
      hasHostInterface: false,
      needsGatewayNetwork: !network.isInternal,
    };
  }

  checkConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
    checkOverlayConflict(network, others);
  }

  async ensureNetwork(network: DriverNetwork): Promise<void> {
    await this.#mutex.run(network.id, () => this.#ensure(network));
  }

  async removeNetwork(network: DriverNetwork, _others: readonly DriverNetwork[]): Promise<void> {
    this.forgetPeers(network);
    await this.takeDown(network);
  }

  forgetPeers({ id }: DriverNetwork): void {
    this.#program.forget(id);
  }

  async takeDown(network: DriverNetwork): Promise<void> {
    await this.#mutex.run(network.id, async () => {
      this.#program.noteDown(network.id);
      await this.#removeNamespace(this.#pathOf(network.id));
      this.#sources.drop(network);
      const { plain } = this.#deps.carriers;
      const carrier = this.#carrierOf(network);
      const guards = [...new Set([carrier.guard, plain.guard])];
      await allDone([
        ...parseOverlayOptions(network).vnis.flatMap((vni) => guards.map((guard) => guard.forget(vni))),
        carrier.release(network.id),
        this.#devices.release(network),
      ]);
    });
  }

  async attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void> {
    const { segments, mtuBytes } = this.#devices.planOf(network);
    const { bridge } = getSegment(segments, endpoint.addresses);
    const spec: AttachSpec = {
      sandbox: sandboxPath,
      hostName: portName(endpoint),
      bridge,
      bridgeNamespace: this.#pathOf(network.id),
      alias: this.#markOf(endpoint.id),
      mtuBytes,
      isHairpin: false,
      isIsolated: false,
      fixesMac: true,
      isLocked: parseOverlayOptions(network).checksSources,
      peerName: endpoint.interfaceName,
      peerMac: endpoint.mac,
      addresses: endpoint.addresses,
      // The bridge's addresses lead nowhere: the way out is a network of this host's own.
      gateways: [],
      sysctls: endpoint.sysctls,
    };
    try {
      await this.#bar(network, sandboxPath);
      await this.#sources.add(network, endpoint, (elements) => this.#deps.kernel.attach(spec, elements));
    } catch (error) {
      await allDone([this.#unbar(network, sandboxPath), this.#sources.remove(network, endpoint)]).catch(
        (failure: unknown) => {
          this.#deps.logger.error({ err: failure, link: spec.hostName }, 'could not undo an attach');
        },
      );
      if (!(error instanceof KernelError) || error.code !== 'EXFULL') throw error;
      const text = `network ${network.name} is full on this host: a bridge has room for ${endpointPorts} containers; use another network or host`;
      throw new LinkspanError('networkFull', text, { cause: error });
    }
    this.#announcer.begin(endpoint, sandboxPath, announcements);
  }

  async detach(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string | undefined,
  ): Promise<void> {
    this.#announcer.end(endpoint.id);
    await this.#deps.kernel.delLink(portName(endpoint), this.#pathOf(network.id));
    if (sandboxPath !== undefined) await this.#unbar(network, sandboxPath);
    // Only once the link is gone: what it may send must not widen.
    await this.#sources.remove(network, endpoint);
  }

  /**
   * Whoever takes the interface of an encrypted network away, what goes to its subnets is refused: the default route,
   * through another network, would take it along in clear. True if that was not so.
   */
  async #bar(network: DriverNetwork, sandboxPath: string): Promise<boolean> {
    const subnets = this.#barredOf(network);
    return subnets.length > 0 && (await this.#deps.kernel.ensureUnreachable(subnets, sandboxPath));
  }

  async #unbar(network: DriverNetwork, sandboxPath: string): Promise<void> {
    const subnets = this.#barredOf(network);
    if (subnets.length > 0) await this.#deps.kernel.delUnreachable(subnets, sandboxPath);
  }

  #barredOf(network: DriverNetwork): readonly Prefix[] {
    const { isEncrypted } = parseOverlayOptions(network);
    return isEncrypted ? network.pools.map(({ subnet }) => subnet) : [];
  }

  /** None in the host's own namespace. */
  linkOf(): undefined {
    return undefined;
  }

  namespaceOf({ id }: DriverNetwork): string {
    return this.#pathOf(id);
  }

  async repairNetwork(network: DriverNetwork): Promise<readonly string[]> {
    return await this.#mutex.run(network.id, async () => {
      const causes = await this.#repairNamespace(network);
      return causes.length > 0 ? causes : await this.#repair(network);
    });
  }

  /** With all that is to be in it. */
  async #repairNamespace(network: DriverNetwork): Promise<readonly string[]> {
    if (await this.#deps.kernel.hasNamespace(this.#pathOf(network.id))) return [];
    await this.#ensure(network);
    return [`the namespace of network ${network.name} was gone: made again`];
  }

  async repairEndpoint(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string,
    extent: 'outside' | 'all',
  ): Promise<readonly string[]> {
    const { kernel } = this.#deps;
    const path = this.#pathOf(network.id);
    const causes = [...(await this.#mutex.run(network.id, () => this.#repairNamespace(network)))];
    const { bridge } = getSegment(this.#devices.planOf(network).segments, endpoint.addresses);
    const { interfaceName: name, addresses } = endpoint;
    const hostName = portName(endpoint);
    const links = await kernel.links(path);
    const port = links.find((link) => link.name === hostName);
    const peer = extent === 'all' ? await kernel.findLink(name, sandboxPath) : undefined;
    if (port === undefined || (extent === 'all' && peer === undefined)) {
      const mark = this.#markOf(endpoint.id);
      for (const link of links) if (link.alias === mark) await kernel.delLink(link.name, path);
      await this.attach(network, endpoint, sandboxPath);
      causes.push(
        `${name} in the container, or its other end, was gone or had another name: made the pair again`,
      );
      return causes;
    }
    if (port.master !== links.find((link) => link.name === bridge)?.ifindex) {
      await kernel.setPort(hostName, bridge, false, path);
      causes.push(`${hostName} was not in ${bridge} of network ${network.name}: put back`);
    }
    if (!port.isUp) {
      await kernel.setLink(hostName, { isUp: true }, path);
      causes.push(`${hostName} was down: set up`);
    }
    if (peer === undefined) return causes;
    if (await this.#bar(network, sandboxPath))
      causes.push(`nothing barred the subnets of network ${network.name} from other ways out: barred`);
    const inside = { name, sandbox: sandboxPath, addresses, gateways: [] };
    return [...causes, ...(await repairPeer(kernel, peer, inside))];
  }

  /** Its links are in namespaces of its own, of which the folder tells. */
  async sweep(_actual: Parameters<Driver['sweep']>[0], keep: Parameters<Driver['sweep']>[1]): Promise<void> {
    const { kernel, logger, carriers, namespaceFolder } = this.#deps;
    const kept = new Map(keep.networks.map((network) => [network.id, network]));
    const endpoints = new Set(keep.endpoints.map(({ id }) => id));
    const present = await readdir(namespaceFolder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (present === undefined) return;
    let needsTunnels = [...kept.values()].some((one) => this.#carrierOf(one) === carriers.encrypted);
    for (const id of present) {
      const path = this.#pathOf(id);
      const network = kept.get(id);
      if (network === undefined) {
        logger.warn({ network: id }, 'removed the namespace of an overlay network without an owner');
        await this.#removeNamespace(path);
        continue;
      }
      if (!(await kernel.hasNamespace(path))) continue;
      const links = await kernel.links(path);
      needsTunnels ||= links.some(isDetour);
      for (const { name, kind, alias } of links) {
        const mark = parseOwnerMark(alias);
        // The mark follows the creation by a moment.
        const isStray = mark === undefined ? name.startsWith('ep-') : !endpoints.has(mark.objectId);
        if (kind !== 'veth' || !isStray) continue;
        logger.warn({ link: name, network: id }, 'removed a link without an owner');
        await kernel.delLink(name, path);
      }
      const own = keep.endpoints.filter(({ networkId }) => networkId === id);
      await this.#sources.apply(network, own);
    }
    if (kept.size === 0) await carriers.plain.sweep();
    if (!needsTunnels) await carriers.encrypted.sweep();
  }

  async setPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void> {
    await this.#mutex.run(network.id, () => this.#program.setPeers(network, peers));
  }

  async setBlocks(network: DriverNetwork, blocks: readonly OverlayBlock[]): Promise<void> {
    await this.#mutex.run(network.id, () => this.#program.setBlocks(network, blocks));
  }

  async addPeers(network: DriverNetwork, peers: readonly OverlayPeer[]): Promise<void> {
    await this.#mutex.run(network.id, () => this.#program.addPeers(network, peers));
  }

  async removePeers(
    network: DriverNetwork,
    peers: readonly Pick<OverlayPeer, 'endpointId' | 'ip'>[],
  ): Promise<void> {
    await this.#mutex.run(network.id, () => this.#program.removePeers(network, peers));
  }

  async #ensure(network: DriverNetwork): Promise<void> {
    const { kernel, namespaceFolder } = this.#deps;
    const { segments } = this.#devices.planOf(network);
    const path = this.#pathOf(network.id);
    const isNew = !(await kernel.hasNamespace(path));
    try {
      await this.#carrierOf(network).hold(network.id);
      if (isNew) {
        await mkdir(namespaceFolder, { recursive: true });
        await kernel.createNamespace(path);
      }
      const sources = isNew ? this.#sources.create(network) : this.#sources.repair(network);
      const devices = async (): Promise<void> => {
        for (const segment of segments) await this.#devices.ensureSegment(network, segment);
      };
      await allDone([devices(), sources]);
      this.#program.noteUp(network.id, isNew);
      await this.#program.apply(network);
    } catch (error) {
      if (isNew) await this.#undo(network);
      throw error;
    }
    try {
      await this.#program.applyDetours(network);
    } catch (error) {
      // Others are reached without them; the next repair tries again.
      const { id, name } = network;
      this.#deps.logger.error({ network: name, id, err: error }, 'some peers are not reached by the tunnels');
    }
  }

  async #undo(network: DriverNetwork): Promise<void> {
    this.#program.noteDown(network.id);
    try {
      await this.#removeNamespace(this.#pathOf(network.id));
      await allDone([this.#carrierOf(network).release(network.id), this.#devices.release(network)]);
    } catch (error) {
      const { id, name } = network;
      this.#deps.logger.error({ network: name, id, err: error }, 'could not undo a half-made network');
    }
  }

  async #repair(network: DriverNetwork): Promise<readonly string[]> {
    const { kernel } = this.#deps;
    const path = this.#pathOf(network.id);
    const { segments } = this.#devices.planOf(network);
    const links = new Map((await kernel.links(path)).map((link) => [link.name, link]));
    const names = new Set(
      segments.flatMap((segment) => [segment.bridge, segment.vxlan, detourOf(segment).vxlan]),
    );
    const mark = this.#markOf(network.id);
    // What was given another name is made again.
    for (const { name, alias } of links.values())
      if (alias === mark && !names.has(name)) await kernel.delLink(name, path);
    const causes: string[] = [];
    await this.#carrierOf(network).hold(network.id);
    for (const segment of segments)
      causes.push(...(await this.#devices.repairSegment(network, segment, links)));
    this.#program.noteUp(network.id);
    causes.push(...(await this.#sources.repair(network)));
    causes.push(...(await this.#program.apply(network)));
    return [...causes, ...(await this.#program.applyDetours(network))];
  }

  /**
   * Its devices first, all of them: the kernel takes a namespace apart in its own time, and a device that is still in it
   * would keep its VNI. Where one stays, so does the namespace, for another attempt.
   */
  async #removeNamespace(path: string): Promise<void> {
    const { kernel } = this.#deps;
    if (await kernel.hasNamespace(path)) {
      const devices = (await kernel.links(path)).filter(({ kind }) => kind === 'vxlan');
      await allDone(devices.map(({ name }) => kernel.delLink(name, path)));
    }
    await kernel.removeNamespace(path);
  }

  #carrierOf(network: Omit<DriverNetwork, 'pools'>): Carrier {
    const { plain, encrypted } = this.#deps.carriers;
    return parseOverlayOptions(network).isEncrypted ? encrypted : plain;
  }

  #pathOf(networkId: string): string {
    return join(this.#deps.namespaceFolder, networkId);
  }

  #markOf(objectId: string): string {
    return formatOwnerMark({ daemonId: this.#deps.daemonId, objectId });
  }
}

export function createOverlayDriver(dependencies: OverlayDependencies): OverlayDriver {
  return new LinuxOverlayDriver(dependencies);
}
