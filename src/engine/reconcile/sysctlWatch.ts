/*
 * Keeps the kernel telling of writes to the parameters of networks' links, and knows which network a write does harm
 * to. A link that is made again has parameters of its own, so that their watch is renewed then. Repairs nothing.
 */
import type { Logger } from '../../base/logger.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { Kernel, KernelEvents, Sysctl } from '../../kernel/kernel.ts';
import type { Network, NetworkId } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import type { NetworkTable } from '../networks/networkTable.ts';

export interface SysctlWatchDependencies {
  readonly table: NetworkTable;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: Pick<Kernel, 'watchSysctls'>;
  readonly logger: Logger;
}

export class SysctlWatch implements Disposable {
  readonly #deps: SysctlWatchDependencies;
  /** By key. */
  readonly #wanted = new Map<string, { readonly id: NetworkId; readonly value: string }>();
  /** Links that stand for networks with parameters, by name, with the number that they had when last seen. */
  readonly #links = new Map<string, { readonly id: NetworkId; readonly ifindex: number | undefined }>();
  readonly #listener: Disposable;

  constructor(deps: SysctlWatchDependencies) {
    this.#deps = deps;
    this.#listener = deps.table.events.on('network', ({ before, after }) => this.#note(before, after));
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }

  /** Watches what all networks have now, whatever was watched before. */
  renew(): void {
    for (const network of this.#deps.table.networks) this.#note(network, network);
  }

  ofLink({ action, link: { name, ifindex } }: KernelEvents['link']): void {
    const known = this.#links.get(name);
    if (known === undefined || action === 'del' || known.ifindex === ifindex) return;
    this.#links.set(name, { id: known.id, ifindex });
    const network = this.#deps.table.find(known.id);
    if (network !== undefined) this.#watch(network.id, this.#sysctlsOf(network));
  }

  /** The network that a write did harm to. */
  ofSysctl({ key, value }: KernelEvents['sysctl']): NetworkId | undefined {
    const wanted = this.#wanted.get(key);
    return wanted === undefined || wanted.value === value ? undefined : wanted.id;
  }

  #note(before: Network | undefined, after: Network | undefined): void {
    const [old, sysctls] = [this.#sysctlsOf(before), this.#sysctlsOf(after)];
    for (const { key } of old) this.#wanted.delete(key);
    const [oldLink, link] = [this.#linkOf(before), this.#linkOf(after)];
    if (oldLink !== undefined && oldLink !== link) this.#links.delete(oldLink);
    const id = after?.id ?? before?.id;
    if (id === undefined || (old.length === 0 && sysctls.length === 0)) return;
    for (const { key, value } of sysctls) this.#wanted.set(key, { id, value });
    if (link !== undefined) this.#links.set(link, { id, ifindex: this.#links.get(link)?.ifindex });
    this.#watch(id, sysctls);
  }

  #sysctlsOf(network: Network | undefined): readonly Sysctl[] {
    if (network?.state !== 'ready') return [];
    return this.#deps.drivers.get(network.driver)?.sysctlsOf?.(toDriverNetwork(network)) ?? [];
  }

  #linkOf(network: Network | undefined): string | undefined {
    if (network?.state !== 'ready') return undefined;
    return this.#deps.drivers.get(network.driver)?.linkOf(toDriverNetwork(network));
  }

  #watch(id: NetworkId, sysctls: readonly Sysctl[]): void {
    const keys = sysctls.map(({ key }) => key);
    this.#deps.kernel.watchSysctls(`network ${id}`, keys).catch((error: unknown) => {
      this.#deps.logger.warn({ network: id, err: error }, 'kernel parameters are looked at by compares only');
    });
  }
}
