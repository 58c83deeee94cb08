/*
 * Fields of set elements, to values and to nft syntax. Pure. Equal keys have equal text, the text that `nft -j list`
 * gives after nftJson.ts has read it.
 */
import type { ElementField, SetElement } from '../kernel/kernel.ts';
import { equalIp, formatIp, type Ip, type IpFamily, widthOf } from '../net/ip.ts';
import type { Mac } from '../net/mac.ts';
import { formatPrefix, lastOf, type Prefix } from '../net/prefix.ts';
import { formatProtoNumber } from '../net/proto.ts';

export const nameField = (name: string): ElementField => ({ type: 'ifname', name });
export const macField = (mac: Mac): ElementField => ({ type: 'mac', mac });
export const ipField = (ip: Ip): ElementField => ({ type: 'ip', ip });
export const protoField = (proto: number): ElementField => ({ type: 'proto', proto });
export const portField = (port: number): ElementField => ({ type: 'port', port });

/** First value and last value of one field of a concatenated interval. */
export type Span = readonly [first: ElementField, last: ElementField];

export const exactly = (field: ElementField): Span => [field, field];
export const portSpan = (first: number, count: number): Span => [
  portField(first),
  portField(first + count - 1),
];
export const prefixSpan = (prefix: Prefix): Span => [ipField(prefix.base), ipField(lastOf(prefix))];

/** All addresses of a family. */
export function everyAddress(family: IpFamily): Prefix {
  return { base: { family, bits: 0n }, length: 0 };
}

/** An element of a set with flag interval over several fields. */
export function bySpans(set: string, spans: readonly Span[], data?: readonly ElementField[]): SetElement {
  return {
    set,
    key: spans.map(([first]) => first),
    keyLast: spans.map(([, last]) => last),
    ...(data === undefined ? {} : { data }),
  };
}

export function formatField(field: ElementField): string {
  switch (field.type) {
    case 'ip':
      return formatIp(field.ip);
    case 'ifname':
      return `"${field.name}"`;
    case 'mac':
      return field.mac;
    case 'proto':
      return formatProtoNumber(field.proto);
    case 'port':
      return String(field.port);
  }
}

/** Length of the subnet that starts at `base` and ends before `end`; `end` undefined = the end of the family. */
function lengthOf(base: Ip, end: bigint | undefined): number {
  const width = widthOf(base.family);
  const size = (end ?? 1n << BigInt(width)) - base.bits;
  return width - (size.toString(2).length - 1);
}

/** One field of a concatenated interval: addresses form prefixes, because we make no other ranges of them. */
function formatSpan([first, last]: Span): string {
  if (first.type === 'ip' && last.type === 'ip' && !equalIp(first.ip, last.ip))
    return formatPrefix({ base: first.ip, length: lengthOf(first.ip, last.ip.bits + 1n) });
  const texts = [formatField(first), formatField(last)] as const;
  return texts[0] === texts[1] ? texts[0] : texts.join('-');
}

/**
 * The key in nft syntax: `"br0" . "br0"`, `172.18.0.0/16`, `0.0.0.0/0 . tcp . 8000-8010`. `isSubnet` says that the
 * set's key is one subnet.
 */
export function formatElementKey(element: SetElement, isSubnet: boolean): string {
  const [first] = element.key;
  if (isSubnet && first?.type === 'ip') {
    const end = element.keyEnd?.[0];
    return formatPrefix({
      base: first.ip,
      length: lengthOf(first.ip, end?.type === 'ip' ? end.ip.bits : undefined),
    });
  }
  const { key, keyLast = key } = element;
  return key.map((field, i) => formatSpan([field, keyLast[i] ?? field])).join(' . ');
}
