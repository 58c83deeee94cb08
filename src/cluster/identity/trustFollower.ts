/*
 * A node's part in changes of the swarm's root: trusts what its manager says, gets a certificate of the root that
 * certifies, and shows it once, by which managers know that it works. Its session stays as it is.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { TrustPush } from '../membership/protocol.ts';
import type { SelfRecord } from '../membership/records.ts';
import { bundleOf, isIssuedBy, trustsOf } from './trust.ts';

type OwnIdentity = Pick<SelfRecord, 'keys' | 'rootPem'>;

export interface TrustFollowerDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly self: () => OwnIdentity;
  /** Rejects where it cannot be stored: then nothing is told of it. */
  readonly save: (own: Partial<OwnIdentity>) => Promise<void>;
  readonly renew: (manager: string, own: OwnIdentity) => Promise<SelfRecord['keys']>;
  readonly confirm: (manager: string, own: OwnIdentity, trusts: string) => Promise<void>;
}

const firstRetryMs = 500;
const longestRetryMs = 15_000;

export class TrustFollower implements Disposable {
  readonly #deps: TrustFollowerDependencies;
  #latest = new AbortController();

  constructor(deps: TrustFollowerDependencies) {
    this.#deps = deps;
  }

  /** `manager` said so. What was said before counts no longer. */
  hear(manager: string, push: TrustPush): void {
    this.#latest.abort();
    this.#latest = new AbortController();
    void this.#follow(manager, push, this.#latest.signal);
  }

  [Symbol.dispose](): void {
    this.#latest.abort();
  }

  async #follow(manager: string, push: TrustPush, signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#deps;
    try {
      await clock.sleep(Math.random() * push.withinMs, signal);
      for (let waitMs = firstRetryMs; ; waitMs = Math.min(2 * waitMs, longestRetryMs)) {
        try {
          await this.#apply(manager, push, signal);
          return;
        } catch (error) {
          if (signal.aborted) return;
          logger.warn({ manager, err: error }, 'could not follow a change of the root of the swarm');
          await clock.sleep(waitMs, signal);
        }
      }
    } catch {
      // Stopped.
    }
  }

  async #apply(manager: string, { roots, issuer }: TrustPush, signal: AbortSignal): Promise<void> {
    const { self, save, renew, confirm, logger } = this.#deps;
    const rootPem = bundleOf(roots);
    if (trustsOf(self().rootPem) !== trustsOf(rootPem)) await save({ rootPem });
    if (!isIssuedBy(self().keys.certificatePem, issuer)) {
      const keys = await renew(manager, self());
      signal.throwIfAborted();
      await save({ keys });
      logger.info({ manager }, 'this node has a certificate of the new root of the swarm');
    }
    signal.throwIfAborted();
    await confirm(manager, self(), trustsOf(rootPem));
  }
}
