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
import type { SelfRecord } from '../membership/records.ts';
import type { StoreMembers } from './storeMember.ts';

export interface BecomeDependencies {
  /** Absent: this machine runs no member. */
  readonly members?: StoreMembers;
  /** This daemon was told of a store that the user runs. */
  readonly hasElsewhere: boolean;
  readonly save: (self: SelfRecord) => Promise<void>;
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
  const remotes = self.managers.filter((address) => address !== self.advertise);
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

/** Rejects with what the managers said last if `signal` ends it; the steps that were taken stay. */
export async function becomeManager(
  deps: BecomeDependencies,
  self: SelfRecord,
  signal: AbortSignal,
): Promise<SelfRecord> {
  const { members, clock, logger, save } = deps;
  let current = self;
  const isBegun = current.member !== undefined && (await members?.hasData()) === true;
  if (!isBegun) {
    const peer = peerOf(self.advertise);
    const { requestPem, keyPem } = await requestCertificate();
    const answer = readAdmitAnswer(await ask(self, path.admit, { request: requestPem, peer }, clock, signal));
    if (answer === undefined)
      throw new LinkspanError('joinRefused', 'the manager answered what makes no sense');
    if ('isElsewhere' in answer) {
      if (!deps.hasElsewhere)
        throw new LinkspanError(
          'store',
          'the records of this swarm are in etcd: start the daemon with --store',
        );
      return { ...self, isManager: true, isElsewhere: true, sealKey: answer.sealKey };
    }
    if (members === undefined) throw new LinkspanError('notImplemented', 'this daemon cannot run a store');
    await members.wipe();
    const { certificate, rootPem, initial, sealKey } = answer;
    const keys = { certificatePem: certificate, keyPem };
    current = {
      ...{ ...self, sealKey },
      member: { peer, keys, rootPem, initial, isFirst: false, isVoting: false },
    };
    await save(current);
  }
  const { member } = current;
  if (member === undefined || members === undefined)
    throw new LinkspanError('store', 'this node has no member of the store');
  if (!member.isVoting) {
    const opened = await members.open(current.swarmId, current.nodeId, member);
    await opened[Symbol.asyncDispose]();
    try {
      await ask(current, path.promote, {}, clock, signal);
    } catch (error) {
      // It was put out meanwhile: the next attempt begins anew.
      if (hasCode(error, 'nodeRefused')) await members.wipe();
      throw error;
    }
    logger.info({ peer: member.peer }, "this node's member of the swarm's store counts");
  }
  return { ...current, isManager: true, member: { ...member, isVoting: true } };
}

export type RoleAnswer = 'manager' | 'worker' | 'removed' | 'unknown';

/** What the swarm says that this node is, if any other manager answers. */
export async function askRole(self: SelfRecord, signal: AbortSignal): Promise<RoleAnswer> {
  for (const remote of self.managers) {
    if (remote === self.advertise) continue;
    try {
      const { role } = (await askManager(remote, self, path.role, {}, signal)) as { readonly role?: unknown };
      if (role === 'manager' || role === 'worker') return role;
    } catch (error) {
      // Another may answer.
      if (hasCode(error, 'nodeRefused')) return 'removed';
    }
  }
  return 'unknown';
}
