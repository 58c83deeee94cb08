/*
 * ICMP echo of IPv4, as a raw socket sends and receives it (RFC 792): sent without the IP header, received with it.
 *
 *   0 type u8 (8 request, 0 reply) | 1 code u8 | 2 checksum u16 BE | 4 id u16 BE | 6 sequence u16 BE | 8 data
 */

const echoRequest = 8;
const echoReply = 0;
const icmpHeaderBytes = 8;
/** Without options. */
const ipHeaderBytes = 20;

export const nonceBytes = 8;
/** IP and ICMP headers and the nonce. */
export const smallestEchoBytes: number = ipHeaderBytes + icmpHeaderBytes + nonceBytes;

export interface Echo {
  /** 0 to 65535, as the sequence. */
  readonly id: number;
  readonly sequence: number;
  /** Tells the answer to this question from all others: `nonceBytes` bytes. */
  readonly nonce: Uint8Array;
}

/** The internet checksum (RFC 1071); an odd last byte counts as the high one of a word. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A request whose IP packet has `packetBytes` (from `smallestEchoBytes`), header and all. */
export function encodeEchoRequest({ id, sequence, nonce }: Echo, packetBytes: number): Uint8Array {
  const bytes = new Uint8Array(packetBytes - ipHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, echoRequest);
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  bytes.set(nonce, icmpHeaderBytes);
  view.setUint16(2, checksum(bytes));
  return bytes;
}

/** What an IP packet answers; undefined if it is no echo reply. */
export function decodeEchoReply(packet: Uint8Array): Echo | undefined {
  const start = ((packet[0] ?? 0) & 0xf) * 4;
  const icmp = packet.subarray(start);
  if (icmp.length < icmpHeaderBytes + nonceBytes || icmp[0] !== echoReply) return undefined;
  const view = new DataView(icmp.buffer, icmp.byteOffset, icmp.byteLength);
  const nonce = icmp.slice(icmpHeaderBytes, icmpHeaderBytes + nonceBytes);
  return { id: view.getUint16(4), sequence: view.getUint16(6), nonce };
}
