/*
 * What a running container has used so far: its cgroup's files, read without blocking, and its interfaces' counters. Looks
 * at this one container only, however many there are.
 */
import { timestamp } from '../../base/timestamp.ts';
import type { LinkCounters } from '../../codec/netlink/linkCounters.ts';
import { readSystemCpu, readUsage } from '../../runtime/cgroups/usage.ts';
import { cgroupPathOf } from '../../runtime/oci/spec.ts';
import type { ContainerSample } from '../engine.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';
import { networkOwner } from './sharing.ts';

async function readInterfaces(
  { table, network }: Pick<ContainersContext, 'table' | 'network'>,
  live: LiveContainer,
): Promise<readonly LinkCounters[]> {
  const owner = networkOwner(table, live.record);
  try {
    return owner === undefined ? [] : await network.counters(owner);
  } catch (error) {
    // It ended meanwhile, and its namespace with it.
    if (live.isRunning) throw error;
    return [];
  }
}

/** Undefined unless it runs. */
export async function sampleContainer(
  context: ContainersContext,
  live: LiveContainer,
): Promise<ContainerSample | undefined> {
  if (!live.isRunning) return undefined;
  const { host, clock } = context;
  const { id, spec } = live.record;
  const path = cgroupPathOf({ id, cgroupParent: spec.cgroupParent ?? '' }, host);
  const [usage, system, interfaces] = await Promise.all([
    readUsage(host.cgroupVersion, path),
    readSystemCpu(),
    readInterfaces(context, live),
  ]);
  return live.isRunning ? { readAt: timestamp(clock), usage, system, interfaces } : undefined;
}
