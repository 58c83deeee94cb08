/*
 * The steps that sandboxes and live changes are made of: one endpoint attached or detached by its driver, its records
 * taken back, the event told. What calls these decides their order and what a failure undoes.
 */
import type { Logger } from '../../base/logger.ts';
import type { Driver } from '../../drivers/interface.ts';
import type { EventLog } from '../events.ts';
import type { Container, Endpoint, Network } from '../model.ts';
import type { PlannedAttachment } from './attachmentPlan.ts';
import { toDriverEndpoint, toDriverNetwork } from './driverValues.ts';
import { emitNetworkEvent } from './networkEvents.ts';
import { getDriver } from './networkPlan.ts';
import type { NetworkTable } from './networkTable.ts';

export interface EndpointWorkDependencies {
  readonly table: NetworkTable;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly events: EventLog;
  readonly logger: Logger;
}

export class EndpointWork {
  readonly #deps: EndpointWorkDependencies;

  constructor(deps: EndpointWorkDependencies) {
    this.#deps = deps;
  }

  async attach({ driver, network, endpoint }: PlannedAttachment, sandboxPath: string): Promise<void> {
    await driver.attach(toDriverNetwork(network), toDriverEndpoint(endpoint), sandboxPath);
    const { id, containerName, ipv4, ipv6, mac } = endpoint;
    this.#deps.logger.info(
      { network: network.name, container: containerName, endpoint: id, ipv4, ipv6, mac },
      'attached an endpoint',
    );
  }

  /** Success if it is gone already, or never had an interface. */
  async detach(endpoint: Endpoint, sandboxPath: string | undefined): Promise<void> {
    const network = this.#deps.table.find(endpoint.networkId);
    const { mac } = endpoint;
    if (network === undefined || mac === undefined) return;
    const driver = getDriver(this.#deps.drivers, network.driver);
    await driver.detach(toDriverNetwork(network), toDriverEndpoint({ ...endpoint, mac }), sandboxPath);
    this.#deps.logger.info(
      { network: network.name, container: endpoint.containerName, endpoint: endpoint.id },
      'detached an endpoint',
    );
  }

  /** The records as they were before `planned` was written. */
  async takeBackRecords(planned: readonly PlannedAttachment[]): Promise<void> {
    const { table } = this.#deps;
    await table.putEndpoints(planned.flatMap(({ before }) => before ?? []));
    await table.delEndpoints(
      planned.flatMap(({ before, endpoint }) => (before === undefined ? endpoint : [])),
    );
  }

  emit(action: 'connect' | 'disconnect', network: Network, container: Container): void {
    emitNetworkEvent(this.#deps.events, action, network, { container: container.id });
  }
}
