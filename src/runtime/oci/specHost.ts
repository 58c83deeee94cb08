/*
 * What specs need to know of this machine, read once at daemon start.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { release } from 'node:os';
import { goArchitecture } from '../../base/architecture.ts';
import { openAppArmor } from './appArmor.ts';
import { allCapabilities } from './capabilities.ts';
import { readDeviceNumber, readDevicesAt, readHostDevices } from './devices.ts';
import { findInit } from './initProgram.ts';
import { readLimitSupport } from './limitSupport.ts';
import { mountPointOf } from './propagation.ts';
import type { SpecHost } from './spec.ts';

/** The capabilities in a /proc/PID/status text (`CapBnd`, the most that a child can get). */
export function parseCapabilities(status: string): readonly string[] {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return allCapabilities.filter((_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n);
}

/** `cgroupParent`: absolute path of the parent cgroup, `/linkspan` if empty. */
export function readSpecHost(cgroupParent = ''): SpecHost {
  // A machine in hybrid mode has the v2 tree elsewhere, and runs containers on v1.
  const cgroupVersion = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1;
  return {
    architecture: goArchitecture,
    kernelRelease: release(),
    capabilities: parseCapabilities(readFileSync('/proc/self/status', 'utf8')),
    cgroupVersion,
    cgroupParent: cgroupParent === '' ? '/linkspan' : cgroupParent,
    limitSupport: readLimitSupport(cgroupVersion),
    appArmor: openAppArmor(),
    findInit: () => findInit(),
    devices: () => readHostDevices(),
    devicesAt: readDevicesAt,
    findMount: (path) => mountPointOf(realpathSync(path), readFileSync('/proc/self/mountinfo', 'utf8')),
    deviceNumber: readDeviceNumber,
  };
}
