/*
 * For tests: a machine that can hold every limit.
 */
import type { LimitSupport } from './limitSupport.ts';

export function everyLimit(cpuCount: number): LimitSupport {
  return {
    ...{ memory: true, swap: true, memoryReservation: true, swappiness: true, oomKillDisable: true },
    ...{ pids: true, cpuShares: true, cpuQuota: true, cpuRealtime: true, cpuset: true },
    ...{ blkioWeight: true, blkioWeightDevice: true, blkioThrottle: true },
    ...{ cpuCount, cpus: `0-${cpuCount - 1}`, mems: '0' },
  };
}
