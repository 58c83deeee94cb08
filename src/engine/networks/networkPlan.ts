/*
 * From a user's request to a network's record: checks in Docker's order with Docker Engine 28's texts, pools chosen.
 * Pure; what the machine has (routes, name servers) comes in as `taken`.
 */
import { newId } from '../../base/ids.ts';
import type { Driver } from '../../drivers/interface.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { checkPools, type PoolWish } from '../../ipam/poolCheck.ts';
import { choosePool, overlapping, type PoolSource } from '../../ipam/pools.ts';
import { formatIp, type Ip, type IpFamily } from '../../net/ip.ts';
import { formatPrefix, type Prefix } from '../../net/prefix.ts';
import type { Network, NetworkRequest, Pool } from '../model.ts';

const predefinedNames: ReadonlySet<string> = new Set(['bridge', 'host', 'none', 'default']);

/** Throws what is wrong with the request before any driver or pool is looked at. */
export function checkRequest(request: NetworkRequest): void {
  if (request.name.trim() === '')
    throw new LinkspanError('networkConfigInvalid', 'invalid name: name is empty');
  if (predefinedNames.has(request.name))
    throw new LinkspanError(
      'networkPredefined',
      `operation is not permitted on predefined ${request.name} network `,
    );
  if (request.ipamDriver !== 'default')
    throw new LinkspanError('driverNotFound', `plugin "${request.ipamDriver}" not found`);
  if (Object.keys(request.ipamOptions).length > 0)
    throw new LinkspanError('notImplemented', 'the default IPAM driver takes no options');
}

/** Which address families the network has: as the request says, else as the option (perhaps the daemon's default) says. */
export function familiesOf({ ipv4, ipv6, options }: NetworkRequest): {
  readonly hasIpv4: boolean;
  readonly hasIpv6: boolean;
} {
  return {
    hasIpv4: ipv4 ?? readSwitch(options, 'com.docker.network.enable_ipv4') ?? true,
    hasIpv6: ipv6 ?? readSwitch(options, 'com.docker.network.enable_ipv6') ?? false,
  };
}

/** What Go's strconv.ParseBool takes. */
function readSwitch(options: NetworkRequest['options'], label: string): boolean | undefined {
  const value = options[label];
  if (value === undefined) return undefined;
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  throw new LinkspanError(
    'driverOptionInvalid',
    `failed to parse ${label} value: ${value} (strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax)`,
  );
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

function subnetFor(wish: PoolWish, family: IpFamily, around: PoolSurroundings): Prefix {
  if (wish.subnet !== undefined) {
    if (overlapping(wish.subnet, around.networks).length > 0)
      throw new LinkspanError(
        'poolOverlap',
        'invalid pool request: Pool overlaps with other one on this address space',
      );
    return wish.subnet;
  }
  const chosen = choosePool(around.sources, [...around.networks, ...around.machine], family);
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

const anyPool: PoolWish = { subnet: undefined, ipRange: undefined, gateway: undefined, auxAddresses: {} };

/** A pool that names no subnet is an IPv4 one. */
function familyOf(wish: PoolWish): IpFamily {
  return wish.subnet?.base.family ?? 4;
}

/** The wishes of each family that the network has, one that takes any where none is named; IPv4 first. */
function wishesByFamily(
  wishes: readonly PoolWish[],
  hasFamily: Readonly<Record<IpFamily, boolean>>,
): readonly (readonly [family: IpFamily, wish: PoolWish])[] {
  for (const { subnet } of wishes)
    if (subnet !== undefined && !hasFamily[subnet.base.family])
      throw new LinkspanError(
        'networkConfigInvalid',
        `invalid network config:\nsubnet ${formatPrefix(subnet)}: IPv${subnet.base.family} is not enabled on this network`,
      );
  return ([4, 6] as const)
    .filter((family) => hasFamily[family])
    .flatMap((family) => {
      const own = wishes.filter((wish) => familyOf(wish) === family);
      return (own.length === 0 ? [anyPool] : own).map((wish) => [family, wish] as const);
    });
}

/** Pools as records; throws code networkConfigInvalid, poolOverlap or poolsExhausted. */
function planPools(
  request: NetworkRequest,
  gatewayFamilies: readonly IpFamily[],
  around: PoolSurroundings,
): readonly Pool[] {
  const { wishes, problem } = checkPools(request.pools);
  if (problem !== undefined) throw new LinkspanError('networkConfigInvalid', problem);
  const { hasIpv4, hasIpv6 } = familiesOf(request);
  const chosen: Prefix[] = [];
  return wishesByFamily(wishes, { 4: hasIpv4, 6: hasIpv6 }).map(([family, wish]) => {
    const subnet = subnetFor(wish, family, { ...around, networks: [...around.networks, ...chosen] });
    chosen.push(subnet);
    return toPool(wish, subnet, gatewayFamilies.includes(family));
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
  const families = familiesOf(request);
  const plan = driver.plan({
    id,
    name: request.name,
    isInternal: request.isInternal,
    isPredefined,
    ...families,
    options: request.options,
  });
  return {
    id,
    name: request.name,
    driver: request.driver,
    scope: driver.scope,
    state: 'creating',
    createdAt,
    isInternal: request.isInternal || plan.isInternal === true,
    isAttachable: request.isAttachable,
    ...families,
    ipamDriver: request.ipamDriver,
    ipamOptions: request.ipamOptions,
    pools: plan.needsPools ? planPools(request, plan.gatewayFamilies, around) : [],
    options: request.options,
    labels: request.labels,
    isPredefined,
    ...(request.configFrom === undefined ? {} : { configFrom: request.configFrom }),
  };
}
