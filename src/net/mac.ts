/*
 * MAC addresses as values: 6 bytes, written aa:bb:cc:dd:ee:ff. Pure but for `randomMac`.
 */
import { randomBytes } from 'node:crypto';
import { type Ip, ipFromBytes } from './ip.ts';

declare const brand: unique symbol;
/** Lower-case text of a 48-bit MAC address. */
export type Mac = string & { readonly [brand]: 'mac' };

/** Accepts `:` or `-` between two-digit groups, any case; undefined if malformed. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) return undefined;
  return text.replaceAll('-', ':').toLowerCase() as Mac;
}

export function macToBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
}

/** Throws RangeError unless `bytes` has 6 bytes. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC address of ${bytes.length} bytes`);
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':') as Mac;
}

/** A random unicast, locally administered address (IEEE 802, bits 0x01 clear and 0x02 set in the first byte). */
export function randomMac(): Mac {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}

/** The IPv6 link-local address that an interface gives itself by its MAC (RFC 4291 section 2.5.6 and appendix A). */
export function linkLocalOf(mac: Mac): Ip {
  const [first = 0, ...rest] = macToBytes(mac);
  const id = [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)];
  return ipFromBytes(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...id));
}
