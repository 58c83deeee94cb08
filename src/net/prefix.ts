/*
 * Prefixes (subnets) as values, and the set arithmetic that pools need. Pure.
 */
import { formatIp, type Ip, type IpFamily, parseIp, widthOf } from './ip.ts';

/** A subnet: host bits of `base` are zero. */
export interface Prefix {
  readonly base: Ip;
  /** 0 to 32 or 128. */
  readonly length: number;
}

/** An address together with the length of its subnet: `172.17.0.2/16`. */
export interface IpWithLength {
  readonly ip: Ip;
  readonly length: number;
}

/** RFC 4291 section 2.5.6. */
export const linkLocal6: Prefix = { base: { family: 6, bits: 0xfe80n << 112n }, length: 10 };

/**
 * Addresses that many networks have, each of its own, so that they lead nowhere from another one: RFC 1918, RFC 6598
 * (between a provider and its customers), RFC 3927, RFC 4193, and a machine's own.
 */
const privateRanges: readonly Prefix[] = [
  { base: { family: 4, bits: 0x0a000000n }, length: 8 },
  { base: { family: 4, bits: 0xac100000n }, length: 12 },
  { base: { family: 4, bits: 0xc0a80000n }, length: 16 },
  { base: { family: 4, bits: 0x64400000n }, length: 10 },
  { base: { family: 4, bits: 0xa9fe0000n }, length: 16 },
  { base: { family: 4, bits: 0x7f000000n }, length: 8 },
  { base: { family: 6, bits: 0xfcn << 120n }, length: 7 },
  linkLocal6,
  { base: { family: 6, bits: 1n }, length: 128 },
];

/** It means something within one network only. */
export function isPrivateIp(ip: Ip): boolean {
  return privateRanges.some((range) => containsIp(range, ip));
}

function maskOf(family: IpFamily, length: number): bigint {
  const width = BigInt(widthOf(family));
  return ((1n << BigInt(length)) - 1n) << (width - BigInt(length));
}

/** Parses `a.b.c.d/len` keeping host bits; undefined if malformed. */
export function parseIpWithLength(text: string): IpWithLength | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const length = Number(digits);
  return length > widthOf(ip.family) ? undefined : { ip, length };
}

/** The subnet that contains `ip`. */
export function prefixOf(ip: Ip, length: number): Prefix {
  return { base: { family: ip.family, bits: ip.bits & maskOf(ip.family, length) }, length };
}

/** Parses a subnet; undefined if malformed or if host bits are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseIpWithLength(text);
  if (parsed === undefined) return undefined;
  const prefix = prefixOf(parsed.ip, parsed.length);
  return prefix.base.bits === parsed.ip.bits ? prefix : undefined;
}

/** Who may come, as a user writes it: a subnet with or without host bits, or one address; undefined if malformed. */
export function parseSource(text: string): Prefix | undefined {
  const ip = parseIp(text);
  if (ip !== undefined) return { base: ip, length: widthOf(ip.family) };
  const parsed = parseIpWithLength(text);
  return parsed === undefined ? undefined : prefixOf(parsed.ip, parsed.length);
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.base)}/${prefix.length}`;
}

/** The highest address of the subnet (the broadcast address of an IPv4 subnet wider than /31). */
export function lastOf(prefix: Prefix): Ip {
  const { family, bits } = prefix.base;
  const width = widthOf(family);
  return { family, bits: bits | ((1n << BigInt(width - prefix.length)) - 1n) };
}

/** Number of addresses in the subnet. */
export function sizeOf(prefix: Prefix): bigint {
  return 1n << BigInt(widthOf(prefix.base.family) - prefix.length);
}

export function containsIp(prefix: Prefix, ip: Ip): boolean {
  return (
    prefix.base.family === ip.family && (ip.bits & maskOf(ip.family, prefix.length)) === prefix.base.bits
  );
}

/** True if every address of `inner` is in `outer`. */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && containsIp(outer, inner.base);
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return containsPrefix(a, b) || containsPrefix(b, a);
}
