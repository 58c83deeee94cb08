/*
 * Files of containers' cgroups, read on the host, for both versions of cgroups.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = '/sys/fs/cgroup';

export const isV2: boolean = existsSync(join(root, 'cgroup.controllers'));

/** Of the containers that are in no other. */
export const parent: string = `/${process.env['LINKSPAN_LANE_CGROUP'] ?? 'linkspan-compat'}`;

/** A file of a cgroup, `cpu/cpu.shares` on v1 and `cpu.weight` on v2; trimmed. */
export function readCgroup(path: string, v1: string, v2: string): string {
  const [controller = '', file = ''] = v1.split('/');
  const folder = isV2 ? join(root, path) : join(root, controller, path);
  return readFileSync(join(folder, isV2 ? v2 : file), 'utf8').trim();
}
