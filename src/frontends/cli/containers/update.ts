/*
 * `update`: other limits and another restart policy for containers that exist.
 */
import { CliError, silentExit } from '../cliError.ts';
import { type Command, someArguments } from '../command.ts';
import { type FlagSpec, type Flags, flag } from '../flags.ts';
import { bytes, parseRestart } from './createRequest.ts';

const updateFlags: readonly FlagSpec[] = [
  flag('--blkio-weight', 'uint16', 'Block IO (relative weight), between 10 and 1000, or 0 to disable', '0'),
  flag('--cpu-period', 'int', 'Limit CPU CFS (Completely Fair Scheduler) period'),
  flag('--cpu-quota', 'int', 'Limit CPU CFS (Completely Fair Scheduler) quota'),
  flag('--cpu-rt-period', 'int', 'Limit the CPU real-time period in microseconds'),
  flag('--cpu-rt-runtime', 'int', 'Limit the CPU real-time runtime in microseconds'),
  flag('-c, --cpu-shares', 'int', 'CPU shares (relative weight)'),
  flag('--cpus', 'decimal', 'Number of CPUs'),
  flag('--cpuset-cpus', 'string', 'CPUs in which to allow execution (0-3, 0,1)'),
  flag('--cpuset-mems', 'string', 'MEMs in which to allow execution (0-3, 0,1)'),
  flag('-m, --memory', 'bytes', 'Memory limit'),
  flag('--memory-reservation', 'bytes', 'Memory soft limit'),
  flag('--memory-swap', 'bytes', 'Swap limit equal to memory plus swap: -1 to enable unlimited swap'),
  flag('--pids-limit', 'int', 'Tune container pids limit (set -1 for unlimited)'),
  flag('--restart', 'string', 'Restart policy to apply when a container exits'),
];

/** The body that docker CLI 28 sends, zero values of what has no flag included. */
function updateBody(flags: Flags): Record<string, unknown> {
  return {
    CpuShares: flags.number('cpu-shares'),
    Memory: bytes(flags, 'memory'),
    NanoCpus: Math.round(flags.number('cpus') * 1e9),
    CgroupParent: '',
    BlkioWeight: flags.number('blkio-weight'),
    BlkioWeightDevice: null,
    BlkioDeviceReadBps: null,
    BlkioDeviceWriteBps: null,
    BlkioDeviceReadIOps: null,
    BlkioDeviceWriteIOps: null,
    CpuPeriod: flags.number('cpu-period'),
    CpuQuota: flags.number('cpu-quota'),
    CpuRealtimePeriod: flags.number('cpu-rt-period'),
    CpuRealtimeRuntime: flags.number('cpu-rt-runtime'),
    CpusetCpus: flags.text('cpuset-cpus'),
    CpusetMems: flags.text('cpuset-mems'),
    Devices: null,
    DeviceCgroupRules: null,
    DeviceRequests: null,
    MemoryReservation: bytes(flags, 'memory-reservation'),
    MemorySwap: bytes(flags, 'memory-swap'),
    MemorySwappiness: null,
    OomKillDisable: null,
    PidsLimit: flags.has('pids-limit') ? flags.number('pids-limit') : null,
    Ulimits: null,
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
    RestartPolicy: parseRestart(flags.text('restart'), 1),
  };
}

export const updateCommand: Command = {
  paths: ['update', 'container update'],
  summary: 'Update configuration of one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  arity: someArguments,
  completes: 'container',
  flags: updateFlags,
  examples: [
    ['More memory', 'update -m 1g --memory-swap 2g web'],
    ['Come back after a reboot', 'update --restart unless-stopped web'],
  ],
  run: async ({ client, flags, args, io }) => {
    if (!updateFlags.some(({ name }) => flags.has(name)))
      throw new CliError('you must provide one or more flags when using this command');
    const json = updateBody(flags);
    const [warnings, failures]: [string[], string[]] = [[], []];
    for (const name of args) {
      try {
        const path = `/containers/${encodeURIComponent(name)}/update`;
        const { Warnings } = await client.json<{ Warnings: string[] | null }>('POST', path, { json });
        io.out(`${name}\n`);
        warnings.push(...(Warnings ?? []));
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        failures.push(error.message);
      }
    }
    if (warnings.length > 0) io.out(`${warnings.join('\n')}\n`);
    if (failures.length === 0) return;
    io.err(`${failures.join('\n')}\n`);
    throw silentExit(1);
  },
};
