/*
 * Where a VXLAN device sends to, as rtnetlink messages: its forwarding entries (which tunnel endpoint has a link
 * address), and permanent neighbours, by which it answers ARP and neighbour solicitations itself. Pure. Not for what a
 * bridge learns. Contract: linux/neighbour.h, rtnetlink(7), bridge(8).
 *
 *   ndmsg  0 u8 family | 4 i32 ifindex | 8 u16 state | 10 u8 flags | 11 u8 type
 * Addresses are in network byte order, all other integers in the machine's.
 */
import { type Ip, type IpFamily, ipFromBytes, ipToBytes } from '../../net/ip.ts';
import { type Mac, macFromBytes, macToBytes } from '../../net/mac.ts';
import { decodeAttributes, messageFlag, view, Writer } from './core.ts';

export const neighbourType = { new: 28, del: 29, get: 30 } as const;

const nda = { destination: 1, linkAddress: 2, ifindex: 8 } as const;
const bridgeFamily = 7;
/** NTF_SELF: the device's own table, not that of the bridge it is a port of. */
const ofDevice = 2;
/** NTF_MASTER and NTF_STICKY. */
const ofBridge = 4;
const sticky = 0x40;
const permanent = 0x80;
/** NUD_REACHABLE | NUD_NOARP, as bridge(8) says `static`. */
const fixed = 0x42;
/** NUD_NOARP | NUD_PERMANENT, as bridge(8) says `permanent`. */
const permanentForward = 0xc0;
const headerLength = 12;

const familyNumber = (family: IpFamily): number => (family === 4 ? 2 : 10);

/** A forwarding entry of a VXLAN device. */
export interface Forward {
  readonly mac: Mac;
  /** Address of the host whose VXLAN device has it, of the family of the device's own. */
  readonly vtep: Ip;
}

/** A permanent neighbour of a device. */
export interface Neighbour {
  readonly ip: Ip;
  readonly mac: Mac;
}

type Of<T> = T & { readonly ifindex: number };

const request = messageFlag.request | messageFlag.ack;
const replace = request | messageFlag.create | messageFlag.replace;

function writeHeader(w: Writer, family: number, ifindex: number, state = 0, flags = 0): void {
  w.u32(family);
  w.u32(ifindex);
  w.u16(state);
  w.u8(flags);
  w.u8(0);
}

/** RTM_NEWNEIGH: the entry for `mac` leads to `vtep` from now on, and to no other. */
export function encodeReplaceForward({ ifindex, mac, vtep }: Of<Forward>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.new, replace, () => {
    writeHeader(w, bridgeFamily, ifindex, permanentForward, ofDevice);
    w.bytesAttribute(nda.linkAddress, macToBytes(mac));
    w.bytesAttribute(nda.destination, ipToBytes(vtep));
  });
  return w.finish();
}

/**
 * RTM_NEWNEIGH: the bridge that `ifindex` is a port of sends frames for `mac` to that port, whatever it learned before
 * (static), and wherever others with that address turn up (sticky). It goes with the port.
 */
export function encodeFixForward({ ifindex, mac }: Of<Pick<Forward, 'mac'>>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.new, replace, () => {
    writeHeader(w, bridgeFamily, ifindex, fixed, ofBridge | sticky);
    w.bytesAttribute(nda.linkAddress, macToBytes(mac));
  });
  return w.finish();
}

/** RTM_DELNEIGH of the entry for `mac`, wherever it leads; ENOENT if there is none. */
export function encodeDelForward({ ifindex, mac }: Of<Pick<Forward, 'mac'>>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.del, request, () => {
    writeHeader(w, bridgeFamily, ifindex, permanentForward, ofDevice);
    w.bytesAttribute(nda.linkAddress, macToBytes(mac));
  });
  return w.finish();
}

/**
 * RTM_DELNEIGH of what the bridge that `ifindex` is a port of knows of `mac` on that port, learned or told; ENOENT if
 * nothing, EOPNOTSUPP where the device is no port.
 */
export function encodeForgetForward({ ifindex, mac }: Of<Pick<Forward, 'mac'>>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.del, request, () => {
    writeHeader(w, bridgeFamily, ifindex, 0, ofBridge);
    w.bytesAttribute(nda.linkAddress, macToBytes(mac));
  });
  return w.finish();
}

/** RTM_NEWNEIGH: `ip` has `mac` from now on. */
export function encodeReplaceNeighbour({ ifindex, ip, mac }: Of<Neighbour>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.new, replace, () => {
    writeHeader(w, familyNumber(ip.family), ifindex, permanent);
    w.bytesAttribute(nda.destination, ipToBytes(ip));
    w.bytesAttribute(nda.linkAddress, macToBytes(mac));
  });
  return w.finish();
}

/** RTM_DELNEIGH; ENOENT if there is none. */
export function encodeDelNeighbour({ ifindex, ip }: Of<Pick<Neighbour, 'ip'>>): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.del, request, () => {
    writeHeader(w, familyNumber(ip.family), ifindex, permanent);
    w.bytesAttribute(nda.destination, ipToBytes(ip));
  });
  return w.finish();
}

/**
 * RTM_GETNEIGH of all forwarding entries. A socket without strict checking hears those of all devices, bridges' among
 * them: `decodeForward` tells.
 */
export function encodeForwardDump(ifindex: number): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.get, messageFlag.request | messageFlag.dump, () =>
    writeHeader(w, bridgeFamily, ifindex),
  );
  return w.finish();
}

/** RTM_GETNEIGH of a device's neighbours of one family. */
export function encodeNeighbourDump(family: IpFamily, ifindex: number): Uint8Array {
  const w = new Writer();
  w.message(neighbourType.get, messageFlag.request | messageFlag.dump, () => {
    writeHeader(w, familyNumber(family), 0);
    w.u32Attribute(nda.ifindex, ifindex);
  });
  return w.finish();
}

/** Decodes RTM_NEWNEIGH; undefined for what is not a forwarding entry of device `ifindex` that leads to a host. */
export function decodeForward(payload: Uint8Array, ifindex: number): Forward | undefined {
  const data = view(payload);
  const isOfDevice = (data.getUint8(10) & ofDevice) !== 0 && data.getInt32(4, true) === ifindex;
  if (data.getUint8(0) !== bridgeFamily || !isOfDevice) return undefined;
  const attributes = decodeAttributes(payload, headerLength);
  const [mac, vtep] = [attributes.get(nda.linkAddress), attributes.get(nda.destination)];
  if (mac?.length !== 6 || (vtep?.length !== 4 && vtep?.length !== 16)) return undefined;
  return { mac: macFromBytes(mac), vtep: ipFromBytes(vtep) };
}

/** Decodes RTM_NEWNEIGH; undefined for what is not a permanent neighbour of device `ifindex`. */
export function decodeNeighbour(payload: Uint8Array, ifindex: number): Neighbour | undefined {
  const data = view(payload);
  const isPermanent = (data.getUint16(8, true) & permanent) !== 0 && data.getInt32(4, true) === ifindex;
  if (data.getUint8(0) === bridgeFamily || !isPermanent) return undefined;
  const attributes = decodeAttributes(payload, headerLength);
  const [mac, ip] = [attributes.get(nda.linkAddress), attributes.get(nda.destination)];
  if (mac?.length !== 6 || (ip?.length !== 4 && ip?.length !== 16)) return undefined;
  return { ip: ipFromBytes(ip), mac: macFromBytes(mac) };
}
