/*
 * How a node becomes a manager: a manager lets its member of the store in, the member begins, and then it counts. Each
 * step is written down, and can be taken again: what was cut short goes on where it was.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import { requestCertificate } from '../identity/authority.ts';
import { splitHostPort } from '../membership/addresses.ts';
import { askManager } from '../membership/managerClient.ts';
import { path, readAdmitAnswer } from '../membership/protocol.ts';
import { othersOf, type SelfRecord } from '../membership/records.ts';
import type { NodeRole } from '../swarm.ts';
import type { MemberRecord, StoreMembers } from './storeMember.ts';

export interface BecomeDependencies {
  /** Absent: this machine runs no member. */
  readonly members?: StoreMembers;
  /** This daemon was told of a store that the user runs. */
  readonly hasElsewhere: boolean;
  /** Part of what this node knows, and under which key it keeps that locked from now on. */
  readonly save: (part: Partial<SelfRecord>, unlockKey: string | undefined) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** While the swarm's records move to the store that managers share, and while another manager comes. */
const againMs = 300;

/** The port of a manager's member: the one after that of the manager. */
export function peerOf(advertise: string): string {
  const { host, port } = splitHostPort(advertise) ?? { host: advertise, port: 0 };
  return `${host.includes(':') ? `[${host}]` : host}:${port + 1}`;
}

/** Asks one manager after another, again and again, until `signal` ends it. */
async function ask(
  self: SelfRecord,
  where: string,
  body: unknown,
  clock: Clock,
  signal: AbortSignal,
): Promise<unknown> {
  let failure: unknown = new LinkspanError('managerUnreachable', 'there is no address of a manager');
  const remotes = othersOf(self);
  while (!signal.aborted) {
    for (const remote of remotes) {
      try {
        return await askManager(
          remote,
          self,
          where,
          body,
          AbortSignal.any([signal, AbortSignal.timeout(15_000)]),
        );
      } catch (error) {
        failure = error;
        // The others would say the same.
        if (error instanceof LinkspanError && !hasCode(error, 'storeUnavailable')) throw error;
      }
    }
    // Aborted: what is known of the failure is said below.
    await clock.sleep(againMs, signal).catch(() => {});
  }
  throw failure;
}

/** What a node knows more as a manager. */
type Gained = Pick<SelfRecord, 'isManager' | 'isElsewhere' | 'member' | 'sealKey'>;

/**
 * Resolves with what it is then, which is not stored. Rejects with what the managers said last if `signal` ends it; the
 * steps that were taken stay.
 */
export async function becomeManager(
  deps: BecomeDependencies,
  self: SelfRecord,
  signal: AbortSignal,
): Promise<Gained> {
  const { members, clock, logger, save } = deps;
  let { member, sealKey } = self;
  if (member === undefined || (await members?.hasData()) !== true) {
    await members?.check();
    const peer = peerOf(self.advertise);
    const { requestPem, keyPem } = await requestCertificate();
    const answer = readAdmitAnswer(await ask(self, path.admit, { request: requestPem, peer }, clock, signal));
    if (answer === undefined)
      throw new LinkspanError('joinRefused', 'the manager answered what makes no sense');
    sealKey = answer.sealKey;
    if ('isElsewhere' in answer) {
      if (!deps.hasElsewhere)
        throw new LinkspanError(
          'store',
          'the records of this swarm are in etcd: start the daemon with --store',
        );
      return { isManager: true, isElsewhere: true, sealKey };
    }
    if (members === undefined) throw new LinkspanError('notImplemented', 'this daemon cannot run a store');
    await members.wipe();
    const { certificate, rootPem, initial, unlockKey } = answer;
    const keys = { certificatePem: certificate, keyPem };
    member = { peer, keys, rootPem, initial, isFirst: false, isVoting: false };
    await save({ member, sealKey }, unlockKey);
  }
  if (members === undefined) throw new LinkspanError('store', 'this daemon cannot run a store');
  if (!member.isVoting) await begin(members, member);
  logger.info({ peer: member.peer }, "this node's member of the swarm's store counts");
  return {
    isManager: true,
    member: { ...member, isVoting: true },
    ...(sealKey === undefined ? {} : { sealKey }),
  };

  /** What does not come to count is begun anew by the next attempt. */
  async function begin(own: StoreMembers, one: MemberRecord): Promise<void> {
    try {
      await using _opened = await own.open(self.swarmId, self.nodeId, one);
    } catch (error) {
      await own.wipe();
      throw error;
    }
    try {
      await ask(self, path.promote, {}, clock, signal);
    } catch (error) {
      // It was put out meanwhile.
      if (hasCode(error, 'nodeNotFound')) await own.wipe();
      throw error;
    }
  }
}

/** `removed`: it is none of the swarm any more; `unknown`: nobody says who a majority answers. */
export type RoleAnswer = NodeRole | 'removed' | 'unknown';

/**
 * What the swarm says that this node is, by any other manager that a majority answers. One whose member of the store is
 * out is a worker, also if it is to be a manager again: it has to begin anew.
 */
export async function askRole(self: SelfRecord, signal: AbortSignal): Promise<RoleAnswer> {
  for (const remote of othersOf(self)) {
    try {
      const told = await askManager(remote, self, path.role, {}, signal);
      const { role, hasMember = true } = (told ?? {}) as {
        readonly role?: unknown;
        readonly hasMember?: boolean;
      };
      if (role === 'worker' || (role === 'manager' && !hasMember && self.member !== undefined))
        return 'worker';
      if (role === 'manager') return role;
    } catch (error) {
      // Another may answer.
      if (hasCode(error, 'nodeRefused')) return 'removed';
    }
  }
  return 'unknown';
}
