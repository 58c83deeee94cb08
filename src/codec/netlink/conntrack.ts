/*
 * ctnetlink: listing and deleting the flows that connection tracking knows. Pure. Contract: linux/netfilter/
 * nfnetlink_conntrack.h; the filter of a dump exists since Linux 5.8.
 *
 *   nfgenmsg   0 u8 address family (2, 10) | 1 u8 version 0 | 2 u16 resource id 0
 * Ports and the id are big-endian, filter flags are in the machine's order.
 */
import { type Ip, type IpFamily, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import {
  type Attributes,
  decodeAttributes,
  decodeNested,
  messageFlag,
  u8Of,
  u32beOf,
  view,
  Writer,
} from './core.ts';

/** nlmsg_type: subsystem 1 in the high byte. */
export const conntrackType = { flow: 0x100, get: 0x101, delete: 0x102 } as const;

const attribute = { original: 1, reply: 2, id: 12, zone: 18, filter: 25 } as const;
const tuple = { ip: 1, proto: 2 } as const;
const address = { 4: { source: 1, destination: 2 }, 6: { source: 3, destination: 4 } } as const;
const proto = { number: 1, sourcePort: 2, destinationPort: 3 } as const;
const filterOriginal = 1;
/** CTA_FILTER_F_*: what of the original tuple must match. */
const filterFlag = { proto: 1 << 3, destinationPort: 1 << 5 } as const;
const addressFamily = { 4: 2, 6: 10 } as const;

/** One direction of a flow. */
export interface FlowTuple {
  readonly source: Ip;
  readonly destination: Ip;
  /** IP protocol number. */
  readonly proto: number;
  /** 0 for protocols without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface Flow {
  /** As the first packet came in, before any translation. */
  readonly original: FlowTuple;
  readonly id: number;
  /** Conntrack zone; 0 = none. */
  readonly zone: number;
}

function u16beOf(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : view(bytes).getUint16(0, false);
}

function decodeTuple(attributes: Attributes, type: number, family: IpFamily): FlowTuple | undefined {
  const parts = decodeNested(attributes, type);
  const ips = decodeNested(parts, tuple.ip);
  const ports = decodeNested(parts, tuple.proto);
  const source = ips.get(address[family].source);
  const destination = ips.get(address[family].destination);
  if (source === undefined || destination === undefined) return undefined;
  return {
    source: ipFromBytes(source),
    destination: ipFromBytes(destination),
    proto: u8Of(ports.get(proto.number)) ?? 0,
    sourcePort: u16beOf(ports.get(proto.sourcePort)),
    destinationPort: u16beOf(ports.get(proto.destinationPort)),
  };
}

/** What follows the header of a flow message; undefined for a family that is neither IPv4 nor IPv6. */
export function decodeFlow(payload: Uint8Array): Flow | undefined {
  const family = payload[0] === addressFamily[4] ? 4 : payload[0] === addressFamily[6] ? 6 : undefined;
  if (family === undefined) return undefined;
  const attributes = decodeAttributes(payload, 4);
  const original = decodeTuple(attributes, attribute.original, family);
  if (original === undefined) return undefined;
  return {
    original,
    id: u32beOf(attributes.get(attribute.id)) ?? 0,
    zone: u16beOf(attributes.get(attribute.zone)),
  };
}

function writeGeneric(w: Writer, family: IpFamily): void {
  w.u8(addressFamily[family]);
  w.u8(0);
  w.u16be(0);
}

function portAttribute(w: Writer, type: number, port: number): void {
  w.attribute(type, () => w.u16be(port));
}

/** Asks for all flows of a family and protocol; where `port` is given, of that original destination port alone. */
export function encodeFlowDump(family: IpFamily, protoNumber: number, port: number | undefined): Uint8Array {
  const w = new Writer();
  w.message(conntrackType.get, messageFlag.request | messageFlag.dump, () => {
    writeGeneric(w, family);
    w.nested(attribute.original, () =>
      w.nested(tuple.proto, () => {
        w.u8Attribute(proto.number, protoNumber);
        if (port !== undefined) portAttribute(w, proto.destinationPort, port);
      }),
    );
    const flags = filterFlag.proto | (port === undefined ? 0 : filterFlag.destinationPort);
    w.nested(attribute.filter, () => w.u32Attribute(filterOriginal, flags));
  });
  return w.finish();
}

/** Deletes exactly this flow: ENOENT if it is gone, also where another with the same addresses has come since. */
export function encodeFlowDelete({ original, id, zone }: Flow): Uint8Array {
  const { source, destination } = original;
  const w = new Writer();
  w.message(conntrackType.delete, messageFlag.request | messageFlag.ack, () => {
    writeGeneric(w, source.family);
    w.nested(attribute.original, () => {
      w.nested(tuple.ip, () => {
        w.bytesAttribute(address[source.family].source, ipToBytes(source));
        w.bytesAttribute(address[source.family].destination, ipToBytes(destination));
      });
      w.nested(tuple.proto, () => {
        w.u8Attribute(proto.number, original.proto);
        portAttribute(w, proto.sourcePort, original.sourcePort);
        portAttribute(w, proto.destinationPort, original.destinationPort);
      });
    });
    w.u32beAttribute(attribute.id, id);
    if (zone !== 0) portAttribute(w, attribute.zone, zone);
  });
  return w.finish();
}
