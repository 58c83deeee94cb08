/*
 * Packets that somebody makes up: VXLAN with an echo request for a container inside, as its own network would carry it.
 */
import { encodeEchoRequest } from '../../src/codec/icmp/echo.ts';
import { ipToBytes, parseIp } from '../../src/net/ip.ts';
import { type Host } from './hosts.ts';

const echoBytes = 64;

/** Of an IPv4 header without options (RFC 791): the internet checksum is the carrier's, and no receiver skips it. */
function ipHeader(from: string, to: string, lengthBytes: number): Buffer {
  const header = Buffer.alloc(20);
  header.set([0x45, 0]);
  header.writeUInt16BE(lengthBytes, 2);
  header.set([64, 1], 8);
  for (const [i, text] of [from, to].entries()) {
    const ip = parseIp(text);
    if (ip === undefined) throw new TypeError(text);
    header.set(ipToBytes(ip), 12 + 4 * i);
  }
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10);
  return header;
}

export interface Forged {
  readonly vni: number;
  readonly mac: string;
  /** Inside, both of the container's network. */
  readonly from: string;
  readonly to: string;
}

/** The payload of a UDP packet to a VXLAN port (RFC 7348 section 5). */
function encodeForged({ vni, mac, from, to }: Forged): Buffer {
  const vxlan = Buffer.alloc(8);
  vxlan[0] = 0x08;
  vxlan.writeUIntBE(vni, 4, 3);
  const ethernet = Buffer.from(`${mac.replaceAll(':', '')}0200000000010800`, 'hex');
  const nonce = new Uint8Array(8);
  const echo = encodeEchoRequest({ id: 1, sequence: 1, nonce }, echoBytes);
  return Buffer.concat([vxlan, ethernet, ipHeader(from, to, echoBytes), echo]);
}

/** Sends it thrice from a machine, in its own namespace or the one at `namespace`, to a VXLAN port. */
export function forge(host: Host, to: string, forged: Forged, namespace?: string): void {
  const hex = encodeForged(forged).toString('hex');
  const script = `const s = require('node:dgram').createSocket('udp4');
    const b = Buffer.from('${hex}', 'hex');
    let left = 3;
    for (let i = 0; i < 3; i++) s.send(b, 4789, '${to}', (e) => { if (e) throw e; if (--left === 0) s.close(); });`;
  const inside = namespace === undefined ? [] : ['nsenter', `--net=${namespace}`, '--'];
  host.run(...inside, process.execPath, '-e', script);
}
