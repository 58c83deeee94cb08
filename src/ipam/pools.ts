/*
 * Choosing subnets for networks that name none. Pure. The default pools are Docker's: 31 IPv4 networks, and 65536
 * IPv6 networks in a unique local prefix of this daemon's (RFC 4193).
 */
import { createHash } from 'node:crypto';
import { type IpFamily, ipFromBytes } from '../net/ip.ts';
import { formatPrefix, overlaps, type Prefix, parsePrefix } from '../net/prefix.ts';

/** A range that is cut into subnets of `subnetLength` bits. */
export interface PoolSource {
  readonly base: Prefix;
  readonly subnetLength: number;
}

const defaultTexts: readonly (readonly [base: string, subnetLength: number])[] = [
  ['172.17.0.0/16', 16],
  ['172.18.0.0/16', 16],
  ['172.19.0.0/16', 16],
  ['172.20.0.0/14', 16],
  ['172.24.0.0/14', 16],
  ['172.28.0.0/14', 16],
  ['192.168.0.0/16', 20],
];

/** Parses one `base=CIDR,size=N` (dockerd's --default-address-pool); undefined if it is malformed or cannot be cut. */
export function parsePoolSource(text: string): PoolSource | undefined {
  const fields = new Map(text.split(',').map((part) => part.split('=', 2) as [string, string]));
  const base = parsePrefix(fields.get('base') ?? '');
  const size = fields.get('size') ?? '';
  if (base === undefined || !/^\d{1,3}$/.test(size) || fields.size !== 2) return undefined;
  const subnetLength = Number(size);
  const most = base.base.family === 4 ? 30 : 126;
  return subnetLength < base.length || subnetLength > most ? undefined : { base, subnetLength };
}

/** Docker's 15 networks of /16 in 172.17.0.0 to 172.31.255.255 and 16 of /20 in 192.168.0.0/16. */
export function defaultPoolSources(): readonly PoolSource[] {
  return defaultTexts.map(([text, subnetLength]) => {
    const base = parsePrefix(text);
    if (base === undefined) throw new TypeError(`bad default pool ${text}`);
    return { base, subnetLength };
  });
}

/**
 * The unique local /48 of a daemon, cut into /64s: `fd`, then the first 40 bits of a digest of `identity`, so that two
 * hosts hardly ever have the same and one host always has the same.
 */
export function uniqueLocalSource(identity: string): PoolSource {
  const bytes = Buffer.alloc(16);
  bytes[0] = 0xfd;
  createHash('sha256').update(identity).digest().copy(bytes, 1, 0, 5);
  return { base: { base: ipFromBytes(bytes), length: 48 }, subnetLength: 64 };
}

/** What a user configured, with the defaults for a family that he left out. */
export function completeSources(configured: readonly PoolSource[], identity: string): readonly PoolSource[] {
  const has = (family: IpFamily): boolean => configured.some(({ base }) => base.base.family === family);
  return [
    ...configured,
    ...(has(4) ? [] : defaultPoolSources()),
    ...(has(6) ? [] : [uniqueLocalSource(identity)]),
  ];
}

/** The subnets of a source, lowest first. */
function* subnetsOf({ base, subnetLength }: PoolSource): Generator<Prefix> {
  const { family, bits } = base.base;
  const width = family === 4 ? 32 : 128;
  const step = 1n << BigInt(width - subnetLength);
  const count = 1n << BigInt(subnetLength - base.length);
  for (let i = 0n; i < count; i++) yield { base: { family, bits: bits + i * step }, length: subnetLength };
}

/**
 * The first subnet of a family, in the sources' order, that overlaps none of `taken` (other networks' pools, on-link routes of the
 * machine, its name servers); undefined if there is none.
 */
export function choosePool(
  sources: readonly PoolSource[],
  taken: readonly Prefix[],
  family: IpFamily = 4,
): Prefix | undefined {
  for (const source of sources) {
    if (source.base.base.family !== family) continue;
    for (const subnet of subnetsOf(source)) {
      if (!taken.some((other) => overlaps(subnet, other))) return subnet;
    }
  }
  return undefined;
}

/** The pools of `pools` that overlap `subnet`, as text. */
export function overlapping(subnet: Prefix, pools: readonly Prefix[]): readonly string[] {
  return pools.filter((pool) => overlaps(pool, subnet)).map(formatPrefix);
}
