/*
 * Switching IP forwarding on without turning the machine into a router: whoever has it off has not asked for routing,
 * so where we are the ones who switch it on, the guard in our table drops what is forwarded between interfaces that
 * are not ours. The fact must outlive the daemon (the sysctl then reads 1) but not the boot, so it carries a boot id.
 */
import type { Kernel } from '../kernel/kernel.ts';

export type ForwardingFamily = 4 | 6;

/** What we switched on, and in which boot. JSON; the caller stores it and gives it back at the next start. */
export interface ForwardingRecord {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string;
  readonly families: readonly ForwardingFamily[];
}

const sysctls: Readonly<Record<ForwardingFamily, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
};

export async function readBootId(kernel: Pick<Kernel, 'getSysctl'>): Promise<string> {
  return (await kernel.getSysctl('kernel/random/boot_id')).trim();
}

/** Families that `record` says we switched on during this boot. */
export function guardedBy(record: ForwardingRecord | undefined, bootId: string): readonly ForwardingFamily[] {
  return record?.bootId === bootId ? record.families : [];
}

export async function isForwarding(
  kernel: Pick<Kernel, 'getSysctl'>,
  family: ForwardingFamily,
): Promise<boolean> {
  return (await kernel.getSysctl(sysctls[family])).trim() !== '0';
}

export async function switchForwardingOn(
  kernel: Pick<Kernel, 'setSysctl'>,
  family: ForwardingFamily,
): Promise<void> {
  await kernel.setSysctl(sysctls[family], '1');
}
