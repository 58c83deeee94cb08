/*
 * What an overlay network's links are called on this host, and the addresses of its bridges. Pure.
 */
import { createHash } from 'node:crypto';
import { type Mac, macFromBytes } from '../../net/mac.ts';
import type { DriverEndpoint } from '../interface.ts';

/** The same for a bridge that is made again, so that containers need not ask anew. */
export function bridgeMac(daemonId: string, networkId: string, bridge: string): Mac {
  const text = `${daemonId}/${networkId}/${bridge}`;
  const bytes = createHash('sha256').update(text).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}

/** Of the host's end of an endpoint's pair, in the overlay's namespace; 15 bytes. */
export function portName({ id }: Pick<DriverEndpoint, 'id'>): string {
  return `ep-${id.slice(0, 12)}`;
}
