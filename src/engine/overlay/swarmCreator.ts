/*
 * Networks of the swarm as users make and remove them, here on a manager. What is asked for is planned here, written there,
 * and comes back to every node (swarmFollower.ts).
 */
import type { Clock } from '../../base/clock.ts';
import { timestamp } from '../../base/timestamp.ts';
import type { SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import type { Driver } from '../../drivers/interface.ts';
import { parseOverlayOptions } from '../../drivers/overlay/options.ts';
import { checkMtu, type Underlay } from '../../drivers/overlay/segments.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import { blockOf } from '../../ipam/blocks.ts';
import type { PoolSource } from '../../ipam/pools.ts';
import { compareIp, type Ip, parseIp } from '../../net/ip.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import type { HeldBlock, PeerNode, PlacedEndpoint } from '../engine.ts';
import type { Network, NetworkId, NetworkRequest } from '../model.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import { isEncrypted, planSwarmNetwork } from './swarmRecords.ts';

export interface SwarmCreatorDependencies {
  readonly table: NetworkTable;
  readonly swarm: SwarmNetworks;
  readonly clock: Clock;
  /** Where IPv6 subnets come from. */
  readonly sources6: readonly PoolSource[];
  /** Rejects with the reason where this machine cannot encrypt. */
  readonly checkEncryption: () => Promise<void>;
  /** Of encrypted networks. */
  readonly encryptedUnderlay: () => Underlay;
}

/** Of swarms, narrower than that of networks of a host (swarmkit's control API). */
const swarmName = /^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9])*$/;
const longestName = 63;

function checkName(name: string): void {
  const why = !swarmName.test(name)
    ? 'name must be valid as a DNS name component'
    : name.length > longestName
      ? `name must be ${longestName} characters or fewer`
      : undefined;
  if (why !== undefined)
    throw new LinkspanError('networkConfigInvalid', `rpc error: code = InvalidArgument desc = ${why}`);
}

/** What cannot be a network of the swarm, whoever asks. Docker Engine 28's texts where it has one. */
function checkSwarmRequest(request: NetworkRequest, driver: Driver): void {
  if (driver.scope !== 'global')
    throw new LinkspanError(
      'notImplemented',
      `a network of the swarm with driver ${driver.name} is not supported: only overlay networks span nodes`,
    );
  if (request.scope === 'local')
    throw new LinkspanError(
      'networkConfigInvalid',
      'an overlay network is of the swarm: it cannot have scope local',
    );
  if (request.ipv4 === false)
    throw new LinkspanError('networkConfigInvalid', 'IPv4 cannot be disabled in a Swarm scoped network');
  checkName(request.name);
  if (request.configFrom !== undefined)
    throw new LinkspanError(
      'networkConfigInvalid',
      'a network of the swarm cannot be made from a configuration network, which is of one node',
    );
}

export class SwarmCreator {
  readonly #deps: SwarmCreatorDependencies;

  constructor(deps: SwarmCreatorDependencies) {
    this.#deps = deps;
  }

  /** `machine`: subnets of this node, which an automatic choice keeps clear of. Codes as planNetwork's, noSwarm, networkNameTaken. */
  async create(request: NetworkRequest, driver: Driver, machine: readonly Prefix[]): Promise<Network> {
    const { swarm, table, clock, sources6 } = this.#deps;
    if (swarm.dataPath === undefined && (request.scope ?? 'local') !== 'local' && driver.scope === 'local')
      throw new LinkspanError('noSwarm', 'cannot create a swarm scoped network when swarm is not active');
    if (swarm.dataPath !== undefined) checkSwarmRequest(request, driver);
    if (table.findByName(request.name) !== undefined)
      throw new LinkspanError('networkNameTaken', `network with name ${request.name} already exists`);
    if (isEncrypted(request)) {
      await this.#deps.checkEncryption();
      // Of nodes that come later it is capped.
      const asked = parseOverlayOptions({ hasIpv4: true, hasIpv6: true, options: request.options });
      if (swarm.dataPath !== undefined) checkMtu(asked, this.#deps.encryptedUnderlay());
    }
    try {
      const { id } = await swarm.createNetwork((around) => {
        const ingress = request.isIngress ? around.networks.find(({ isIngress }) => isIngress) : undefined;
        if (ingress !== undefined)
          throw new LinkspanError(
            'networkNameTaken',
            `rpc error: code = AlreadyExists desc = ingress network (${ingress.id}) is already present`,
          );
        return planSwarmNetwork(request, driver, { machine, sources6, now: timestamp(clock) }, around);
      });
      const network = await this.#until(id as NetworkId, true);
      if (network === undefined) throw new TypeError(`network ${id} came and went`);
      return network;
    } catch (error) {
      if (!hasCode(error, 'notManager')) throw error;
      throw new LinkspanError(
        'noSwarm',
        'Cannot create a multi-host network from a worker node. Please create the network from a manager node.',
      );
    }
  }

  /** Codes networkInUse, notManager. */
  async remove({ id }: Network): Promise<void> {
    await this.#deps.swarm.removeNetwork(id);
    await this.#until(id, false);
  }

  /** The nodes with an endpoint that is up, in name order. */
  async peers({ id }: Network): Promise<readonly PeerNode[]> {
    const { swarm } = this.#deps;
    const rows = await swarm.endpoints(id);
    const nodes = new Set(rows.filter(({ isUp }) => isUp).map(({ nodeId }) => nodeId));
    return [...nodes]
      .flatMap((nodeId) => {
        const node = swarm.findNode(nodeId);
        return node === undefined ? [] : { name: node.hostname, address: node.vtep };
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Those that are up, by name. */
  async placedEndpoints({ id }: Network): Promise<readonly PlacedEndpoint[]> {
    const { swarm } = this.#deps;
    return (await swarm.endpoints(id))
      .filter(({ isUp }) => isUp)
      .map(({ endpointId, containerName, ipv4, ipv6, nodeId }) => ({
        ...{ endpointId, containerName, address: ipv4 ?? ipv6 ?? '' },
        hostAddress: swarm.findNode(nodeId)?.vtep ?? '',
      }))
      .toSorted((a, b) => (a.containerName < b.containerName ? -1 : 1));
  }

  /** Addresses that somebody has on any node: endpoints, up or not, and the routers of blocks. */
  async leased({ id }: Network): Promise<readonly Ip[]> {
    const rows = await this.#deps.swarm.endpoints(id);
    return rows.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].flatMap((text) => parseIp(text ?? '') ?? []));
  }

  /** Which node has which block, in the order of the blocks; none of a network without. */
  async blocks({ id }: Network): Promise<readonly HeldBlock[]> {
    const { swarm } = this.#deps;
    const bits = swarm.networks.find((one) => one.id === id)?.blockBits;
    if (bits === undefined) return [];
    const rows = (await swarm.endpoints(id)).filter(({ block }) => block !== undefined);
    return rows
      .flatMap(({ ipv4, ipv6, nodeId }) => {
        const first = parseIp(ipv4 ?? ipv6 ?? '');
        return first === undefined ? [] : { prefix: blockOf(first, bits), nodeId };
      })
      .toSorted((one, other) => compareIp(one.prefix.base, other.prefix.base))
      .map(({ prefix, nodeId }) => ({
        block: formatPrefix(prefix),
        node: swarm.findNode(nodeId)?.hostname ?? nodeId,
      }));
  }

  /** Resolves when the table of this node has the network, or has it no more. */
  async #until(id: NetworkId, isThere: boolean): Promise<Network | undefined> {
    const { table } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if ((table.find(id) !== undefined) === isThere) resolve();
    };
    using _listening = table.events.on('network', check);
    check();
    await promise;
    return table.find(id);
  }
}
