/*
 * Device nodes and device cgroup rules, those of `--device` and `--device-cgroup-rule` among them. runc makes the six standard nodes (null, zero, full, random, urandom, tty)
 * by itself; the rules say what a container may open or mknod (Linux Documentation/admin-guide/devices.txt).
 */
import { readdirSync, type Stats, statSync } from 'node:fs';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { DeviceNumber } from './limits.ts';

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
function majorMinor(rdev: number): DeviceNumber {
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

function nodeOf(path: string, stat: Stats): DeviceNode {
  const { uid, gid, mode } = stat;
  const type = stat.isBlockDevice() ? 'b' : 'c';
  return { path, type, ...majorMinor(stat.rdev), fileMode: mode & 0o7777, uid, gid };
}

/** All device nodes of this machine, for privileged containers. Some 200 stats; vanished nodes are left out. */
export function readHostDevices(directory = '/dev'): readonly DeviceNode[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    if (skippedNames.has(entry.name)) return [];
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) return readHostDevices(path);
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) return [];
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat === undefined ? [] : [nodeOf(path, stat)];
  });
}

/** A device of the host's that a container gets. */
export interface DeviceMapping {
  /** A device node, or a directory of such; symbolic links are followed. */
  readonly hostPath: string;
  readonly containerPath: string;
  /** Letters of r, w, m. */
  readonly access: string;
}

function unusable(path: string, why: string): LinkspanError {
  return new LinkspanError(
    'runtimeFailed',
    `error gathering device information while adding custom device "${path}": ${why}`,
  );
}

/** The device nodes at `path` or, if it is a directory, below it. Throws runtimeFailed, with Docker's text, if there is none. */
export function readDevicesAt(path: string): readonly DeviceNode[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw unusable(path, 'no such file or directory');
  if (stat.isCharacterDevice() || stat.isBlockDevice()) return [nodeOf(path, stat)];
  const nodes = stat.isDirectory() ? readHostDevices(path) : [];
  if (nodes.length === 0) throw unusable(path, 'not a device node');
  return nodes;
}

/** Of the block device at `path`. Throws runtimeFailed if there is nothing. */
export function readDeviceNumber(path: string): DeviceNumber {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new LinkspanError('runtimeFailed', `stat ${path}: no such file or directory`);
  return majorMinor(stat.rdev);
}

/** What a mapping puts into the container, given the nodes at its host path, and lets it do with them. */
export function mapDevices(
  { hostPath, containerPath, access }: DeviceMapping,
  nodes: readonly DeviceNode[],
): { readonly nodes: readonly DeviceNode[]; readonly rules: readonly DeviceRule[] } {
  return {
    nodes: nodes.map((node) => ({ ...node, path: containerPath + node.path.slice(hostPath.length) })),
    rules: nodes.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access })),
  };
}

/** Reads `c 10:* rwm`. Throws containerConfigInvalid with Docker's text. */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null)
    throw new LinkspanError('containerConfigInvalid', `invalid device cgroup rule format: '${text}'`);
  const [, type, major, minor, access = ''] = match;
  // -1 stands for any.
  const number = (digits: string | undefined): number => (digits === '*' ? -1 : Number(digits));
  return {
    allow: true,
    type: type as 'a' | 'b' | 'c',
    major: number(major),
    minor: number(minor),
    access,
  };
}
