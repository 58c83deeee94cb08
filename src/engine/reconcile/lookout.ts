/*
 * Which notices of the kernel are about something of ours that may have come to harm. Constant work per notice: tables
 * from link names and numbers to networks and endpoints, kept up to date by the records' events. Looks at nothing.
 */
import type { Driver } from '../../drivers/interface.ts';
import type { KernelEvents, Link } from '../../kernel/kernel.ts';
import type { ContainerId, Endpoint, EndpointId, Network, NetworkId } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import type { NetworkTable } from '../networks/networkTable.ts';

export type Subject =
  | { readonly type: 'network'; readonly id: NetworkId }
  | { readonly type: 'endpoint'; readonly id: EndpointId; readonly containerId: ContainerId };

/** A pair's host end as it should be. */
interface Port {
  readonly endpointId: EndpointId;
  readonly networkId: NetworkId;
  readonly containerId: ContainerId;
}

export class Lookout implements Disposable {
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #listeners = new DisposableStack();
  /** Links that stand for networks, by name. */
  readonly #networks = new Map<string, NetworkId>();
  /** Host ends, by name. */
  readonly #ports = new Map<string, Port>();
  /** Names that our links had when they were last seen, by ifindex: a rename shows. */
  readonly #names = new Map<number, string>();
  readonly #ifindexes = new Map<string, number>();
  /** Host ends by the number of the namespace that they lead into. */
  readonly #byNamespace = new Map<number, Set<string>>();
  readonly #namespaces = new Map<string, number>();

  constructor(table: NetworkTable, drivers: ReadonlyMap<string, Driver>) {
    this.#drivers = drivers;
    for (const network of table.networks) this.#noteNetwork(undefined, network);
    for (const endpoint of table.endpoints) this.#noteEndpoint(undefined, endpoint);
    this.#listeners.use(table.events.on('network', ({ before, after }) => this.#noteNetwork(before, after)));
    this.#listeners.use(
      table.events.on('endpoint', ({ before, after }) => this.#noteEndpoint(before, after)),
    );
  }

  [Symbol.dispose](): void {
    this.#listeners.dispose();
  }

  /** Takes in links as they are, so that later notices can be told from them. */
  note(links: readonly Link[]): void {
    for (const link of links) if (this.#isOurs(link.name)) this.#noteLink(link);
  }

  ofLink({ action, link }: KernelEvents['link']): Subject | undefined {
    const known = this.#names.get(link.ifindex);
    if (known !== undefined && known !== link.name) {
      this.#forget(link.ifindex, known);
      return this.#subjectOf(known);
    }
    if (!this.#isOurs(link.name)) return undefined;
    if (action === 'del') {
      this.#forget(link.ifindex, link.name);
      return this.#subjectOf(link.name);
    }
    this.#noteLink(link);
    return this.#isSound(link) ? undefined : this.#subjectOf(link.name);
  }

  ofAddress({ action, address }: KernelEvents['address']): Subject | undefined {
    return action === 'del' ? this.#ofIfindex(address.ifindex) : undefined;
  }

  ofRoute({ action, route }: KernelEvents['route']): Subject | undefined {
    return action === 'del' && route.ifindex !== undefined ? this.#ofIfindex(route.ifindex) : undefined;
  }

  ofFarLoss({ namespaceId }: KernelEvents['farLoss']): readonly Subject[] {
    const names = this.#byNamespace.get(namespaceId) ?? [];
    return [...names].flatMap((name) => this.#subjectOf(name) ?? []);
  }

  #isOurs(name: string): boolean {
    return this.#networks.has(name) || this.#ports.has(name);
  }

  #subjectOf(name: string): Subject | undefined {
    const network = this.#networks.get(name);
    if (network !== undefined) return { type: 'network', id: network };
    const port = this.#ports.get(name);
    if (port === undefined) return undefined;
    return { type: 'endpoint', id: port.endpointId, containerId: port.containerId };
  }

  #ofIfindex(ifindex: number): Subject | undefined {
    const name = this.#names.get(ifindex);
    return name === undefined ? undefined : this.#subjectOf(name);
  }

  #noteLink({ ifindex, name, peerNamespaceId }: Link): void {
    this.#names.set(ifindex, name);
    this.#ifindexes.set(name, ifindex);
    if (peerNamespaceId === undefined || !this.#ports.has(name)) return;
    const names = this.#byNamespace.get(peerNamespaceId) ?? new Set();
    this.#byNamespace.set(peerNamespaceId, names.add(name));
    this.#namespaces.set(name, peerNamespaceId);
  }

  #forget(ifindex: number, name: string): void {
    this.#names.delete(ifindex);
    const namespaceId = this.#namespaces.get(name);
    this.#namespaces.delete(name);
    const siblings = namespaceId === undefined ? undefined : this.#byNamespace.get(namespaceId);
    if (siblings?.delete(name) === true && siblings.size === 0 && namespaceId !== undefined)
      this.#byNamespace.delete(namespaceId);
    if (this.#ifindexes.get(name) === ifindex) this.#ifindexes.delete(name);
  }

  /** As far as the notice tells: up, and a port is in its bridge. */
  #isSound({ name, isUp, master }: Link): boolean {
    if (!isUp) return false;
    const port = this.#ports.get(name);
    if (port === undefined) return true;
    return master !== undefined && this.#networks.get(this.#names.get(master) ?? '') === port.networkId;
  }

  #linkOf(network: Network | undefined): string | undefined {
    if (network?.state !== 'ready') return undefined;
    return this.#drivers.get(network.driver)?.linkOf(toDriverNetwork(network));
  }

  #noteNetwork(before: Network | undefined, after: Network | undefined): void {
    const [old, name] = [this.#linkOf(before), this.#linkOf(after)];
    if (old !== undefined && old !== name) this.#dropName(this.#networks, old);
    if (name !== undefined && after !== undefined) this.#networks.set(name, after.id);
  }

  #noteEndpoint(before: Endpoint | undefined, after: Endpoint | undefined): void {
    const nameOf = (endpoint: Endpoint | undefined): string =>
      endpoint?.state === 'attached' ? endpoint.hostInterfaceName : '';
    const [old, name] = [nameOf(before), nameOf(after)];
    if (old !== '' && old !== name) this.#dropName(this.#ports, old);
    if (name !== '' && after !== undefined)
      this.#ports.set(name, {
        endpointId: after.id,
        networkId: after.networkId,
        containerId: after.containerId,
      });
  }

  #dropName(names: Map<string, unknown>, name: string): void {
    names.delete(name);
    const ifindex = this.#ifindexes.get(name);
    if (ifindex !== undefined) this.#forget(ifindex, name);
  }
}
