/*
 * Links whose IPv6 default route goes when IPv6 forwarding is switched on: a router does not listen to routers, so that
 * the kernel then drops default routes that it took from router advertisements, and takes no more of them, unless
 * accept_ra is 2. Where a network manager looks after advertisements itself, accept_ra is 0 and nothing happens.
 * Contract: Documentation/networking/ip-sysctl.rst, accept_ra.
 */
import type { Kernel } from '../kernel/kernel.ts';
import { findSysctl } from './findSysctl.ts';

type RouteKernel = Pick<Kernel, 'routes' | 'links' | 'getSysctl'>;

/** False as soon as somebody has done something about it, or the link is gone. */
export async function acceptsAsHostOnly(kernel: Pick<Kernel, 'getSysctl'>, link: string): Promise<boolean> {
  return (await findSysctl(kernel, `net/ipv6/conf/${link}/accept_ra`)) === '1';
}

/** Names of such links, as things are before forwarding is switched on. */
export async function linksLosingRoutes(kernel: RouteKernel): Promise<readonly string[]> {
  const advertised = (await kernel.routes()).filter(
    ({ destination, gateway, isAdvertised }) =>
      isAdvertised && destination === undefined && gateway?.family === 6,
  );
  if (advertised.length === 0) return [];
  const names = new Map((await kernel.links()).map(({ ifindex, name }) => [ifindex, name]));
  const candidates = new Set(advertised.flatMap(({ ifindex }) => names.get(ifindex ?? 0) ?? []));
  const losing: string[] = [];
  for (const name of candidates) if (await acceptsAsHostOnly(kernel, name)) losing.push(name);
  return losing;
}
