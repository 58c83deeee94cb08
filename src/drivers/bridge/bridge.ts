/*
 * The bridge driver: a Linux bridge per network, a veth pair per endpoint, a few elements of the firewall's sets.
 * A device that `com.docker.network.bridge.name` names and that is there already is used and never deleted.
 * Of published ports it knows only what they mean on its networks.
 */
import { createHash } from 'node:crypto';
import { allDone } from '../../base/allDone.ts';
import type { Logger } from '../../base/logger.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Firewall } from '../../firewall/firewall.ts';
import type { FirewallNetwork } from '../../firewall/network.ts';
import { discardedPrefix, type Kernel, KernelError, type Link } from '../../kernel/kernel.ts';
import { equalIp, type IpFamily } from '../../net/ip.ts';
import { type Mac, macFromBytes } from '../../net/mac.ts';
import { containsIp, type IpWithLength, type Prefix } from '../../net/prefix.ts';
import type { Driver, DriverEndpoint, DriverNetwork, DriverPlan, Publishing } from '../interface.ts';
import { checkBridgeConflict } from './conflict.ts';
import { type BridgeOptions, parseBridgeOptions } from './options.ts';
import { formatOwnerMark, parseOwnerMark } from '../ownerMark.ts';

type BridgeKernel = Pick<
  Kernel,
  | 'ensureBridge'
  | 'ensureAddress'
  | 'delAddress'
  | 'setLink'
  | 'delLink'
  | 'discardBridge'
  | 'attach'
  | 'announce'
  | 'findLink'
  | 'addresses'
  | 'setSysctl'
>;

export interface BridgeDependencies {
  readonly kernel: BridgeKernel;
  readonly firewall: Pick<Firewall, 'addNetwork' | 'removeNetwork' | 'ensureForwarding' | 'apply'>;
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

/** RFC 8200 section 5; below it the kernel takes IPv6 off a link without a word. */
const minimalIpv6MtuBytes = 1280;

const linkLocal: Prefix = { base: { family: 6, bits: 0xfe80n << 112n }, length: 10 };

class BridgeDriver implements Driver {
  readonly name = 'bridge';
  readonly scope = 'local';
  readonly #kernel: BridgeKernel;
  readonly #firewall: BridgeDependencies['firewall'];
  readonly #logger: Logger;
  readonly #daemonId: string;

  constructor({ kernel, firewall, logger, daemonId }: BridgeDependencies) {
    this.#kernel = kernel;
    this.#firewall = firewall;
    this.#logger = logger;
    this.#daemonId = daemonId;
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
    const { gatewayModes: modes, bindingAddress, publishSources: sources } = parseBridgeOptions(network);
    return network.isInternal ? undefined : { modes, bindingAddress, sources };
  }

  checkConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
    checkBridgeConflict(network, others);
  }

  async ensureNetwork(network: DriverNetwork): Promise<void> {
    const options = parseBridgeOptions(network);
    const existing = await this.#kernel.findLink(options.bridge);
    if (existing !== undefined && existing.kind !== 'bridge')
      throw new LinkspanError('networkConfigInvalid', `existing interface ${options.bridge} is not a bridge`);
    const isNew = existing === undefined;
    try {
      // The firewall first: the bridge must not carry a packet without it.
      await this.#firewall.addNetwork(toFirewallNetwork(network));
      await this.#ensureBridge(network, options, existing);
      if (!network.isInternal) await this.#firewall.ensureForwarding(distinctFamilies(network));
    } catch (error) {
      if (isNew) await this.#undo(network, options);
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
  }

  async attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void> {
    const options = parseBridgeOptions(network);
    await this.#kernel.attach({
      sandbox: sandboxPath,
      hostName: endpoint.hostInterfaceName,
      bridge: options.bridge,
      alias: formatOwnerMark({ daemonId: this.#daemonId, objectId: endpoint.id }),
      mtuBytes: options.mtuBytes,
      isHairpin: false,
      isIsolated: !options.isOpenInside,
      peerName: endpoint.interfaceName,
      peerMac: endpoint.mac,
      addresses: endpoint.addresses,
      gateways: network.isInternal ? [] : endpoint.gateways,
      sysctls: endpoint.sysctls,
    });
    this.#announceLater(endpoint, sandboxPath, options.announcements);
  }

  async detach(_network: DriverNetwork, endpoint: DriverEndpoint): Promise<void> {
    await this.#kernel.delLink(endpoint.hostInterfaceName);
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

  async #ensureBridge(
    network: DriverNetwork,
    options: BridgeOptions,
    existing: Link | undefined,
  ): Promise<void> {
    const { bridge, mtuBytes } = options;
    if (existing !== undefined && this.#isHalfMade(existing, network.id)) {
      await this.#kernel.delLink(bridge);
      return this.#ensureBridge(network, options, undefined);
    }
    const isOurs = existing === undefined || this.#owns(existing, network.id);
    const wanted = bridgeAddresses(network, options);
    // Before new ones: an address of the same subnet would come second, and go with the first.
    if (existing !== undefined && isOurs) await this.#dropOtherAddresses(existing, wanted);
    const calls: Promise<unknown>[] = [];
    if (isOurs) {
      const alias = formatOwnerMark({ daemonId: this.#daemonId, objectId: network.id });
      const mac = existing?.mac ?? bridgeMac(this.#daemonId, network.id);
      calls.push(this.#kernel.ensureBridge({ name: bridge, mtuBytes, alias, mac }));
      // A container must not give the host a route by a router advertisement.
      calls.push(this.#setIpv6(bridge, 'accept_ra', '0', network.hasIpv6));
      // Hosts may have IPv6 off by default.
      if (network.hasIpv6) calls.push(this.#setIpv6(bridge, 'disable_ipv6', '0', true));
    } else if (!existing.isUp) {
      calls.push(this.#kernel.setLink(bridge, { isUp: true }));
    }
    if (!network.isInternal) calls.push(this.#letLoopbackOut(bridge));
    for (const address of wanted) calls.push(this.#kernel.ensureAddress(bridge, address));
    await allDone(calls);
  }

  /**
   * Peers may remember another MAC for the address: a container that had it before. The first message may fall to a
   * port that is not forwarding yet, hence the repetitions. Nobody waits for them; what fails is not tried again.
   */
  #announceLater(
    { interfaceName, mac, addresses }: DriverEndpoint,
    sandboxPath: string,
    { count, intervalMs }: BridgeOptions['announcements'],
  ): void {
    const announce = (): void => {
      for (const { ip } of addresses)
        this.#kernel.announce(interfaceName, mac, ip, sandboxPath).catch((error: unknown) => {
          this.#logger.debug({ err: error, sandbox: sandboxPath }, 'could not announce an address');
        });
    };
    for (let i = 0; i < count; i++) setTimeout(announce, i * intervalMs).unref();
  }

  /** A kernel without IPv6 has nothing to set, which is an error where the network needs it. */
  async #setIpv6(bridge: string, name: string, value: string, isNeeded: boolean): Promise<void> {
    try {
      await this.#kernel.setSysctl(`net/ipv6/conf/${bridge}/${name}`, value);
    } catch (error) {
      if (!(error instanceof KernelError) || error.code !== 'ENOENT') throw error;
      if (isNeeded)
        throw new LinkspanError('networkConfigInvalid', 'this kernel has no IPv6', { cause: error });
    }
  }

  /**
   * The host reaches published ports by 127.0.0.1: replies to a translated loopback connection come back through the
   * bridge. The firewall drops what containers themselves send to or from loopback addresses.
   */
  async #letLoopbackOut(bridge: string): Promise<void> {
    await this.#kernel.setSysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1');
  }

  /** Addresses of an earlier configuration (`--bip`) go; link-local ones are the kernel's. */
  async #dropOtherAddresses(link: Link, wanted: readonly IpWithLength[]): Promise<void> {
    const present = (await this.#kernel.addresses()).filter(
      ({ ifindex, ip }) => ifindex === link.ifindex && !containsIp(linkLocal, ip),
    );
    for (const address of present)
      if (!wanted.some(({ ip, length }) => equalIp(ip, address.ip) && length === address.length))
        await this.#kernel.delAddress(link.name, { ip: address.ip, length: address.length });
  }

  async #undo(network: DriverNetwork, { bridge }: BridgeOptions): Promise<void> {
    try {
      await this.removeNetwork(network);
    } catch (error) {
      this.#logger.error({ err: error, bridge }, 'could not undo a half-made network');
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
