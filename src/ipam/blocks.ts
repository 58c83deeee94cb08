/*
 * Blocks: equal parts of a subnet, one or more for each node of a swarm, from which the node chooses addresses itself. The
 * first address of a block is its name and its router's, and is never an endpoint's. Pure.
 */
import { formatIp, type Ip, type IpFamily, parseIp, widthOf } from '../net/ip.ts';
import { containsIp, lastOf, type Prefix, parsePrefix, prefixOf } from '../net/prefix.ts';
import { AddressPool } from './addressPool.ts';

/** A subnet of a network with blocks, and where in it those come from that nobody names. */
export interface BlockSubnet {
  readonly subnet: Prefix;
  readonly range: Prefix;
}

export interface BlockPoolText {
  readonly subnet: string;
  readonly ipRange?: string;
}

export function blockSubnetOf({ subnet, ipRange }: BlockPoolText): BlockSubnet | undefined {
  const parsed = parsePrefix(subnet);
  return (
    parsed && { subnet: parsed, range: (ipRange === undefined ? undefined : parsePrefix(ipRange)) ?? parsed }
  );
}

/** The block of 2^`bits` addresses that `ip` is in. */
export function blockOf(ip: Ip, bits: number): Prefix {
  return prefixOf(ip, widthOf(ip.family) - bits);
}

/** Which blocks of a subnet are taken; a block is named by its first address. The lowest free one first. */
export class BlockPool {
  readonly subnet: Prefix;
  readonly #range: Prefix;
  readonly #size: bigint;
  readonly #taken = new Set<bigint>();
  #lowest: bigint;

  /** `range` lies within `subnet` and has room for a block. */
  constructor({ subnet, range }: BlockSubnet, bits: number) {
    this.subnet = subnet;
    this.#range = range;
    this.#size = 1n << BigInt(bits);
    this.#lowest = range.base.bits;
  }

  /** True for the first address of a block. */
  isUsable(ip: Ip): boolean {
    return containsIp(this.subnet, ip) && ip.bits % this.#size === 0n;
  }

  /** False if it is taken, or none. */
  take(ip: Ip): boolean {
    if (!this.isUsable(ip) || this.#taken.has(ip.bits)) return false;
    this.#taken.add(ip.bits);
    return true;
  }

  takeLowest(): Ip | undefined {
    const { family } = this.#range.base;
    const end = lastOf(this.#range).bits;
    for (let bits = this.#lowest; bits <= end; bits += this.#size) {
      if (this.#taken.has(bits)) continue;
      this.#taken.add(bits);
      this.#lowest = bits + this.#size;
      return { family, bits };
    }
    this.#lowest = end + 1n;
    return undefined;
  }

  release(ip: Ip): void {
    if (this.#taken.delete(ip.bits) && containsIp(this.#range, ip) && ip.bits < this.#lowest)
      this.#lowest = ip.bits;
  }
}

/** What a node looks at when it chooses an address from blocks of its own. */
export interface OwnBlocks {
  /** Those of one family, in the order in which they are to be used. */
  readonly blocks: readonly Prefix[];
  /** Of the network, with the range that automatic addresses come from. */
  readonly subnets: readonly BlockSubnet[];
  /** Endpoints', the gateway, auxiliary addresses, and those that rest. */
  readonly taken: Iterable<string>;
}

/** The lowest free address of the first block that has one; undefined if none has. */
export function chooseAddress({ blocks, subnets, taken }: OwnBlocks): string | undefined {
  const bits = new Set([...taken].map((text) => parseIp(text)?.bits));
  for (const block of blocks) {
    const subnet = subnets.find((one) => containsIp(one.subnet, block.base))?.subnet;
    if (subnet === undefined) continue;
    const pool = new AddressPool(subnet, block);
    for (const one of [block.base.bits, ...bits])
      if (one !== undefined) pool.take({ family: block.base.family, bits: one });
    const ip = pool.takeLowest();
    if (ip !== undefined) return formatIp(ip);
  }
  return undefined;
}

/** In canonical form, if an endpoint may have it: of a subnet of the network, and not the first of a block. */
export function normalizeAddress(
  text: string,
  family: IpFamily,
  subnets: readonly BlockSubnet[],
  bits: number,
): Ip | undefined {
  const ip = parseIp(text);
  if (ip === undefined || ip.family !== family || blockOf(ip, bits).base.bits === ip.bits) return undefined;
  return subnets.some(({ subnet }) => new AddressPool(subnet).isUsable(ip)) ? ip : undefined;
}
