/*
 * What two overlay networks cannot share. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import { overlaps } from '../../net/prefix.ts';
import type { DriverNetwork } from '../interface.ts';
import { parseOverlayOptions } from './options.ts';

/** Throws code networkConflict where `network` has the VNI or the subnet of another. */
export function checkOverlayConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
  const { vnis } = parseOverlayOptions(network);
  for (const other of others) {
    if (other.id === network.id) continue;
    const theirs = new Set(parseOverlayOptions(other).vnis);
    const vni = vnis.find((one) => theirs.has(one));
    const isOverlap = network.pools.some((a) => other.pools.some((b) => overlaps(a.subnet, b.subnet)));
    const why = vni !== undefined ? `both have VNI ${vni}` : isOverlap ? 'their subnets overlap' : undefined;
    if (why === undefined) continue;
    const text = `cannot create network ${network.name}: conflicts with network ${other.name}: ${why}`;
    const details = { network: network.id, other: other.id };
    throw new LinkspanError('networkConflict', text, { details });
  }
}
