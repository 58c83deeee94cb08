/*
 * What a restart does for networks: finishes removals and creations, makes the kernel match the others,
 * takes back endpoints of containers that no longer run, and sweeps away what carries our mark but belongs to nothing.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../base/logger.ts';
import type { Driver, DriverEndpoint } from '../../drivers/interface.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { ContainerId, Endpoint, EndpointId, Network } from '../model.ts';
import { toDriverEndpoint, toDriverNetwork } from './driverValues.ts';
import { getDriver } from './networkPlan.ts';
import type { LocalNetworks } from './networks.ts';
import type { NetworkTable } from './networkTable.ts';

export interface RecoverDependencies {
  readonly table: NetworkTable;
  readonly networks: LocalNetworks;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: Pick<Kernel, 'links' | 'addresses' | 'removeNamespace'>;
  readonly logger: Logger;
  readonly namespaceFolder: string;
}

/** Before containers come back: no network is half-made afterwards, and every network is in the kernel. */
export async function recoverNetworks(deps: RecoverDependencies): Promise<void> {
  for (const network of deps.table.networks) {
    try {
      await recoverNetwork(deps, network);
    } catch (error) {
      deps.logger.error({ network: network.name, id: network.id, err: error }, 'could not recover a network');
    }
  }
}

async function recoverNetwork(
  { networks, drivers, logger }: RecoverDependencies,
  network: Network,
): Promise<void> {
  const { name, id, state } = network;
  switch (state) {
    case 'ready':
      return await getDriver(drivers, network.driver).ensureNetwork(toDriverNetwork(network));
    case 'removing':
      await networks.finishRemoval(network);
      return logger.warn({ network: name, id }, 'finished the removal of a network');
    case 'creating':
      // Its user may have been told that it is there, so that what it lacks is repaired as with any other.
      await networks.keepHalfMade(network);
      return logger.warn({ network: name, id }, 'finished a half-made network');
    default:
      state satisfies never;
  }
}

/** What lives on: containers whose process runs, and the namespaces that they are in. */
export interface LiveContainers {
  readonly running: ReadonlySet<ContainerId>;
  readonly sandboxPaths: ReadonlySet<string>;
  /** Endpoints of those containers that are not to be: their links go, their records are the caller's. */
  readonly unwanted: ReadonlySet<EndpointId>;
}

/** After containers came back: endpoints, links and namespaces of those that did not are gone; addresses stay reserved. */
export async function recoverEndpoints(deps: RecoverDependencies, live: LiveContainers): Promise<void> {
  const stopped = deps.table.endpoints.filter(
    ({ containerId, state }) => state === 'attached' && !live.running.has(containerId),
  );
  await deps.table.putEndpoints(stopped.map((endpoint) => ({ ...endpoint, state: 'reserved' as const })));
  await sweepNamespaces(deps, live.sandboxPaths);
  await sweepLinks(deps, live.unwanted);
}

/** Gives back the addresses of containers that have no record any more. */
export async function dropOrphans(table: NetworkTable, known: ReadonlySet<ContainerId>): Promise<void> {
  await table.delEndpoints(table.endpoints.filter(({ containerId }) => !known.has(containerId)));
}

async function sweepNamespaces(deps: RecoverDependencies, keep: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(deps.namespaceFolder)) {
    const path = join(deps.namespaceFolder, name);
    if (keep.has(path)) continue;
    await deps.kernel.removeNamespace(path);
    deps.logger.warn({ path }, 'removed a namespace without a container');
  }
}

async function sweepLinks(deps: RecoverDependencies, unwanted: ReadonlySet<EndpointId>): Promise<void> {
  const actual = { links: await deps.kernel.links(), addresses: await deps.kernel.addresses() };
  const attached = deps.table.endpoints.filter(({ id, state }) => state === 'attached' && !unwanted.has(id));
  for (const driver of deps.drivers.values()) {
    const isOurs = (network: Network | undefined): network is Network => network?.driver === driver.name;
    await driver.sweep(actual, {
      networks: deps.table.networks.filter(isOurs).map(toDriverNetwork),
      endpoints: attached.filter((e) => isOurs(deps.table.find(e.networkId))).flatMap(toKept),
    });
  }
}

function toKept(endpoint: Endpoint): readonly DriverEndpoint[] {
  return endpoint.mac === undefined ? [] : [toDriverEndpoint({ ...endpoint, mac: endpoint.mac })];
}
