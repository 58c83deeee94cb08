/*
 * nfnetlink: batches that change elements of nftables sets and maps, and the notice of a new ruleset generation.
 * Pure. Tables, chains, rules and sets themselves go through libnftables. Contract: linux/netfilter/nfnetlink.h and
 * nf_tables.h.
 *
 *   nfgenmsg   0 u8 family | 1 u8 version 0 | 2 u16 big-endian resource id (10 = nftables in batch frames)
 * Attribute integers are big-endian. A concatenated key or datum is its fields, each padded to 4 bytes; a single
 * field is not padded inside its attribute.
 */
import { type Ip, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import { type Mac, macFromBytes, macToBytes } from '../../net/mac.ts';
import { decodeAttributes, messageFlag, stringOf, u32beOf, view, Writer } from './core.ts';

const batchBegin = 0x10;
const batchEnd = 0x11;
/** nlmsg_type of the nf_tables messages used here: subsystem 10 in the high byte. */
export const netfilterType = {
  newSetElement: 0xa0c,
  delSetElement: 0xa0e,
  newGeneration: 0xa0f,
  destroySetElement: 0xa1e,
} as const;

/** NFNLGRP_NFTABLES: a multicast group number, joined by NETLINK_ADD_MEMBERSHIP. */
export const netfilterGroup = 7;

export const netfilterFamily = { inet: 1, bridge: 7 } as const;

const list = { table: 1, set: 2, elements: 3 } as const;
const element = { key: 1, data: 2, flags: 3, keyEnd: 10 } as const;
const listElement = 1;
const dataValue = 1;
const intervalEnd = 1;
const ifnameBytes = 16;

/** One field of a key or datum. */
export type Field =
  | { readonly type: 'ip'; readonly ip: Ip }
  | { readonly type: 'ifname'; readonly name: string }
  | { readonly type: 'mac'; readonly mac: Mac }
  | { readonly type: 'proto'; readonly proto: number }
  | { readonly type: 'port'; readonly port: number };

export type FieldType = Field['type'];

/** A field in its nftables type: ipv4_addr/ipv6_addr, ifname (16), ether_addr (6), inet_proto (1), inet_service (2). */
function fieldBytes(field: Field): Uint8Array {
  switch (field.type) {
    case 'ip':
      return ipToBytes(field.ip);
    case 'mac':
      return macToBytes(field.mac);
    case 'ifname': {
      const bytes = Buffer.alloc(ifnameBytes);
      if (Buffer.byteLength(field.name) >= ifnameBytes) throw new RangeError(`interface name ${field.name}`);
      bytes.write(field.name);
      return bytes;
    }
    case 'proto':
      return Uint8Array.of(field.proto);
    case 'port':
      return Uint8Array.of(field.port >> 8, field.port & 0xff);
    default:
      return field satisfies never;
  }
}

/** The bytes of a key or datum as the set holds them. Throws RangeError on a name that is too long. */
export function encodeFields(fields: readonly Field[]): Uint8Array {
  const [only] = fields;
  if (only !== undefined && fields.length === 1) return fieldBytes(only);
  const w = new Writer();
  for (const field of fields) {
    w.bytes(fieldBytes(field));
    w.pad();
  }
  return w.finish();
}

const fieldLength = { mac: 6, ifname: ifnameBytes, proto: 1, port: 2 } as const;

function decodeField(type: FieldType | 'ip6', bytes: Uint8Array): Field {
  switch (type) {
    case 'ip':
    case 'ip6':
      return { type: 'ip', ip: ipFromBytes(bytes) };
    case 'mac':
      return { type, mac: macFromBytes(bytes) };
    case 'ifname':
      return { type, name: stringOf(bytes) ?? '' };
    case 'proto':
      return { type, proto: bytes[0] ?? 0 };
    case 'port':
      return { type, port: view(bytes).getUint16(0, false) };
    default:
      return type satisfies never;
  }
}

/** The inverse of `encodeFields`, for a set of these types (`ip6` stands for an IPv6 address). */
export function decodeFields(types: readonly (FieldType | 'ip6')[], bytes: Uint8Array): Field[] {
  let at = 0;
  return types.map((type) => {
    const length = type === 'ip' ? 4 : type === 'ip6' ? 16 : fieldLength[type];
    const field = decodeField(type, bytes.subarray(at, at + length));
    at += (length + 3) & ~3;
    return field;
  });
}

/** A change of one element. */
export interface ElementChange {
  readonly op: 'add' | 'destroy' | 'delete';
  readonly set: string;
  readonly key: Uint8Array;
  /** First value beyond the interval, in a set with intervals over one field: travels as an element of its own. */
  readonly keyEnd?: Uint8Array;
  /** Last value of the interval, in a set with intervals over concatenated fields. */
  readonly keyLast?: Uint8Array;
  readonly data?: Uint8Array;
}

const typeOfOp = {
  add: netfilterType.newSetElement,
  destroy: netfilterType.destroySetElement,
  delete: netfilterType.delSetElement,
} as const;

function writeGeneric(w: Writer, family: number, resource: number): void {
  w.u8(family);
  w.u8(0);
  w.u16be(resource);
}

function writeValue(w: Writer, type: number, value: Uint8Array): void {
  w.nested(type, () => w.bytesAttribute(dataValue, value));
}

function writeElements(w: Writer, change: ElementChange): void {
  w.nested(listElement, () => {
    writeValue(w, element.key, change.key);
    if (change.keyLast !== undefined) writeValue(w, element.keyEnd, change.keyLast);
    // What is deleted is named by its key alone.
    if (change.data !== undefined && change.op === 'add') writeValue(w, element.data, change.data);
  });
  const { keyEnd } = change;
  if (keyEnd === undefined) return;
  w.nested(listElement, () => {
    w.u32beAttribute(element.flags, intervalEnd);
    writeValue(w, element.key, keyEnd);
  });
}

/** The framing messages of a batch: between them everything happens or nothing. They are not acknowledged. */
export function encodeBatchFrame(which: 'begin' | 'end'): Uint8Array {
  const w = new Writer();
  w.message(which === 'begin' ? batchBegin : batchEnd, messageFlag.request, () => writeGeneric(w, 0, 10));
  return w.finish();
}

/**
 * One message that makes `changes`, all of the same op and set. An attribute holds at most 65535 bytes: give at most
 * some 500 changes. `add` accepts an element that is there with the same data, EEXIST with other data; `destroy`
 * accepts a missing one (Linux 6.3 and up), `delete` gives ENOENT.
 */
export function encodeElements(
  family: number,
  table: string,
  changes: readonly [ElementChange, ...ElementChange[]],
): Uint8Array {
  const [{ op, set }] = changes;
  const flags = messageFlag.request | messageFlag.ack | (op === 'add' ? messageFlag.create : 0);
  const w = new Writer();
  w.message(typeOfOp[op], flags, () => {
    writeGeneric(w, family, 0);
    w.stringAttribute(list.table, table);
    w.stringAttribute(list.set, set);
    w.nested(list.elements, () => {
      for (const change of changes) writeElements(w, change);
    });
  });
  return w.finish();
}

/** NFT_MSG_NEWGEN: a ruleset change was committed. */
export interface Generation {
  readonly generation: number;
  /** Name of the thread that committed it (NFTA_GEN_PROC_NAME). */
  readonly processName: string;
}

export function decodeGeneration(payload: Uint8Array): Generation {
  const attributes = decodeAttributes(payload, 4);
  return { generation: u32beOf(attributes.get(1)) ?? 0, processName: stringOf(attributes.get(3)) ?? '' };
}
