/*
 * The network side as containers see it: which attachments a container's mode means, and the sandboxes behind them.
 */
import type { LinkCounters } from '../../codec/netlink/linkCounters.ts';
import { hasCode } from '../../errors/linkspanError.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { PublishedPorts } from '../bindings/publishedPorts.ts';
import type { SandboxNetwork } from '../containers/ports.ts';
import type {
  AttachmentRequest,
  Binding,
  Container,
  ContainerSpec,
  Endpoint,
  Network,
  Sandbox,
} from '../model.ts';
import type { SwarmClaims } from '../overlay/claims.ts';
import { checkAttachment } from './attachmentCheck.ts';
import type { Commit, Connections } from './connections.ts';
import { type GatewayNetwork, isHidden } from './gateway.ts';
import type { LocalNetworks } from './networks.ts';
import type { NetworkTable } from './networkTable.ts';
import { plainAttachment } from './plainRequests.ts';
import { type RecoverDependencies, recoverEndpoints } from './recover.ts';
import type { Sandboxes } from './sandboxes.ts';

export interface ContainerNetworkDependencies {
  readonly table: NetworkTable;
  readonly networks: LocalNetworks;
  readonly sandboxes: Sandboxes;
  readonly connections: Connections;
  readonly claims: Pick<SwarmClaims, 'settled'>;
  readonly kernel: Pick<Kernel, 'linkCounters'>;
  readonly gateway: GatewayNetwork;
  readonly recover: RecoverDependencies;
  readonly ports: Pick<PublishedPorts, 'bindings' | 'apply'>;
  /** The daemon's setting; empty = the default bridge's gateway. */
  readonly hostGatewayIps: readonly string[];
}

/** `host` and `none` are networks too: the container is listed there, without an interface. */
function attachmentsOf({
  networkMode: mode,
  attachments,
}: Pick<ContainerSpec, 'networkMode' | 'attachments'>): readonly AttachmentRequest[] {
  switch (mode.type) {
    case 'networks':
    case 'none':
      return attachments;
    case 'host':
      return [plainAttachment('host')];
    case 'container':
      return [];
  }
}

export class ContainerNetwork implements SandboxNetwork {
  readonly #deps: ContainerNetworkDependencies;

  constructor(deps: ContainerNetworkDependencies) {
    this.#deps = deps;
  }

  /** Checks against the networks that exist; a missing one is the start's error. */
  validate(spec: ContainerSpec): void {
    for (const request of attachmentsOf(spec)) {
      const network = this.findNetwork(request.network);
      if (network !== undefined) checkAttachment(request, network, this.#deps.table);
    }
  }

  async prepare(container: Container): Promise<{ readonly sandbox: Sandbox | undefined }> {
    const { networkMode } = container.spec;
    const requests = attachmentsOf(container.spec);
    const { sandbox } = await this.#deps.sandboxes.create(container, requests, networkMode.type !== 'host');
    return { sandbox };
  }

  release(container: Container): Promise<void> {
    return this.#deps.sandboxes.release(container);
  }

  async forget(container: Container): Promise<void> {
    await this.#deps.sandboxes.forget(container);
    // So that the address is free for whoever hears that the container is gone.
    await this.#deps.claims.settled();
  }

  getNetwork(ref: string): Network {
    return this.#deps.networks.get(ref);
  }

  findNetwork(ref: string): Network | undefined {
    try {
      return this.#deps.networks.get(ref);
    } catch (error) {
      if (hasCode(error, 'networkNotFound') || hasCode(error, 'networkAmbiguous')) return undefined;
      throw error;
    }
  }

  check(request: AttachmentRequest): void {
    checkAttachment(request, this.getNetwork(request.network), this.#deps.table);
  }

  connect(container: Container, request: AttachmentRequest, commit: Commit): Promise<void> {
    return this.#deps.connections.connect(container, request, commit);
  }

  async disconnect(container: Container, network: Network, commit: Commit): Promise<void> {
    const { table, connections, claims } = this.#deps;
    const endpoint = table
      .endpointsOfContainer(container.id)
      .find((one) => one.networkId === network.id && !isHidden(one));
    if (endpoint?.state === 'attached') await connections.disconnect(container, endpoint, network, commit);
    else {
      const left = this.#networksOf(container).filter(({ id }) => id !== network.id);
      await commit();
      const unwanted = this.#unwanted(container, left);
      await table.delEndpoints(unwanted.filter(({ state }) => state === 'reserved'));
    }
    await claims.settled();
  }

  endpoints(container: Container): readonly Endpoint[] {
    return this.#deps.table.endpointsOfContainer(container.id).filter((endpoint) => !isHidden(endpoint));
  }

  async counters({ id, sandbox }: Container): Promise<readonly LinkCounters[]> {
    if (sandbox === undefined) return [];
    const { kernel, table } = this.#deps;
    const names = new Set(table.endpointsOfContainer(id).map(({ interfaceName }) => interfaceName));
    return (await kernel.linkCounters(sandbox.path)).filter(({ name }) => names.has(name));
  }

  bindings(container: Container): readonly Binding[] {
    return this.#deps.ports.bindings(container.id);
  }

  publish(container: Container): Promise<void> {
    return this.#deps.ports.apply(this.#deps.sandboxes.stateOf(container));
  }

  renamed(container: Container, name: string): Promise<void> {
    return this.#deps.sandboxes.renamed(container, name);
  }

  hostGatewayIps(): readonly string[] {
    if (this.#deps.hostGatewayIps.length > 0) return this.#deps.hostGatewayIps;
    const pools = this.#deps.table.findByName('bridge')?.pools ?? [];
    return pools.flatMap(({ gateway }) => gateway ?? []);
  }

  async sweep(running: readonly Container[], stopped: readonly Container[]): Promise<void> {
    const { table, sandboxes, connections, recover } = this.#deps;
    const unwanted = (container: Container): readonly Endpoint[] =>
      this.#unwanted(container, this.#networksOf(container));
    const cutShort = running.map((container) => ({ container, gone: unwanted(container) }));
    await recoverEndpoints(recover, {
      running: new Set(running.map(({ id }) => id)),
      sandboxPaths: new Set(running.flatMap(({ sandbox }) => sandbox?.path ?? [])),
      unwanted: new Set(cutShort.flatMap(({ gone }) => gone.map(({ id }) => id))),
    });
    for (const { container, gone } of cutShort)
      if (gone.length > 0) await connections.settle(container, gone);
    await table.delEndpoints(stopped.flatMap(unwanted));
    await sandboxes.adopt(running);
  }

  /** The networks that the container's record names and that exist. */
  #networksOf({ spec }: Container): readonly Network[] {
    return attachmentsOf(spec).flatMap(({ network }) => this.findNetwork(network) ?? []);
  }

  /** Endpoints that a container on these networks is not to have. */
  #unwanted(container: Container, networks: readonly Network[]): readonly Endpoint[] {
    const ids = new Set(networks.map(({ id }) => id));
    const hasHidden = this.#deps.gateway.isWanted(networks);
    return this.#deps.table
      .endpointsOfContainer(container.id)
      .filter((endpoint) => (isHidden(endpoint) ? !hasHidden : !ids.has(endpoint.networkId)));
  }
}
