/*
 * Which notices of the kernel are about something of ours that may have come to harm. Constant work per notice: tables
 * from names and numbers of links and namespaces to networks, endpoints and containers, kept up to date by the
 * records' events. Looks at nothing.
 */
import { Numbering } from '../../base/numbering.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { KernelEvents, Link } from '../../kernel/kernel.ts';
import type { ContainerId, Endpoint, EndpointId, Network, NetworkId } from '../model.ts';
import { toDriverNetwork } from '../networks/driverValues.ts';
import type { NetworkTable } from '../networks/networkTable.ts';

export type Subject =
  | { readonly type: 'network'; readonly id: NetworkId }
  | { readonly type: 'endpoint'; readonly id: EndpointId; readonly containerId: ContainerId }
  /** What else is kept in a container's sandbox. */
  | { readonly type: 'sandbox'; readonly id: ContainerId };

/** True if the endpoint's only interface is inside the sandbox, on a parent: no link of the host tells of it. */
export function isOnParent({ state, interfaceName, hostInterfaceName }: Endpoint): boolean {
  return state === 'attached' && interfaceName !== '' && hostInterfaceName === '';
}

/** A pair's host end as it should be. */
interface Port {
  readonly endpointId: EndpointId;
  readonly networkId: NetworkId;
  readonly containerId: ContainerId;
}

export class Lookout implements Disposable {
  readonly #table: NetworkTable;
  readonly #drivers: ReadonlyMap<string, Driver>;
  readonly #listeners = new DisposableStack();
  /** Links that stand for networks, by name. */
  readonly #networks = new Map<string, NetworkId>();
  /** Networks on a parent, by its name; it may be the user's, and may be missing. */
  readonly #onParents = new Map<string, Set<NetworkId>>();
  /** Host ends, by name. */
  readonly #ports = new Map<string, Port>();
  /** Names that our links had when they were last seen, by ifindex: a rename shows. */
  readonly #names = new Map<number, string>();
  readonly #ifindexes = new Map<string, number>();
  /** Of sandboxes, and of networks' own namespaces. */
  readonly #sandboxes = new Numbering<ContainerId>();
  readonly #ownNamespaces = new Numbering<NetworkId>();

  constructor(table: NetworkTable, drivers: ReadonlyMap<string, Driver>) {
    this.#table = table;
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

  ofLink({ action, link }: KernelEvents['link']): readonly Subject[] {
    const { ifindex, name } = link;
    const known = this.#names.get(ifindex);
    if (known !== undefined && known !== name) {
      this.#forget(ifindex, known);
      return [...this.#subjectsOf(known), ...(action === 'new' ? this.#ofNewLink(link) : [])];
    }
    if (action === 'new') return this.#ofNewLink(link);
    if (!this.#isOurs(name)) return [];
    this.#forget(ifindex, name);
    return this.#subjectsOf(name);
  }

  #ofNewLink(link: Link): readonly Subject[] {
    if (!this.#isOurs(link.name)) return [];
    const isOther = this.#ifindexes.get(link.name) !== link.ifindex;
    this.#noteLink(link);
    const subjects = this.#isSound(link) ? [] : this.#subjectsOf(link.name);
    return isOther ? [...subjects, ...this.#onNewParent(link.name)] : subjects;
  }

  /** What is on a parent went with the one that had the name before. */
  #onNewParent(name: string): readonly Subject[] {
    return [...(this.#onParents.get(name) ?? [])].flatMap((id) => [
      { type: 'network', id } as const,
      ...this.#attachedTo(id),
    ]);
  }

  #attachedTo(networkId: NetworkId): readonly Subject[] {
    return this.#table
      .endpointsOf(networkId)
      .filter(({ state }) => state === 'attached')
      .map(({ id, containerId }) => ({ type: 'endpoint', id, containerId }));
  }

  ofAddress({ action, address }: KernelEvents['address']): Subject | undefined {
    return action === 'del' ? this.#ofIfindex(address.ifindex) : undefined;
  }

  ofRoute({ action, route }: KernelEvents['route']): Subject | undefined {
    return action === 'del' && route.ifindex !== undefined ? this.#ofIfindex(route.ifindex) : undefined;
  }

  /** The container's sandbox has this number from now on. */
  noteNamespace(containerId: ContainerId, namespaceId: number): void {
    this.#sandboxes.note(containerId, namespaceId);
  }

  /** The network's own namespace has this number from now on. */
  noteNetworkNamespace(networkId: NetworkId, namespaceId: number): void {
    this.#ownNamespaces.note(networkId, namespaceId);
  }

  ofFarLoss({ namespaceId, isPairOnly }: KernelEvents['farLoss']): readonly Subject[] {
    const networkId = this.#ownNamespaces.ownerOf(namespaceId);
    // The other ends of pairs are in sandboxes, and tell.
    if (networkId !== undefined && !isPairOnly)
      return [{ type: 'network', id: networkId }, ...this.#attachedTo(networkId)];
    const containerId = this.#sandboxes.ownerOf(namespaceId);
    if (containerId === undefined) return [];
    // The other ends of pairs are here and tell, but for those that nothing is here of.
    return this.#table
      .endpointsOfContainer(containerId)
      .filter((endpoint) =>
        isPairOnly ? isOnParent(endpoint) : endpoint.state === 'attached' && endpoint.interfaceName !== '',
      )
      .map(({ id }) => ({ type: 'endpoint', id, containerId }));
  }

  ofFarRuleset({ namespaceId }: Pick<KernelEvents['farRuleset'], 'namespaceId'>): Subject | undefined {
    const networkId = this.#ownNamespaces.ownerOf(namespaceId);
    if (networkId !== undefined) return { type: 'network', id: networkId };
    const id = this.#sandboxes.ownerOf(namespaceId);
    return id === undefined ? undefined : { type: 'sandbox', id };
  }

  #isOurs(name: string): boolean {
    return this.#networks.has(name) || this.#ports.has(name) || this.#onParents.has(name);
  }

  /** A user's bridge may be one network's link and others' parent. */
  #subjectsOf(name: string): readonly Subject[] {
    const subject = this.#subjectOf(name);
    const ids = this.#onParents.get(name) ?? [];
    return [
      ...(subject === undefined ? [] : [subject]),
      ...[...ids].map((id) => ({ type: 'network', id }) as const),
    ];
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
    const port = this.#ports.get(name);
    if (peerNamespaceId === undefined || port === undefined) return;
    if (this.#sandboxes.numberOf(port.containerId) !== peerNamespaceId)
      this.noteNamespace(port.containerId, peerNamespaceId);
  }

  #forget(ifindex: number, name: string): void {
    this.#names.delete(ifindex);
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

  #parentOf(network: Network | undefined): string | undefined {
    if (network?.state !== 'ready') return undefined;
    return this.#drivers.get(network.driver)?.parentOf?.(toDriverNetwork(network));
  }

  #noteNetwork(before: Network | undefined, after: Network | undefined): void {
    const [old, name] = [this.#linkOf(before), this.#linkOf(after)];
    if (old !== undefined && old !== name) this.#dropName(this.#networks, old);
    if (name !== undefined && after !== undefined) this.#networks.set(name, after.id);
    const [oldParent, parent] = [this.#parentOf(before), this.#parentOf(after)];
    if (oldParent !== undefined && before !== undefined && oldParent !== parent)
      this.#leaveParent(oldParent, before.id);
    if (parent !== undefined && after !== undefined)
      this.#onParents.set(parent, (this.#onParents.get(parent) ?? new Set()).add(after.id));
  }

  #leaveParent(name: string, id: NetworkId): void {
    const ids = this.#onParents.get(name);
    ids?.delete(id);
    if (ids?.size === 0) this.#dropName(this.#onParents, name);
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
    if (before === undefined || after?.state === 'attached') return;
    const { containerId, networkId } = before;
    // Of a bridge, which has none, nobody is counted.
    const isNumbered = this.#ownNamespaces.numberOf(networkId) !== undefined;
    if (isNumbered && this.#attachedTo(networkId).length === 0) this.#ownNamespaces.forget(networkId);
    const others = this.#table.endpointsOfContainer(containerId);
    if (others.every(({ state }) => state !== 'attached')) this.#sandboxes.forget(containerId);
  }

  #dropName(names: Map<string, unknown>, name: string): void {
    names.delete(name);
    const ifindex = this.#ifindexes.get(name);
    if (ifindex !== undefined && !this.#isOurs(name)) this.#forget(ifindex, name);
  }
}
