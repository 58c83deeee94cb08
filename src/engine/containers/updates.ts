/*
 * `update`: other limits and another restart policy for a container that exists, running or not (Docker Engine 28,
 * daemon/update.go). Limits of a running one are changed in its cgroup at once; those of all others hold from the next
 * start.
 */
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';
import { checkLimits } from '../../runtime/oci/limitChecks.ts';
import { type Limits, updatedResourcesOf } from '../../runtime/oci/limits.ts';
import type { OciSpec } from '../../runtime/runtime.ts';
import type { ContainerChange, ContainerSpec } from '../model.ts';
import { emitContainerEvent } from './containerEvents.ts';
import type { ContainersContext } from './dependencies.ts';
import type { LiveContainer } from './liveContainer.ts';

function conflict(message: string): never {
  throw new LinkspanError('containerState', message);
}

/** A quota and a number of processors are two words for one limit: what was said first stays the only one. */
function checkCpuConflicts(has: Limits, wanted: Limits): void {
  const { nanoCpus = 0, cpuPeriodUs = 0, cpuQuotaUs = 0 } = wanted;
  if (nanoCpus > 0 && (has.cpuPeriodUs ?? 0) > 0)
    conflict('Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set');
  if (nanoCpus > 0 && (has.cpuQuotaUs ?? 0) > 0)
    conflict('Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set');
  if (cpuPeriodUs > 0 && (has.nanoCpus ?? 0) > 0)
    conflict('Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set');
  if (cpuQuotaUs > 0 && (has.nanoCpus ?? 0) > 0)
    conflict('Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set');
}

/** The spec that `change` leads to. Throws containerState with Docker's texts. Pure. */
export function planUpdate(spec: ContainerSpec, change: ContainerChange): ContainerSpec {
  const { limits: has = {}, restartPolicy: _before, ...rest } = spec;
  const { limits: wanted, restartPolicy } = change;
  checkCpuConflicts(has, wanted);
  // A limit on memory is one on memory and swap together, so that Docker wants to hear both.
  const { memoryBytes, memorySwapBytes } = wanted;
  if (memoryBytes !== undefined && memorySwapBytes === undefined && memoryBytes > (has.memorySwapBytes ?? 0))
    conflict(
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    );
  if (spec.isAutoRemove && restartPolicy !== undefined && restartPolicy !== 'no')
    conflict('Restart policy cannot be updated because AutoRemove is enabled for the container');
  const policy = restartPolicy ?? spec.restartPolicy;
  return {
    ...rest,
    limits: { ...has, ...wanted },
    ...(policy !== undefined && policy !== 'no' && { restartPolicy: policy }),
  };
}

/** What the cgroup is told; undefined if that is nothing. */
function resourcesFor({ host }: Pick<ContainersContext, 'host'>, limits: Limits): OciSpec | undefined {
  const resources = updatedResourcesOf(limits, host.deviceNumber, host.limitSupport.swap);
  return Object.keys(resources).length === 0 ? undefined : resources;
}

/**
 * Called with the mutex held; `change` has been through `checkUpdate`. A crash before the second record leaves
 * `isUpdatePending`, upon which the next daemon tells the cgroup again.
 */
export async function updateContainer(
  context: ContainersContext,
  live: LiveContainer,
  change: ContainerChange,
): Promise<void> {
  const { table, runtime, events } = context;
  const { spec: before, state } = live.record;
  try {
    if (state === 'removing' || state === 'dead')
      conflict('container is marked for removal and cannot be "update"');
    const spec = planUpdate(before, change);
    const resources = live.isRunning ? resourcesFor(context, change.limits) : undefined;
    if (resources === undefined) await table.update(live, { spec });
    else {
      // No container outlives the machine's uptime, and neither need the intent.
      await table.update(live, { spec, isUpdatePending: true }, 'process');
      try {
        await runtime.updateResources(live.id, resources);
      } catch (error) {
        await table.update(live, { spec: before, isUpdatePending: false });
        throw error;
      }
      await table.update(live, { isUpdatePending: false });
    }
  } catch (error) {
    throw new LinkspanError(
      error instanceof LinkspanError ? error.code : 'runtimeFailed',
      `Cannot update container ${live.id}: ${messageOf(error)}`,
      { cause: error },
    );
  }
  emitContainerEvent(events, live.record, 'update');
}

/** `change` without what the kernel cannot hold, and Docker's warnings of that. Throws containerConfigInvalid. */
export function checkUpdate(
  { host }: Pick<ContainersContext, 'host'>,
  change: ContainerChange,
): { readonly change: ContainerChange; readonly warnings: readonly string[] } {
  const { limits, warnings } = checkLimits(change.limits, host.limitSupport, true);
  return { change: { ...change, limits }, warnings };
}

/** After a daemon that died in the middle of an update: the limits of the record into the cgroup. */
export async function finishUpdate(context: ContainersContext, live: LiveContainer): Promise<void> {
  const { table, runtime, logger } = context;
  if (live.record.isUpdatePending !== true) return;
  try {
    const resources = resourcesFor(context, live.record.spec.limits ?? {});
    if (resources !== undefined) await runtime.updateResources(live.id, resources);
    await table.update(live, { isUpdatePending: false });
  } catch (error) {
    logger.error({ ...live.logFields, err: error }, 'could not finish a change of limits');
  }
}
