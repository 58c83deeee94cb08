/*
 * The table `bridge linkspan`: keeps what endpointGuard.ts plans. A kernel or libnftables that cannot have it is no
 * failure: containers then run unchecked, and `lack` says why.
 */
import { KernelError } from '../kernel/kernel.ts';
import { type GuardedEndpoint, guardSkeleton, planEndpoint } from './endpointGuard.ts';
import { TableKeeper, type TableKernel } from './tableKeeper.ts';

/** No family bridge, no such chain type, or rules that libnftables or the kernel does not understand. */
const lacks: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'EAFNOSUPPORT', 'ENOENT', 'EINVAL']);

export class GuardTable {
  readonly #keeper: TableKeeper;
  /** By link. */
  readonly #endpoints = new Map<string, GuardedEndpoint>();
  /** False until `apply`: endpoints of an earlier run stay guarded until we know them. */
  #knowsEndpoints = false;
  #lack: string | undefined;

  constructor(kernel: TableKernel, table: string) {
    this.#keeper = new TableKeeper(kernel, guardSkeleton(table), {
      desired: () => [...this.#endpoints.values()].flatMap(planEndpoint),
      isKnown: () => this.#knowsEndpoints,
    });
  }

  /** `table bridge linkspan` */
  get object(): string {
    return this.#keeper.object;
  }

  /** Why there can be no such table here; undefined where it is kept. */
  get lack(): string | undefined {
    return this.#lack;
  }

  /** Compares and repairs; resolves with a sentence per kind of difference, empty if there was none. */
  async sync(): Promise<readonly string[]> {
    try {
      const causes = await this.#keeper.sync();
      this.#lack = undefined;
      return causes;
    } catch (error) {
      if (!(error instanceof KernelError) || !lacks.has(error.code)) throw error;
      this.#lack = error.message;
      return [];
    }
  }

  /** All endpoints there are: others are swept. */
  async apply(endpoints: readonly GuardedEndpoint[]): Promise<void> {
    await this.#keeper.run(() => {
      this.#endpoints.clear();
      for (const endpoint of endpoints) this.#endpoints.set(endpoint.link, endpoint);
      this.#knowsEndpoints = true;
      return Promise.resolve();
    });
    await this.sync();
  }

  /** Adds or changes one: a few elements in one transaction. Undone if it fails. */
  add(endpoint: GuardedEndpoint): Promise<void> {
    return this.#replace(endpoint.link, endpoint);
  }

  /** Success if it is not there. */
  remove(link: string): Promise<void> {
    return this.#replace(link, undefined);
  }

  async #replace(link: string, next: GuardedEndpoint | undefined): Promise<void> {
    if (this.#lack === undefined)
      return await this.#keeper.replace(this.#endpoints, link, next, planEndpoint, true);
    // For the day when a compare finds that the kernel has it after all.
    if (next === undefined) this.#endpoints.delete(link);
    else this.#endpoints.set(link, next);
  }
}
