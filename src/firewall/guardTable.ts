/*
 * The table `bridge linkspan`: keeps what endpointGuard.ts plans. A kernel or libnftables that cannot have it is no
 * failure: containers then run unchecked, and `lack` says why.
 */
import { KernelError, type NamespacePath } from '../kernel/kernel.ts';
import { type GuardedEndpoint, guardSkeleton, planEndpoints } from './endpointGuard.ts';
import { type Carrier, type TableContent, TableKeeper, type TableKernel } from './tableKeeper.ts';

/** No family bridge, no such chain type, or rules that libnftables or the kernel does not understand. */
const lacks: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'EAFNOSUPPORT', 'ENOENT', 'EINVAL']);

export class GuardTable {
  readonly #keeper: TableKeeper;
  /** By owner. */
  readonly #endpoints = new Map<string, readonly GuardedEndpoint[]>();
  /** By link. */
  readonly #owners = new Map<string, string>();
  /** False until `apply`: endpoints of an earlier run stay guarded until we know them. */
  #knowsEndpoints = false;
  #lack: string | undefined;

  /** `namespace`: where it is, and where `kernel` runs nft. */
  constructor(kernel: TableKernel, table: string, namespace?: NamespacePath) {
    const content: TableContent = {
      desired: () => [...this.#endpoints.values()].flatMap(planEndpoints),
      isKnown: () => this.#knowsEndpoints,
    };
    this.#keeper = new TableKeeper(kernel, guardSkeleton(table), content, namespace);
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
    return (await this.#attempt(() => this.#keeper.sync())) ?? [];
  }

  /** As TableKeeper.create. */
  async create(reference: string | undefined): Promise<string | undefined> {
    return await this.#attempt(() => this.#keeper.create(reference));
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work();
      this.#lack = undefined;
      return done;
    } catch (error) {
      if (!(error instanceof KernelError) || !lacks.has(error.code)) throw error;
      this.#lack = error.message;
      return undefined;
    }
  }

  /** All endpoints there are: others are swept. */
  async apply(endpoints: readonly GuardedEndpoint[]): Promise<void> {
    await this.#keeper.run(() => {
      this.#endpoints.clear();
      this.#owners.clear();
      for (const endpoint of endpoints) {
        this.#endpoints.set(endpoint.owner, [...(this.#endpoints.get(endpoint.owner) ?? []), endpoint]);
        this.#owners.set(endpoint.link, endpoint.owner);
      }
      this.#knowsEndpoints = true;
      return Promise.resolve();
    });
    await this.sync();
  }

  /** Adds or changes one: a few elements in one transaction, which go with `carry`. Undone if it fails. */
  async add(endpoint: GuardedEndpoint, carry?: Carrier): Promise<void> {
    const { link, owner } = endpoint;
    const next = (others: readonly GuardedEndpoint[]): readonly GuardedEndpoint[] => [
      ...others.filter((other) => other.link !== link),
      endpoint,
    ];
    // Before, for who takes it back when `carry` fails.
    this.#owners.set(link, owner);
    await this.#replace(owner, next, carry);
  }

  /** Success if it is not there. */
  async remove(link: string): Promise<void> {
    const owner = this.#owners.get(link);
    if (owner === undefined) return;
    await this.#replace(owner, (others) => others.filter((other) => other.link !== link));
    this.#owners.delete(link);
  }

  async #replace(
    owner: string,
    change: (endpoints: readonly GuardedEndpoint[]) => readonly GuardedEndpoint[],
    carry?: Carrier,
  ): Promise<void> {
    const next = (): readonly GuardedEndpoint[] | undefined => {
      const endpoints = change(this.#endpoints.get(owner) ?? []);
      return endpoints.length === 0 ? undefined : endpoints;
    };
    if (this.#lack === undefined)
      return await this.#keeper.replace(this.#endpoints, owner, next, planEndpoints, true, carry);
    await carry?.(undefined);
    // For the day when a compare finds that the kernel has it after all.
    const endpoints = next();
    if (endpoints === undefined) this.#endpoints.delete(owner);
    else this.#endpoints.set(owner, endpoints);
  }
}
