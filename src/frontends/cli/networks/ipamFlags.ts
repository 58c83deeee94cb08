/*
 * The address flags of `network create` as the API's IPAM configuration, with the checks that the docker CLI makes
 * before it asks the daemon. Pure.
 */
import { parseIp } from '../../../net/ip.ts';
import { containsIp, parseIpWithLength, prefixOf } from '../../../net/prefix.ts';
import { CliError } from '../cliError.ts';

export interface IpamConfig {
  Subnet: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

export interface IpamFlags {
  readonly subnets: readonly string[];
  readonly ranges: readonly string[];
  readonly gateways: readonly string[];
  readonly auxAddresses: Readonly<Record<string, string>>;
}

/** True if the address of `data` (with or without a length) lies in `subnet`. Throws CliError if either is malformed. */
function subnetMatches(subnet: string, data: string): boolean {
  const outer = parseIpWithLength(subnet);
  if (outer === undefined) throw new CliError(`invalid subnet: invalid CIDR address: ${subnet}`);
  const inner = data.includes('/') ? parseIpWithLength(data)?.ip : parseIp(data);
  if (inner === undefined && data.includes('/')) throw new CliError(`invalid CIDR address: ${data}`);
  return inner !== undefined && containsIp(prefixOf(outer.ip, outer.length), inner);
}

function subnetsApart(subnets: readonly string[]): IpamConfig[] {
  const configs: IpamConfig[] = [];
  for (const subnet of subnets) {
    for (const { Subnet } of configs)
      if (subnetMatches(subnet, Subnet) || subnetMatches(Subnet, subnet))
        throw new CliError('multiple overlapping subnet configuration is not supported');
    configs.push({ Subnet: subnet });
  }
  return configs;
}

function place(
  configs: readonly IpamConfig[],
  values: readonly string[],
  key: 'IPRange' | 'Gateway',
  conflict: (value: string, before: string, subnet: string) => string,
  what: string,
): void {
  for (const value of values) {
    const matches = configs.filter(({ Subnet }) => subnetMatches(Subnet, value));
    if (matches.length === 0) throw new CliError(`no matching subnet for ${what} ${value}`);
    for (const config of matches) {
      const before = config[key];
      if (before !== undefined) throw new CliError(conflict(value, before, config.Subnet));
      config[key] = value;
    }
  }
}

/** Joins ranges, gateways and auxiliary addresses to their subnets. Throws CliError with Docker's texts. */
export function joinIpamFlags(flags: IpamFlags): IpamConfig[] {
  const { subnets, ranges, gateways } = flags;
  if (subnets.length < ranges.length || subnets.length < gateways.length)
    throw new CliError('every ip-range or gateway must have a corresponding subnet');
  const configs = subnetsApart(subnets);
  const rangeConflict = (value: string, before: string, subnet: string): string =>
    `cannot configure multiple ranges (${value}, ${before}) on the same subnet (${subnet})`;
  const gatewayConflict = (value: string, before: string, subnet: string): string =>
    `cannot configure multiple gateways (${value}, ${before}) for the same subnet (${subnet})`;
  place(configs, ranges, 'IPRange', rangeConflict, 'range');
  place(configs, gateways, 'Gateway', gatewayConflict, 'gateway');
  for (const [name, address] of Object.entries(flags.auxAddresses)) {
    const matches = configs.filter(({ Subnet }) => subnetMatches(Subnet, address));
    if (matches.length === 0) throw new CliError(`no matching subnet for aux-address ${address}`);
    for (const config of matches) (config.AuxiliaryAddresses ??= {})[name] = address;
  }
  return configs;
}
