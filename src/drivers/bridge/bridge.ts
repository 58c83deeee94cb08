/*
 * The bridge driver: a Linux bridge per network, a veth pair per endpoint, a few elements of the firewall's sets.
 * A device that `com.docker.network.bridge.name` names and that is there already is used and never deleted.
 * Of published ports it knows only what they mean on its networks.
 */
import { createHash } from 'node:crypto';
import { allDone } from '../../base/allDone.ts';
import type { Logger } from '../../base/logger.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { GuardedEndpoint } from '../../firewall/endpointGuard.ts';
import type { Firewall } from '../../firewall/firewall.ts';
import type { FirewallNetwork } from '../../firewall/network.ts';
import { discardedPrefix, type Kernel, KernelError, type Link, type Sysctl } from '../../kernel/kernel.ts';
import { equalIp, type IpFamily } from '../../net/ip.ts';
import { type Mac, macFromBytes } from '../../net/mac.ts';
import { containsIp, type IpWithLength, linkLocal6 } from '../../net/prefix.ts';
import { Announcer } from '../announcer.ts';
import type { Driver, DriverEndpoint, DriverNetwork, DriverPlan, Publishing } from '../interface.ts';
import { formatOwnerMark, parseOwnerMark } from '../ownerMark.ts';
import { repairPeer } from '../peerRepair.ts';
import { checkBridgeConflict } from './conflict.ts';
import { type BridgeOptions, parseBridgeOptions } from './options.ts';
import { type RepairKernel, repairBridge, repairPort } from './repair.ts';

type BridgeKernel = RepairKernel &
  Pick<
    Kernel,
    'delAddress' | 'delLink' | 'discardBridge' | 'setUpBridge' | 'attach' | 'announce' | 'links' | 'addresses'
  >;

export interface BridgeDependencies {
  readonly kernel: BridgeKernel;
  readonly firewall: Pick<
    Firewall,
    | 'addNetwork'
    | 'removeNetwork'
    | 'ensureForwarding'
    | 'apply'
    | 'guardEndpoint'
    | 'releaseEndpoint'
    | 'applyEndpoints'
  >;
  readonly logger: Logger;
  /** Without colons; part of the owner mark. */
  readonly daemonId: string;
}

/** What the firewall needs to know of the network. Pure. */
export function toFirewallNetwork(network: DriverNetwork): FirewallNetwork {
  const options = parseBridgeOptions(network);
  return {
    id: network.id,
    bridge: options.bridge,
    isInternal: network.isInternal,
    isOpenInside: options.isOpenInside,
    subnets: network.pools.map(({ subnet }) => {
      const { family } = subnet.base;
      const to = options.hostAddresses[family];
      return {
        prefix: subnet,
        gatewayMode: options.gatewayModes[family],
        sourceNat: options.masquerades ? (to === undefined ? 'masquerade' : { to }) : 'none',
      };
    }),
  };
}

/** What the firewall needs to know of an endpoint. Pure. */
export function toGuardedEndpoint(
  network: DriverNetwork,
  { containerId: owner, hostInterfaceName: link, mac, addresses }: DriverEndpoint,
): GuardedEndpoint {
  const isChecked = parseBridgeOptions(network).checksSources;
  return { link, owner, mac, addresses: addresses.map(({ ip }) => ip), isChecked };
}

/** Addresses that the bridge itself has: the gateways, but for modes and options that give it none. */
function bridgeAddresses(network: DriverNetwork, options: BridgeOptions): readonly IpWithLength[] {
  const hasNone = (family: IpFamily): boolean =>
    options.gatewayModes[family] === 'isolated' || (family === 4 && options.inhibitsIpv4);
  return network.pools.flatMap(({ subnet, gateway }) =>
    gateway === undefined || hasNone(subnet.base.family) ? [] : [{ ip: gateway, length: subnet.length }],
  );
}

/**
 * The bridge's MAC: local, random per network, and the same at every start, so that containers that live through a
 * restart of the machine's bridge keep their neighbour entry.
 */
function bridgeMac(daemonId: string, networkId: string): Mac {
  const bytes = createHash('sha256').update(`${daemonId}/${networkId}`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}

/**
 * So that the host reaches published ports by 127.0.0.1: replies to a translated loopback connection come back through
 * the bridge. The firewall drops what containers themselves send to or from loopback addresses.
 */
function loopbackSysctls(network: DriverNetwork, bridge: string): readonly Sysctl[] {
  return network.isInternal ? [] : [{ key: `net/ipv4/conf/${bridge}/route_localnet`, value: '1' }];
}

/**
 * The same for ::1, which has no such parameter. The kernel still drops what a container itself sends to ::1, as that
 * arrives with it.
 */
function takesLoopback6(network: DriverNetwork): boolean {
  return network.hasIpv6 && !network.isInternal;
}

/** Of a bridge of ours. */
function bridgeSysctls(network: DriverNetwork, bridge: string): readonly Sysctl[] {
  return [...loopbackSysctls(network, bridge), ...ipv6Sysctls(network, bridge)];
}

function ipv6Sysctls(network: DriverNetwork, bridge: string): readonly Sysctl[] {
  return [
    // Hosts may have IPv6 off by default.
    ...(network.hasIpv6 ? [{ key: `net/ipv6/conf/${bridge}/disable_ipv6`, value: '0' }] : []),
    // A container must not give the host a route by a router advertisement.
    { key: `net/ipv6/conf/${bridge}/accept_ra`, value: '0' },
  ];
}

function isOfIpv6({ key }: Sysctl): boolean {
  return key.startsWith('net/ipv6/');
}

/** RFC 8200 section 5; below it the kernel takes IPv6 off a link without a word. */
const minimalIpv6MtuBytes = 1280;

/** BR_MAX_PORTS, 1 << 10, less the number 0. */
const bridgePorts = 1023;

class BridgeDriver implements Driver {
  readonly name = 'bridge';
  readonly scope = 'local';
  readonly #kernel: BridgeKernel;
  readonly #firewall: BridgeDependencies['firewall'];
  readonly #logger: Logger;
  readonly #daemonId: string;
  readonly #announcer: Announcer;
  /** Networks on a bridge of the user's, which is not ours to make again. */
  readonly #borrowing = new Set<string>();

  constructor({ kernel, firewall, logger, daemonId }: BridgeDependencies) {
    this.#kernel = kernel;
    this.#firewall = firewall;
    this.#logger = logger;
    this.#daemonId = daemonId;
    this.#announcer = new Announcer(kernel, logger);
  }

  plan(network: Omit<DriverNetwork, 'pools'>): DriverPlan {
    const options = parseBridgeOptions(network);
    if (!network.hasIpv4 && !network.hasIpv6)
      throw new LinkspanError('networkConfigInvalid', 'IPv4 or IPv6 must be enabled');
    if (network.hasIpv6 && options.mtuBytes < minimalIpv6MtuBytes)
      throw new LinkspanError(
        'driverOptionInvalid',
        `invalid MTU number: ${options.mtuBytes}: IPv6 needs at least ${minimalIpv6MtuBytes}`,
      );
    const inhibitsGateway = network.isInternal && options.inhibitsIpv4;
    return {
      needsPools: true,
      gatewayFamilies: ([4, 6] as const).filter(
        (family) => options.gatewayModes[family] !== 'isolated' && !(family === 4 && inhibitsGateway),
      ),
      interfacePrefix: options.interfacePrefix,
    };
  }

  publishing(network: DriverNetwork): Publishing | undefined {
    const options = parseBridgeOptions(network);
    const { gatewayModes: modes, bindingAddress, publishSources: sources, trustedLinks } = options;
    return network.isInternal ? undefined : { modes, bindingAddress, sources, trustedLinks };
  }

  checkConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
    checkBridgeConflict(network, others);
  }

  async ensureNetwork(network: DriverNetwork, isNew = false): Promise<void> {
    const options = parseBridgeOptions(network);
    // Nobody has a bridge that is named after an id of just now.
    const existing = isNew && options.isNamedById ? undefined : await this.#kernel.findLink(options.bridge);
    if (existing !== undefined && existing.kind !== 'bridge')
      throw new LinkspanError('networkConfigInvalid', `existing interface ${options.bridge} is not a bridge`);
    const families = network.isInternal ? [] : distinctFamilies(network);
    const isOurs = existing === undefined || this.#owns(existing, network.id);
    try {
      await allDone([
        isOurs ? this.#setUp(network, options, existing) : this.#setUpBorrowed(network, existing),
        this.#firewall.ensureForwarding(families),
      ]);
    } catch (error) {
      if (existing === undefined) await this.#undo(network);
      throw error;
    }
  }

  async removeNetwork(network: DriverNetwork): Promise<void> {
    const { bridge } = parseBridgeOptions(network);
    const discarded = `${discardedPrefix}${network.id.slice(0, 10)}`;
    // The second where an earlier removal was cut short.
    for (const name of [bridge, discarded]) {
      const link = await this.#kernel.findLink(name);
      if (link === undefined || !this.#owns(link, network.id)) continue;
      await this.#kernel.discardBridge(name, discarded);
      break;
    }
    // Only once the bridge is out of the way: rules must outlive what they guard.
    await this.#firewall.removeNetwork(network.id);
    this.#borrowing.delete(network.id);
  }

  async attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void> {
    const options = parseBridgeOptions(network);
    const spec = {
      sandbox: sandboxPath,
      hostName: endpoint.hostInterfaceName,
      bridge: options.bridge,
      alias: this.#markOf(endpoint.id),
      mtuBytes: options.mtuBytes,
      isHairpin: false,
      isIsolated: !options.isOpenInside,
      peerName: endpoint.interfaceName,
      peerMac: endpoint.mac,
      addresses: endpoint.addresses,
      gateways: network.isInternal ? [] : endpoint.gateways,
      sysctls: endpoint.sysctls,
    };
    try {
      await this.#firewall.guardEndpoint(toGuardedEndpoint(network, endpoint), (elements) =>
        this.#kernel.attach(spec, elements),
      );
    } catch (error) {
      await this.#firewall.releaseEndpoint(endpoint.hostInterfaceName).catch((failure: unknown) => {
        this.#logger.error({ err: failure, link: endpoint.hostInterfaceName }, 'could not undo an attach');
      });
      if (!(error instanceof KernelError) || error.code !== 'EXFULL') throw error;
      const limit = `bridge ${options.bridge} has the ${bridgePorts} ports that Linux lets a bridge have`;
      const text = `network ${network.name} is full: ${limit}; use another network`;
      throw new LinkspanError('networkFull', text, { cause: error });
    }
    this.#announcer.begin(endpoint, sandboxPath, options.announcements);
  }

  async detach(_network: DriverNetwork, endpoint: DriverEndpoint): Promise<void> {
    this.#announcer.end(endpoint.id);
    await this.#kernel.delLink(endpoint.hostInterfaceName);
    // Only once the link is gone: what it may send must not widen.
    await this.#firewall.releaseEndpoint(endpoint.hostInterfaceName);
  }

  linkOf(network: DriverNetwork): string {
    return parseBridgeOptions(network).bridge;
  }

  /** Those about IPv6 only on a bridge of ours. */
  sysctlsOf(network: DriverNetwork): readonly Sysctl[] {
    return bridgeSysctls(network, parseBridgeOptions(network).bridge);
  }

  async repairNetwork(network: DriverNetwork): Promise<readonly string[]> {
    const options = parseBridgeOptions(network);
    const { bridge, mtuBytes } = options;
    const found = await this.#kernel.findLink(bridge);
    if (found === undefined) return await this.#makeAgain(network, bridge);
    if (found.kind !== 'bridge')
      throw new LinkspanError('networkConfigInvalid', `existing interface ${bridge} is not a bridge`);
    const isOurs = this.#owns(found, network.id);
    if (!isOurs) this.#borrowing.add(network.id);
    const alias = this.#markOf(network.id);
    return await repairBridge(this.#kernel, found, {
      name: bridge,
      own: isOurs ? { mac: bridgeMac(this.#daemonId, network.id), mtuBytes, alias } : undefined,
      addresses: bridgeAddresses(network, options),
      takesLoopback6: takesLoopback6(network),
      sysctls: isOurs ? bridgeSysctls(network, bridge) : loopbackSysctls(network, bridge),
    });
  }

  async repairEndpoint(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string,
    extent: 'outside' | 'all',
  ): Promise<readonly string[]> {
    const { bridge, isOpenInside } = parseBridgeOptions(network);
    const { hostInterfaceName: hostName, interfaceName: name } = endpoint;
    const master = await this.#kernel.findLink(bridge);
    if (master === undefined)
      throw new LinkspanError('networkConfigInvalid', `bridge ${bridge} does not exist`);
    const found = await this.#kernel.findLink(hostName);
    if (found === undefined) {
      await this.#delRenamed(endpoint.id);
      await this.attach(network, endpoint, sandboxPath);
      return [`${hostName}, the host's end of ${name}, was gone: made the pair again`];
    }
    const peer = extent === 'all' ? await this.#kernel.findLink(name, sandboxPath) : undefined;
    if (extent === 'all' && peer === undefined) {
      await this.detach(network, endpoint);
      await this.attach(network, endpoint, sandboxPath);
      return [`${name} in the container had another name or was gone: made the pair again`];
    }
    const port = { hostName, bridge: master, isIsolated: !isOpenInside };
    const causes = await repairPort(this.#kernel, found, port);
    if (peer === undefined) return causes;
    const { addresses } = endpoint;
    const gateways = network.isInternal ? [] : endpoint.gateways;
    const inside = { name, sandbox: sandboxPath, addresses, gateways };
    return [...causes, ...(await repairPeer(this.#kernel, peer, inside))];
  }

  async sweep(actual: Parameters<Driver['sweep']>[0], keep: Parameters<Driver['sweep']>[1]): Promise<void> {
    const kept = new Set([...keep.networks, ...keep.endpoints].map(({ id }) => id));
    const names = new Set(keep.endpoints.map(({ hostInterfaceName }) => hostInterfaceName));
    const ourBridges = new Set(
      actual.links
        .filter((link) => parseOwnerMark(link.alias)?.daemonId === this.#daemonId)
        .map(({ ifindex }) => ifindex),
    );
    // The mark follows the creation by a moment: a port of our bridge without one is an attach that was cut short.
    const isUnmarkedPort = ({ name, kind, alias, master }: Link): boolean =>
      kind === 'veth' && alias === undefined && ourBridges.has(master ?? 0) && !names.has(name);
    const stray = actual.links.filter((link) => {
      const mark = parseOwnerMark(link.alias);
      return mark === undefined
        ? isUnmarkedPort(link)
        : isOfOurKind(link) && mark.daemonId === this.#daemonId && !kept.has(mark.objectId);
    });
    for (const link of stray) this.#logger.warn({ link: link.name }, 'removed a link without an owner');
    // Endpoints before bridges; deletions wait for RCU, so together.
    const isBridge = ({ kind }: Link): boolean => kind === 'bridge';
    await Promise.all(stray.filter((link) => !isBridge(link)).map(({ name }) => this.#kernel.delLink(name)));
    await Promise.all(stray.filter(isBridge).map(({ name }) => this.#kernel.delLink(name)));
    await this.#firewall.apply(keep.networks.map(toFirewallNetwork));
    const networks = new Map(keep.networks.map((network) => [network.id, network]));
    await this.#firewall.applyEndpoints(
      keep.endpoints.flatMap((endpoint) => {
        const network = networks.get(endpoint.networkId);
        return network === undefined ? [] : toGuardedEndpoint(network, endpoint);
      }),
    );
  }

  #markOf(objectId: string): string {
    return formatOwnerMark({ daemonId: this.#daemonId, objectId });
  }

  async #makeAgain(network: DriverNetwork, bridge: string): Promise<readonly string[]> {
    if (this.#borrowing.has(network.id))
      throw new LinkspanError(
        'networkConfigInvalid',
        `${bridge} is gone, which was there before network ${network.name}: make it again`,
      );
    await this.#delRenamed(network.id);
    await this.ensureNetwork(network);
    return [`${bridge} was gone: made again`];
  }

  /** What we made and somebody gave another name; a look at all links, for the rare case that one is missing. */
  async #delRenamed(objectId: string): Promise<void> {
    const mark = this.#markOf(objectId);
    for (const { name, alias } of await this.#kernel.links())
      if (alias === mark && !name.startsWith(discardedPrefix)) await this.#kernel.delLink(name);
  }

  #owns(link: Link, networkId: string): boolean {
    const mark = parseOwnerMark(link.alias);
    if (mark === undefined) return this.#isHalfMade(link, networkId);
    return mark.daemonId === this.#daemonId && mark.objectId === networkId;
  }

  /** The mark follows the creation by a moment; the MAC comes with it. */
  #isHalfMade(link: Link, networkId: string): boolean {
    return link.alias === undefined && link.mac === bridgeMac(this.#daemonId, networkId);
  }

  async #setUp(network: DriverNetwork, options: BridgeOptions, existing: Link | undefined): Promise<void> {
    const { bridge: name, mtuBytes } = options;
    if (existing !== undefined && this.#isHalfMade(existing, network.id)) {
      await this.#kernel.delLink(name);
      return await this.#setUp(network, options, undefined);
    }
    const addresses = bridgeAddresses(network, options);
    // Before new ones: an address of the same subnet would come second, and go with the first.
    if (existing !== undefined) await this.#dropOtherAddresses(existing, addresses);
    const alias = this.#markOf(network.id);
    const mac = existing?.mac ?? bridgeMac(this.#daemonId, network.id);
    const sysctls = bridgeSysctls(network, name).map((one) => ({
      ...one,
      isNeeded: network.hasIpv6 || !isOfIpv6(one),
    }));
    const setup = { name, mtuBytes, alias, mac, addresses, sysctls, takesLoopback6: takesLoopback6(network) };
    try {
      await this.#firewall.addNetwork(toFirewallNetwork(network), (elements) =>
        this.#kernel.setUpBridge(setup, elements),
      );
    } catch (error) {
      if (!network.hasIpv6 || !(error instanceof KernelError) || error.code !== 'ENOENT') throw error;
      throw new LinkspanError('networkConfigInvalid', 'this kernel has no IPv6', { cause: error });
    }
  }

  /** On a bridge of the user's. */
  async #setUpBorrowed(network: DriverNetwork, { name, isUp }: Link): Promise<void> {
    this.#borrowing.add(network.id);
    // The firewall first: the bridge must not carry a packet of this network's without it.
    await this.#firewall.addNetwork(toFirewallNetwork(network));
    const options = parseBridgeOptions(network);
    await allDone([
      ...(isUp ? [] : [this.#kernel.setLink(name, { isUp: true })]),
      ...loopbackSysctls(network, name).map(({ key, value }) => this.#kernel.setSysctl(key, value)),
      ...bridgeAddresses(network, options).map((address) => this.#kernel.ensureAddress(name, address)),
      ...(takesLoopback6(network) ? [this.#kernel.ensureLoopbackRoute(name)] : []),
    ]);
  }

  /** Addresses of an earlier configuration (`--bip`) go; link-local ones are the kernel's. */
  async #dropOtherAddresses(link: Link, wanted: readonly IpWithLength[]): Promise<void> {
    const present = (await this.#kernel.addresses()).filter(
      ({ ifindex, ip }) => ifindex === link.ifindex && !containsIp(linkLocal6, ip),
    );
    for (const address of present)
      if (!wanted.some(({ ip, length }) => equalIp(ip, address.ip) && length === address.length))
        await this.#kernel.delAddress(link.name, { ip: address.ip, length: address.length });
  }

  async #undo(network: DriverNetwork): Promise<void> {
    try {
      await this.removeNetwork(network);
    } catch (error) {
      this.#logger.error(
        { network: network.name, id: network.id, err: error },
        'could not undo a half-made network',
      );
    }
  }
}

/** Parents of macvlan and ipvlan networks carry a mark too. */
function isOfOurKind({ kind }: Link): boolean {
  return kind === 'bridge' || kind === 'veth';
}

function distinctFamilies(network: DriverNetwork): readonly IpFamily[] {
  return [...new Set(network.pools.map(({ subnet }) => subnet.base.family))];
}

export function createBridgeDriver(dependencies: BridgeDependencies): Driver {
  return new BridgeDriver(dependencies);
}
