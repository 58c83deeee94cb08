/*
 * Addresses of swarm networks are given out by managers: asked for before an endpoint is planned, and told from the
 * table of endpoints from then on, so that whatever ends, moves or renames an endpoint is heard of without being told here.
 * A network is followed from the first claim on it until its last endpoint is detached.
 */
import { Events } from '../../base/events.ts';
import { newId } from '../../base/ids.ts';
import type { Logger } from '../../base/logger.ts';
import { Pending } from '../../base/pending.ts';
import type { EndpointClaim, SwarmNetworks } from '../../cluster/swarmNetworks.ts';
import { type Mac, parseMac, randomMac } from '../../net/mac.ts';
import type { AttachmentRequest, Container, Endpoint, EndpointId, Network, NetworkId } from '../model.ts';
import { checkAttachment, refuseSecond } from '../networks/attachmentCheck.ts';
import { dnsNamesOf } from '../networks/dnsNames.ts';
import type { NetworkTable } from '../networks/networkTable.ts';
import { toClaim } from './swarmRecords.ts';

/** What a manager gave an endpoint that is about to be planned. */
export interface Claimed {
  readonly endpointId: EndpointId;
  readonly mac: Mac;
  /** Without length. */
  readonly ipv4?: string;
  readonly ipv6?: string;
}

/** By network. */
export type ClaimedByNetwork = ReadonlyMap<NetworkId, Claimed>;

export interface SwarmClaimsDependencies {
  readonly table: NetworkTable;
  readonly swarm: SwarmNetworks;
  readonly logger: Logger;
}

export interface SwarmClaimsEvents extends Record<string, unknown> {
  /** No endpoint of this node needs the network's table any more. */
  readonly left: { readonly networkId: NetworkId };
}

const isInSwarm = (network: Network | undefined): boolean => network?.scope === 'global';

export class SwarmClaims implements Disposable {
  readonly events: Events<SwarmClaimsEvents> = new Events();
  readonly #deps: SwarmClaimsDependencies;
  readonly #listeners = new DisposableStack();
  /** Endpoints that need their network's table, by network. */
  readonly #users = new Map<NetworkId, Set<EndpointId>>();
  readonly #pending = new Pending();

  constructor(deps: SwarmClaimsDependencies) {
    this.#deps = deps;
    for (const endpoint of deps.table.endpoints)
      if (endpoint.state === 'attached' && isInSwarm(deps.table.find(endpoint.networkId)))
        this.#use(endpoint);
    this.#listeners.use(
      deps.table.events.on('endpoint', ({ before, after }) => {
        const networkId = (after ?? before)?.networkId;
        if (networkId !== undefined && isInSwarm(deps.table.find(networkId))) this.#changed(before, after);
      }),
    );
  }

  [Symbol.dispose](): void {
    this.#listeners.dispose();
  }

  /** Networks whose tables this node needs. */
  get followed(): readonly NetworkId[] {
    return [...this.#users.keys()];
  }

  isFollowed(id: NetworkId): boolean {
    return this.#users.has(id);
  }

  /** All of this node's endpoints on swarm networks. */
  own(): readonly EndpointClaim[] {
    const { table } = this.#deps;
    return table.endpoints.flatMap((endpoint) =>
      isInSwarm(table.find(endpoint.networkId)) ? (toClaim(endpoint) ?? []) : [],
    );
  }

  /**
   * Leases what `requests` for swarm networks need, all or nothing; their tables are known when it resolves. The caller
   * gives it back (`giveBack`) unless it writes the records. Codes as `SwarmNetworks.claim` and attachmentCheck's.
   */
  async claim(
    container: Container,
    wanted: readonly { readonly network: Network; readonly request: AttachmentRequest }[],
  ): Promise<ClaimedByNetwork> {
    const claimed = new Map<NetworkId, Claimed>();
    try {
      for (const { network, request } of wanted)
        if (isInSwarm(network)) claimed.set(network.id, await this.#claimOne(container, network, request));
      return claimed;
    } catch (error) {
      this.giveBack(claimed);
      throw error;
    }
  }

  /** Of claims whose records were not written. */
  giveBack(claimed: ClaimedByNetwork): void {
    for (const [networkId, { endpointId, ipv4, ipv6 }] of claimed) {
      const record = this.#deps.table.endpointsOf(networkId).find(({ id }) => id === endpointId);
      this.#leave(networkId, endpointId);
      const claim = record === undefined ? undefined : toClaim(record);
      this.#tell(
        claim === undefined
          ? this.#deps.swarm.release([{ networkId, endpointId, ...addresses(ipv4, ipv6) }])
          : this.#deps.swarm.amend([claim]),
      );
    }
  }

  /** What was to be told has been, or waits for the next session with a manager. */
  async settled(): Promise<void> {
    await this.#pending.settled();
  }

  async #claimOne(container: Container, network: Network, request: AttachmentRequest): Promise<Claimed> {
    const { table, swarm } = this.#deps;
    checkAttachment(request, network, table);
    const before = table.endpointsOfContainer(container.id).find(({ networkId }) => networkId === network.id);
    if (before?.state === 'attached') refuseSecond(container, network);
    const endpointId = before?.id ?? newId<'endpoint'>();
    const kept = before === undefined ? undefined : toClaim(before);
    // Another one for each start, so that an entry of an earlier one leads nowhere.
    const mac = (request.mac === undefined ? undefined : parseMac(request.mac)) ?? randomMac();
    const ipv4 = kept?.ipv4 ?? request.ipv4;
    const ipv6 = kept?.ipv6 ?? request.ipv6;
    this.#use({ id: endpointId, networkId: network.id });
    try {
      const [row] = await Promise.all([
        swarm.claim({
          ...{ endpointId, networkId: network.id, mac, isUp: true },
          ...{ containerId: container.id, containerName: container.name },
          dnsNames: dnsNamesOf(container, request.aliases),
          ...(ipv4 === undefined ? {} : { ipv4 }),
          ...(ipv6 === undefined ? {} : { ipv6 }),
        }),
        swarm.follow(network.id),
      ]);
      return {
        ...{ endpointId, mac },
        ...(row.ipv4 === undefined ? {} : { ipv4: row.ipv4 }),
        ...(row.ipv6 === undefined ? {} : { ipv6: row.ipv6 }),
      };
    } catch (error) {
      this.#leave(network.id, endpointId);
      throw error;
    }
  }

  #changed(before: Endpoint | undefined, after: Endpoint | undefined): void {
    const { swarm } = this.#deps;
    if (after?.state === 'attached') this.#use(after);
    else if (before !== undefined) this.#leave(before.networkId, before.id);
    if (after === undefined) {
      if (before === undefined) return;
      const { networkId, id: endpointId } = before;
      const had = toClaim(before);
      this.#tell(swarm.release([{ networkId, endpointId, ...addresses(had?.ipv4, had?.ipv6) }]));
      return;
    }
    const claim = toClaim(after);
    const isNews =
      before !== undefined &&
      ((before.state === 'attached' && after.state === 'reserved') ||
        before.containerName !== after.containerName ||
        before.dnsNames.join() !== after.dnsNames.join());
    if (isNews && claim !== undefined) this.#tell(swarm.amend([claim]));
  }

  #tell(telling: Promise<void>): void {
    this.#pending.add(
      telling.catch((error: unknown) =>
        this.#deps.logger.error({ err: error }, 'could not tell the swarm of an endpoint'),
      ),
    );
  }

  #use({ id, networkId }: Pick<Endpoint, 'id' | 'networkId'>): void {
    const users = this.#users.get(networkId) ?? new Set();
    this.#users.set(networkId, users.add(id));
  }

  #leave(networkId: NetworkId, id: EndpointId): void {
    const users = this.#users.get(networkId);
    users?.delete(id);
    if (users === undefined || users.size > 0) return;
    this.#users.delete(networkId);
    this.#deps.swarm.unfollow(networkId);
    this.events.emit('left', { networkId });
  }
}

function addresses(ipv4: string | undefined, ipv6: string | undefined): Pick<EndpointClaim, 'ipv4' | 'ipv6'> {
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}
