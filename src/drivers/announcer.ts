/*
 * Tells the neighbours of a new endpoint its MAC: peers may remember another one for the address, of a container that
 * had it before. Repeated, because the first message may fall to a port that is not forwarding yet. Nobody waits for
 * it, what fails is not tried again, and what is still to be said ends with the endpoint.
 */
import type { Logger } from '../base/logger.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { DriverEndpoint } from './interface.ts';

export interface Announcements {
  readonly count: number;
  readonly intervalMs: number;
}

export class Announcer {
  readonly #kernel: Pick<Kernel, 'announce'>;
  readonly #logger: Logger;
  /** Messages to come, by endpoint. */
  readonly #timers = new Map<string, readonly NodeJS.Timeout[]>();

  constructor(kernel: Pick<Kernel, 'announce'>, logger: Logger) {
    this.#kernel = kernel;
    this.#logger = logger;
  }

  begin(endpoint: DriverEndpoint, sandboxPath: string, { count, intervalMs }: Announcements): void {
    const timers = Array.from({ length: count }, (_, i) =>
      setTimeout(() => {
        if (i === count - 1) this.#timers.delete(endpoint.id);
        this.#announce(endpoint, sandboxPath);
      }, i * intervalMs).unref(),
    );
    if (count > 0) this.#timers.set(endpoint.id, timers);
  }

  /** Nothing more is said of the endpoint. Success if nothing was to be. */
  end(endpointId: string): void {
    for (const timer of this.#timers.get(endpointId) ?? []) clearTimeout(timer);
    this.#timers.delete(endpointId);
  }

  #announce({ id, interfaceName, mac, addresses }: DriverEndpoint, sandboxPath: string): void {
    for (const { ip } of addresses)
      this.#kernel.announce(interfaceName, mac, ip, sandboxPath).catch((error: unknown) => {
        this.#logger.debug({ endpoint: id, err: error }, 'could not announce an address');
      });
  }
}
