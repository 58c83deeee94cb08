/*
 * What macvlan and ipvlan have in common: a network is a parent link of the host, an endpoint a link on it inside the
 * sandbox, with no interface on the host. The parent is the user's, or ours where it had to be made: an 802.1q
 * sub-interface (`eth0.10`), or a dummy where no parent is named, which leads nowhere. Ours carry the owner mark
 * `<driver>-<name>` and go with the last network on them. Texts are Docker Engine 28's where it has one.
 */
import type { Logger } from '../base/logger.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { type ChildSpec, type Kernel, KernelError, type Link, type ParentSpec } from '../kernel/kernel.ts';
import { type Announcements, Announcer } from './announcer.ts';
import type { Driver, DriverEndpoint, DriverNetwork, DriverPlan } from './interface.ts';
import { formatOwnerMark, parseOwnerMark } from './ownerMark.ts';
import { type PeerKernel, repairPeer } from './peerRepair.ts';

export interface ChildDependencies {
  readonly kernel: PeerKernel &
    Pick<
      Kernel,
      | 'findLink'
      | 'links'
      | 'hasLinkKind'
      | 'ensureParent'
      | 'attachChild'
      | 'detachChild'
      | 'delLink'
      | 'announce'
    >;
  readonly logger: Logger;
  /** Without colons; part of the owner mark. */
  readonly daemonId: string;
}

/** What sets one of the two apart. */
export interface ChildKind {
  readonly name: 'macvlan' | 'ipvlan';
  /** The kernel's name for what it needs. */
  readonly kernelFeature: string;
  readonly modeLabels: readonly string[];
  /** Throws code driverOptionInvalid. */
  parse(options: Readonly<Record<string, string>>): {
    readonly child: ChildSpec['child'];
    readonly plan: Pick<DriverPlan, 'sharesMac' | 'routesByDevice'>;
  };
  /** Why the two cannot share `parent`; undefined if they can. */
  conflict(network: DriverNetwork, other: DriverNetwork, parent: string): string | undefined;
}

const parentLabel = 'parent';
const familyLabels = ['com.docker.network.enable_ipv4', 'com.docker.network.enable_ipv6'];
/** Gratuitous ARPs after an attach: a new address of the link has come to an address that peers may remember. */
const announcements: Announcements = { count: 3, intervalMs: 1000 };

function invalid(text: string): never {
  throw new LinkspanError('driverOptionInvalid', text);
}

/** `dm-` and 12 digits of the network's id, where the user names no parent. */
function dummyName({ id }: Pick<DriverNetwork, 'id'>): string {
  return `dm-${id.slice(0, 12)}`;
}

export function parentOf(network: Pick<DriverNetwork, 'id' | 'options'>): string {
  return network.options[parentLabel] || dummyName(network);
}

/** `eth0.10` → eth0 and 10. Throws code networkConfigInvalid, as what calls it found no link of that name. */
function parseSubInterface(name: string): { readonly parent: string; readonly id: number } {
  const refuse = (text: string): never => {
    throw new LinkspanError('networkConfigInvalid', text);
  };
  if (!name.includes('.'))
    return refuse(
      `the requested parent interface ${name} was not found on the host (a name like eth0.10 makes a sub-interface)`,
    );
  const [, parent, digits] = /^([^.]+)\.([^.]+)$/.exec(name) ?? [];
  if (parent === undefined || digits === undefined)
    return refuse(
      `required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${name}`,
    );
  if (!/^\d{1,9}$/.test(digits))
    return refuse(`unable to parse a valid vlan id from: ${digits} (ex. eth0.10 for vlan 10)`);
  const id = Number(digits);
  return id < 1 || id > 4094 ? refuse(`vlan id must be between 1-4094, received: ${id}`) : { parent, id };
}

class ChildDriver implements Driver {
  readonly name: string;
  readonly scope = 'local';
  readonly #kind: ChildKind;
  readonly #deps: ChildDependencies;
  readonly #announcer: Announcer;
  /** Parents that were there before us: not ours to make again. */
  readonly #borrowed = new Set<string>();

  constructor(kind: ChildKind, deps: ChildDependencies) {
    this.name = kind.name;
    this.#kind = kind;
    this.#deps = deps;
    this.#announcer = new Announcer(deps.kernel, deps.logger);
  }

  plan(network: Omit<DriverNetwork, 'pools'>): DriverPlan {
    const known = new Set([parentLabel, ...this.#kind.modeLabels, ...familyLabels]);
    for (const label of Object.keys(network.options))
      if (!known.has(label))
        invalid(`unknown option ${JSON.stringify(label)} for network driver "${this.name}"`);
    if (!network.hasIpv4 && !network.hasIpv6)
      throw new LinkspanError('networkConfigInvalid', 'IPv4 or IPv6 must be enabled');
    const parent = parentOf(network);
    if (parent === 'lo') invalid(`loopback interface is not a valid ${this.name} parent link`);
    if (!/^[^/:\s]+$/.test(parent) || Buffer.byteLength(parent) > 15)
      invalid(`parent interface ${parent}: not a valid interface name`);
    return {
      needsPools: true,
      // Only gateways that the user names: a router on the parent's segment, which we do not make.
      gatewayFamilies: [],
      interfacePrefix: 'eth',
      hasHostInterface: false,
      isInternal: parent === dummyName(network),
      ...this.#kind.parse(network.options).plan,
    };
  }

  checkConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
    const parent = parentOf(network);
    for (const other of others) {
      const isSame = other.id !== network.id && parentOf(other) === parent;
      const why = isSame ? this.#kind.conflict(network, other, parent) : undefined;
      if (why !== undefined)
        throw new LinkspanError('networkConflict', why, {
          details: { network: network.id, other: other.id },
        });
    }
  }

  async ensureNetwork(network: DriverNetwork): Promise<void> {
    const { name, kernelFeature } = this.#kind;
    if (!(await this.#deps.kernel.hasLinkKind(name)))
      this.#lacks(`no ${name} links (${kernelFeature}), which network driver ${name} is made of`);
    await this.#ensureParent(network);
  }

  async removeNetwork(network: DriverNetwork, others: readonly DriverNetwork[]): Promise<void> {
    const parent = parentOf(network);
    if (others.some((other) => parentOf(other) === parent)) return;
    const link = await this.#deps.kernel.findLink(parent);
    if (link?.alias === this.#parentMark(parent)) await this.#deps.kernel.delLink(parent);
  }

  /** Only what is ours: the user's link may stand for another network too, a bridge. */
  linkOf(network: DriverNetwork): string | undefined {
    const parent = parentOf(network);
    return parent === dummyName(network) ? parent : undefined;
  }

  parentOf(network: DriverNetwork): string {
    return parentOf(network);
  }

  async repairNetwork(network: DriverNetwork): Promise<readonly string[]> {
    const parent = parentOf(network);
    const found = await this.#deps.kernel.findLink(parent);
    if (found === undefined) {
      if (this.#borrowed.has(parent)) throw this.#isGone(parent);
      await this.#ensureParent(network);
      return [`${parent} was gone: made again`];
    }
    if (!this.#isParentOfOurs(found)) {
      this.#borrowed.add(parent);
      return [];
    }
    if (found.isUp) return [];
    await this.#ensureParent(network);
    return [`${parent} was down: set up`];
  }

  async repairEndpoint(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string,
    extent: 'outside' | 'all',
  ): Promise<readonly string[]> {
    const { kernel } = this.#deps;
    const { interfaceName: name, addresses } = endpoint;
    const parent = parentOf(network);
    // Its children went with it, and come back with it.
    if ((await kernel.findLink(parent)) === undefined) throw this.#isGone(parent);
    const mark = this.#endpointMark(endpoint);
    const found = await kernel.findLink(name, sandboxPath);
    if (found?.alias !== mark) {
      const isRenamed = (await kernel.links(sandboxPath)).some(({ alias }) => alias === mark);
      if (isRenamed && extent === 'outside') return [];
      await this.detach(network, endpoint, sandboxPath);
      await this.attach(network, endpoint, sandboxPath);
      return [`${name} in the container ${isRenamed ? 'had another name' : 'was gone'}: made again`];
    }
    if (extent === 'outside') return [];
    const gateways = network.isInternal ? [] : endpoint.gateways;
    return await repairPeer(kernel, found, { name, sandbox: sandboxPath, addresses, gateways });
  }

  async attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void> {
    const { child, plan } = this.#kind.parse(network.options);
    const spec: ChildSpec = {
      sandbox: sandboxPath,
      parent: parentOf(network),
      child,
      alias: this.#endpointMark(endpoint),
      peerName: endpoint.interfaceName,
      ...(plan.sharesMac === true ? {} : { peerMac: endpoint.mac }),
      addresses: endpoint.addresses,
      gateways: network.isInternal ? [] : endpoint.gateways,
      sysctls: endpoint.sysctls,
    };
    try {
      // Asked for at once: what the caller asks for next (a route) builds on it.
      await this.#deps.kernel.attachChild(spec).catch(async (error: unknown) => {
        if (!(error instanceof KernelError) || error.code !== 'ENODEV') throw error;
        // Somebody deleted the parent: ours is made again, the user's is missed here.
        await this.#ensureParent(network);
        await this.#deps.kernel.attachChild(spec);
      });
    } catch (error) {
      throw this.#explained(error, network);
    }
    if (plan.sharesMac !== true) this.#announcer.begin(endpoint, sandboxPath, announcements);
  }

  async detach(
    _network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string | undefined,
  ): Promise<void> {
    this.#announcer.end(endpoint.id);
    if (sandboxPath === undefined) return;
    await this.#deps.kernel.detachChild({
      sandbox: sandboxPath,
      peerName: endpoint.interfaceName,
      alias: this.#endpointMark(endpoint),
    });
  }

  /** Parents of ours that no network is on. What was inside sandboxes went with them. */
  async sweep(actual: Parameters<Driver['sweep']>[0], keep: Parameters<Driver['sweep']>[1]): Promise<void> {
    const kept = new Set(keep.networks.map(parentOf));
    const stray = actual.links.filter(
      ({ name, alias }) => !kept.has(name) && alias === this.#parentMark(name),
    );
    for (const { name } of stray) {
      this.#deps.logger.warn({ link: name }, 'removed a link without an owner');
      await this.#deps.kernel.delLink(name);
    }
  }

  #parentMark(parent: string): string {
    return formatOwnerMark({ daemonId: this.#deps.daemonId, objectId: `${this.name}-${parent}` });
  }

  #endpointMark({ id }: DriverEndpoint): string {
    return formatOwnerMark({ daemonId: this.#deps.daemonId, objectId: id });
  }

  #isGone(parent: string): LinkspanError {
    const text = `parent interface ${parent} is gone, which ${this.name} interfaces are on: make it again`;
    return new LinkspanError('networkConfigInvalid', text);
  }

  #lacks(what: string, cause?: unknown): never {
    throw new LinkspanError('notImplemented', `this kernel has ${what}`, { cause });
  }

  #isParentOfOurs({ kind, alias }: Link): boolean {
    const isOurs = parseOwnerMark(alias)?.daemonId === this.#deps.daemonId;
    return isOurs && (kind === 'vlan' || kind === 'dummy');
  }

  /** The user's is left as it is; ours is made, or set up again. */
  async #ensureParent(network: DriverNetwork): Promise<void> {
    const { kernel } = this.#deps;
    const name = parentOf(network);
    const alias = this.#parentMark(name);
    const found = await kernel.findLink(name);
    if (found !== undefined && !this.#isParentOfOurs(found)) {
      this.#borrowed.add(name);
      return;
    }
    const kind: ParentSpec['kind'] =
      name === dummyName(network) ? { kind: 'dummy' } : { kind: 'vlan', ...parseSubInterface(name) };
    if (kind.kind === 'vlan' && (await kernel.findLink(kind.parent)) === undefined)
      throw new LinkspanError(
        'networkConfigInvalid',
        `failed to find master interface ${kind.parent} on the host: no such network interface`,
      );
    try {
      await kernel.ensureParent({ name, alias, kind });
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (error.code === 'EEXIST')
        throw new LinkspanError(
          'networkConflict',
          `parent interface ${name} belongs to a network of another driver`,
          { cause: error },
        );
      if (error.code !== 'EOPNOTSUPP') throw error;
      const feature =
        kind.kind === 'vlan'
          ? `no 802.1q links (CONFIG_VLAN_8021Q), which the sub-interface ${name} is one of`
          : `no dummy links (CONFIG_DUMMY), which a ${this.name} network without a parent needs; name one with -o parent=eth0`;
      this.#lacks(feature, error);
    }
  }

  #explained(error: unknown, network: DriverNetwork): unknown {
    if (!(error instanceof KernelError)) return error;
    const parent = parentOf(network);
    const cause = { cause: error };
    if (error.code === 'ENODEV')
      return new LinkspanError(
        'kernel',
        `the requested parent interface ${parent} was not found on the host`,
        cause,
      );
    if (error.code === 'EBUSY' || error.code === 'EINVAL')
      return new LinkspanError(
        'kernel',
        `failed to create the ${this.name} port: ${parent} serves something else (a bridge, a link of another kind or in passthru mode): ${error.message}`,
        cause,
      );
    return error;
  }
}

export function createChildDriver(kind: ChildKind, deps: ChildDependencies): Driver {
  return new ChildDriver(kind, deps);
}
