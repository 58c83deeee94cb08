/*
 * Keeps one nft table of ours: writes what should be, compares it with what is, repairs. What that is, its owner says
 * (mainTable.ts, guardTable.ts). One operation at a time; every change is one transaction, so that packets never meet
 * half a table.
 */
import { KeyedMutex } from '../base/mutex.ts';
import type { ElementBatch, Kernel, NamespacePath, SetElement } from '../kernel/kernel.ts';
import {
  compareElements,
  describeSkeleton,
  type ElementDifference,
  explainSkeleton,
  hasAllRules,
  planElementChanges,
} from './difference.ts';
import { formatData, formatKey } from './elements.ts';
import { type Listing, readListing } from './nftJson.ts';
import { addressOf, planRemoval, planSkeleton, type TableSkeleton } from './tableSkeleton.ts';

export type TableKernel = Pick<Kernel, 'nft' | 'changeElements'>;

/** What should be in the sets. */
export interface TableContent {
  readonly desired: () => readonly SetElement[];
  /** False until everything that has elements in `set` is known: what an earlier daemon left there stays so long. */
  readonly isKnown: (set: string) => boolean;
}

/**
 * Takes elements to the kernel, along with the object that they are for; false if the kernel refused them, and then
 * nothing was done. Undefined: there is nothing to change. What it throws is about the object.
 */
export type Carrier = (elements: ElementBatch | undefined) => Promise<boolean>;

/** What can be done while nobody else changes the table. */
export interface TableTurn {
  /** Compares and repairs; resolves with a sentence per kind of difference, empty if there was none. */
  sync(): Promise<readonly string[]>;
  /** Writes the skeleton if it is another than it was. */
  setSkeleton(skeleton: TableSkeleton): Promise<void>;
  /**
   * Brings elements from `before` to `after`; `addsAll` adds those too that were there before. A few messages; where
   * the kernel refuses them (somebody flushed the table), a full compare, and then `carry` again with what is left: nothing.
   */
  change(
    before: readonly SetElement[],
    after: readonly SetElement[],
    addsAll?: boolean,
    carry?: Carrier,
  ): Promise<void>;
}

const nothing: Listing = { chains: [], rules: [], sets: [] };
const identify = (element: SetElement): string =>
  `${element.set} ${formatKey(element)} ${formatData(element)}`;

export class TableKeeper {
  readonly #kernel: TableKernel;
  readonly #namespace: NamespacePath;
  readonly #content: TableContent;
  readonly #mutex = new KeyedMutex();
  readonly #turn: TableTurn = {
    sync: () => this.#sync(),
    setSkeleton: (skeleton) => this.#setSkeleton(skeleton),
    change: (before, after, addsAll = false, carry = this.#alone) =>
      this.#change(before, after, addsAll, carry),
  };
  /** Elements without anything that they are for. */
  readonly #alone: Carrier = async (elements) => {
    try {
      if (elements !== undefined) await this.#kernel.changeElements(elements);
      return true;
    } catch {
      return false;
    }
  };
  #skeleton: TableSkeleton;
  /** How the skeleton reads back since we last wrote it; undefined = it must be written. */
  #reference: string | undefined;

  /** `namespace`: where it is, and where `kernel` runs nft. */
  constructor(
    kernel: TableKernel,
    skeleton: TableSkeleton,
    content: TableContent,
    namespace?: NamespacePath,
  ) {
    this.#kernel = kernel;
    this.#namespace = namespace;
    this.#skeleton = skeleton;
    this.#content = content;
  }

  /** `table inet linkspan` */
  get object(): string {
    return `table ${addressOf(this.#skeleton)}`;
  }

  /** `work` is alone with the table. */
  run<T>(work: (turn: TableTurn) => Promise<T>): Promise<T> {
    return this.#mutex.run('table', () => work(this.#turn));
  }

  /** As `TableTurn.sync`. */
  sync(): Promise<readonly string[]> {
    return this.run((turn) => turn.sync());
  }

  /**
   * Writes it where there is none yet, without a look. `reference`: how another table of the same skeleton read back,
   * else it is read. Resolves with that; undefined where somebody has been at it since.
   */
  create(reference: string | undefined): Promise<string | undefined> {
    return this.run(async () => {
      this.#reference = undefined;
      const elements = planElementChanges(this.#skeleton, { missing: this.#content.desired(), extra: [] });
      await this.#kernel.nft([...planSkeleton(this.#skeleton), ...elements].join('\n'));
      this.#reference = reference ?? (await this.#readBack());
      return this.#reference;
    });
  }

  /**
   * Puts what `change` makes (undefined = nothing) where `owners` has something for `id`, and its elements where its
   * elements were: few, whatever others have. They go with `carry`. Undone if they
   * fail; where what they are for fails, they stay, and the caller knows whether to take them back.
   */
  replace<T>(
    owners: Map<string, T>,
    id: string,
    change: () => T | undefined,
    plan: (owner: T) => readonly SetElement[],
    addsAll: boolean,
    carry: Carrier = this.#alone,
  ): Promise<void> {
    const put = (owner: T | undefined): void => {
      if (owner === undefined) owners.delete(id);
      else owners.set(id, owner);
    };
    return this.run(async (turn) => {
      const previous = owners.get(id);
      const next = change();
      const [before, after] = [previous, next].map((owner) => (owner === undefined ? [] : plan(owner)));
      put(next);
      let failure: { readonly error: unknown } | undefined;
      const attempt: Carrier = async (elements) => {
        try {
          return await carry(elements);
        } catch (error) {
          failure = { error };
          return true;
        }
      };
      try {
        await turn.change(before ?? [], after ?? [], addsAll, attempt);
      } catch (error) {
        put(previous);
        throw error;
      }
      if (failure !== undefined) throw failure.error;
    });
  }

  async #setSkeleton(skeleton: TableSkeleton): Promise<void> {
    if (JSON.stringify(skeleton) === JSON.stringify(this.#skeleton)) return;
    this.#skeleton = skeleton;
    this.#reference = undefined;
    await this.#sync();
  }

  async #change(
    before: readonly SetElement[],
    after: readonly SetElement[],
    addsAll: boolean,
    carry: Carrier,
  ): Promise<void> {
    const had = new Set(before.map(identify));
    const has = new Set(after.map(identify));
    const changes: ElementBatch['changes'] = [
      ...before
        .filter((element) => !has.has(identify(element)))
        .map((element) => ({ op: 'destroy' as const, element })),
      ...after
        .filter((element) => addsAll || !had.has(identify(element)))
        .map((element) => ({ op: 'add' as const, element })),
    ];
    const { family, table } = this.#skeleton;
    const batch: ElementBatch = { family, table, namespace: this.#namespace, changes };
    if (await carry(changes.length === 0 ? undefined : batch)) return;
    await this.#sync();
    await carry(undefined);
  }

  async #list(): Promise<Listing> {
    try {
      return readListing(await this.#kernel.nft(`list ${this.object}`, { isJson: true }));
    } catch {
      // No table, or no listing: writing it says more.
      return nothing;
    }
  }

  async #sync(): Promise<readonly string[]> {
    const actual = await this.#list();
    const desired = this.#content.desired();
    const isSkeletonRight =
      this.#reference !== undefined && describeSkeleton(this.#skeleton, actual) === this.#reference;
    const difference = this.#sweepable(compareElements(this.#skeleton, desired, actual));
    const causes = [
      ...(isSkeletonRight ? [] : [explainSkeleton(this.#skeleton, actual)]),
      ...(difference.missing.length > 0 ? [`${difference.missing.length} elements were missing`] : []),
      ...(difference.extra.length > 0 ? [`${difference.extra.length} elements were too many`] : []),
    ];
    if (causes.length === 0) return [];
    await this.#write(actual, desired, difference, isSkeletonRight);
    return causes;
  }

  /** Of sets that we do not know all of yet, only what is in the way of a missing element may go. */
  #sweepable(difference: ElementDifference): ElementDifference {
    const wanted = new Set(difference.missing.map((element) => `${element.set} ${formatKey(element)}`));
    const mayGo = ({ set, key }: ElementDifference['extra'][number]): boolean =>
      this.#content.isKnown(set) || wanted.has(`${set} ${key}`);
    return { ...difference, extra: difference.extra.filter(mayGo) };
  }

  async #write(
    actual: Listing,
    desired: readonly SetElement[],
    difference: ElementDifference,
    isSkeletonRight: boolean,
  ): Promise<void> {
    const skeleton = this.#skeleton;
    const commands = [
      ...(isSkeletonRight ? [] : planSkeleton(skeleton)),
      ...planElementChanges(skeleton, difference),
    ];
    try {
      await this.#kernel.nft(commands.join('\n'));
    } catch {
      // A set or chain of another type is in the way: take ours down and build it anew, still in one transaction.
      const present = {
        chains: actual.chains.map(({ name }) => name),
        sets: actual.sets.map(({ name }) => name),
      };
      const rebuild = [
        ...planRemoval(skeleton, present),
        ...planSkeleton(skeleton),
        ...planElementChanges(skeleton, { missing: desired, extra: [] }),
      ];
      await this.#kernel.nft(rebuild.join('\n'));
      this.#reference = undefined;
    }
    if (!isSkeletonRight || this.#reference === undefined) this.#reference = await this.#readBack();
  }

  /** Somebody may have been at it since we wrote; then the next compare, which the notice of that calls for, writes anew. */
  async #readBack(): Promise<string | undefined> {
    const written = await this.#list();
    return hasAllRules(this.#skeleton, written) ? describeSkeleton(this.#skeleton, written) : undefined;
  }
}
