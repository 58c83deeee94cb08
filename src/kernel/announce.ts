/*
 * A gratuitous ARP or unsolicited neighbour advertisement: tells everyone on a segment which MAC now has an address, so that those who remember another do
 * not send to it until their entry runs out (half a minute). Best effort, changes nothing, counts as no step of the
 * fault seam: it is sent late and from timers, and a lost one is as good as one that nobody heard.
 * RFC 5227 section 3: a request with sender and target address alike, broadcast. RFC 4861 section 7.2.6: an
 * advertisement with the override flag, to all nodes.
 */
import { closeSync } from 'node:fs';
import { openSeam } from '../base/seam.ts';
import { type Ip, ipToBytes } from '../net/ip.ts';
import { type Mac, macToBytes } from '../net/mac.ts';
import type { NamespacePath } from './kernel.ts';
import { check, linux } from './libc.ts';
import { getIfindex } from './links.ts';
import { inNamespace, type NamespaceContext, openSocketIn } from './namespaces.ts';

/**
 * Ethernet header (14 bytes: to, from, type 0x0806) and ARP (28 bytes, RFC 826): hardware 1, protocol 0x0800,
 * lengths 6 and 4, operation 1, sender MAC and address, target MAC (zero) and address.
 */
function encodeArp(mac: Mac, ip: Ip): Uint8Array {
  const sender = macToBytes(mac);
  const address = ipToBytes(ip);
  const head = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01];
  return Uint8Array.from([
    ...Array(6).fill(0xff),
    ...sender,
    ...head,
    ...sender,
    ...address,
    ...Array(6).fill(0),
    ...address,
  ]);
}

const allNodes = [0xff, 0x02, ...Array<number>(13).fill(0), 1];

/** The internet checksum (RFC 1071) of 16-bit words in network byte order. */
function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * Ethernet header (to 33:33:00:00:00:01, type 0x86dd), IPv6 header (40 bytes: version 6, payload 32, next header 58,
 * hop limit 255, source, all nodes) and ICMPv6 (32 bytes: type 136, code 0, checksum over a pseudo header too, flag
 * override, target address, option 2: target link-layer address).
 */
function encodeNeighbourAdvertisement(mac: Mac, ip: Ip): Uint8Array {
  const sender = macToBytes(mac);
  const address = ipToBytes(ip);
  const body = (sum: number): readonly number[] => [
    ...[136, 0, sum >>> 8, sum & 0xff],
    ...[0x20, 0, 0, 0],
    ...address,
    ...[2, 1, ...sender],
  ];
  const pseudoHeader = [...address, ...allNodes, 0, 0, 0, 32, 0, 0, 0, 58];
  return Uint8Array.from([
    ...[0x33, 0x33, 0, 0, 0, 1, ...sender, 0x86, 0xdd],
    ...[0x60, 0, 0, 0, 0, 32, 58, 255, ...address, ...allNodes],
    ...body(checksum([...pseudoHeader, ...body(0)])),
  ]);
}

/** The frame that announces `ip` at `mac`. */
export function encodeAnnouncement(mac: Mac, ip: Ip): Uint8Array {
  return ip.family === 4 ? encodeArp(mac, ip) : encodeNeighbourAdvertisement(mac, ip);
}

/** sockaddr_ll (packet(7)), 20 bytes: family u16, protocol be16, ifindex i32, the rest zero for sending. */
function encodePacketAddress(ifindex: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_PACKET, true);
  view.setInt32(4, ifindex, true);
  return bytes;
}

/** ENODEV or ENOENT where link or namespace are gone; ENETDOWN where the link is down. */
export function announce(
  worker: NamespaceContext,
  link: string,
  mac: Mac,
  ip: Ip,
  namespace: NamespacePath,
): void {
  const seam = openSeam();
  const context = { ...worker, seam, sockets: { ...worker.sockets, seam } };
  const { libc } = context;
  using netlink = openSocketIn(context, namespace);
  const ifindex = getIfindex(netlink, link);
  const fd = inNamespace(context, namespace, () =>
    check(libc, 'socket AF_PACKET', libc.socket(linux.AF_PACKET, linux.SOCK_RAW | linux.SOCK_CLOEXEC, 0)),
  );
  try {
    const address = encodePacketAddress(ifindex);
    check(libc, `bind packet socket to ${link}`, libc.bind(fd, address, address.length));
    const frame = encodeAnnouncement(mac, ip);
    check(libc, `announce on ${link}`, libc.send(fd, frame, frame.length, linux.MSG_DONTWAIT));
  } finally {
    closeSync(fd);
  }
}
