/*
 * Checks of what a user says about a network's subnets. Pure. Texts are Docker Engine 28's.
 */
import { formatIp, type Ip, parseIp } from '../net/ip.ts';
import {
  containsIp,
  containsPrefix,
  formatPrefix,
  type IpWithLength,
  type Prefix,
  parseIpWithLength,
  prefixOf,
} from '../net/prefix.ts';

/** One subnet as given, texts unparsed. */
export interface PoolText {
  readonly subnet?: string;
  readonly ipRange?: string;
  readonly gateway?: string;
  readonly auxAddresses?: Readonly<Record<string, string>>;
}

/** The same as values. `subnet` is undefined where the user named none. */
export interface PoolWish {
  readonly subnet: Prefix | undefined;
  readonly ipRange: Prefix | undefined;
  readonly gateway: Ip | undefined;
  readonly auxAddresses: Readonly<Record<string, Ip>>;
}

function maskedText({ ip, length }: IpWithLength): string {
  return formatPrefix(prefixOf(ip, length));
}

function checkRange(text: string, subnet: Prefix, problems: string[]): Prefix | undefined {
  const say = (why: string): undefined => void problems.push(`invalid ip-range ${text}: ${why}`);
  const parsed = parseIpWithLength(text);
  if (parsed === undefined) return say('invalid CIDR block notation');
  const range = prefixOf(parsed.ip, parsed.length);
  if (range.base.family !== subnet.base.family)
    return say(`parent subnet is an IPv${subnet.base.family} block`);
  if (range.length < subnet.length)
    return say(`CIDR block is bigger than its parent subnet ${formatPrefix(subnet)}`);
  if (formatPrefix(range) !== `${formatIp(parsed.ip)}/${parsed.length}`)
    say(`it should be ${maskedText(parsed)}`);
  if (!containsPrefix(subnet, range))
    return say(`parent subnet ${formatPrefix(subnet)} doesn't contain ip-range`);
  return range;
}

function checkAddress(what: string, text: string, subnet: Prefix, problems: string[]): Ip | undefined {
  const say = (why: string): undefined => void problems.push(`invalid ${what}: ${why}`);
  const ip = parseIp(text);
  if (ip === undefined) return say('invalid address');
  if (ip.family !== subnet.base.family) return say(`parent subnet is an IPv${subnet.base.family} block`);
  if (!containsIp(subnet, ip))
    return say(`parent subnet ${formatPrefix(subnet)} doesn't contain this address`);
  return ip;
}

function checkSubnet(text: string, problems: string[]): Prefix | undefined {
  const parsed = parseIpWithLength(text);
  if (parsed === undefined) {
    problems.push(`invalid subnet ${text}: invalid CIDR block notation`);
    return undefined;
  }
  const subnet = prefixOf(parsed.ip, parsed.length);
  if (subnet.base.bits !== parsed.ip.bits)
    problems.push(`invalid subnet ${text}: it should be ${maskedText(parsed)}`);
  return subnet;
}

function checkPool(pool: PoolText, problems: string[]): PoolWish {
  const none = { subnet: undefined, ipRange: undefined, gateway: undefined, auxAddresses: {} };
  const subnetText = pool.subnet ?? '';
  if (subnetText === '') {
    if (pool.ipRange || pool.gateway || Object.keys(pool.auxAddresses ?? {}).length > 0)
      problems.push('every ip-range, gateway or auxiliary address must have a corresponding subnet');
    return none;
  }
  const subnet = checkSubnet(subnetText, problems);
  if (subnet === undefined) return none;
  const auxAddresses: Record<string, Ip> = {};
  for (const [name, text] of Object.entries(pool.auxAddresses ?? {})) {
    const ip = checkAddress(`auxiliary address ${name}`, text, subnet, problems);
    if (ip !== undefined) auxAddresses[name] = ip;
  }
  return {
    subnet,
    ipRange: pool.ipRange ? checkRange(pool.ipRange, subnet, problems) : undefined,
    gateway: pool.gateway
      ? checkAddress(`gateway ${pool.gateway}`, pool.gateway, subnet, problems)
      : undefined,
    auxAddresses,
  };
}

/** Several problems as one text: one alone as it is, more as a list. */
function joined(problems: readonly string[]): string {
  return problems.length === 1 ? (problems[0] ?? '') : `* ${problems.join('\n* ')}`;
}

/** The pools as values, or everything that is wrong with them as one text. */
export function checkPools(pools: readonly PoolText[]): {
  readonly wishes: readonly PoolWish[];
  readonly problem?: string;
} {
  const problems: string[] = [];
  const wishes = pools.map((pool) => checkPool(pool, problems));
  return problems.length === 0
    ? { wishes }
    : { wishes, problem: `invalid network config:\n${joined(problems)}` };
}
