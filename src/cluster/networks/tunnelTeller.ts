/*
 * Tells a manager of this node's encrypted tunnel: what was offered last, in each session anew, until it is taken.
 */
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { TunnelOffer } from '../swarmNetworks.ts';
import type { CallBox } from './callBox.ts';

/** After a call that failed within a session. */
const againMs = 1000;

export class TunnelTeller {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #calls: CallBox | undefined;
  #offer: TunnelOffer | undefined;

  constructor(deps: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
  }

  /** A session begins; undefined: there is none. */
  connect(calls: CallBox | undefined): void {
    this.#calls = calls;
    this.#tell();
  }

  /** undefined: nothing is told any more, and what was stays. */
  offer(offer: TunnelOffer | undefined): void {
    this.#offer = offer;
    this.#tell();
  }

  #tell(): void {
    const [calls, offer] = [this.#calls, this.#offer];
    if (calls === undefined || offer === undefined) return;
    const isNews = (): boolean => this.#calls === calls && this.#offer === offer;
    calls.call('tunnel', { offer }).catch(async (error: unknown) => {
      if (!isNews()) return;
      this.#logger.warn({ err: error }, 'a manager did not take the public key of this node');
      await this.#clock.sleep(againMs);
      if (isNews()) this.#tell();
    });
  }
}
