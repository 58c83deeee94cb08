/*
 * Whether IPv6 frames inside bridges pass the host's firewall (module br_netfilter, which Docker and Kubernetes load).
 * Read per network namespace; on as soon as the module is there, until somebody switches it off.
 */
import type { Kernel } from '../kernel/kernel.ts';
import { findSysctl } from './findSysctl.ts';

export const bridgeFilteringKey = 'net/bridge/bridge-nf-call-ip6tables';

/** False also where the module is not loaded. */
export async function isBridgeFiltering(kernel: Pick<Kernel, 'getSysctl'>): Promise<boolean> {
  return ((await findSysctl(kernel, bridgeFilteringKey)) ?? '0') !== '0';
}
