/*
 * Device nodes and device cgroup rules. runc makes the six standard nodes (null, zero, full, random, urandom, tty)
 * by itself; the rules say what a container may open or mknod (Linux Documentation/admin-guide/devices.txt).
 */
import { type Dirent, readdirSync, statSync } from 'node:fs';

/** A device node as the OCI spec lists it. */
export interface DeviceNode {
  readonly path: string;
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: 'a' | 'b' | 'c';
  readonly major?: number;
  readonly minor?: number;
  /** Letters of r (read), w (write), m (mknod). */
  readonly access: string;
}

function character(major: number, minor: number): DeviceRule {
  return { allow: true, type: 'c', major, minor, access: 'rwm' };
}

/** Nothing but zero, null, urandom, random, tty and console; /dev/fuse is named because images come with it. */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  character(1, 5),
  character(1, 3),
  character(1, 9),
  character(1, 8),
  character(5, 0),
  character(5, 1),
  { allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' },
];

/** Privileged containers: every device. */
export const allDeviceRules: readonly DeviceRule[] = [{ allow: true, access: 'rwm' }];

/** Split of a 64-bit dev_t (glibc sysmacros.h). */
function majorMinor(rdev: number): { readonly major: number; readonly minor: number } {
  const value = BigInt(rdev);
  return {
    major: Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & 0xfffff000n)),
    minor: Number((value & 0xffn) | ((value >> 12n) & 0xffffff00n)),
  };
}

/** Those that the container has of its own, or that are the host's alone. */
const skippedNames: ReadonlySet<string> = new Set([
  'pts',
  'shm',
  'fd',
  'mqueue',
  'console',
  '.lxc',
  '.lxd-mounts',
  '.udev',
  'log',
  'ptmx',
  'stdin',
  'stdout',
  'stderr',
]);

function nodeAt(path: string, entry: Dirent): DeviceNode | undefined {
  if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return undefined;
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  const { uid, gid, mode } = stat;
  const type = entry.isBlockDevice() ? 'b' : 'c';
  return { path, type, ...majorMinor(stat.rdev), fileMode: mode & 0o7777, uid, gid };
}

/** All device nodes of this machine, for privileged containers. Some 200 stats; vanished nodes are left out. */
export function readHostDevices(directory = '/dev'): readonly DeviceNode[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (skippedNames.has(entry.name)) return [];
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) return readHostDevices(path);
    const node = nodeAt(path, entry);
    return node === undefined ? [] : [node];
  });
}
