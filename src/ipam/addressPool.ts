/*
 * The addresses of one subnet: which are leased, and the next one to give. Lowest free first, in amortised constant
 * time: nothing below `#lowest` is free, a release moves it down.
 * The network address and the broadcast address of an IPv4 subnet are never given, except in a /31 (RFC 3021) or /32;
 * of IPv6 only the subnet-router anycast address (RFC 4291 §2.6.1) is kept back, except in a /127 or /128.
 */
import { equalIp, formatIp, type Ip } from '../net/ip.ts';
import { containsIp, lastOf, type Prefix } from '../net/prefix.ts';

export class AddressPool {
  readonly subnet: Prefix;
  /** Where automatic addresses come from: the subnet, or its --ip-range. */
  readonly #range: Prefix;
  readonly #taken = new Set<bigint>();
  #lowest: bigint;

  /** `ipRange`, if given, lies within `subnet`. */
  constructor(subnet: Prefix, ipRange: Prefix = subnet) {
    this.subnet = subnet;
    this.#range = ipRange;
    this.#lowest = ipRange.base.bits;
  }

  /** True for addresses of the subnet that may be given to somebody. */
  isUsable(ip: Ip): boolean {
    if (!containsIp(this.subnet, ip)) return false;
    const { base, length } = this.subnet;
    const isTiny = length >= (base.family === 4 ? 31 : 127);
    if (isTiny) return true;
    return !equalIp(ip, base) && !(base.family === 4 && equalIp(ip, lastOf(this.subnet)));
  }

  isTaken(ip: Ip): boolean {
    return this.#taken.has(ip.bits);
  }

  /** Marks a given address, inside the range or not. False if it is taken or not usable. */
  take(ip: Ip): boolean {
    if (!this.isUsable(ip) || this.#taken.has(ip.bits)) return false;
    this.#taken.add(ip.bits);
    return true;
  }

  /** Takes the lowest free address of the range; undefined if there is none. */
  takeLowest(): Ip | undefined {
    const { family } = this.#range.base;
    const end = lastOf(this.#range).bits;
    for (let bits = this.#lowest; bits <= end; bits++) {
      const ip: Ip = { family, bits };
      if (this.#taken.has(bits) || !this.isUsable(ip)) continue;
      this.#taken.add(bits);
      this.#lowest = bits + 1n;
      return ip;
    }
    this.#lowest = end + 1n;
    return undefined;
  }

  /** Gives an address back; nothing happens if it was not taken. */
  release(ip: Ip): void {
    if (this.#taken.delete(ip.bits) && containsIp(this.#range, ip) && ip.bits < this.#lowest)
      this.#lowest = ip.bits;
  }

  /** How many addresses of the subnet cannot be given any more, those that nobody may have included. */
  get inUse(): bigint {
    return BigInt(this.#taken.size) + this.#unusableIn(this.subnet);
  }

  /** How many addresses `takeLowest` can still give. */
  get available(): bigint {
    const { base, length } = this.#range;
    const size = 1n << BigInt((base.family === 4 ? 32 : 128) - length);
    const taken = [...this.#taken].filter((bits) => containsIp(this.#range, { family: base.family, bits }));
    return size - BigInt(taken.length) - this.#unusableIn(this.#range);
  }

  /** The first and the last address of `part` count where they are the subnet's and not to be given. */
  #unusableIn(part: Prefix): bigint {
    const last = lastOf(part);
    const ends = part.base.bits === last.bits ? [last] : [part.base, last];
    return BigInt(ends.filter((ip) => !this.isUsable(ip)).length);
  }

  /** Taken addresses as text, for messages and tests. */
  taken(): readonly string[] {
    return [...this.#taken]
      .sort((a, b) => (a < b ? -1 : 1))
      .map((bits) => formatIp({ family: this.subnet.base.family, bits }));
  }
}
