/*
 * Linux capabilities as Docker Engine 28 gives them to a container: a default set, changed by --cap-add and
 * --cap-drop. Names from include/uapi/linux/capability.h (Linux 6.12). Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** All capabilities, in bit order from 0 (CAP_CHOWN) to 40 (CAP_CHECKPOINT_RESTORE). */
export const allCapabilities: readonly string[] = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE ' +
  'NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT ' +
  'SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE ' +
  'AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ ' +
  'PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** The 14 that a container has unless told otherwise: mask 0xa80425fb. */
export const defaultCapabilities: readonly string[] = (
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE ' +
  'SYS_CHROOT KILL AUDIT_WRITE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** The bit mask that /proc/PID/status shows for a set of capabilities. */
export function capabilityMask(names: readonly string[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(allCapabilities.indexOf(name))), 0n);
}

function normalize(names: readonly string[], option: 'CapAdd' | 'CapDrop'): ReadonlySet<string> {
  return new Set(
    names.map((given) => {
      const upper = given.trim().toUpperCase();
      if (upper === 'ALL' || upper === 'CAP_ALL') return 'ALL';
      const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
      if (allCapabilities.includes(name)) return name;
      throw new LinkspanError(
        'containerConfigInvalid',
        `invalid ${option}: unknown capability: ${JSON.stringify(name)}`,
      );
    }),
  );
}

/**
 * The capabilities of a container, in bit order.
 * `available` are those that the daemon itself has: a privileged container, or one with `--cap-add ALL`, gets no
 * others, because the runtime cannot give what it does not have.
 * Throws containerConfigInvalid for an unknown name.
 */
export function resolveCapabilities(options: {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly isPrivileged: boolean;
  readonly available: readonly string[];
}): readonly string[] {
  const add = normalize(options.add, 'CapAdd');
  const drop = normalize(options.drop, 'CapDrop');
  const has = (name: string): boolean => {
    if (options.isPrivileged) return options.available.includes(name);
    if (add.has('ALL')) return options.available.includes(name) && !drop.has(name);
    if (add.has(name)) return true;
    return !drop.has('ALL') && !drop.has(name) && defaultCapabilities.includes(name);
  };
  return allCapabilities.filter(has);
}
