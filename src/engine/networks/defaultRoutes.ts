/*
 * Which of a container's attachments gives the default route, each address family for itself. Pure. Docker Engine 28's
 * order: highest gateway priority, not internal, both families before one, then the network's name. A hidden endpoint
 * (gateway.ts) comes after all others, and endpoints of networks that need it have no gateway to give.
 */
import type { IpFamily } from '../../net/ip.ts';
import type { Endpoint, EndpointId, Network } from '../model.ts';
import { isHidden } from './gateway.ts';

export interface AttachmentView {
  readonly endpoint: Endpoint;
  readonly network: Network;
}

function isDualStack({ ipv4Gateway, ipv6Gateway }: Endpoint): boolean {
  return ipv4Gateway !== undefined && ipv6Gateway !== undefined;
}

function compare(a: AttachmentView, b: AttachmentView): number {
  return (
    Number(isHidden(a.endpoint)) - Number(isHidden(b.endpoint)) ||
    b.endpoint.request.gatewayPriority - a.endpoint.request.gatewayPriority ||
    Number(a.network.isInternal) - Number(b.network.isInternal) ||
    Number(isDualStack(b.endpoint)) - Number(isDualStack(a.endpoint)) ||
    (a.network.name < b.network.name ? -1 : 1)
  );
}

/** By endpoint, the families whose default route it gives; those that give none are left out. */
export function planDefaultRoutes(
  attachments: readonly AttachmentView[],
): ReadonlyMap<EndpointId, readonly IpFamily[]> {
  const ordered = attachments.toSorted(compare);
  const routes = new Map<EndpointId, readonly IpFamily[]>();
  for (const family of [4, 6] as const) {
    const provider = ordered.find(
      ({ endpoint }) => endpoint[family === 4 ? 'ipv4Gateway' : 'ipv6Gateway'] !== undefined,
    );
    if (provider === undefined) continue;
    const { id } = provider.endpoint;
    routes.set(id, [...(routes.get(id) ?? []), family]);
  }
  return routes;
}

/** The endpoint with the default routes that `routes` gives it; the same object where it has them already. */
export function withDefaultRoutes<E extends Endpoint>(
  endpoint: E,
  routes: ReadonlyMap<EndpointId, readonly IpFamily[]>,
): E {
  const defaultRoutes = routes.get(endpoint.id) ?? [];
  return defaultRoutes.join() === endpoint.defaultRoutes.join() ? endpoint : { ...endpoint, defaultRoutes };
}
