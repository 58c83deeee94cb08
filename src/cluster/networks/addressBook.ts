/*
 * The addresses of one network as a manager believes them to be: chooses candidates. The store decides, as others may
 * have been there first. An address that was given back rests, so that nobody who still remembers its last holder meets
 * the next: it is chosen again when it has rested, or, the longest rested first, when nothing else is free. Pure.
 * Of a network with blocks, blocks are what is chosen, each by its first address; other addresses are taken by name.
 */
import { AddressPool } from '../../ipam/addressPool.ts';
import { BlockPool, blockSubnetOf } from '../../ipam/blocks.ts';
import { formatIp, type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { containsIp, type Prefix, parsePrefix } from '../../net/prefix.ts';
import type { SwarmNetwork, SwarmPool } from '../swarmNetworks.ts';

/** Time for answers of resolvers, connections and neighbours to be forgotten. */
export const restMs = 60_000;

interface Segment {
  readonly pool: AddressPool | BlockPool;
  readonly range: Prefix;
}

function toBlocks(pool: SwarmPool, blockBits: number): readonly Segment[] {
  const found = blockSubnetOf(pool);
  return found === undefined ? [] : [{ pool: new BlockPool(found, blockBits), range: found.range }];
}

function toSegment({ subnet, ipRange, gateway, auxAddresses }: SwarmPool): readonly Segment[] {
  const parsed = parsePrefix(subnet);
  if (parsed === undefined) return [];
  const range = ipRange === undefined ? parsed : (parsePrefix(ipRange) ?? parsed);
  const pool = new AddressPool(parsed, range);
  for (const text of [gateway, ...Object.values(auxAddresses)]) {
    const ip = text === undefined ? undefined : parseIp(text);
    if (ip !== undefined) pool.take(ip);
  }
  return [{ pool, range }];
}

export class AddressBook {
  readonly #segments: readonly Segment[];
  /** Undefined: the network has none. */
  readonly #blocks: readonly Segment[] | undefined;
  /** Text of an address, and when it has rested; in order of that time. They count as taken in their pool. */
  readonly #resting = new Map<string, number>();
  /** They have rested, and the store does not know yet. */
  readonly #rested = new Set<string>();

  constructor({ pools, blockBits }: Pick<SwarmNetwork, 'pools' | 'blockBits'>) {
    this.#segments = pools.flatMap(toSegment);
    if (blockBits !== undefined) this.#blocks = pools.flatMap((pool) => toBlocks(pool, blockBits));
  }

  /**
   * In canonical form, if somebody may hold it: of a subnet of the network, and not the first or last of it. `isBlock`: if
   * it is the first of a block, which is for nothing else.
   */
  normalize(text: string, family: IpFamily, isBlock = false): string | undefined {
    const ip = parseIp(text);
    if (ip === undefined || ip.family !== family || this.#isBlock(ip) !== isBlock) return undefined;
    return this.#segmentsOf(ip).some(({ pool }) => pool.isUsable(ip)) ? formatIp(ip) : undefined;
  }

  /** Takes an address by name, one that rests too. False if it is taken, or none of the network's. */
  take(text: string): boolean {
    const ip = parseIp(text);
    if (ip === undefined) return false;
    this.#rested.delete(text);
    if (this.#resting.delete(text)) return true;
    return this.#segmentsOf(ip).some(({ pool }) => pool.take(ip));
  }

  /** Takes one that is free; undefined if there is none. */
  takeAny(family: IpFamily, nowMs: number): string | undefined {
    this.#rouse(nowMs);
    const own = (this.#blocks ?? this.#segments).filter(({ pool }) => pool.subnet.base.family === family);
    for (const { pool } of own) {
      const ip = pool.takeLowest();
      if (ip === undefined) continue;
      this.#rested.delete(formatIp(ip));
      return formatIp(ip);
    }
    for (const text of this.#resting.keys()) {
      const ip = parseIp(text);
      if (ip === undefined || !own.some(({ pool, range }) => pool.isUsable(ip) && containsIp(range, ip)))
        continue;
      this.#resting.delete(text);
      return text;
    }
    return undefined;
  }

  /** Its holder has gone: it rests. */
  rest(text: string, notBeforeMs: number): void {
    this.take(text);
    this.#resting.set(text, notBeforeMs);
  }

  /** Nobody has it, and it does not rest. */
  free(text: string): void {
    this.#resting.delete(text);
    this.#rested.delete(text);
    this.#release(text);
  }

  /** Some of those that have rested, at most `most`, once each: what the store can forget. */
  takeRested(nowMs: number, most: number): readonly string[] {
    this.#rouse(nowMs);
    const some = [...this.#rested].slice(0, most);
    for (const text of some) this.#rested.delete(text);
    return some;
  }

  #rouse(nowMs: number): void {
    for (const [text, notBeforeMs] of this.#resting) {
      if (notBeforeMs > nowMs) break;
      this.#resting.delete(text);
      this.#rested.add(text);
      this.#release(text);
    }
  }

  #release(text: string): void {
    const ip = parseIp(text);
    if (ip !== undefined) for (const { pool } of this.#segmentsOf(ip)) pool.release(ip);
  }

  #isBlock(ip: Ip): boolean {
    return this.#blocks?.some(({ pool }) => pool.isUsable(ip)) === true;
  }

  #segmentsOf(ip: Ip): readonly Segment[] {
    return this.#isBlock(ip) ? (this.#blocks ?? []) : this.#segments;
  }
}
