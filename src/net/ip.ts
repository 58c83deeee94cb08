/*
 * IP addresses as values: a family and its bits. Pure. Strict: what `parseIp` accepts, `formatIp` gives back in
 * canonical form (RFC 5952 for IPv6); no leading zeros, no zone, no port.
 */

export type IpFamily = 4 | 6;

export interface Ip {
  readonly family: IpFamily;
  /** The address as an unsigned integer, 32 or 128 bits. */
  readonly bits: bigint;
}

/** Address length in bits: 32 or 128. */
export function widthOf(family: IpFamily): number {
  return family === 4 ? 32 : 128;
}

function parseIpv4(text: string): Ip | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let bits = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    bits = (bits << 8n) | BigInt(octet);
  }
  return { family: 4, bits };
}

function parseIpv6(text: string): Ip | undefined {
  let rest = text;
  const tail: string[] = [];
  const lastColon = rest.lastIndexOf(':');
  if (rest.includes('.')) {
    const v4 = parseIpv4(rest.slice(lastColon + 1));
    if (v4 === undefined || lastColon < 0) return undefined;
    tail.push((v4.bits >> 16n).toString(16), (v4.bits & 0xffffn).toString(16));
    rest = rest.slice(0, lastColon + 1);
    // keep a trailing "::", drop a separating ":"
    if (!rest.endsWith('::')) rest = rest.slice(0, -1);
  }
  const halves = rest.split('::');
  if (halves.length > 2) return undefined;
  const groupsOf = (half: string): string[] => (half === '' ? [] : half.split(':'));
  const head = groupsOf(halves[0] ?? '');
  const after = halves.length === 2 ? groupsOf(halves[1] ?? '') : [];
  const given = head.length + after.length + tail.length;
  if (halves.length === 2 ? given > 7 : given !== 8) return undefined;
  const groups = [...head, ...Array.from({ length: 8 - given }, () => '0'), ...after, ...tail];
  let bits = 0n;
  for (const group of groups) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    bits = (bits << 16n) | BigInt(Number.parseInt(group, 16));
  }
  return { family: 6, bits };
}

/** The address that `text` writes, or undefined if it writes none. */
export function parseIp(text: string): Ip | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function formatIpv6(bits: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((bits >> BigInt(112 - 16 * i)) & 0xffffn));
  let best = { start: 0, length: 0 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { start: i, length: j - i };
  }
  const hex = (part: number[]): string => part.map((g) => g.toString(16)).join(':');
  if (best.length < 2) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}

/** Canonical text. */
export function formatIp(ip: Ip): string {
  if (ip.family === 6) return formatIpv6(ip.bits);
  return [24n, 16n, 8n, 0n].map((shift) => String((ip.bits >> shift) & 0xffn)).join('.');
}

/** Network byte order: 4 or 16 bytes. */
export function ipToBytes(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(widthOf(ip.family) / 8);
  let rest = ip.bits;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** The inverse of `ipToBytes`; throws RangeError unless `bytes` has 4 or 16 bytes. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length !== 4 && bytes.length !== 16) throw new RangeError(`an address of ${bytes.length} bytes`);
  let bits = 0n;
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, bits };
}

export function equalIp(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.bits === b.bits;
}

/** Order for sorting: IPv4 before IPv6, then by value. */
export function compareIp(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family;
  return a.bits < b.bits ? -1 : a.bits > b.bits ? 1 : 0;
}

/** 127.0.0.0/8 and ::1, which every machine has without listing them. */
export function isLoopback({ family, bits }: Ip): boolean {
  return family === 4 ? bits >> 24n === 127n : bits === 1n;
}
