/*
 * Whether IPv6 frames inside bridges pass the host's firewall (module br_netfilter, which Docker and Kubernetes load).
 * Read per network namespace; on as soon as the module is there, until somebody switches it off.
 */
import { type Kernel, KernelError } from '../kernel/kernel.ts';

/** False also where the module is not loaded. */
export async function isBridgeFiltering(kernel: Pick<Kernel, 'getSysctl'>): Promise<boolean> {
  try {
    return (await kernel.getSysctl('net/bridge/bridge-nf-call-ip6tables')).trim() !== '0';
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENOENT') return false;
    throw error;
  }
}
