/*
 * What endpoints of overlay networks may send: in the namespace of each network that checks sources, the table that
 * bridges have on the host (firewall/endpointGuard.ts), with the elements of the network's endpoints on this host. What
 * comes out of the tunnel was checked where it went in, and passes.
 */
import type { GuardedEndpoint } from '../../firewall/endpointGuard.ts';
import { GuardTable } from '../../firewall/guardTable.ts';
import type { ElementBatch, Kernel } from '../../kernel/kernel.ts';
import type { DriverEndpoint, DriverNetwork } from '../interface.ts';
import { parseOverlayOptions } from './options.ts';

/** Of each namespace, which has none but ours. */
const table = 'linkspan';

export interface SourceGuardsDependencies {
  readonly kernel: Pick<Kernel, 'nft' | 'changeElements' | 'hasNamespace'>;
  /** Of the network's namespace. */
  readonly pathOf: (networkId: string) => string;
  /** Of the end of the endpoint's pair that is in there. */
  readonly linkOf: (endpoint: Pick<DriverEndpoint, 'id'>) => string;
}

export class SourceGuards {
  readonly #deps: SourceGuardsDependencies;
  /** By network; a namespace that is made again gets what was in the one before. */
  readonly #tables = new Map<string, GuardTable>();
  /** How a table of ours reads back before it has elements: the same in each namespace. */
  #reference: string | undefined;

  constructor(deps: SourceGuardsDependencies) {
    this.#deps = deps;
  }

  /** In a namespace of just now. */
  async create(network: DriverNetwork): Promise<void> {
    if (!parseOverlayOptions(network).checksSources) return;
    this.#reference = await this.#tableOf(network).create(this.#reference);
  }

  /** In one that was there. Resolves with a sentence for what was missing. */
  async repair(network: DriverNetwork): Promise<readonly string[]> {
    if (!parseOverlayOptions(network).checksSources) return [];
    const causes = await this.#tableOf(network).sync();
    return causes.map((cause) => `${table} of network ${network.name}: ${cause}`);
  }

  /** These are all endpoints of this host: what an earlier daemon left of others goes. */
  async apply(network: DriverNetwork, endpoints: readonly DriverEndpoint[]): Promise<void> {
    if (parseOverlayOptions(network).checksSources)
      await this.#tableOf(network).apply(endpoints.map((one) => this.#guarded(one)));
  }

  /** `make` makes the pair, along with `elements`, or false and nothing done; see GuardTable.add. */
  async add(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    make: (elements: ElementBatch | undefined) => Promise<boolean>,
  ): Promise<void> {
    if (parseOverlayOptions(network).checksSources)
      await this.#tableOf(network).add(this.#guarded(endpoint), make);
    else await make(undefined);
  }

  /** Once its pair is gone. Success if it is not there. */
  async remove({ id }: Pick<DriverNetwork, 'id'>, endpoint: Pick<DriverEndpoint, 'id'>): Promise<void> {
    try {
      await this.#tables.get(id)?.remove(this.#deps.linkOf(endpoint));
    } catch (error) {
      if (await this.#deps.kernel.hasNamespace(this.#deps.pathOf(id))) throw error;
    }
  }

  /** The namespace goes, and everything in it. */
  drop({ id }: Pick<DriverNetwork, 'id'>): void {
    this.#tables.delete(id);
  }

  #tableOf({ id }: DriverNetwork): GuardTable {
    const found = this.#tables.get(id);
    if (found !== undefined) return found;
    const { kernel, pathOf } = this.#deps;
    const namespace = pathOf(id);
    const made = new GuardTable(
      {
        nft: (commands, options) => kernel.nft(commands, { ...options, namespace }),
        changeElements: (batch) => kernel.changeElements(batch),
      },
      table,
      'overlay',
      namespace,
    );
    this.#tables.set(id, made);
    return made;
  }

  #guarded({ id, mac, addresses, containerId: owner }: DriverEndpoint): GuardedEndpoint {
    const link = this.#deps.linkOf({ id });
    return { link, owner, mac, addresses: addresses.map(({ ip }) => ip), isChecked: true };
  }
}
