/*
 * Ethernet frames byte by byte, and a packet socket to send them by and to see which come out: what a container with
 * every capability can put on its interface. Works in the namespace of the caller. packet(7).
 */
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, linux, loadLibc } from '../../src/kernel/libc.ts';
import { ipToBytes, parseIp } from '../../src/net/ip.ts';
import { type Mac, macToBytes, parseMac } from '../../src/net/mac.ts';
import { run } from './bridgeWorld.ts';

type Bytes = readonly number[];

export const broadcast = 'ff:ff:ff:ff:ff:ff' as Mac;
export const etherTypes = {
  ip: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ip6: 0x86dd,
  experimental: 0x88b5,
} as const;
export const icmp6 = {
  listenerReport: 143,
  routerSolicit: 133,
  routerAdvert: 134,
  solicit: 135,
  advert: 136,
  redirect: 137,
} as const;

const u16 = (value: number): Bytes => [value >> 8, value & 0xff];

export function addressBytes(text: string): Bytes {
  const ip = parseIp(text);
  if (ip === undefined) throw new TypeError(text);
  return [...ipToBytes(ip)];
}

/** RFC 1071. */
function checksum(bytes: Bytes): Bytes {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return u16(~sum & 0xffff);
}

export function ether(to: Mac, from: Mac, type: number, payload: Bytes): Uint8Array {
  return Uint8Array.from([...macToBytes(to), ...macToBytes(from), ...u16(type), ...payload]);
}

/** `frame` with an 802.1q tag. */
export function tagged(frame: Uint8Array, vlan: number): Uint8Array {
  return Uint8Array.from([
    ...frame.subarray(0, 12),
    ...u16(etherTypes.vlan),
    ...u16(vlan),
    ...frame.subarray(12),
  ]);
}

export function arp(operation: 1 | 2, mac: Mac, address: string, target: string): Bytes {
  const head = [0, 1, 8, 0, 6, 4, 0, operation];
  return [
    ...head,
    ...macToBytes(mac),
    ...addressBytes(address),
    ...Array<number>(6).fill(0),
    ...addressBytes(target),
  ];
}

/** An IPv4 packet with a UDP datagram of four bytes. */
export function udp4(from: string, to: string, fromPort: number, toPort: number): Bytes {
  const payload = [...u16(fromPort), ...u16(toPort), ...u16(12), 0, 0, 1, 2, 3, 4];
  const header = (sum: Bytes): Bytes => [
    ...[0x45, 0, ...u16(20 + payload.length), 0, 0, 0, 0, 64, 17, ...sum],
    ...[...addressBytes(from), ...addressBytes(to)],
  ];
  return [...header(checksum(header([0, 0]))), ...payload];
}

/** An IPv6 packet with an ICMPv6 message; `rest` is what follows type, code and checksum. `hops`: with a hop-by-hop header. */
export function icmp6Packet(from: string, to: string, type: number, rest: Bytes, hops = false): Bytes {
  const [source, destination] = [addressBytes(from), addressBytes(to)];
  const length = 4 + rest.length;
  const pseudo = [...source, ...destination, 0, 0, ...u16(length), 0, 0, 0, 58];
  const sum = checksum([...pseudo, type, 0, 0, 0, ...rest]);
  // Router alert (RFC 2711), as MLD has it.
  const alert = hops ? [58, 0, 5, 2, 0, 0, 1, 0] : [];
  return [
    ...[0x60, 0, 0, 0, ...u16(alert.length + length), hops ? 0 : 58, hops ? 1 : 255],
    ...[...source, ...destination, ...alert, type, 0, ...sum, ...rest],
  ];
}

/** Neighbour solicitation, advertisement or redirect: 4 bytes, then the target. */
export function neighbour(from: string, to: string, type: number, target: string): Bytes {
  return icmp6Packet(from, to, type, [0x20, 0, 0, 0, ...addressBytes(target)]);
}

const everyProtocol = 0x0003;

export interface Port extends Disposable {
  readonly mac: Mac;
  send(frame: Uint8Array): void;
  /** Resolves with every frame that came since the last call, once `last` is among them; fails after 5 s. */
  receiveUntil(last: Uint8Array): Promise<readonly Uint8Array[]>;
}

/** A packet socket on `device`; what it sends itself it does not see. */
export function openPort(device: string): Port {
  const libc = loadLibc();
  const fd = check(libc, 'socket', libc.socket(linux.AF_PACKET, linux.SOCK_RAW | linux.SOCK_CLOEXEC, 0));
  const [link] = JSON.parse(run('host', 'ip', '-j', 'link', 'show', device)) as readonly {
    readonly ifindex: number;
    readonly address: string;
  }[];
  const mac = parseMac(link?.address ?? '');
  if (link === undefined || mac === undefined) throw new Error(`no link ${device}`);
  const address = new DataView(new ArrayBuffer(20));
  address.setUint16(0, linux.AF_PACKET, true);
  address.setUint16(2, everyProtocol);
  address.setInt32(4, link.ifindex, true);
  check(libc, 'bind', libc.bind(fd, new Uint8Array(address.buffer), 20));
  const buffer = new Uint8Array(4096);
  const receive = (): Uint8Array | undefined => {
    const length = libc.recv(fd, buffer, buffer.length, linux.MSG_DONTWAIT);
    return length < 0 ? undefined : buffer.slice(0, length);
  };
  return {
    mac,
    send: (frame) => void check(libc, 'send', libc.send(fd, frame, frame.length, 0)),
    receiveUntil: async (last) => {
      const frames: Uint8Array[] = [];
      for (const deadline = Date.now() + 5000; Date.now() < deadline; await sleep(5))
        for (let frame = receive(); frame !== undefined; frame = receive()) {
          if (Buffer.compare(frame, last) === 0) return frames;
          frames.push(frame);
        }
      throw new Error('the last frame did not come');
    },
    [Symbol.dispose]: () => {
      closeSync(fd);
    },
  };
}
