/*
 * What IFLA_INFO_DATA says of a VXLAN device. Pure; the link around it is route.ts. Contract: linux/if_link.h
 * (IFLA_VXLAN_*). The VNI is in the machine's byte order, the port and the address in network byte order.
 */
import { type Ip, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import { type Attributes, u8Of, u32Of, view, type Writer } from './core.ts';

const vxlan = { id: 1, local: 4, ttl: 5, learning: 7, proxy: 11, port: 15, local6: 17 } as const;

/**
 * A tunnel between hosts. It learns nothing from what comes in, since every entry is given to it, and answers ARP and
 * neighbour solicitations itself.
 */
export interface VxlanFields {
  /** 1 to 2^24 - 1; unique on a host for a port. */
  readonly vni: number;
  /** The host's own end; by its family the device knows the family of its underlay. */
  readonly local: Ip;
  /** UDP, of all hosts. */
  readonly port: number;
  /** Of outer packets; 0 leaves it to the kernel (that of inner packets to multicast, else the host's default). */
  readonly ttl: number;
}

export function writeVxlan(w: Writer, { vni, local, port, ttl }: VxlanFields): void {
  w.u32Attribute(vxlan.id, vni);
  w.bytesAttribute(local.family === 4 ? vxlan.local : vxlan.local6, ipToBytes(local));
  w.u8Attribute(vxlan.ttl, ttl);
  w.u8Attribute(vxlan.learning, 0);
  w.u8Attribute(vxlan.proxy, 1);
  w.attribute(vxlan.port, () => w.u16be(port));
}

/** Undefined without a VNI and an own address, or where it learns or does not answer itself: no device of ours is so. */
export function readVxlan(data: Attributes): VxlanFields | undefined {
  const vni = u32Of(data.get(vxlan.id));
  const local = data.get(vxlan.local) ?? data.get(vxlan.local6);
  const port = data.get(vxlan.port);
  if (vni === undefined || local === undefined || port === undefined) return undefined;
  if (u8Of(data.get(vxlan.learning)) !== 0 || u8Of(data.get(vxlan.proxy)) !== 1) return undefined;
  const ttl = u8Of(data.get(vxlan.ttl)) ?? 0;
  return { vni, local: ipFromBytes(local), port: view(port).getUint16(0, false), ttl };
}
