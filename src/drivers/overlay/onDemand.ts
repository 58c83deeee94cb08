/*
 * Overlay networks take something of a host only while a container there is on them: a network is made in the kernel with
 * the first endpoint and goes with the last. What is known of peers is kept by the driver underneath.
 */
import { newId } from '../../base/ids.ts';
import { KeyedMutex } from '../../base/mutex.ts';
import type { Driver, DriverEndpoint, DriverNetwork } from '../interface.ts';
import type { OverlayDriver } from './overlay.ts';

export class OnDemandOverlay implements OverlayDriver {
  readonly name = 'overlay';
  readonly scope = 'global';
  readonly #inner: OverlayDriver;
  readonly #mutex = new KeyedMutex();
  /** Ids of the endpoints of this host, and of what is about to be one, by network. */
  readonly #users = new Map<string, Set<string>>();

  constructor(inner: OverlayDriver) {
    this.#inner = inner;
  }

  plan: Driver['plan'] = (network) => this.#inner.plan(network);
  checkConflict: Driver['checkConflict'] = (network, others) => this.#inner.checkConflict(network, others);
  linkOf: Driver['linkOf'] = (network) => this.#inner.linkOf(network);
  namespaceOf: OverlayDriver['namespaceOf'] = (network) => this.#inner.namespaceOf(network);
  /** Of networks without endpoints nothing is kept: taking the last one down may have been cut short. */
  sweep: Driver['sweep'] = async (actual, { networks, endpoints }) => {
    const used = new Set(endpoints.map(({ networkId }) => networkId));
    await this.#inner.sweep(actual, { networks: networks.filter(({ id }) => used.has(id)), endpoints });
  };
  setPeers: OverlayDriver['setPeers'] = (network, peers) => this.#inner.setPeers(network, peers);
  setBlocks: OverlayDriver['setBlocks'] = (network, blocks) => this.#inner.setBlocks(network, blocks);
  addPeers: OverlayDriver['addPeers'] = (network, peers) => this.#inner.addPeers(network, peers);
  removePeers: OverlayDriver['removePeers'] = (network, peers) => this.#inner.removePeers(network, peers);

  forgetPeers: OverlayDriver['forgetPeers'] = (network) => this.#inner.forgetPeers(network);
  takeDown: OverlayDriver['takeDown'] = (network) => this.#inner.takeDown(network);

  /** Comes with the first endpoint. */
  async ensureNetwork(): Promise<void> {}

  prepare(network: DriverNetwork): AsyncDisposable {
    const id = newId<'endpoint'>();
    let isHeld = false;
    const preparing = this.#mutex.run(network.id, async () => {
      if (!this.#users.has(network.id)) await this.#inner.ensureNetwork(network);
      this.#usersOf(network).add(id);
      isHeld = true;
    });
    // `attach` comes upon it too.
    preparing.catch(() => {});
    const release = async (): Promise<void> => {
      if (isHeld) await this.#drop(network, { id });
    };
    return { [Symbol.asyncDispose]: () => this.#mutex.run(network.id, release) };
  }

  async removeNetwork(network: DriverNetwork, others: readonly DriverNetwork[]): Promise<void> {
    await this.#mutex.run(network.id, async () => {
      this.#users.delete(network.id);
      await this.#inner.removeNetwork(network, others);
    });
  }

  /** Endpoints that an earlier daemon attached: the network is made to match in the kernel. */
  async adopt(network: DriverNetwork, endpointIds: readonly string[]): Promise<void> {
    if (endpointIds.length === 0) return;
    await this.#mutex.run(network.id, async () => {
      for (const id of endpointIds) this.#usersOf(network).add(id);
      await this.#inner.ensureNetwork(network);
    });
  }

  async attach(network: DriverNetwork, endpoint: DriverEndpoint, sandboxPath: string): Promise<void> {
    await this.#mutex.run(network.id, async () => {
      // In vain nobody uses it, so that no repair makes it either.
      if (!this.#users.has(network.id)) await this.#inner.ensureNetwork(network);
      this.#usersOf(network).add(endpoint.id);
      try {
        await this.#inner.attach(network, endpoint, sandboxPath);
      } catch (error) {
        await this.#drop(network, endpoint);
        throw error;
      }
    });
  }

  async detach(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string | undefined,
  ): Promise<void> {
    await this.#mutex.run(network.id, async () => {
      await this.#inner.detach(network, endpoint, sandboxPath);
      await this.#drop(network, endpoint);
    });
  }

  async repairNetwork(network: DriverNetwork): Promise<readonly string[]> {
    return await this.#mutex.run(network.id, async () =>
      this.#users.has(network.id) ? await this.#inner.repairNetwork(network) : [],
    );
  }

  async repairEndpoint(
    network: DriverNetwork,
    endpoint: DriverEndpoint,
    sandboxPath: string,
    extent: 'outside' | 'all',
  ): Promise<readonly string[]> {
    return await this.#mutex.run(network.id, () =>
      this.#inner.repairEndpoint(network, endpoint, sandboxPath, extent),
    );
  }

  #usersOf({ id }: DriverNetwork): Set<string> {
    const users = this.#users.get(id) ?? new Set<string>();
    this.#users.set(id, users);
    return users;
  }

  async #drop(network: DriverNetwork, { id }: Pick<DriverEndpoint, 'id'>): Promise<void> {
    const users = this.#usersOf(network);
    users.delete(id);
    if (users.size > 0) return;
    this.#users.delete(network.id);
    await this.#inner.takeDown(network);
  }
}
