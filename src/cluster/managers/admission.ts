/*
 * On a manager: lets other managers' members into the store, and out of it. One comes in two steps, so that it never
 * counts before it has begun: two members of which one never came up would lock both out.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { Authority, type KeyPair, requestCertificate } from '../identity/authority.ts';
import { hostOf } from '../membership/addresses.ts';
import type { NodeRecord, SwarmRecord } from '../membership/records.ts';
import type { Roster } from '../membership/roster.ts';
import { refusals } from '../refusals.ts';
import type { MemberRecord, StoreMember, StorePeer } from './storeMember.ts';

/** What a node asks that is to be a manager. */
export interface AdmitCall {
  /** PKCS#10, PEM: of the key of its member. */
  readonly request: string;
  /** `192.0.2.12:2378` */
  readonly peer: string;
}

/**
 * How to begin the member, and what opens the secrets of the swarm's record (identity/vault.ts); or the records are in a
 * store that the user runs.
 */
export type AdmitAnswer =
  | {
      readonly certificate: string;
      readonly rootPem: string;
      readonly initial: Readonly<Record<string, string>>;
      readonly sealKey: string;
      /** Under which managers keep what is secret, if they do. */
      readonly unlockKey?: string;
    }
  | { readonly isElsewhere: true; readonly sealKey: string };

/** Members know each other as long as they live; whoever has left is no member, whatever he can show. */
const memberLifeMs: number = 20 * 365 * 24 * 3_600_000;

/** The root of a swarm's store. */
export async function createStoreRoot(clock: Clock): Promise<KeyPair> {
  return (await Authority.create(clock, 1, 'swarm-store')).keys;
}

async function certify(
  clock: Clock,
  root: KeyPair,
  request: string,
  { nodeId, swarmId, peer }: { readonly nodeId: string; readonly swarmId: string; readonly peer: string },
): Promise<string> {
  const authority = await Authority.open(clock, root);
  const addresses = [...new Set([hostOf(peer), '127.0.0.1'])];
  return await authority.issue(request, { nodeId, swarmId, role: 'manager' }, memberLifeMs, addresses);
}

/** Of the node that makes the store. */
export async function firstMember(
  clock: Clock,
  root: KeyPair,
  own: { readonly nodeId: string; readonly swarmId: string; readonly peer: string },
): Promise<MemberRecord> {
  const { requestPem, keyPem } = await requestCertificate();
  const certificatePem = await certify(clock, root, requestPem, own);
  return {
    ...{ peer: own.peer, keys: { certificatePem, keyPem }, rootPem: root.certificatePem },
    ...{ initial: { [own.nodeId]: own.peer }, isFirst: true, isVoting: true },
  };
}

export interface AdmissionDependencies {
  readonly member: StoreMember;
  readonly roster: Roster;
  readonly swarm: () => SwarmRecord;
  readonly sealKey: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Admission {
  readonly #deps: AdmissionDependencies;

  constructor(deps: AdmissionDependencies) {
    this.#deps = deps;
  }

  /**
   * The node may begin a member: it has none, whatever the others remember of one. Code nodeRefused if `peer` is not at
   * the node's address, or another manager's.
   */
  async admit({ id, address }: NodeRecord, { request, peer }: AdmitCall): Promise<AdmitAnswer> {
    const { member, swarm, sealKey, clock, logger } = this.#deps;
    const { id: swarmId, storeRoot, unlockKey } = swarm();
    if (storeRoot === undefined) throw new LinkspanError('store', "the swarm's store has no root");
    if (hostOf(peer) !== address)
      throw new LinkspanError('nodeRefused', `${peer} is not at the address of the node, ${address}`);
    const { peers } = member;
    for (const other of await peers.list()) {
      if (other.peer === peer && other.name !== id && other.name !== '')
        throw new LinkspanError('nodeRefused', `${peer} is the address of another manager: demote it first`);
      // It was let in before and never got further, or is here again without what it had.
      const isOwn = other.name === id || other.peer === peer;
      if (isOwn || this.#isNobodys(other)) await peers.remove(other.id);
    }
    const certificate = await certify(clock, storeRoot, request, { nodeId: id, swarmId, peer });
    await peers.addLearner(peer);
    const named = (await peers.list()).map((one) => [one.peer === peer ? id : one.name, one.peer] as const);
    const initial = Object.fromEntries(named.filter(([name]) => name !== ''));
    logger.info({ node: id, peer }, "a manager's member of the store may begin");
    const lock = unlockKey === undefined ? {} : { unlockKey };
    return { certificate, rootPem: storeRoot.certificatePem, initial, sealKey, ...lock };
  }

  /** The node's member runs: from now on it counts. Code nodeNotFound if it has none. */
  async promote({ id }: NodeRecord): Promise<void> {
    const { peers } = this.#deps.member;
    const own = (await peers.list()).find(({ name }) => name === id);
    if (own === undefined) throw new LinkspanError('nodeNotFound', `node ${id} has no member of the store`);
    await peers.promote(own.id);
    this.#deps.logger.info({ node: id }, "a manager's member of the store counts");
  }

  /** Code demotionRefused if those that are left could not decide anything. */
  async checkDismissal(id: string): Promise<void> {
    const { member, roster } = this.#deps;
    const voters = (await member.peers.list()).filter(({ name, isLearner }) => !isLearner && name !== id);
    const isWell = ({ name }: { readonly name: string }): boolean => roster.managerState(name).isReachable;
    if (voters.length === 0) throw new LinkspanError('demotionRefused', refusals.demotesLast);
    if (voters.filter(isWell).length <= voters.length / 2)
      throw new LinkspanError('demotionRefused', refusals.losesQuorum);
  }

  /** Success if it has none. */
  async dismiss(id: string): Promise<void> {
    const { member, roster, logger } = this.#deps;
    const address = roster.find(id)?.address;
    for (const one of await member.peers.list()) {
      const isUnbegun = one.name === '' && hostOf(one.peer) === address;
      if (one.name === id || isUnbegun) await member.peers.remove(one.id);
    }
    logger.info({ node: id }, "a manager's member of the store is out");
  }

  /** The node has a member of the store, that counts or is about to. */
  async hasMember(id: string): Promise<boolean> {
    return (await this.#deps.member.peers.list()).some(({ name }) => name === id);
  }

  /** What managers that died were about to do: members of nodes that are no managers go. */
  async tidy(): Promise<void> {
    const { peers } = this.#deps.member;
    for (const one of await peers.list()) if (this.#isNobodys(one)) await peers.remove(one.id);
  }

  #isNobodys({ name, peer }: StorePeer): boolean {
    const { managers } = this.#deps.roster;
    if (name !== '') return !managers.some(({ id }) => id === name);
    return !managers.some(({ address }) => address === hostOf(peer));
  }
}
