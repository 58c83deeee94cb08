/*
 * The way out of containers whose networks have none of their own (overlay): one more endpoint, on a bridge network of
 * this host that is made when it is first needed, or that a user made beforehand under its name. Nobody asks for that
 * endpoint and no container's record names it: it follows from the container's other networks, by `isWanted` alone.
 * It stays as long as one of them needs it, and gives a default route only where no other network does, so that a
 * container is never between two ways out. Contract: docker_gwbridge of Docker Engine 28.
 */
import { shortId } from '../../base/ids.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { AttachmentRequest, Endpoint, Network, NetworkRequest, SandboxId } from '../model.ts';
import { toDriverNetwork } from './driverValues.ts';
import type { NetworkTable } from './networkTable.ts';
import { plainAttachment, plainNetwork } from './plainRequests.ts';

/** The network's name. */
export const gatewayNetworkName = 'docker_gwbridge';

/** A way out that a sandbox is to have. */
export interface WayOut {
  readonly network: Network;
  readonly sandboxId: SandboxId;
}

export interface GatewayDependencies {
  readonly table: Pick<NetworkTable, 'findByName'>;
  readonly drivers: ReadonlyMap<string, Driver>;
  /** Name of its device. */
  readonly chooseBridge: () => Promise<string>;
  readonly create: (request: NetworkRequest) => Promise<{ readonly network: Network }>;
}

/** Its containers reach each other by their own networks, so not by this one. */
const networkRequest = (bridge: string): NetworkRequest => ({
  ...plainNetwork(gatewayNetworkName, 'bridge'),
  options: {
    'com.docker.network.bridge.enable_icc': 'false',
    'com.docker.network.bridge.enable_ip_masquerade': 'true',
    'com.docker.network.bridge.name': bridge,
  },
});

/** What the hidden endpoint is made for. */
export function gatewayRequest({ network }: WayOut): AttachmentRequest {
  return plainAttachment(network.id);
}

/** True for endpoints that nobody asked for: not among the networks of their container. */
export function isHidden({ gatewayOf }: Pick<Endpoint, 'gatewayOf'>): boolean {
  return gatewayOf !== undefined;
}

/** What an endpoint is called on its network: as its container, or `gateway_` and its sandbox. */
export function endpointNameOf({
  gatewayOf,
  containerName,
}: Pick<Endpoint, 'gatewayOf' | 'containerName'>): string {
  return gatewayOf === undefined ? containerName : `gateway_${shortId(gatewayOf)}`;
}

export class GatewayNetwork {
  readonly #deps: GatewayDependencies;
  #making: Promise<Network> | undefined;

  constructor(deps: GatewayDependencies) {
    this.#deps = deps;
  }

  /** True if a container on exactly these networks has a hidden endpoint: one needs it, and it is none of them itself. */
  isWanted(networks: readonly Network[]): boolean {
    return (
      networks.some((network) => this.#needsIt(network)) &&
      !networks.some(({ name }) => name === gatewayNetworkName)
    );
  }

  /** The network itself where it is wanted, made if there is none. Codes as those of a network's creation. */
  async open(networks: readonly Network[]): Promise<Network | undefined> {
    return this.isWanted(networks) ? await this.#ensure() : undefined;
  }

  #needsIt(network: Network): boolean {
    if (network.configuration !== undefined) return false;
    const driver = this.#deps.drivers.get(network.driver);
    return driver?.plan(toDriverNetwork(network)).needsGatewayNetwork === true;
  }

  /** Made once, however many containers start at the same time. */
  async #ensure(): Promise<Network> {
    if (this.#making !== undefined) return await this.#making;
    const found = this.#deps.table.findByName(gatewayNetworkName);
    if (found !== undefined) return found;
    this.#making = this.#make().finally(() => {
      this.#making = undefined;
    });
    return await this.#making;
  }

  async #make(): Promise<Network> {
    const { chooseBridge, create } = this.#deps;
    return (await create(networkRequest(await chooseBridge()))).network;
  }
}
