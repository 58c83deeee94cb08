/*
 * The device as a link of its namespace: addresses, mark, up. The same for both engines; what is as it should be is left.
 */
import { type Ip, equalIp, formatIp } from '../net/ip.ts';
import { containsIp, type IpWithLength, linkLocal6 } from '../net/prefix.ts';
import { LinkspanError } from '../errors/linkspanError.ts';
import { type Kernel, KernelError } from '../kernel/kernel.ts';
import type { TunnelSpec } from './tunnel.ts';

const isSame = (a: IpWithLength, b: IpWithLength): boolean => a.length === b.length && equalIp(a.ip, b.ip);
const isLinkLocal = (ip: Ip): boolean => containsIp(linkLocal6, ip);

/** The device is up with the addresses of `spec` and no others. Code tunnelPortTaken where the kernel says so of its port. */
export async function setUpLink(kernel: Kernel, spec: TunnelSpec): Promise<void> {
  const { name, namespace, alias, addresses, mtuBytes, port } = spec;
  await silence(kernel, spec);
  const ifindex = (await kernel.findLink(name, namespace))?.ifindex;
  for (const found of await kernel.addresses(namespace))
    if (found.ifindex === ifindex && !isLinkLocal(found.ip) && !addresses.some((own) => isSame(own, found)))
      await kernel.delAddress(name, found, namespace);
  await kernel.setLink(name, { mtuBytes, alias }, namespace);
  for (const address of addresses) await kernel.ensureAddress(name, address, namespace);
  try {
    await kernel.setLink(name, { isUp: true }, namespace);
  } catch (error) {
    if (error instanceof KernelError && error.code === 'EADDRINUSE') throw portTaken(port, error);
    throw error;
  }
}

/** No link-local address and no router solicitations, which would go nowhere. */
async function silence(kernel: Kernel, { name, namespace }: TunnelSpec): Promise<void> {
  try {
    await kernel.setSysctl(`net/ipv6/conf/${name}/addr_gen_mode`, '1', namespace);
  } catch (error) {
    // A kernel without IPv6, or a namespace where it is off.
    if (!(error instanceof KernelError && ['ENOENT', 'EINVAL'].includes(error.code))) throw error;
  }
}

/** What is not as `setUpLink` leaves it, in words; undefined if all is, 'gone' if there is no such link. */
export async function findFault(
  kernel: Kernel,
  { name, namespace, addresses }: TunnelSpec,
): Promise<string | undefined> {
  const link = await kernel.findLink(name, namespace);
  if (link === undefined) return 'gone';
  if (!link.isUp) return 'down';
  const there = (await kernel.addresses(namespace)).filter(({ ifindex }) => ifindex === link.ifindex);
  const missing = addresses.find((own) => !there.some((found) => isSame(own, found)));
  return missing === undefined ? undefined : `without ${formatIp(missing.ip)}`;
}

export function portTaken(port: number, cause?: unknown): LinkspanError {
  return new LinkspanError('tunnelPortTaken', `UDP port ${port} of this host is taken by another program`, {
    ...(cause === undefined ? {} : { cause }),
    details: { port },
  });
}
