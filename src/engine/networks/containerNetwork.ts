/*
 * The network side as containers see it: which attachments a container's mode means, and the sandboxes behind them.
 */
import type { SandboxNetwork } from '../containers/ports.ts';
import type {
  AttachmentRequest,
  Container,
  ContainerSpec,
  Endpoint,
  NetworkMode,
  Sandbox,
} from '../model.ts';
import { checkAttachment } from './attachmentPlan.ts';
import type { LocalNetworks } from './networks.ts';
import type { NetworkTable } from './networkTable.ts';
import { type RecoverDependencies, recoverEndpoints } from './recover.ts';
import type { Sandboxes } from './sandboxes.ts';

export interface ContainerNetworkDependencies {
  readonly table: NetworkTable;
  readonly networks: LocalNetworks;
  readonly sandboxes: Sandboxes;
  readonly recover: RecoverDependencies;
  /** The daemon's setting; empty = the default bridge's gateway. */
  readonly hostGatewayIps: readonly string[];
}

function plainAttachment(network: string): AttachmentRequest {
  return { network, aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
}

/** `host` and `none` are networks too: the container is listed there, without an interface. */
function attachmentsOf(
  mode: NetworkMode,
  requests: readonly AttachmentRequest[],
): readonly AttachmentRequest[] {
  switch (mode.type) {
    case 'networks':
      return requests;
    case 'host':
    case 'none':
      return [plainAttachment(mode.type)];
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
    for (const request of attachmentsOf(spec.networkMode, spec.attachments)) {
      const network =
        this.#deps.table.findByName(request.network) ?? this.#deps.table.byId().get(request.network);
      if (network !== undefined) checkAttachment(request, network, this.#deps.table);
    }
  }

  async prepare(container: Container): Promise<{ readonly sandbox: Sandbox | undefined }> {
    const { networkMode, attachments } = container.spec;
    const requests = attachmentsOf(networkMode, attachments);
    const { sandbox } = await this.#deps.sandboxes.create(container, requests, networkMode.type !== 'host');
    return { sandbox };
  }

  release(container: Container): Promise<void> {
    return this.#deps.sandboxes.release(container);
  }

  forget(container: Container): Promise<void> {
    return this.#deps.sandboxes.forget(container);
  }

  endpoints(container: Container): readonly Endpoint[] {
    return this.#deps.table.endpointsOfContainer(container.id);
  }

  renamed(container: Container, name: string): Promise<void> {
    return this.#deps.sandboxes.renamed(container, name);
  }

  hostGatewayIps(): readonly string[] {
    if (this.#deps.hostGatewayIps.length > 0) return this.#deps.hostGatewayIps;
    const gateway = this.#deps.table.findByName('bridge')?.pools[0]?.gateway;
    return gateway === undefined ? [] : [gateway];
  }

  async sweep(running: readonly Container[]): Promise<void> {
    await recoverEndpoints(this.#deps.recover, {
      running: new Set(running.map(({ id }) => id)),
      sandboxPaths: new Set(running.flatMap(({ sandbox }) => sandbox?.path ?? [])),
    });
    await this.#deps.sandboxes.adopt(running);
  }
}
