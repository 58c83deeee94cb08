/*
 * The swarm of the engine in memory: one node, which is its manager. For tests.
 */
import type {
  Cluster,
  ClusterNode,
  ClusterSpec,
  InitRequest,
  JoinRequest,
  NodeSpec,
  Rotation,
  Swarm,
  SwarmStatus,
} from '../../../cluster/swarm.ts';
import { LinkspanError } from '../../../errors/linkspanError.ts';

/** A root as swarms have it: CN=swarm-ca, P-256. */
export const fakeRootPem = `-----BEGIN CERTIFICATE-----
MIIBezCCASGgAwIBAgIUBQONrJqKC6DXTzVOMq+3pQqHl6UwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc3dhcm0tY2EwHhcNMjYxMTI2MTYxMDAyWhcNNDYxMTIxMTYx
MDAyWjATMREwDwYDVQQDDAhzd2FybS1jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABEhLjpQi//WjmkVk2P0wegBCZkMNWd+oeINlkuyBGvVc+d6Ry6luEi/Q3mAr
bt+9E0cU6GQGNAs0AJNiVDKEBTijUzBRMB0GA1UdDgQWBBQEHQUPMMMc/9X0FYkE
uY9+XUf19DAfBgNVHSMEGDAWgBQEHQUPMMMc/9X0FYkEuY9+XUf19DAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEoSQ75JV9nfOzd1futo+6/BE4cI
plvHgL6b0ELLSHUMAiEAsV2zHk6pklw8DUm/ElQL4sPOIyJ6aMRP9x9E6PrdQHI=
-----END CERTIFICATE-----
`;

export const fakeUnlockKey = 'SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8';
const ownId = 'odekb9o17n6tx32l6qtybpqcm';
const stamp = '2026-11-23T21:56:10.756962539Z';

const self: ClusterNode = {
  id: ownId,
  version: 9,
  createdAt: stamp,
  updatedAt: stamp,
  spec: { name: '', labels: {}, role: 'manager', availability: 'active' },
  hostname: 'host1',
  architecture: 'x86_64',
  os: 'linux',
  nanoCpus: 2_000_000_000,
  memoryBytes: 25_276_502_016,
  engineVersion: '0.1.0',
  engineLabels: {},
  state: 'ready',
  message: '',
  address: '192.0.2.11',
  isTrusted: true,
  trustsRoot: true,
  manager: { isLeader: true, isReachable: true, address: '192.0.2.11:2377' },
};

const { manager: _manager, ...plain } = self;

/** A second node, which is gone, for lists. */
export const fakeWorker: ClusterNode = {
  ...plain,
  id: 'w0rk3rb9o17n6tx32l6qtybpq',
  spec: { name: 'builder', labels: { zone: 'b' }, role: 'worker', availability: 'drain' },
  hostname: 'host2',
  engineLabels: { rack: '7' },
  state: 'down',
  message: 'heartbeat failure',
  address: '192.0.2.12',
  isTrusted: false,
  trustsRoot: true,
};

function clusterOf(request: InitRequest): Cluster {
  return {
    id: 'xygazgewqoqwi3ogmddekbwr6',
    version: 10,
    createdAt: stamp,
    updatedAt: stamp,
    spec: request.spec,
    rootCertificatePem: fakeRootPem,
    issuerCertificatePem: fakeRootPem,
    isRootRotating: false,
    dataPathPort: request.dataPathPort || 4789,
    addressPools: request.addressPools,
    subnetLength: request.subnetLength || 24,
    tokens: { worker: 'SWMTKN-1-a-w', manager: 'SWMTKN-1-a-m' },
  };
}

export class FakeSwarm implements Swarm {
  /** Requests as they came, for assertions. */
  readonly inits: InitRequest[] = [];
  readonly joins: JoinRequest[] = [];
  readonly unlocks: string[] = [];
  readonly updates: (readonly [number, ClusterSpec, Rotation])[] = [];
  readonly members: ClusterNode[] = [];
  #cluster: Cluster | undefined;

  status(): SwarmStatus {
    const cluster = this.#cluster;
    return {
      state: cluster === undefined ? 'inactive' : 'active',
      nodeId: cluster === undefined ? '' : ownId,
      address: cluster === undefined ? '' : '192.0.2.11',
      isManager: cluster !== undefined,
      error: '',
      managers: cluster === undefined ? [] : [{ nodeId: ownId, address: '192.0.2.11:2377' }],
      ...(cluster !== undefined && { cluster }),
      nodeCount: this.members.length,
      managerCount: this.members.filter(({ manager }) => manager !== undefined).length,
    };
  }

  init(request: InitRequest): Promise<string> {
    if (this.#cluster !== undefined) return Promise.reject(new LinkspanError('swarmActive', 'in a swarm'));
    this.inits.push(request);
    this.#cluster = clusterOf(request);
    this.members.push(self);
    return Promise.resolve(ownId);
  }

  join(request: JoinRequest): Promise<void> {
    this.joins.push(request);
    return Promise.resolve();
  }

  leave(isForced: boolean): Promise<void> {
    if (this.#cluster === undefined) return Promise.reject(new LinkspanError('noSwarmHere', 'in no swarm'));
    if (!isForced) return Promise.reject(new LinkspanError('lastManager', 'the last manager'));
    this.#cluster = undefined;
    this.members.length = 0;
    return Promise.resolve();
  }

  cluster(): Cluster {
    if (this.#cluster === undefined) throw new LinkspanError('notManager', 'no manager');
    return this.#cluster;
  }

  unlockKey(): string {
    return this.cluster().spec.isAutolocked ? fakeUnlockKey : '';
  }

  unlock(unlockKey: string): Promise<void> {
    this.unlocks.push(unlockKey);
    return Promise.resolve();
  }

  update(version: number, spec: ClusterSpec, rotation: Rotation): Promise<void> {
    const cluster = this.cluster();
    if (version !== cluster.version)
      return Promise.reject(new LinkspanError('outOfSequence', 'update out of sequence'));
    this.updates.push([version, spec, rotation]);
    this.#cluster = { ...cluster, version: version + 1, spec };
    return Promise.resolve();
  }

  nodes(): readonly ClusterNode[] {
    this.cluster();
    return this.members;
  }

  node(ref: string): ClusterNode {
    const found = this.nodes().find(
      ({ id, hostname }) => id === (ref === 'self' ? ownId : ref) || hostname === ref,
    );
    if (found === undefined) throw new LinkspanError('nodeNotFound', `node ${ref} not found`);
    return found;
  }

  updateNode(ref: string, version: number, spec: NodeSpec): Promise<void> {
    const node = this.node(ref);
    this.members[this.members.indexOf(node)] = { ...node, version: version + 1, spec };
    return Promise.resolve();
  }

  removeNode(ref: string, isForced: boolean): Promise<void> {
    const node = this.node(ref);
    if (node.state !== 'down' && !isForced)
      return Promise.reject(
        new LinkspanError(
          'nodeInUse',
          `rpc error: code = FailedPrecondition desc = node ${ref} is not down and can't be removed`,
        ),
      );
    this.members.splice(this.members.indexOf(node), 1);
    return Promise.resolve();
  }
}
