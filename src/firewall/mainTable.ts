/*
 * The table `inet linkspan`: what networks, foreign bridges and published ports put into it. Knows nothing of other
 * firewalls, and of endpoints only that they are somebody else's matter (guardTable.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import type { SetElement } from '../kernel/kernel.ts';
import type { FirewallBinding } from './binding.ts';
import { bindingSets, planBinding } from './bindingElements.ts';
import { planForeignBridge, planNetwork } from './elements.ts';
import type { FirewallNetwork } from './network.ts';
import { admittedSets, mainSkeleton, type SkeletonOptions } from './skeleton.ts';
import { type Carrier, TableKeeper, type TableKernel } from './tableKeeper.ts';

export class MainTable {
  readonly #kernel: TableKernel;
  readonly #keeper: TableKeeper;
  readonly #networks = new Map<string, FirewallNetwork>();
  readonly #bridges = new Set<string>();
  /** By owner: a container. */
  readonly #bindings = new Map<string, readonly FirewallBinding[]>();
  #options: SkeletonOptions;
  /** False until the first full `apply`: elements of an earlier run stay until we know all networks. */
  #knowsNetworks = false;
  /** The same for bindings, which are known later: published ports must go on through a restart. */
  #knowsBindings = false;

  constructor(kernel: TableKernel, options: SkeletonOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.#keeper = new TableKeeper(kernel, mainSkeleton(options), {
      desired: () => this.#desired(),
      isKnown: (set) => (bindingSets.has(set) ? this.#knowsBindings : this.#knowsNetworks),
    });
  }

  get networks(): readonly FirewallNetwork[] {
    return [...this.#networks.values()];
  }

  /** `table inet linkspan` */
  get object(): string {
    return this.#keeper.object;
  }

  /** Compares and repairs; resolves with a sentence per kind of difference, empty if there was none. */
  sync(): Promise<readonly string[]> {
    return this.#keeper.sync();
  }

  /** Changes what the skeleton depends on, and writes it if it changed. */
  setOptions(change: Partial<Omit<SkeletonOptions, 'table'>>): Promise<void> {
    return this.#keeper.run(async (turn) => {
      const options = { ...this.#options, ...change };
      if (isDeepStrictEqual(options, this.#options)) return;
      this.#options = options;
      await turn.setSkeleton(mainSkeleton(this.#options));
    });
  }

  /** All networks there are: others are swept. */
  apply(networks: readonly FirewallNetwork[]): Promise<readonly string[]> {
    return this.#keeper.run((turn) => {
      this.#networks.clear();
      for (const network of networks) this.#networks.set(network.id, network);
      this.#knowsNetworks = true;
      return turn.sync();
    });
  }

  /** Adds or changes one network: a few elements, whatever the number of networks, which go with `carry`. Undone if it fails. */
  addNetwork(network: FirewallNetwork, carry?: Carrier): Promise<void> {
    return this.#keeper.replace(this.#networks, network.id, () => network, planNetwork, true, carry);
  }

  /** Success if it is not there. */
  removeNetwork(id: string): Promise<void> {
    return this.#keeper.replace(this.#networks, id, () => undefined, planNetwork, false);
  }

  /** All bindings there are, by owner: others are swept. */
  applyBindings(bindings: ReadonlyMap<string, readonly FirewallBinding[]>): Promise<readonly string[]> {
    return this.#keeper.run((turn) => {
      this.#bindings.clear();
      for (const [owner, some] of bindings) this.#bindings.set(owner, some);
      this.#knowsBindings = true;
      return turn.sync();
    });
  }

  /** What `owner` publishes from now on: a few elements, whatever others publish. Undone if it fails. */
  setBindings(owner: string, bindings: readonly FirewallBinding[]): Promise<void> {
    const next = bindings.length === 0 ? undefined : bindings;
    return this.#keeper.replace(
      this.#bindings,
      owner,
      () => next,
      (some) => this.#planBindings(some),
      false,
    );
  }

  /** Clients that the host's INPUT rules let pass are asked again: those rules may have changed. */
  forgetAdmitted(): Promise<void> {
    return this.#keeper.run(async () => {
      if (!this.#options.asksHost) return;
      const { table } = this.#options;
      await this.#kernel.nft(admittedSets.map((name) => `flush set inet ${table} ${name}`).join('\n'));
    });
  }

  /** Tells that a bridge device exists or does not; foreign ones matter to the guard. */
  setBridge(name: string, exists: boolean): Promise<void> {
    return this.#keeper.run(async (turn) => {
      if (this.#bridges.has(name) === exists) return;
      const before = this.#planForeign(name);
      if (exists) this.#bridges.add(name);
      else this.#bridges.delete(name);
      await turn.change(before, this.#planForeign(name));
    });
  }

  /** What a bridge that is none of our networks' needs; nothing if it is one, or not there. */
  #planForeign(name: string): readonly SetElement[] {
    const isForeign = this.#bridges.has(name) && !this.networks.some(({ bridge }) => bridge === name);
    return isForeign ? planForeignBridge(name, this.#options.guardedFamilies.length > 0) : [];
  }

  #planBindings(bindings: readonly FirewallBinding[]): readonly SetElement[] {
    return bindings.flatMap((binding) => planBinding(binding, this.#options.asksHost));
  }

  #desired(): readonly SetElement[] {
    return [
      ...this.networks.flatMap(planNetwork),
      ...[...this.#bridges].flatMap((name) => this.#planForeign(name)),
      ...[...this.#bindings.values()].flatMap((some) => this.#planBindings(some)),
    ];
  }
}
