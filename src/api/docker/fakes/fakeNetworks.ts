/*
 * The networks of the engine in memory: records only. For tests.
 */
import { newId } from '../../../base/ids.ts';
import type { HeldBlock, Networks, PoolStatus } from '../../../engine/engine.ts';
import type { Endpoint, Network, NetworkRequest } from '../../../engine/model.ts';
import { LinkspanError } from '../../../errors/linkspanError.ts';

const now = (): string => new Date().toISOString();

function network(name: string, driver: string, subnet: string, isPredefined: boolean): Network {
  return {
    id: newId(),
    name,
    driver,
    scope: 'local',
    state: 'ready',
    createdAt: now(),
    isInternal: false,
    isAttachable: false,
    hasIpv4: true,
    hasIpv6: false,
    ipamDriver: 'default',
    ipamOptions: {},
    pools: subnet === '' ? [] : [{ subnet, gateway: subnet.replace(/0\/\d+$/, '1'), auxAddresses: {} }],
    options: {},
    labels: {},
    isPredefined,
  };
}

export class FakeNetworks implements Networks {
  readonly all: Network[] = [
    network('bridge', 'bridge', '172.17.0.0/16', true),
    network('host', 'host', '', true),
    network('none', 'null', '', true),
  ];
  readonly attached: Endpoint[] = [];
  /** Requests as they came, for assertions. */
  readonly requests: NetworkRequest[] = [];

  list(filter: { readonly isPredefined?: boolean; readonly isDangling?: boolean } = {}): readonly Network[] {
    return this.all.filter(
      (one) =>
        (filter.isDangling === undefined ||
          (!one.isPredefined && this.endpoints(one).length === 0) === filter.isDangling) &&
        (filter.isPredefined === undefined || one.isPredefined === filter.isPredefined),
    );
  }

  get(ref: string): Network {
    const found =
      this.all.find(({ id, name }) => id === ref || name === ref) ??
      this.all.find(({ id }) => id.startsWith(ref));
    if (found === undefined) throw new LinkspanError('networkNotFound', `network ${ref} not found`);
    return found;
  }

  endpoints({ id }: Network): readonly Endpoint[] {
    return this.attached.filter(({ networkId, state }) => networkId === id && state === 'attached');
  }

  peers(): Promise<readonly []> {
    return Promise.resolve([]);
  }

  blocks(): Promise<readonly HeldBlock[]> {
    return Promise.resolve([]);
  }

  poolStatus({ pools }: Network): Promise<readonly PoolStatus[]> {
    return Promise.resolve(pools.map(({ subnet }) => ({ subnet, inUse: 3n, available: 1n << 64n })));
  }

  mtuBytes(): undefined {
    return undefined;
  }

  placedEndpoints(): Promise<readonly []> {
    return Promise.resolve([]);
  }

  create(request: NetworkRequest): Promise<{ readonly network: Network; readonly warning: string }> {
    this.requests.push(request);
    if (this.all.some(({ name }) => name === request.name))
      return Promise.reject(
        new LinkspanError('networkNameTaken', `network with name ${request.name} already exists`),
      );
    const subnet = request.pools[0]?.subnet ?? '172.18.0.0/16';
    const made = {
      ...network(request.name, request.driver, subnet, false),
      labels: request.labels,
      options: request.options,
    };
    this.all.push(made);
    return Promise.resolve({ network: made, warning: '' });
  }

  remove(ref: string): Promise<void> {
    this.all.splice(this.all.indexOf(this.get(ref)), 1);
    return Promise.resolve();
  }

  async prune(select: (network: Network) => boolean): Promise<readonly Network[]> {
    const chosen = this.list({ isDangling: true }).filter(select);
    for (const { id } of chosen) await this.remove(id);
    return chosen;
  }
}
