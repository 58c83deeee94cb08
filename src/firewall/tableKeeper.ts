/*
 * Our nft table: writes what should be, compares it with what is, repairs. Knows nothing of other firewalls.
 * One operation at a time; every change is one transaction, so that packets never meet half a table.
 */
import { KeyedMutex } from '../base/mutex.ts';
import type { ElementBatch, Kernel, SetElement } from '../kernel/kernel.ts';
import type { FirewallBinding } from './binding.ts';
import { bindingSets, planBinding } from './bindingElements.ts';
import {
  compareElements,
  describeSkeleton,
  type ElementDifference,
  explainSkeleton,
  hasAllRules,
  planElementChanges,
} from './difference.ts';
import { formatData, formatKey, planForeignBridge, planNetwork } from './elements.ts';
import type { FirewallNetwork } from './network.ts';
import { type Listing, readListing } from './nftJson.ts';
import { admittedSets, countRules, planRemoval, planSkeleton, type SkeletonOptions } from './skeleton.ts';

type TableKernel = Pick<Kernel, 'nft' | 'changeElements'>;

const nothing: Listing = { chains: [], rules: [], sets: [] };
const identify = (element: SetElement): string =>
  `${element.set} ${formatKey(element)} ${formatData(element)}`;

export class TableKeeper {
  readonly #kernel: TableKernel;
  readonly #mutex = new KeyedMutex();
  readonly #networks = new Map<string, FirewallNetwork>();
  readonly #bridges = new Set<string>();
  /** By owner: a container. */
  readonly #bindings = new Map<string, readonly FirewallBinding[]>();
  #options: SkeletonOptions;
  /** How the skeleton reads back since we last wrote it; undefined = it must be written. */
  #reference: string | undefined;
  /** False until the first full `apply`: elements of an earlier run stay until we know all networks. */
  #knowsNetworks = false;
  /** The same for bindings, which are known later: published ports must go on through a restart. */
  #knowsBindings = false;

  constructor(kernel: TableKernel, options: SkeletonOptions) {
    this.#kernel = kernel;
    this.#options = options;
  }

  get networks(): readonly FirewallNetwork[] {
    return [...this.#networks.values()];
  }

  get options(): SkeletonOptions {
    return this.#options;
  }

  /** Compares and repairs; resolves with a sentence per kind of difference, empty if there was none. */
  sync(): Promise<readonly string[]> {
    return this.#mutex.run('table', () => this.#sync());
  }

  /** Changes what the skeleton depends on, and writes it if it changed. */
  setOptions(change: Partial<Omit<SkeletonOptions, 'table'>>): Promise<void> {
    return this.#mutex.run('table', async () => {
      const next = { ...this.#options, ...change };
      if (JSON.stringify(next) === JSON.stringify(this.#options)) return;
      this.#options = next;
      this.#reference = undefined;
      await this.#sync();
    });
  }

  /** All networks there are: others are swept. */
  apply(networks: readonly FirewallNetwork[]): Promise<readonly string[]> {
    return this.#mutex.run('table', () => {
      this.#networks.clear();
      for (const network of networks) this.#networks.set(network.id, network);
      this.#knowsNetworks = true;
      return this.#sync();
    });
  }

  /** Adds or changes one network: a few elements, whatever the number of networks. Undone if it fails. */
  addNetwork(network: FirewallNetwork): Promise<void> {
    return this.#mutex.run('table', () => this.#replace(network.id, network));
  }

  /** Success if it is not there. */
  removeNetwork(id: string): Promise<void> {
    return this.#mutex.run('table', () => this.#replace(id, undefined));
  }

  /** All bindings there are, by owner: others are swept. */
  applyBindings(bindings: ReadonlyMap<string, readonly FirewallBinding[]>): Promise<readonly string[]> {
    return this.#mutex.run('table', () => {
      this.#bindings.clear();
      for (const [owner, some] of bindings) this.#bindings.set(owner, some);
      this.#knowsBindings = true;
      return this.#sync();
    });
  }

  /** What `owner` publishes from now on: a few elements, whatever others publish. Undone if it fails. */
  setBindings(owner: string, bindings: readonly FirewallBinding[]): Promise<void> {
    return this.#mutex.run('table', async () => {
      const previous = this.#bindings.get(owner);
      this.#keepBindings(owner, bindings);
      try {
        await this.#changeOrSync(this.#planBindings(previous ?? []), this.#planBindings(bindings), false);
      } catch (error) {
        this.#keepBindings(owner, previous ?? []);
        throw error;
      }
    });
  }

  /** Clients that the host's INPUT rules let pass are asked again: those rules may have changed. */
  forgetAdmitted(): Promise<void> {
    return this.#mutex.run('table', async () => {
      if (!this.#options.asksHost) return;
      const { table } = this.#options;
      await this.#kernel.nft(admittedSets.map((name) => `flush set inet ${table} ${name}`).join('\n'));
    });
  }

  /** Tells that a bridge device exists or does not; foreign ones matter to the guard. */
  setBridge(name: string, exists: boolean): Promise<void> {
    return this.#mutex.run('table', async () => {
      if (this.#bridges.has(name) === exists) return;
      const before = this.#desired();
      if (exists) this.#bridges.add(name);
      else this.#bridges.delete(name);
      await this.#change(before);
    });
  }

  #keepBindings(owner: string, bindings: readonly FirewallBinding[]): void {
    if (bindings.length === 0) this.#bindings.delete(owner);
    else this.#bindings.set(owner, bindings);
  }

  #planBindings(bindings: readonly FirewallBinding[]): readonly SetElement[] {
    return bindings.flatMap((binding) => planBinding(binding, this.#options.asksHost));
  }

  #desired(): readonly SetElement[] {
    const ours = new Set(this.networks.map(({ bridge }) => bridge));
    const foreign = [...this.#bridges].filter((name) => !ours.has(name));
    const isGuarded = this.#options.guardedFamilies.length > 0;
    return [
      ...this.networks.flatMap(planNetwork),
      ...foreign.flatMap((name) => planForeignBridge(name, isGuarded)),
      ...[...this.#bindings.values()].flatMap((some) => this.#planBindings(some)),
    ];
  }

  async #replace(id: string, next: FirewallNetwork | undefined): Promise<void> {
    const previous = this.#networks.get(id);
    const before = previous === undefined ? [] : planNetwork(previous);
    if (next === undefined) this.#networks.delete(id);
    else this.#networks.set(id, next);
    try {
      await this.#changeOrSync(before, next === undefined ? [] : planNetwork(next), next !== undefined);
    } catch (error) {
      if (previous === undefined) this.#networks.delete(id);
      else this.#networks.set(id, previous);
      throw error;
    }
  }

  #change(before: readonly SetElement[]): Promise<void> {
    return this.#changeOrSync(before, this.#desired(), false);
  }

  /** By raw elements; where the kernel refuses (somebody flushed the table), by a full compare. */
  async #changeOrSync(
    before: readonly SetElement[],
    after: readonly SetElement[],
    addsAll: boolean,
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
    if (changes.length === 0) return;
    try {
      await this.#kernel.changeElements({ family: 'inet', table: this.#options.table, changes });
    } catch {
      await this.#sync();
    }
  }

  async #list(): Promise<Listing> {
    try {
      return readListing(await this.#kernel.nft(`list table inet ${this.#options.table}`, { isJson: true }));
    } catch {
      // No table, or no listing: writing it says more.
      return nothing;
    }
  }

  async #sync(): Promise<readonly string[]> {
    const actual = await this.#list();
    const desired = this.#desired();
    const isSkeletonRight = this.#reference !== undefined && describeSkeleton(actual) === this.#reference;
    const difference = this.#sweepable(compareElements(desired, actual));
    const causes = [
      ...(isSkeletonRight ? [] : [explainSkeleton(actual)]),
      ...(difference.missing.length > 0 ? [`${difference.missing.length} elements were missing`] : []),
      ...(difference.extra.length > 0 ? [`${difference.extra.length} elements were too many`] : []),
    ];
    if (causes.length === 0) return [];
    await this.#write(actual, desired, difference, isSkeletonRight);
    return causes;
  }

  /** Until all networks (or bindings) are known, only what is in the way of a missing element of theirs may go. */
  #sweepable(difference: ElementDifference): ElementDifference {
    const wanted = new Set(difference.missing.map((element) => `${element.set} ${formatKey(element)}`));
    const mayGo = ({ set, key }: ElementDifference['extra'][number]): boolean =>
      (bindingSets.has(set) ? this.#knowsBindings : this.#knowsNetworks) || wanted.has(`${set} ${key}`);
    return { ...difference, extra: difference.extra.filter(mayGo) };
  }

  async #write(
    actual: Listing,
    desired: readonly SetElement[],
    difference: ElementDifference,
    isSkeletonRight: boolean,
  ): Promise<void> {
    const { table } = this.#options;
    const commands = [
      ...(isSkeletonRight ? [] : planSkeleton(this.#options)),
      ...planElementChanges(table, difference),
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
        ...planRemoval(table, present),
        ...planSkeleton(this.#options),
        ...planElementChanges(table, { missing: desired, extra: [] }),
      ];
      await this.#kernel.nft(rebuild.join('\n'));
      this.#reference = undefined;
    }
    if (isSkeletonRight && this.#reference !== undefined) return;
    const written = await this.#list();
    // Somebody may have been at it since we wrote; then the next compare, which the notice of that calls for, writes anew.
    this.#reference = hasAllRules(written, countRules(this.#options)) ? describeSkeleton(written) : undefined;
  }
}
