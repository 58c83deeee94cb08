/*
 * What this machine tells a swarm of itself.
 */
import { availableParallelism, hostname, machine, networkInterfaces, totalmem } from 'node:os';
import type { SystemAddress } from '../cluster/membership/addresses.ts';
import type { NodeDescription } from '../cluster/swarm.ts';
import { parseIp } from '../net/ip.ts';
import { containsIp, linkLocal6, type Prefix } from '../net/prefix.ts';

/** `labels`: the daemon's --label, `key=value`. */
export function describeNode(engineVersion: string, labels: readonly string[]): NodeDescription {
  const pairs = labels.map((label): readonly [string, string] => {
    const at = label.indexOf('=');
    return at < 0 ? [label, ''] : [label.slice(0, at), label.slice(at + 1)];
  });
  return {
    hostname: hostname(),
    architecture: machine(),
    os: 'linux',
    nanoCpus: availableParallelism() * 1e9,
    memoryBytes: totalmem(),
    engineVersion,
    engineLabels: Object.fromEntries(pairs),
  };
}

/** Addresses by which others may reach the machine: not loopback, link-local ones, or those of `networks` of ours. */
export function systemAddresses(networks: readonly Prefix[]): readonly SystemAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([link, addresses = []]) =>
    addresses.flatMap(({ address, internal }) => {
      const ip = internal ? undefined : parseIp(address);
      const isUsable =
        ip !== undefined &&
        !containsIp(linkLocal6, ip) &&
        !networks.some((network) => network.base.family === ip.family && containsIp(network, ip));
      return isUsable ? [{ link, ip }] : [];
    }),
  );
}
