/*
 * Which limits this machine's kernel can hold, by the files of its cgroups (Docker Engine 28, pkg/sysinfo), read once.
 */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

export interface LimitSupport {
  readonly memory: boolean;
  readonly swap: boolean;
  readonly memoryReservation: boolean;
  readonly swappiness: boolean;
  readonly oomKillDisable: boolean;
  readonly pids: boolean;
  readonly cpuShares: boolean;
  readonly cpuQuota: boolean;
  readonly cpuRealtime: boolean;
  readonly cpuset: boolean;
  readonly blkioWeight: boolean;
  readonly blkioWeightDevice: boolean;
  readonly blkioThrottle: boolean;
  readonly cpuCount: number;
  /** Processors and memory nodes that a cpuset may name: `0-3`; empty if there are no cpusets. */
  readonly cpus: string;
  readonly mems: string;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function readSupportV1(root: string): LimitSupport {
  const has = (file: string): boolean => existsSync(join(root, file));
  return {
    memory: has('memory/memory.limit_in_bytes'),
    swap: has('memory/memory.memsw.limit_in_bytes'),
    memoryReservation: has('memory/memory.soft_limit_in_bytes'),
    swappiness: has('memory/memory.swappiness'),
    oomKillDisable: has('memory/memory.oom_control'),
    pids: has('pids/cgroup.procs'),
    cpuShares: has('cpu/cpu.shares'),
    cpuQuota: has('cpu/cpu.cfs_quota_us'),
    cpuRealtime: has('cpu/cpu.rt_period_us'),
    cpuset: has('cpuset/cpuset.cpus'),
    blkioWeight: has('blkio/blkio.weight'),
    blkioWeightDevice: has('blkio/blkio.weight_device'),
    blkioThrottle: has('blkio/blkio.throttle.read_bps_device'),
    cpuCount: availableParallelism(),
    cpus: readText(join(root, 'cpuset/cpuset.cpus')),
    mems: readText(join(root, 'cpuset/cpuset.mems')),
  };
}

/** The root cgroup has no limits of its own; there the kernel's being able to swap must do. */
function canLimitSwapV2(root: string): boolean {
  const own = /^0::(.*)$/m.exec(readText('/proc/self/cgroup'))?.[1] ?? '/';
  return own === '/' ? existsSync('/proc/swaps') : existsSync(join(root, own, 'memory.swap.max'));
}

function readSupportV2(root: string): LimitSupport {
  const controllers = new Set(readText(join(root, 'cgroup.controllers')).split(' '));
  const [memory, cpu, io, cpuset] = ['memory', 'cpu', 'io', 'cpuset'].map((name) => controllers.has(name));
  const isOn = (has: boolean | undefined): boolean => has === true;
  return {
    memory: isOn(memory),
    swap: isOn(memory) && canLimitSwapV2(root),
    memoryReservation: isOn(memory),
    swappiness: false,
    oomKillDisable: false,
    pids: controllers.has('pids'),
    cpuShares: isOn(cpu),
    cpuQuota: isOn(cpu),
    cpuRealtime: false,
    cpuset: isOn(cpuset),
    blkioWeight: isOn(io),
    blkioWeightDevice: isOn(io),
    blkioThrottle: isOn(io),
    cpuCount: availableParallelism(),
    cpus: readText(join(root, 'cpuset.cpus.effective')),
    mems: readText(join(root, 'cpuset.mems.effective')),
  };
}

/** Some twenty looks at files. */
export function readLimitSupport(cgroupVersion: 1 | 2, root = '/sys/fs/cgroup'): LimitSupport {
  return cgroupVersion === 1 ? readSupportV1(root) : readSupportV2(root);
}
