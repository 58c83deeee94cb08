/*
 * One answer of `GET /containers/{id}/stats` (Docker Engine API 1.50, StatsResponse). Numbers are bigints where Docker
 * has 64 bits.
 */
import type { ContainerSample } from '../../engine/engine.ts';
import { type Container, zeroTime } from '../../engine/model.ts';
import type { BlockUsage, CgroupUsage, CpuUsage, MemoryUsage } from '../../runtime/cgroups/usage.ts';

type Shape = Record<string, unknown>;

const noCpu: CpuUsage = {
  ...{ totalNs: 0n, kernelNs: 0n, userNs: 0n, periods: 0n, throttledPeriods: 0n, throttledNs: 0n },
};

function cpuShape(sample: ContainerSample | undefined): Shape {
  const cpu = sample?.usage.cpu ?? noCpu;
  return {
    cpu_usage: {
      total_usage: cpu.totalNs,
      ...(cpu.perCpuNs !== undefined && { percpu_usage: cpu.perCpuNs }),
      usage_in_kernelmode: cpu.kernelNs,
      usage_in_usermode: cpu.userNs,
    },
    ...(sample !== undefined && {
      system_cpu_usage: sample.system.totalNs,
      online_cpus: sample.system.onlineCpus,
    }),
    throttling_data: {
      periods: cpu.periods,
      throttled_periods: cpu.throttledPeriods,
      throttled_time: cpu.throttledNs,
    },
  };
}

/** Without a limit, or with one above that, a container has the machine's memory. */
function memoryShape(memory: MemoryUsage | undefined, machineBytes: number): Shape {
  if (memory === undefined) return {};
  const machine = BigInt(machineBytes);
  return {
    usage: memory.bytes,
    ...(memory.maxBytes !== undefined && { max_usage: memory.maxBytes }),
    stats: memory.stat,
    ...(memory.failures !== 0n && { failcnt: memory.failures }),
    limit: memory.limitBytes > machine ? machine : memory.limitBytes,
  };
}

function entries(usage: readonly BlockUsage[]): readonly Shape[] {
  return usage.map(({ major, minor, operation, value }) => ({ major, minor, op: operation, value }));
}

/** Go shows a list that nobody made as null: those that cgroup v2 has no numbers for. */
function blockShape(usage: CgroupUsage | undefined): Shape {
  const isV1 = usage?.version === 1;
  const none = isV1 ? [] : null;
  const bytes = entries(usage?.blockBytes ?? []);
  return {
    io_service_bytes_recursive: isV1 || bytes.length > 0 ? bytes : null,
    io_serviced_recursive: isV1 ? entries(usage.blockOperations) : null,
    io_queue_recursive: none,
    io_service_time_recursive: none,
    io_wait_time_recursive: none,
    io_merged_recursive: none,
    io_time_recursive: none,
    sectors_recursive: none,
  };
}

function networksShape({ interfaces }: ContainerSample): Shape {
  return Object.fromEntries(
    interfaces.map((link) => [
      link.name,
      {
        rx_bytes: link.rxBytes,
        rx_packets: link.rxPackets,
        rx_errors: link.rxErrors,
        rx_dropped: link.rxDropped,
        tx_bytes: link.txBytes,
        tx_packets: link.txPackets,
        tx_errors: link.txErrors,
        tx_dropped: link.txDropped,
      },
    ]),
  );
}

/** `sample` undefined: it does not run. `before`: the sample that rates are counted from; undefined = none. */
export function statsShape(
  { id, name }: Container,
  sample: ContainerSample | undefined,
  before: ContainerSample | undefined,
  machineBytes: number,
): Shape {
  const pids = sample?.usage.pids;
  return {
    name: `/${name}`,
    id,
    read: sample?.readAt ?? zeroTime,
    preread: before?.readAt ?? zeroTime,
    pids_stats: {
      ...(pids !== undefined && { current: pids.current }),
      ...(pids?.limit !== undefined && { limit: pids.limit }),
    },
    blkio_stats: blockShape(sample?.usage),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuShape(sample),
    precpu_stats: cpuShape(before),
    memory_stats: memoryShape(sample?.usage.memory, machineBytes),
    ...(sample !== undefined && sample.interfaces.length > 0 && { networks: networksShape(sample) }),
  };
}
