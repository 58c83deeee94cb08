/*
 * What `swarm update` makes of the swarm's record: another specification, new secrets of tokens, another root.
 */
import type { Clock } from '../../base/clock.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { SwarmRecord } from '../membership/records.ts';
import type { ClusterSpec, Rotation } from '../swarm.ts';
import { newSecret } from './joinToken.ts';
import { rotateRoot } from './rootRotation.ts';
import { newKey } from './vault.ts';

/** Of a certificate; an hour, as Docker has it. */
const shortestLifeMs = 3_600_000;

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
  checkSpec(spec);
  if (swarm.version !== version) throw new LinkspanError('outOfSequence', 'update out of sequence');
  const { root: _root, rotation: _before, unlockKey, ...rest } = swarm;
  const roots = await rotateRoot(clock, swarm, {
    isForced: (spec.forceRotate ?? 0) !== (swarm.spec.forceRotate ?? 0),
    own: rotation.ownRoot ?? { certificatePem: '', keyPem: '' },
  });
  return {
    ...rest,
    ...rootsOf(roots),
    spec,
    ...unlockKeyOf(spec, rotation.unlockKey ? undefined : unlockKey),
    secrets: {
      worker: rotation.workerToken ? newSecret() : swarm.secrets.worker,
      manager: rotation.managerToken ? newSecret() : swarm.secrets.manager,
    },
  };
}

/** One is made where managers are locked from now on, or are to have another. */
export function unlockKeyOf(
  { isAutolocked }: ClusterSpec,
  known: string | undefined,
): Pick<SwarmRecord, 'unlockKey'> {
  return isAutolocked ? { unlockKey: known ?? newKey() } : {};
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

/** Throws code requestInvalid. */
export function checkSpec({ certificateLifeMs, heartbeatMs }: ClusterSpec): void {
  if (certificateLifeMs < shortestLifeMs)
    throw new LinkspanError(
      'requestInvalid',
      'invalid CAConfig: the certificate expiry must be at least one hour',
    );
  if (heartbeatMs < 1000)
    throw new LinkspanError(
      'requestInvalid',
      'invalid DispatcherConfig: the heartbeat period must be at least one second',
    );
}
