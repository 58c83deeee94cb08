/*
 * For tests: a second decoder of netlink messages that shares nothing with the codec. It works on hex text by a table
 * of which attributes hold attributes, and yields trees that tests compare.
 */

/** An attribute: type without flag bits, and its payload as hex or its children. */
export type Branch = readonly [type: number, value: string | readonly Branch[]];

export interface MessageTree {
  readonly type: number;
  readonly flags: number;
  /** The fixed part after nlmsghdr, as hex. */
  readonly fixed: string;
  readonly attributes: readonly Branch[];
}

/** Children of an attribute: bytes of a fixed part before them, and what they hold in turn. */
interface Shape {
  readonly fixedBytes?: number;
  readonly holds: Readonly<Record<number, Shape>>;
}

const value: Shape = { holds: {} };
const link: Shape['holds'] = {
  18: { holds: { 2: { holds: { 1: { fixedBytes: 16, holds: {} } } }, 5: { holds: {} } } },
};
/** A bridge's IFLA_INFO_DATA has attribute 1 too, but as a number: 4 bytes hold no ifinfomsg. */
const minimumBytes = 20;
const element: Shape = { holds: { 1: value, 2: value, 10: value } };
/** nft numbers the elements of a list; the kernel does not look. */
const elements: Shape['holds'] = { 3: { holds: { 1: element, 2: element, 3: element } } };

/** CTA_TUPLE_ORIG and CTA_TUPLE_REPLY hold addresses (1) and ports (2); CTA_FILTER holds flags. */
const tuple: Shape = { holds: { 1: value, 2: value } };
const flow: Shape['holds'] = { 1: tuple, 2: tuple, 25: value };

/** WGDEVICE_A_PEERS holds peers, WGPEER_A_ALLOWEDIPS what they are allowed: arrays, whose elements have type 0. */
const wireguard: Shape['holds'] = { 8: { holds: { 0: { holds: { 9: { holds: { 0: value } } } } } } };

const shapes: Readonly<Record<number, { readonly fixedBytes: number; readonly holds: Shape['holds'] }>> = {
  17: { fixedBytes: 16, holds: link },
  18: { fixedBytes: 16, holds: link },
  20: { fixedBytes: 8, holds: {} },
  21: { fixedBytes: 8, holds: {} },
  22: { fixedBytes: 8, holds: {} },
  24: { fixedBytes: 12, holds: {} },
  25: { fixedBytes: 12, holds: {} },
  26: { fixedBytes: 12, holds: {} },
  28: { fixedBytes: 12, holds: {} },
  29: { fixedBytes: 12, holds: {} },
  30: { fixedBytes: 12, holds: {} },
  // As the machine that was captured numbers the family.
  34: { fixedBytes: 4, holds: wireguard },
  88: { fixedBytes: 4, holds: {} },
  90: { fixedBytes: 4, holds: {} },
  0x10: { fixedBytes: 16, holds: link },
  0x100: { fixedBytes: 4, holds: flow },
  0x101: { fixedBytes: 4, holds: flow },
  0x102: { fixedBytes: 4, holds: flow },
  0xa0c: { fixedBytes: 4, holds: elements },
  0xa0e: { fixedBytes: 4, holds: elements },
  0xa1e: { fixedBytes: 4, holds: elements },
};

/** Little-endian hex digits to a number. */
function little(hex: string): number {
  return Number.parseInt(hex.replaceAll(/(..)/g, ' $1').trim().split(' ').reverse().join(''), 16);
}

function branchesOf(hex: string, holds: Shape['holds']): Branch[] {
  const branches: Branch[] = [];
  let rest = hex;
  while (rest.length >= 8) {
    const length = little(rest.slice(0, 4)) * 2;
    const type = little(rest.slice(4, 8)) % 0x4000;
    const payload = rest.slice(8, length);
    const shape = holds[type];
    const fixed = (shape?.fixedBytes ?? 0) * 2;
    const isLeaf = shape === undefined || (fixed > 0 && payload.length / 2 < minimumBytes);
    branches.push([type, isLeaf ? payload : branchesOf(payload.slice(fixed), shape.holds)]);
    rest = rest.slice(Math.ceil(length / 8) * 8);
  }
  return branches;
}

/** The messages of a datagram, with attributes in the order of their types. */
export function treesOf(hex: string): MessageTree[] {
  const trees: MessageTree[] = [];
  let rest = hex;
  while (rest.length >= 32) {
    const length = little(rest.slice(0, 8)) * 2;
    const type = little(rest.slice(8, 12));
    const body = rest.slice(32, length);
    const shape = shapes[type] ?? { fixedBytes: 0, holds: {} };
    // Frames of a batch share numbers with link messages, but have only 4 bytes, all of them fixed.
    const fixed = Math.min(shape.fixedBytes * 2, body.length);
    const attributes = sorted(branchesOf(body.slice(fixed), shape.holds));
    trees.push({ type, flags: little(rest.slice(12, 16)), fixed: body.slice(0, fixed), attributes });
    rest = rest.slice(Math.ceil(length / 8) * 8);
  }
  return trees;
}

function sorted(branches: readonly Branch[]): Branch[] {
  return branches
    .map(([type, value]): Branch => [type, typeof value === 'string' ? value : sorted(value)])
    .sort((a, b) => a[0] - b[0]);
}
