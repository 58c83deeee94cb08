/*
 * The bridges and VXLAN devices of overlay networks on this host, planned, made and put right: one VXLAN device for each
 * segment, and a second one beside it, whose packets go through the encrypted tunnels, where a network that is not encrypted
 * has peers that are reached by no other way (a detour).
 */
import { allDone } from '../../base/allDone.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { type Kernel, KernelError, type Link, type OverlaySpec } from '../../kernel/kernel.ts';
import type { DriverNetwork } from '../interface.ts';
import { formatOwnerMark } from '../ownerMark.ts';
import { type PeerKernel, repairAddresses } from '../peerRepair.ts';
import { isRouted, routerMac, routerSysctls } from './blocks.ts';
import type { Carrier } from './carrier.ts';
import { bridgeMac } from './names.ts';
import { parseOverlayOptions } from './options.ts';
import type { DetourDevices } from './peerProgram.ts';
import { detourOf, detourSuffix, planMtu, planSegments, type Segment } from './segments.ts';

export type OverlayDevicesKernel = PeerKernel &
  Pick<Kernel, 'ensureOverlay' | 'links' | 'delLink' | 'setLink' | 'getSysctl' | 'setSysctl'>;

export interface OverlayDevicesDependencies {
  readonly kernel: OverlayDevicesKernel;
  readonly daemonId: string;
  /** Of the network's namespace. */
  readonly pathOf: (networkId: string) => string;
  readonly carrierOf: (network: DriverNetwork) => Carrier;
  /** Of detours. */
  readonly tunnels: Carrier;
}

export function isDetour({ kind, name }: Pick<Link, 'kind' | 'name'>): boolean {
  return kind === 'vxlan' && name.endsWith(detourSuffix);
}

export class OverlayDevices implements DetourDevices {
  readonly #deps: OverlayDevicesDependencies;
  /** Networks that hold the tunnels for some of their peers. */
  readonly #detoured = new Set<string>();

  constructor(deps: OverlayDevicesDependencies) {
    this.#deps = deps;
  }

  planOf(network: DriverNetwork): { readonly segments: readonly Segment[]; readonly mtuBytes: number } {
    const options = parseOverlayOptions(network);
    return {
      segments: planSegments(network, options),
      mtuBytes: planMtu(options, this.#deps.carrierOf(network).underlay(), network.hasIpv6),
    };
  }

  /** With what carries them. Sentences for what had come to harm. */
  async ensure(network: DriverNetwork): Promise<readonly string[]> {
    const { kernel, pathOf, tunnels } = this.#deps;
    this.#detoured.add(network.id);
    await tunnels.hold(network.id);
    const links = new Map((await kernel.links(pathOf(network.id))).map((link) => [link.name, link]));
    const causes: string[] = [];
    for (const segment of this.planOf(network).segments)
      causes.push(...(await this.#repairDevice(network, detourOf(segment), links, tunnels)));
    return causes;
  }

  async remove(network: DriverNetwork): Promise<void> {
    const { kernel, pathOf } = this.#deps;
    const path = pathOf(network.id);
    for (const { name } of await this.#detoursOf(network)) await kernel.delLink(name, path);
    await this.release(network);
  }

  async areThere(network: DriverNetwork): Promise<boolean> {
    return (await this.#detoursOf(network)).length > 0;
  }

  /** The second devices are gone, if there were any. */
  async release(network: DriverNetwork): Promise<void> {
    if (!this.#detoured.delete(network.id)) return;
    const { tunnels } = this.#deps;
    await allDone([
      ...parseOverlayOptions(network).vnis.map((vni) => tunnels.guard.forget(vni)),
      tunnels.release(network.id),
    ]);
  }

  async #detoursOf({ id }: DriverNetwork): Promise<readonly Link[]> {
    const { kernel, pathOf } = this.#deps;
    return (await kernel.links(pathOf(id))).filter(isDetour);
  }

  /** True if its device was made, and so has no peers. */
  async ensureSegment(
    network: DriverNetwork,
    segment: Segment,
    carrier: Carrier = this.#deps.carrierOf(network),
  ): Promise<boolean> {
    const { vni } = segment;
    try {
      return await this.#deps.kernel.ensureOverlay(this.#specOf(network, segment, carrier));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      const { port } = carrier.underlay();
      if (error.code === 'EEXIST') {
        const text = `network ${network.name}: VNI ${vni} is taken by another VXLAN device of this host`;
        throw new LinkspanError('networkConflict', text, { cause: error });
      }
      if (error.code === 'EADDRINUSE') {
        const text = `network ${network.name}: UDP port ${port} of this host is taken by another program`;
        throw new LinkspanError('networkConflict', text, { cause: error });
      }
      throw error;
    }
  }

  async repairSegment(
    network: DriverNetwork,
    segment: Segment,
    links: ReadonlyMap<string, Link>,
  ): Promise<readonly string[]> {
    const { kernel, pathOf, carrierOf } = this.#deps;
    const path = pathOf(network.id);
    const bridge = links.get(segment.bridge);
    const of = `of network ${network.name}`;
    const causes: string[] = [];
    if (bridge === undefined) causes.push(`${segment.bridge} ${of} was gone: made again`);
    else {
      if (!bridge.isUp) {
        await kernel.setLink(segment.bridge, { isUp: true }, path);
        causes.push(`${segment.bridge} ${of} was down: set up`);
      }
      // The verb below would add them without a word.
      causes.push(...(await repairAddresses(kernel, segment.bridge, segment.addresses, path)));
    }
    return [...causes, ...(await this.#repairDevice(network, segment, links, carrierOf(network)))];
  }

  /** The VXLAN device of a segment. */
  async #repairDevice(
    network: DriverNetwork,
    segment: Segment,
    links: ReadonlyMap<string, Link>,
    carrier: Carrier,
  ): Promise<readonly string[]> {
    const [bridge, vxlan] = [links.get(segment.bridge), links.get(segment.vxlan)];
    const of = `of network ${network.name}`;
    const causes: string[] = [];
    const spec = this.#specOf(network, segment, carrier);
    if (vxlan === undefined) causes.push(`${segment.vxlan} ${of} was gone: made again`);
    else {
      const { routerMac: mac } = spec.vxlan;
      if (!vxlan.isUp) causes.push(`${segment.vxlan} ${of} was down: set up`);
      if (mac === undefined && bridge !== undefined && vxlan.master !== bridge.ifindex)
        causes.push(`${segment.vxlan} was not in ${segment.bridge} ${of}: put back`);
      if (mac !== undefined && vxlan.master !== undefined)
        causes.push(`${segment.vxlan} ${of} was a port of a bridge: taken out`);
      if (mac !== undefined && vxlan.mac !== mac)
        causes.push(`${segment.vxlan} ${of} had another link address: set back`);
    }
    if (bridge !== undefined && vxlan !== undefined)
      causes.push(...(await this.#repairSysctls(network, spec)));
    const isMade = await this.ensureSegment(network, segment, carrier);
    if (isMade && vxlan !== undefined) causes.push(`${segment.vxlan} ${of} was another device: made again`);
    return causes;
  }

  async #repairSysctls(network: DriverNetwork, { sysctls }: OverlaySpec): Promise<readonly string[]> {
    const { kernel, pathOf } = this.#deps;
    const path = pathOf(network.id);
    const causes: string[] = [];
    for (const { key, value } of sysctls) {
      const found = await kernel.getSysctl(key, path);
      if (found === value) continue;
      await kernel.setSysctl(key, value, path);
      causes.push(`${key} of network ${network.name} was ${found}: set to ${value}`);
    }
    return causes;
  }

  #specOf(network: DriverNetwork, segment: Segment, carrier: Carrier): OverlaySpec {
    const { daemonId, pathOf } = this.#deps;
    const underlay = carrier.underlay();
    const { address: local, port } = underlay;
    const isElsewhere = carrier.namespace !== undefined;
    const { bridge, vxlan, vni, addresses } = segment;
    const mac = bridgeMac(daemonId, network.id, bridge);
    const alias = formatOwnerMark({ daemonId, objectId: network.id });
    const { mtuBytes } = this.planOf(network);
    const isByRoute = isRouted(network);
    // A router says that a packet is too large, and so does VXLAN at a bridge (Linux 5.9), which itself drops without a word.
    const routedMtuBytes = isDetour({ kind: 'vxlan', name: vxlan })
      ? Math.min(mtuBytes, planMtu({ underlayMtuBytes: undefined }, underlay, false))
      : mtuBytes;
    const router = isByRoute ? { routerMac: routerMac(network.id, local), mtuBytes: routedMtuBytes } : {};
    return {
      namespace: pathOf(network.id),
      bridge: { name: bridge, mtuBytes, alias, mac, addresses },
      hasIpv6: network.hasIpv6,
      vxlan: {
        ...{ name: vxlan, vni, local, port, ...router },
        ...(isElsewhere ? { socketNamespace: carrier.namespace } : {}),
      },
      sysctls: isByRoute ? routerSysctls(segment) : [],
    };
  }
}
