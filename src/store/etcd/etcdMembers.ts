/*
 * Who belongs to a swarm's etcd. A new member comes as a learner, which has no vote, so that one that never starts harms
 * nobody: two voters of which one is not there would decide nothing any more, not even that it goes. What etcd refuses
 * only for now (one learner at a time; not within 5 s of a change; not before a learner has caught up) is asked again.
 */
import type { Clock } from '../../base/clock.ts';
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import { type EtcdClient, EtcdRefusal } from './etcdClient.ts';
import type { Member } from './schema.ts';

/** etcd looks at its members' health over 5 s. */
const defaultLimitMs = 20_000;
const againMs = 200;

export interface EtcdMember {
  /** Decimal text of a uint64. */
  readonly id: string;
  /** Undefined until it has started once. */
  readonly name?: string;
  readonly peerUrls: readonly string[];
  /** It follows, and has no vote. */
  readonly isLearner: boolean;
}

export interface EtcdStatus {
  /** Of the member that answered. */
  readonly memberId: string;
  readonly isLearner: boolean;
  /** Absent = there is none. */
  readonly leaderId?: string;
  /** `3.4.23` */
  readonly version: string;
  /** Of its file, and of what is used of that. */
  readonly fileBytes: number;
  readonly usedBytes: number;
  /** What it complains about: alarms, no leader. */
  readonly errors: readonly string[];
}

function toMember({ ID, name, peerURLs, isLearner }: Member): EtcdMember {
  return { id: ID, ...(name === '' ? {} : { name }), peerUrls: peerURLs, isLearner };
}

/** All but `status` need a member with a vote. Each asks again for `limitMs` where that may help. */
export class EtcdMembers {
  readonly #client: Pick<EtcdClient, 'call'>;
  readonly #clock: Clock;

  constructor(client: Pick<EtcdClient, 'call'>, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** As the member that answers knows them; code storeUnavailable if none does. */
  async list(): Promise<readonly EtcdMember[]> {
    const { members } = await this.#client.call('Cluster.MemberList', { linearizable: true });
    return members.map(toMember);
  }

  /**
   * Adds one at `peerUrl`, or finds it there: of an earlier attempt then, perhaps with a vote already (a member that
   * lost its data has to be removed first). Code store where etcd refuses.
   */
  async addLearner(peerUrl: string, limitMs: number = defaultLimitMs): Promise<EtcdMember> {
    return await this.#insist(limitMs, async () => {
      const known = (await this.list()).find(({ peerUrls }) => peerUrls.includes(peerUrl));
      if (known !== undefined) return known;
      const { member } = await this.#client.call('Cluster.MemberAdd', {
        ...{ peerURLs: [peerUrl], isLearner: true },
      });
      if (member === null) throw new LinkspanError('store', 'etcd added a member and did not say which');
      return toMember(member);
    });
  }

  /** Gives it its vote as soon as it has caught up; success if it has one. */
  async promote(id: string, limitMs: number = defaultLimitMs): Promise<void> {
    await this.#insist(limitMs, async () => {
      try {
        await this.#client.call('Cluster.MemberPromote', { ID: id });
      } catch (error) {
        if (!(error instanceof EtcdRefusal && error.reason === 'exists')) throw error;
      }
    });
  }

  /**
   * Success if there is none. Code store where the others could not decide without it. To be asked of another member than
   * the one that goes: that one may end before it answers.
   */
  async remove(id: string, limitMs: number = defaultLimitMs): Promise<void> {
    await this.#insist(limitMs, async () => {
      try {
        await this.#client.call('Cluster.MemberRemove', { ID: id });
      } catch (error) {
        if (!(error instanceof EtcdRefusal && error.reason === 'notFound')) throw error;
      }
    });
  }

  /** Of the member that answers. Works with learners, and without a majority. */
  async status(): Promise<EtcdStatus> {
    const answer = await this.#client.call('Maintenance.Status', {});
    return {
      memberId: answer.header?.member_id ?? '0',
      isLearner: answer.isLearner,
      ...(answer.leader === '0' ? {} : { leaderId: answer.leader }),
      version: answer.version,
      fileBytes: Number(answer.dbSize),
      usedBytes: Number(answer.dbSizeInUse),
      errors: answer.errors,
    };
  }

  async #insist<T>(limitMs: number, ask: () => Promise<T>): Promise<T> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        // `exists`: what was asked for before has been done, and the list will have it.
        const isPassing =
          hasCode(error, 'storeUnavailable') ||
          (error instanceof EtcdRefusal && (error.reason === 'notYet' || error.reason === 'exists'));
        if (!isPassing || performance.now() + againMs > untilMs) throw error;
      }
      await this.#clock.sleep(againMs);
    }
  }
}
