/*
 * For tests of the engine: a swarm of this node alone, in memory, to which other nodes and their endpoints are told by hand.
 */
import { Events } from '../../base/events.ts';
import type {
  EndpointClaim,
  SwarmBlock,
  SwarmEndpoint,
  SwarmNetwork,
  SwarmNetworkSpec,
  SwarmNetworks,
  SwarmNetworksEvents,
  SwarmNode,
  SwarmSurroundings,
  TunnelOffer,
} from '../../cluster/swarmNetworks.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';

export class FakeSwarm implements SwarmNetworks {
  readonly events: Events<SwarmNetworksEvents> = new Events();
  isInTouch = true;
  networks: SwarmNetwork[] = [];
  dataPath: SwarmNetworks['dataPath'];
  readonly nodesById: Map<string, SwarmNode> = new Map();
  /** Of all nodes, by endpoint. */
  readonly rows: Map<string, SwarmEndpoint> = new Map();
  readonly followed: Set<string> = new Set();
  /** Blocks of all nodes. */
  held: readonly (SwarmBlock & { readonly networkId: string })[] = [];
  /** Code of the error that the next claim gets. */
  refusal: 'managerUnreachable' | undefined;
  #revision = 0;
  #created = 0;

  constructor(isIn = false) {
    if (isIn) this.dataPath = { nodeId: 'self', address: '192.0.2.1', port: 4789 };
  }

  /** What was offered last. */
  offer: TunnelOffer | undefined;

  offerTunnel(offer: TunnelOffer | undefined): void {
    this.offer = offer;
  }

  get nodes(): readonly SwarmNode[] {
    return [...this.nodesById.values()];
  }

  findNode(id: string): SwarmNode | undefined {
    return this.nodesById.get(id);
  }

  peers(networkId: string): readonly SwarmEndpoint[] {
    return [...this.rows.values()].filter(
      (row) => row.networkId === networkId && row.nodeId !== 'self' && row.isUp,
    );
  }

  blocks(networkId: string): readonly SwarmBlock[] {
    return this.held.filter((one) => one.networkId === networkId);
  }

  createNetwork(plan: (around: SwarmSurroundings) => SwarmNetworkSpec): Promise<SwarmNetwork> {
    return Promise.resolve().then(() => {
      if (this.dataPath === undefined)
        throw new LinkspanError(
          'noSwarm',
          'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
        );
      const { networks } = this;
      const spec = plan({ networks, addressPools: ['10.0.0.0/8'], subnetLength: 24 });
      const id = `network${this.#created++}`.padEnd(25, '0');
      const network = { ...spec, id, createdAt: '2026-01-01T00:00:00Z' };
      this.networks = [...networks, network];
      this.events.emit('networks', { added: [network], removed: [] });
      return network;
    });
  }

  removeNetwork(id: string): Promise<void> {
    const removed = this.networks.filter((network) => network.id === id);
    this.networks = this.networks.filter((network) => network.id !== id);
    this.events.emit('networks', { added: [], removed });
    return Promise.resolve();
  }

  claim(claim: EndpointClaim): Promise<SwarmEndpoint> {
    if (this.refusal !== undefined)
      return Promise.reject(new LinkspanError(this.refusal, 'no manager answers'));
    const subnet = this.networks.find(({ id }) => id === claim.networkId)?.pools[0]?.subnet ?? '';
    const ipv4 = claim.ipv4 ?? subnet.replace(/\.0\/24$/, `.${2 + this.rows.size}`);
    const row = { ...claim, ipv4, nodeId: 'self', revision: ++this.#revision };
    this.rows.set(claim.endpointId, row);
    return Promise.resolve(row);
  }

  release(endpoints: readonly Pick<EndpointClaim, 'networkId' | 'endpointId'>[]): Promise<void> {
    for (const { endpointId } of endpoints) this.rows.delete(endpointId);
    return Promise.resolve();
  }

  amend(claims: readonly EndpointClaim[]): Promise<void> {
    for (const claim of claims)
      this.rows.set(claim.endpointId, { ...claim, nodeId: 'self', revision: ++this.#revision });
    return Promise.resolve();
  }

  follow(networkId: string): Promise<void> {
    if (this.followed.has(networkId)) return Promise.resolve();
    this.followed.add(networkId);
    this.events.emit('peers', { networkId, isSnapshot: true, added: this.peers(networkId), removed: [] });
    return Promise.resolve();
  }

  unfollow(networkId: string): void {
    this.followed.delete(networkId);
  }

  endpoints(networkId: string): Promise<readonly SwarmEndpoint[]> {
    return Promise.resolve([...this.rows.values()].filter((row) => row.networkId === networkId));
  }
}
