/*
 * A container's end of an interface, of whatever driver, as it is against what it should be, with what is missing put
 * back: up, addresses, routes. It adds and never takes away. Not for an interface that is gone: the driver makes it
 * again.
 */
import type { Kernel, Link, NamespacePath } from '../kernel/kernel.ts';
import { formatIp, type Ip, widthOf } from '../net/ip.ts';
import type { IpWithLength } from '../net/prefix.ts';

export type PeerKernel = Pick<
  Kernel,
  'setLink' | 'ensureAddress' | 'ensureConnectedRoute' | 'ensureDefaultRoute'
>;

export interface PeerState {
  readonly name: string;
  readonly sandbox: string;
  readonly addresses: readonly IpWithLength[];
  readonly gateways: readonly Ip[];
}

const formatAddress = ({ ip, length }: IpWithLength): string => `${formatIp(ip)}/${length}`;

/** Of a link of the host, or in a sandbox. One sentence a repair. */
export async function repairAddresses(
  kernel: PeerKernel,
  link: string,
  addresses: readonly IpWithLength[],
  namespace?: NamespacePath,
): Promise<readonly string[]> {
  const causes: string[] = [];
  for (const address of addresses) {
    if (await kernel.ensureAddress(link, address, namespace))
      causes.push(`address ${formatAddress(address)} of ${link} was missing: added`);
    // An address without others in its subnet brings no route.
    else if (
      address.length < widthOf(address.ip.family) &&
      (await kernel.ensureConnectedRoute(link, address, namespace))
    )
      causes.push(`the route to the subnet of ${formatAddress(address)} by ${link} was missing: added`);
  }
  return causes;
}

/** `found` is the container's end as it is now. */
export async function repairPeer(
  kernel: PeerKernel,
  found: Link,
  { name, sandbox, addresses, gateways }: PeerState,
): Promise<readonly string[]> {
  const causes: string[] = [];
  if (!found.isUp) {
    await kernel.setLink(name, { isUp: true }, sandbox);
    causes.push(`${name} in the container was down: set up`);
  }
  causes.push(...(await repairAddresses(kernel, name, addresses, sandbox)));
  for (const gateway of gateways)
    if (await kernel.ensureDefaultRoute(name, gateway, sandbox))
      causes.push(`the default route by ${formatIp(gateway)} in the container was missing: added`);
  return causes;
}
