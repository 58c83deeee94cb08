/*
 * Renews a certificate in time: at 50 to 80 percent of its life, as Docker does, so that not all nodes come at once. What
 * failed is tried again each twentieth of the life.
 */
import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';

/** So that a clock that is wrong renews no more often than that. */
const shortestSleepMs = 1000;
/** What a timer of Node's can wait: 24.8 days. */
const longestSleepMs = 2 ** 31 - 1;

export interface RenewalDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  /** PEM, as it is today. */
  readonly certificate: () => string;
  readonly renew: () => Promise<void>;
}

/** Goes on until `signal` fires. */
export async function keepFresh(deps: RenewalDependencies, signal: AbortSignal): Promise<void> {
  const { clock, logger } = deps;
  try {
    for (;;) {
      const { validFromDate, validToDate } = new X509Certificate(deps.certificate());
      const lifeMs = validToDate.getTime() - validFromDate.getTime();
      const dueAtMs = validFromDate.getTime() + lifeMs * (0.5 + 0.3 * Math.random());
      const waitMs = Math.max(shortestSleepMs, dueAtMs - clock.nowMs());
      await clock.sleep(Math.min(waitMs, longestSleepMs), signal);
      if (clock.nowMs() < dueAtMs) continue;
      try {
        await deps.renew();
        logger.info({}, 'renewed the certificate of this node');
      } catch (error) {
        logger.warn({ err: error }, 'could not renew the certificate of this node');
        await clock.sleep(Math.min(lifeMs / 20, longestSleepMs), signal);
      }
    }
  } catch {
    // Aborted.
  }
}
