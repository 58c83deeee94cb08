/*
 * From a user's request to a network's record: checks in Docker's order with Docker Engine 28's texts, pools chosen.
 * Pure; what the machine has (routes, name servers) comes in as `taken`.
 */
import { newId } from '../../base/ids.ts';
import type { Driver } from '../../drivers/interface.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { checkPools, type PoolWish } from '../../ipam/poolCheck.ts';
import { choosePool, overlapping, type PoolSource } from '../../ipam/pools.ts';
import { formatIp, type Ip } from '../../net/ip.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import type { Network, NetworkRequest, Pool } from '../model.ts';

const predefinedNames: ReadonlySet<string> = new Set(['bridge', 'host', 'none', 'default']);

/** Drivers that are this program's business but need a cluster or are not built yet. */
const swarmMessage =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

/** Throws what is wrong with the request before any driver or pool is looked at. */
export function checkRequest(request: NetworkRequest): void {
  if (request.name.trim() === '')
    throw new LinkspanError('networkConfigInvalid', 'invalid name: name is empty');
  if (predefinedNames.has(request.name))
    throw new LinkspanError(
      'networkPredefined',
      `operation is not permitted on predefined ${request.name} network `,
    );
  if (request.driver === 'overlay' || request.isIngress) throw new LinkspanError('noSwarm', swarmMessage);
  if (request.scope === 'swarm' || request.scope === 'global')
    throw new LinkspanError('noSwarm', 'cannot create a swarm scoped network when swarm is not active');
  if (request.isConfigOnly || request.configFrom !== undefined)
    throw new LinkspanError('notImplemented', 'configuration-only networks are not there yet');
  if (request.ipamDriver !== 'default')
    throw new LinkspanError('driverNotFound', `plugin "${request.ipamDriver}" not found`);
  if (Object.keys(request.ipamOptions).length > 0)
    throw new LinkspanError('notImplemented', 'the default IPAM driver takes no options');
  if (request.ipv6 === true) throw new LinkspanError('notImplemented', 'IPv6 networks are not there yet');
  if (request.ipv4 === false) throw new LinkspanError('networkConfigInvalid', 'IPv4 or IPv6 must be enabled');
}

/** The driver of that name; the error names it as Docker names a missing plugin. */
export function getDriver(drivers: ReadonlyMap<string, Driver>, name: string): Driver {
  const driver = drivers.get(name);
  if (driver === undefined) throw new LinkspanError('driverNotFound', `plugin "${name}" not found`);
  return driver;
}

/** What pools are chosen from, and what they must keep clear of. */
export interface PoolSurroundings {
  readonly sources: readonly PoolSource[];
  /** Subnets of our networks. */
  readonly networks: readonly Prefix[];
  /** On-link routes and name servers of the machine; only automatic choice avoids them. */
  readonly machine: readonly Prefix[];
}

function subnetFor(wish: PoolWish, around: PoolSurroundings): Prefix {
  if (wish.subnet !== undefined) {
    if (overlapping(wish.subnet, around.networks).length > 0)
      throw new LinkspanError(
        'poolOverlap',
        'invalid pool request: Pool overlaps with other one on this address space',
      );
    return wish.subnet;
  }
  const chosen = choosePool(around.sources, [...around.networks, ...around.machine]);
  if (chosen === undefined)
    throw new LinkspanError('poolsExhausted', 'all predefined address pools have been fully subnetted');
  return chosen;
}

/** The first address of the range or subnet that a gateway may have. */
function firstUsable(subnet: Prefix, range: Prefix | undefined, reserved: readonly Ip[]): Ip {
  const { family, bits } = (range ?? subnet).base;
  const isTiny = subnet.length >= (family === 4 ? 31 : 127);
  let candidate = bits === subnet.base.bits && !isTiny ? bits + 1n : bits;
  while (reserved.some((ip) => ip.bits === candidate)) candidate++;
  return { family, bits: candidate };
}

function toPool(wish: PoolWish, subnet: Prefix, needsGateway: boolean): Pool {
  const reserved = Object.values(wish.auxAddresses);
  const gateway = wish.gateway ?? (needsGateway ? firstUsable(subnet, wish.ipRange, reserved) : undefined);
  return {
    subnet: formatPrefix(subnet),
    ...(wish.ipRange === undefined ? {} : { ipRange: formatPrefix(wish.ipRange) }),
    ...(gateway === undefined ? {} : { gateway: formatIp(gateway) }),
    auxAddresses: Object.fromEntries(
      Object.entries(wish.auxAddresses).map(([name, ip]) => [name, formatIp(ip)]),
    ),
  };
}

/** Pools as records; throws code networkConfigInvalid, poolOverlap or poolsExhausted. */
function planPools(
  request: NetworkRequest,
  needsGateway: boolean,
  around: PoolSurroundings,
): readonly Pool[] {
  const { wishes, problem } = checkPools(request.pools);
  if (problem !== undefined) throw new LinkspanError('networkConfigInvalid', problem);
  const ipv4 = wishes.filter(({ subnet }) => subnet === undefined || subnet.base.family === 4);
  if (ipv4.length < wishes.length)
    throw new LinkspanError('notImplemented', 'IPv6 subnets are not there yet');
  const wanted =
    ipv4.length > 0
      ? ipv4
      : [{ subnet: undefined, ipRange: undefined, gateway: undefined, auxAddresses: {} }];
  const chosen: Prefix[] = [];
  return wanted.map((wish) => {
    const subnet = subnetFor(wish, { ...around, networks: [...around.networks, ...chosen] });
    chosen.push(subnet);
    return toPool(wish, subnet, needsGateway);
  });
}

/** The record of a new network, in state `creating`. The name must be free and the request checked. */
export function planNetwork(
  request: NetworkRequest,
  driver: Driver,
  around: PoolSurroundings,
  createdAt: string,
  isPredefined = false,
): Network {
  const id = newId<'network'>();
  const hasIpv4 = request.ipv4 ?? true;
  const plan = driver.plan({
    id,
    name: request.name,
    isInternal: request.isInternal,
    isPredefined,
    hasIpv4,
    hasIpv6: request.ipv6 ?? false,
    options: request.options,
  });
  return {
    id,
    name: request.name,
    driver: request.driver,
    scope: driver.scope,
    state: 'creating',
    createdAt,
    isInternal: request.isInternal,
    isAttachable: request.isAttachable,
    hasIpv4,
    hasIpv6: request.ipv6 ?? false,
    ipamDriver: request.ipamDriver,
    ipamOptions: request.ipamOptions,
    pools: plan.needsPools ? planPools(request, plan.needsGateway, around) : [],
    options: request.options,
    labels: request.labels,
    isPredefined,
  };
}
