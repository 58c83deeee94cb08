/*
 * What keeps two bridge networks from living together, with Docker's texts. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { IpFamily } from '../../net/ip.ts';
import { overlaps, type Prefix } from '../../net/prefix.ts';
import type { DriverNetwork } from '../interface.ts';
import { parseBridgeOptions } from './options.ts';

function subnets(network: DriverNetwork, family: IpFamily): readonly Prefix[] {
  return network.pools.map(({ subnet }) => subnet).filter((subnet) => subnet.base.family === family);
}

function overlapIn(a: DriverNetwork, b: DriverNetwork, family: IpFamily): boolean {
  return subnets(a, family).some((one) => subnets(b, family).some((other) => overlaps(one, other)));
}

function conflictOf(a: DriverNetwork, b: DriverNetwork): string | undefined {
  if (parseBridgeOptions(a).bridge === parseBridgeOptions(b).bridge) return 'networks have same bridge name';
  for (const family of [4, 6] as const)
    if (overlapIn(a, b, family)) return `networks have overlapping IPv${family}`;
  return undefined;
}

/** Throws code networkConflict. `others` are networks of this driver. */
export function checkBridgeConflict(network: DriverNetwork, others: readonly DriverNetwork[]): void {
  for (const family of [4, 6] as const)
    if (subnets(network, family).length > 1)
      throw new LinkspanError('networkConflict', "bridge driver doesn't support multiple subnets");
  for (const other of others) {
    const why = other.id === network.id ? undefined : conflictOf(network, other);
    if (why === undefined) continue;
    const name = (one: DriverNetwork): string => `${one.id} (${parseBridgeOptions(one).bridge})`;
    throw new LinkspanError(
      'networkConflict',
      `cannot create network ${name(network)}: conflicts with network ${name(other)}: ${why}`,
      { details: { network: network.id, other: other.id } },
    );
  }
}
