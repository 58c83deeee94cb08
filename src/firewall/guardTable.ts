/*
 * The table `bridge linkspan`: keeps what endpointGuard.ts plans. A kernel or libnftables that cannot have it is no
 * failure: containers then run unchecked, and `lack` says why.
 */
import { KernelError, type NamespacePath, type SetElement } from '../kernel/kernel.ts';
import { type GuardedEndpoint, type GuardPlace, guardSkeleton, planEndpoints } from './endpointGuard.ts';
import { type Carrier, type TableContent, TableKeeper, type TableKernel } from './tableKeeper.ts';
import type { TableSkeleton } from './tableSkeleton.ts';

/** No family bridge, no such chain type, or rules that libnftables or the kernel does not understand. */
const lacks: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'EAFNOSUPPORT', 'ENOENT', 'EINVAL']);

const isLack = (error: unknown): error is KernelError =>
  error instanceof KernelError && lacks.has(error.code);

export class GuardTable {
  readonly #keeper: TableKeeper;
  readonly #plan: (endpoints: readonly GuardedEndpoint[]) => readonly SetElement[];
  readonly #table: string;
  readonly #place: GuardPlace;
  /** By owner. */
  readonly #endpoints = new Map<string, readonly GuardedEndpoint[]>();
  /** By link. */
  readonly #owners = new Map<string, string>();
  /** False until `apply`: endpoints of an earlier run stay guarded until we know them. */
  #knowsEndpoints = false;
  #lack: string | undefined;
  /** True once it is known that this kernel or libnftables has no `notrack` here. */
  #alwaysTracks = false;

  /** `namespace`: where it is, and where `kernel` runs nft. */
  constructor(kernel: TableKernel, table: string, place: GuardPlace, namespace?: NamespacePath) {
    this.#table = table;
    this.#place = place;
    this.#plan = (endpoints) => planEndpoints(endpoints, place);
    const content: TableContent = {
      desired: () => [...this.#endpoints.values()].flatMap(this.#plan),
      isKnown: () => this.#knowsEndpoints,
    };
    this.#keeper = new TableKeeper(kernel, this.#skeleton(false), content, namespace);
  }

  #skeleton(skipsTracking: boolean): TableSkeleton {
    return guardSkeleton({ table: this.#table, place: this.#place, skipsTracking });
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

  /** Whether frames between endpoints pass untracked from now on. Writes the table if that is new, and where it can be. */
  async skipTracking(isWanted: boolean): Promise<void> {
    if (this.#lack !== undefined) return;
    const write = (skips: boolean): Promise<void> =>
      this.#keeper.run((turn) => turn.setSkeleton(this.#skeleton(skips)));
    try {
      await write(isWanted && !this.#alwaysTracks);
    } catch (error) {
      if (!isWanted || !isLack(error)) throw error;
      this.#alwaysTracks = true;
      // What is missing without it, the next compare says.
      await this.#attempt(() => write(false));
    }
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      const done = await work();
      this.#lack = undefined;
      return done;
    } catch (error) {
      if (!isLack(error)) throw error;
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
      return await this.#keeper.replace(this.#endpoints, owner, next, this.#plan, true, carry);
    await carry?.(undefined);
    // For the day when a compare finds that the kernel has it after all.
    const endpoints = next();
    if (endpoints === undefined) this.#endpoints.delete(owner);
    else this.#endpoints.set(owner, endpoints);
  }
}
