/*
 * Kernel parameters under /proc/sys. What is under net/ is read and written as the calling thread's namespace has it,
 * so these run inside a namespace bracket.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Seam } from '../base/seam.ts';
import { asKernelError } from './errno.ts';
import { KernelError } from './kernel.ts';

/**
 * `net/ipv4/ip_forward` and `net.ipv4.ip_forward` to a path. Where there is a slash, dots belong to names
 * (`net/ipv4/conf/eth0.5/forwarding`); without one, they separate. EINVAL for what leads out of /proc/sys.
 */
export function sysctlPath(key: string): string {
  const parts = key.includes('/') ? key.split('/') : key.split('.');
  if (parts.some((part) => part === '' || part === '.' || part === '..'))
    throw new KernelError(`sysctl ${key}`, 'EINVAL');
  return `/proc/sys/${parts.join('/')}`;
}

/** The value without its line end. */
export function getSysctl(seam: Seam, key: string): string {
  const path = sysctlPath(key);
  try {
    seam.step(`kernel sysctl read ${key}`);
    return readFileSync(path, 'utf8').trimEnd();
  } catch (error) {
    throw asKernelError(`sysctl ${key}`, error);
  }
}

export function setSysctl(seam: Seam, key: string, value: string): void {
  const path = sysctlPath(key);
  try {
    seam.step(`kernel sysctl write ${key}`);
    // Without O_CREAT: the kernel would answer EACCES where the parameter does not exist.
    writeFileSync(path, value, { flag: 'r+' });
  } catch (error) {
    throw asKernelError(`sysctl ${key}=${value}`, error);
  }
}
