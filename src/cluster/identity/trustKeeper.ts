/*
 * A manager's part in changes of the swarm's root: shows and trusts what the record says, tells the nodes of its sessions,
 * and ends the change once every node of the roster has what it takes. Each manager does so; who is first, writes.
 * A node that is away holds the change open until it comes back or is removed.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { SelfRecord, SwarmRecord } from '../membership/records.ts';
import type { Roster } from '../membership/roster.ts';
import type { SwarmBook } from '../membership/swarmBook.ts';
import { Authority, type KeyPair, subjectOf } from './authority.ts';
import { finishRotation } from './rootRotation.ts';
import { bundleOf, isConverged, isIssuedBy, isUpToDate, type Trust, trustOf, trustsOf } from './trust.ts';

/** What a manager shows at its port. */
export interface OwnIdentity {
  readonly keys: KeyPair;
  readonly rootPem: string;
}

export interface TrustKeeperDependencies {
  readonly record: SwarmBook;
  readonly roster: Roster;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: string;
  /** A new certificate of this manager. */
  readonly certify: (authority: Authority, swarm: SwarmRecord) => Promise<KeyPair>;
  /** Shown and trusted from now on; sessions that stand are not touched. */
  readonly show: (own: OwnIdentity) => void;
  readonly save: (own: OwnIdentity) => Promise<void>;
  /** There is something else to trust. */
  readonly tell: () => void;
}

/** Until what failed is tried again. */
const retryMs = 1000;

export class TrustKeeper implements Disposable {
  readonly #deps: TrustKeeperDependencies;
  readonly #listeners = new DisposableStack();
  readonly #stopping = new AbortController();
  #trust: Trust;
  /** What nodes were told, or have from their first session with this manager on. */
  #told: Trust;
  #authority: Authority;
  #own: OwnIdentity;
  #isDue = false;
  #isAtWork = false;

  private constructor(deps: TrustKeeperDependencies, trust: Trust, authority: Authority, own: OwnIdentity) {
    this.#deps = deps;
    this.#trust = trust;
    this.#told = trust;
    this.#authority = authority;
    this.#own = own;
  }

  static async open(
    deps: TrustKeeperDependencies,
    { keys, rootPem }: Pick<SelfRecord, 'keys' | 'rootPem'>,
  ): Promise<TrustKeeper> {
    const trust = trustOf(deps.record.swarm);
    const authority = await Authority.open(deps.clock, trust.issuer, trust.crossPem);
    return new TrustKeeper(deps, trust, authority, { keys, rootPem });
  }

  get trust(): Trust {
    return this.#trust;
  }

  /** Certifies nodes. */
  get authority(): Authority {
    return this.#authority;
  }

  /** Follows the record from now on. */
  start(): void {
    const { record, roster } = this.#deps;
    const due = (): void => this.#due();
    this.#listeners.use(record.events.on('changed', due));
    this.#listeners.use(roster.events.on('changed', due));
    this.#listeners.use(roster.events.on('removed', due));
    due();
  }

  /** A new certificate of this manager, before the one of today ends. */
  async renew(): Promise<void> {
    await this.#show(await this.#deps.certify(this.#authority, this.#deps.record.swarm));
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.#listeners.dispose();
  }

  #due(): void {
    this.#isDue = true;
    if (!this.#isAtWork) void this.#work();
  }

  async #work(): Promise<void> {
    const { clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    this.#isAtWork = true;
    try {
      while (this.#isDue && !signal.aborted) {
        this.#isDue = false;
        try {
          await this.#follow();
        } catch (error) {
          if (signal.aborted) return;
          this.#isDue = true;
          logger.warn({ err: error }, 'could not follow a change of the root of the swarm');
          await clock.sleep(retryMs, signal);
        }
      }
    } catch {
      // Stopped.
    } finally {
      this.#isAtWork = false;
    }
  }

  async #follow(): Promise<void> {
    const { record, roster, clock, logger, nodeId, tell } = this.#deps;
    const { swarm } = record;
    const before = this.#trust;
    const trust = trustOf(swarm);
    const isNews =
      trust.wanted.trusts !== before.wanted.trusts || trust.wanted.issuer !== before.wanted.issuer;
    if (isNews) {
      this.#authority = await Authority.open(clock, trust.issuer, trust.crossPem);
      this.#trust = trust;
    }
    const { keys, rootPem } = this.#own;
    // A node that was a worker has a worker's, and nobody would take it for a manager.
    const isGood =
      isIssuedBy(keys.certificatePem, trust.issuer.certificatePem) &&
      subjectOf(keys.certificatePem)?.role === 'manager';
    if (isNews || !isGood || trustsOf(rootPem) !== trust.wanted.trusts)
      await this.#show(isGood ? keys : await this.#deps.certify(this.#authority, swarm));
    if (this.#told !== this.#trust) {
      this.#told = this.#trust;
      tell();
    }
    if (!isUpToDate(roster.find(nodeId)?.tls, trust)) await roster.noteTls(nodeId, trust.wanted);
    if (swarm.rotation === undefined || !isConverged(roster.nodes, trust)) return;
    const next = swarm.rotation.root.certificatePem;
    await record.change((now) => (now.rotation?.root.certificatePem === next ? finishRotation(now) : now));
    logger.info({ swarm: swarm.id }, 'the root of the swarm was changed');
  }

  async #show(keys: KeyPair): Promise<void> {
    const own = { keys, rootPem: bundleOf(this.#trust.roots) };
    this.#deps.show(own);
    await this.#deps.save(own);
    // Only now: what is not stored is done again.
    this.#own = own;
  }
}
