/*
 * The networks: create, remove, prune, and the three predefined ones. Each change is a durable intent, then the
 * driver, then the durable end of it; a restart finishes what lies between (recover.ts).
 */
import { readFile } from 'node:fs/promises';
import { allDone } from '../../base/allDone.ts';
import type { Clock } from '../../base/clock.ts';
import { shortId } from '../../base/ids.ts';
import { lookUp } from '../../base/lookup.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import { timestamp } from '../../base/timestamp.ts';
import type { Driver } from '../../drivers/interface.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { PoolSource } from '../../ipam/pools.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { type Ip, parseIp, widthOf } from '../../net/ip.ts';
import { type Prefix, prefixOf } from '../../net/prefix.ts';
import type { Survival } from '../../store/store.ts';
import type { HeldBlock, NetworkFilter, Networks, PeerNode, PlacedEndpoint, PoolStatus } from '../engine.ts';
import type { EventLog } from '../events.ts';
import type { Endpoint, Network, NetworkId, NetworkRequest } from '../model.ts';
import type { SwarmCreator } from '../overlay/swarmCreator.ts';
import { withSecondChance } from '../secondChance.ts';
import { fromConfiguration, planConfiguration } from './configurations.ts';
import { toDriverNetwork } from './driverValues.ts';
import { endpointNameOf, gatewayNetworkName } from './gateway.ts';
import { emitNetworkEvent } from './networkEvents.ts';
import { checkRequest, familiesOf, getDriver, type PoolSurroundings, planNetwork } from './networkPlan.ts';
import { type NetworkTable, poolStatusOf } from './networkTable.ts';

export interface NetworksDependencies {
  readonly table: NetworkTable;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: Pick<Kernel, 'routes'>;
  readonly events: EventLog;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly poolSources: readonly PoolSource[];
  readonly swarm: Pick<SwarmCreator, 'create' | 'remove' | 'peers' | 'blocks' | 'leased' | 'placedEndpoints'>;
  /** `/etc/resolv.conf` of the machine; its name servers are kept clear of. */
  readonly resolvConfPath: string;
  /** Options that every new network of a driver gets unless the request sets them; by driver. */
  readonly defaultOptions: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** The name servers that a resolv.conf text names. */
function nameservers(text: string): readonly Ip[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap((match) => parseIp(match[1] ?? '') ?? []);
}

function activeEndpointsMessage(network: Network, endpoints: readonly Endpoint[]): string {
  const list = endpoints
    .map((endpoint) => `name:"${endpointNameOf(endpoint)}" id:"${shortId(endpoint.id)}"`)
    .join(', ');
  return `error while removing network: network ${network.name} has active endpoints (${list})`;
}

/** True if the record is what the request would make; a request without a subnet accepts any. */
function matchesRequest(network: Network, request: NetworkRequest): boolean {
  const keys = new Set([...Object.keys(network.options), ...Object.keys(request.options)]);
  if (![...keys].every((key) => network.options[key] === request.options[key])) return false;
  const { hasIpv4, hasIpv6 } = familiesOf(request);
  if (network.driver === 'bridge' && (network.hasIpv4 !== hasIpv4 || network.hasIpv6 !== hasIpv6))
    return false;
  return request.pools.every(({ subnet, gateway, ipRange }) =>
    network.pools.some(
      (pool) =>
        pool.subnet === subnet && (gateway ?? pool.gateway) === pool.gateway && pool.ipRange === ipRange,
    ),
  );
}

export class LocalNetworks implements Networks {
  readonly #deps: NetworksDependencies;
  /** A removal and a repair never meet, by id. */
  readonly #mutex = new KeyedMutex();

  constructor(deps: NetworksDependencies) {
    this.#deps = deps;
  }

  list(filter: NetworkFilter = {}): readonly Network[] {
    return this.#deps.table.networks
      .filter(({ state }) => state !== 'creating')
      .filter((network) => filter.isPredefined === undefined || network.isPredefined === filter.isPredefined)
      .filter((network) => filter.isDangling === undefined || this.#isDangling(network) === filter.isDangling)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(ref: string): Network {
    const { table } = this.#deps;
    const result = lookUp<Network>(ref, table.byId(), (name) => {
      const found = table.findByName(name);
      return found === undefined ? [] : [found];
    });
    // A network whose removal failed half-way stays visible, so that it can be removed again.
    if (result.found !== undefined && result.found.state !== 'creating') return result.found;
    if (result.found !== undefined || result.matches === 0)
      throw new LinkspanError('networkNotFound', `network ${ref} not found`);
    const basis = result.isName ? 'name' : 'ID prefix';
    throw new LinkspanError(
      'networkAmbiguous',
      `network ${ref} is ambiguous (${result.matches} matches found based on ${basis})`,
    );
  }

  async poolStatus(network: Network): Promise<readonly PoolStatus[]> {
    return network.scope === 'global'
      ? poolStatusOf(network.pools, await this.#deps.swarm.leased(network))
      : this.#deps.table.poolStatus(network.id);
  }

  mtuBytes(network: Network): number | undefined {
    if (network.scope !== 'global') return undefined;
    try {
      return getDriver(this.#deps.drivers, network.driver).plan(toDriverNetwork(network)).mtuBytes;
    } catch (error) {
      // In no swarm, or no container could be on it here.
      if (error instanceof LinkspanError) return undefined;
      throw error;
    }
  }

  async placedEndpoints(network: Network): Promise<readonly PlacedEndpoint[]> {
    return network.scope === 'global' ? await this.#deps.swarm.placedEndpoints(network) : [];
  }

  async peers(network: Network): Promise<readonly PeerNode[]> {
    return network.scope === 'global' ? await this.#deps.swarm.peers(network) : [];
  }

  async blocks(network: Network): Promise<readonly HeldBlock[]> {
    return network.scope === 'global' ? await this.#deps.swarm.blocks(network) : [];
  }

  endpoints(network: Network): readonly Endpoint[] {
    return this.#deps.table.endpointsOf(network.id).filter(({ state }) => state === 'attached');
  }

  async create(request: NetworkRequest): Promise<{ readonly network: Network; readonly warning: string }> {
    checkRequest(request);
    if (request.isConfigOnly) {
      const network = await this.#addConfiguration(request);
      emitNetworkEvent(this.#deps.events, 'create', network);
      return { network, warning: '' };
    }
    const driver = getDriver(this.#deps.drivers, request.driver);
    if (driver.scope === 'global' || request.isIngress || (request.scope ?? 'local') !== 'local') {
      const wanted = {
        ...request,
        options: { ...this.#deps.defaultOptions[driver.name], ...request.options },
      };
      const machine = [...this.#deps.table.subnets, ...(await this.#machineSubnets())];
      return { network: await this.#deps.swarm.create(wanted, driver, machine), warning: '' };
    }
    if (driver.name === 'host' || driver.name === 'null')
      throw new LinkspanError(
        'networkPredefined',
        `only one instance of "${driver.name}" network is allowed`,
      );
    const machine = await this.#machineSubnets();
    const wanted =
      request.configFrom === undefined
        ? request
        : fromConfiguration(request, this.#getConfiguration(request.configFrom));
    const options = { ...this.#deps.defaultOptions[driver.name], ...wanted.options };
    const network = await this.#add({ ...wanted, options }, driver, machine, false);
    emitNetworkEvent(this.#deps.events, 'create', network);
    return { network, warning: '' };
  }

  /**
   * Makes a predefined network, or takes the one of an earlier start. One that the configuration has changed is made
   * anew if nothing is attached to it, and kept as it was otherwise.
   */
  async ensurePredefined(request: NetworkRequest): Promise<Network> {
    const existing = this.#deps.table.findByName(request.name);
    if (existing !== undefined) {
      if (matchesRequest(existing, request)) return existing;
      if (this.endpoints(existing).length > 0) {
        this.#deps.logger.warn(
          { network: existing.name, id: existing.id },
          'containers run on this network, so its new settings wait',
        );
        return existing;
      }
      await this.finishRemoval(existing);
    }
    const driver = getDriver(this.#deps.drivers, request.driver);
    return await this.#add(request, driver, await this.#machineSubnets(), true);
  }

  async remove(ref: string): Promise<void> {
    const network = this.get(ref);
    if (network.isPredefined)
      throw new LinkspanError(
        'networkPredefined',
        `${network.name} is a pre-defined network and cannot be removed`,
      );
    if (network.scope === 'global') return await this.#deps.swarm.remove(network);
    const isUsed = this.#deps.table.networks.some(({ configFrom }) => configFrom === network.name);
    if (network.configuration !== undefined && isUsed)
      throw new LinkspanError('networkInUse', `configuration network "${network.name}" is in use`);
    const active = this.endpoints(network);
    if (active.length > 0) throw new LinkspanError('networkInUse', activeEndpointsMessage(network, active));
    // Before it waits for a repair, so that nothing else begins on the network.
    await this.#deps.table.putNetwork({ ...network, state: 'removing' });
    try {
      await allDone([
        this.#mutex.run(network.id, () =>
          withSecondChance(this.#deps.logger, { network: network.name, id: network.id }, () =>
            this.finishRemoval(network, 'process'),
          ),
        ),
        // The intent is enough: a restart finishes what it says.
        this.#deps.table.sync(),
      ]);
    } finally {
      // Also where the disk alone refused: it is gone, whatever a loss of power would bring back.
      if (this.#deps.table.find(network.id) === undefined)
        emitNetworkEvent(this.#deps.events, 'destroy', network);
    }
  }

  /** Runs `work` while the network stands and nobody removes it. */
  async whileReady(id: NetworkId, work: (network: Network) => Promise<void>): Promise<void> {
    await this.#mutex.run(id, async () => {
      const network = this.#deps.table.find(id);
      if (network?.state === 'ready') await work(network);
    });
  }

  /** The second half of a removal: driver, then record. A restart calls it for networks found `removing`. */
  async finishRemoval(network: Network, survives: Survival = 'machine'): Promise<void> {
    if (network.configuration === undefined)
      await this.#takeOut(network, getDriver(this.#deps.drivers, network.driver));
    await this.#deps.table.delNetwork(network, survives);
    this.#deps.logger.info({ network: network.name, id: network.id }, 'removed a network');
  }

  async prune(select: (network: Network) => boolean): Promise<readonly Network[]> {
    const removed: Network[] = [];
    const unused = this.list({ isPredefined: false, isDangling: true }).filter(
      // Docker's are never unused: its routing mesh is on them.
      ({ configuration, name, isIngress }) =>
        configuration === undefined && name !== gatewayNetworkName && isIngress !== true,
    );
    for (const network of unused.filter(select)) {
      try {
        await this.remove(network.id);
        removed.push(network);
      } catch (error) {
        // In use on another node, or managers' business.
        if (hasCode(error, 'swarmNetworkInUse') || hasCode(error, 'notManager')) continue;
        this.#deps.logger.warn(
          { network: network.name, id: network.id, err: error },
          'could not prune a network',
        );
      }
    }
    const attributes = { reclaimed: '0' };
    this.#deps.events.emit({ type: 'network', action: 'prune', actorId: '', attributes });
    return removed;
  }

  async #add(
    request: NetworkRequest,
    driver: Driver,
    machine: readonly Prefix[],
    isPredefined: boolean,
  ): Promise<Network> {
    const { table, poolSources, clock, logger } = this.#deps;
    // From here to putNetwork's first await nothing else runs, so that name and pools cannot be given twice.
    this.#checkName(request.name);
    const around: PoolSurroundings = { sources: poolSources, networks: table.subnets, machine };
    const network = planNetwork(request, driver, around, timestamp(clock), isPredefined);
    driver.checkConflict(
      toDriverNetwork(network),
      table.networks
        .filter((other) => other.driver === driver.name && other.configuration === undefined)
        .map(toDriverNetwork),
    );
    await table.putNetwork(network);
    try {
      // The intent is what must outlive the machine: a restart finishes it.
      await allDone([this.#finishCreation(network), table.sync()]);
    } catch (error) {
      await this.#undo(network);
      throw error;
    }
    logger.info({ network: network.name, id: network.id, pools: network.pools }, 'created a network');
    // Nobody waits for it: without it a restart after a loss of power finishes the network once more.
    table.sync().catch(() => {});
    return { ...network, state: 'ready' };
  }

  /** The second half of a creation. */
  async #finishCreation(network: Network): Promise<void> {
    const { drivers, table } = this.#deps;
    await getDriver(drivers, network.driver).ensureNetwork(toDriverNetwork(network), true);
    await table.putNetwork({ ...network, state: 'ready' }, 'process');
  }

  /** What a restart does with a network found `creating`. It is one of the networks then, also where making it fails. */
  async keepHalfMade(network: Network): Promise<void> {
    const { drivers, table } = this.#deps;
    await table.putNetwork({ ...network, state: 'ready' });
    await getDriver(drivers, network.driver).ensureNetwork(toDriverNetwork(network));
  }

  #checkName(name: string): void {
    if (this.#deps.table.findByName(name) !== undefined)
      throw new LinkspanError('networkNameTaken', `network with name ${name} already exists`);
  }

  /** By its name; an id will not do. */
  #getConfiguration(name: string): Network {
    const found = this.#deps.table.findByName(name);
    if (found?.configuration === undefined || found.state !== 'ready')
      throw new LinkspanError('networkNotFound', `configuration network "${name}" not found`);
    return found;
  }

  async #addConfiguration(request: NetworkRequest): Promise<Network> {
    const { table, clock, logger } = this.#deps;
    this.#checkName(request.name);
    const network = planConfiguration(request, timestamp(clock));
    await table.putNetwork(network);
    logger.info({ network: network.name, id: network.id }, 'created a configuration network');
    return network;
  }

  #takeOut(network: Network, driver: Driver): Promise<void> {
    const others = this.#deps.table.networks.filter(
      ({ id, driver: name, state }) => name === driver.name && id !== network.id && state !== 'removing',
    );
    return driver.removeNetwork(toDriverNetwork(network), others.map(toDriverNetwork));
  }

  /** Takes a half-made network back; if this fails too, it is one that is being removed, which a restart finishes. */
  async #undo(network: Network): Promise<void> {
    const { table, logger } = this.#deps;
    const subject = { network: network.name, id: network.id };
    try {
      await this.#mutex.run(network.id, async () => {
        await table.putNetwork({ ...network, state: 'removing' });
        await withSecondChance(logger, subject, () => this.finishRemoval(network));
      });
    } catch (error) {
      logger.error({ ...subject, err: error }, 'could not take a half-made network back');
    }
  }

  #isDangling(network: Network): boolean {
    return !network.isPredefined && this.endpoints(network).length === 0;
  }

  /** What an automatic pool must not overlap: on-link routes (not the default route) and name servers. */
  async #machineSubnets(): Promise<readonly Prefix[]> {
    const [routes, resolvConf] = await Promise.all([
      this.#deps.kernel.routes(),
      readFile(this.#deps.resolvConfPath, 'utf8').catch(() => ''),
    ]);
    const onLink = routes.flatMap(({ destination, isOnLink }) =>
      destination !== undefined && isOnLink && destination.length > 0 ? [destination] : [],
    );
    return [...onLink, ...nameservers(resolvConf).map((ip) => prefixOf(ip, widthOf(ip.family)))];
  }
}
