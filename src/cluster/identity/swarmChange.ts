/*
 * What `swarm update` makes of the swarm's record: another specification, new secrets of tokens, another root.
 */
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { SwarmRecord } from '../membership/records.ts';
import type { ClusterSpec, Rotation } from '../swarm.ts';
import { newSecret } from './joinToken.ts';
import { rotateRoot } from './rootRotation.ts';

export interface SwarmChange {
  /** The record's that the change is based on. */
  readonly version: number;
  readonly spec: ClusterSpec;
  readonly rotation: Rotation;
}

/** Codes outOfSequence, requestInvalid, notImplemented. */
export async function changeSwarm(
  clock: Clock,
  swarm: SwarmRecord,
  { version, spec, rotation }: SwarmChange,
): Promise<SwarmRecord> {
  if (swarm.version !== version) throw new LinkspanError('outOfSequence', 'update out of sequence');
  const { root: _root, rotation: _before, ...rest } = swarm;
  const roots = await rotateRoot(clock, swarm, {
    isForced: (spec.forceRotate ?? 0) !== (swarm.spec.forceRotate ?? 0),
    own: rotation.ownRoot ?? { certificatePem: '', keyPem: '' },
  });
  return {
    ...rest,
    ...rootsOf(roots),
    spec,
    secrets: {
      worker: rotation.workerToken ? newSecret() : swarm.secrets.worker,
      manager: rotation.managerToken ? newSecret() : swarm.secrets.manager,
    },
  };
}

/** Without what else the record has. */
function rootsOf({
  root,
  rotation,
  rootCount,
}: Pick<SwarmRecord, 'root' | 'rotation' | 'rootCount'>): Pick<
  SwarmRecord,
  'root' | 'rotation' | 'rootCount'
> {
  return {
    root,
    ...(rotation === undefined ? {} : { rotation }),
    ...(rootCount === undefined ? {} : { rootCount }),
  };
}
