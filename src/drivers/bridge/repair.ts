/*
 * Bridges and their ports as they are against what they should be, with what is missing put back. The verbs say whether they
 * found something to do, so that a look at a sound network changes nothing. Not for a bridge or pair that is gone as a
 * whole: the driver makes those again. A pair's other end is peerRepair.ts.
 */
import type { Kernel, Link, Sysctl } from '../../kernel/kernel.ts';
import { KernelError } from '../../kernel/kernel.ts';
import type { Mac } from '../../net/mac.ts';
import type { IpWithLength } from '../../net/prefix.ts';
import { type PeerKernel, repairAddresses } from '../peerRepair.ts';

export type RepairKernel = PeerKernel &
  Pick<Kernel, 'findLink' | 'setPort' | 'ensureBridge' | 'ensureLoopbackRoute' | 'getSysctl' | 'setSysctl'>;

export interface BridgeState {
  readonly name: string;
  /** undefined: the bridge is the user's, whose MAC is nothing to us. */
  readonly own: { readonly mac: Mac; readonly mtuBytes: number; readonly alias: string } | undefined;
  readonly addresses: readonly IpWithLength[];
  /** True: the host's ::1 is answered from here. */
  readonly takesLoopback6: boolean;
  readonly sysctls: readonly Sysctl[];
}

export interface PortState {
  readonly hostName: string;
  readonly bridge: Link;
  readonly isIsolated: boolean;
}

/** A parameter that this kernel lacks is nothing to repair. */
async function repairSysctl(kernel: RepairKernel, { key, value }: Sysctl): Promise<readonly string[]> {
  try {
    const actual = (await kernel.getSysctl(key)).trim();
    if (actual === value) return [];
    await kernel.setSysctl(key, value);
    return [`${key} was ${actual}: set to ${value}`];
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** `found` is the bridge as it is now. */
export async function repairBridge(
  kernel: RepairKernel,
  found: Link,
  { name, own, addresses, takesLoopback6, sysctls }: BridgeState,
): Promise<readonly string[]> {
  const causes: string[] = [];
  if (!found.isUp) causes.push(`${name} was down: set up`);
  if (own !== undefined && found.mac !== own.mac)
    causes.push(`${name} had MAC ${found.mac ?? 'none'}: set to ${own.mac}`);
  if (causes.length > 0) {
    if (own === undefined) await kernel.setLink(name, { isUp: true });
    else await kernel.ensureBridge({ name, ...own });
  }
  // Before addresses: an IPv6 one needs IPv6.
  for (const sysctl of sysctls) causes.push(...(await repairSysctl(kernel, sysctl)));
  causes.push(...(await repairAddresses(kernel, name, addresses)));
  if (takesLoopback6 && (await kernel.ensureLoopbackRoute(name)))
    causes.push(`the local route to ::1 by ${name} was missing: added`);
  return causes;
}

/** `found` is the host's end as it is now. */
export async function repairPort(
  kernel: RepairKernel,
  found: Link,
  { hostName, bridge, isIsolated }: PortState,
): Promise<readonly string[]> {
  const causes: string[] = [];
  if (found.master !== bridge.ifindex) causes.push(`${hostName} was not in ${bridge.name}: put back`);
  else if (found.isIsolated !== isIsolated)
    causes.push(`isolation of ${hostName} was ${isIsolated ? 'off: switched on' : 'on: switched off'}`);
  if (causes.length > 0) await kernel.setPort(hostName, bridge.name, isIsolated);
  if (!found.isUp) {
    await kernel.setLink(hostName, { isUp: true });
    causes.push(`${hostName} was down: set up`);
  }
  return causes;
}
