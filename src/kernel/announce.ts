/*
 * A gratuitous ARP: tells everyone on a segment which MAC now has an address, so that those who remember another do
 * not send to it until their entry runs out (half a minute). Best effort, changes nothing, counts as no step of the
 * fault seam: it is sent late and from timers, and a lost one is as good as one that nobody heard.
 * RFC 5227 section 3: a request with sender and target address alike, broadcast.
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
export function encodeAnnouncement(mac: Mac, ip: Ip): Uint8Array {
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

/** sockaddr_ll (packet(7)), 20 bytes: family u16, protocol be16, ifindex i32, the rest zero for sending. */
function encodePacketAddress(ifindex: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, linux.AF_PACKET, true);
  view.setInt32(4, ifindex, true);
  return bytes;
}

/** IPv4 only. ENODEV or ENOENT where link or namespace are gone; ENETDOWN where the link is down. */
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
    check(libc, `send ARP on ${link}`, libc.send(fd, frame, frame.length, linux.MSG_DONTWAIT));
  } finally {
    closeSync(fd);
  }
}
