/*
 * For tests: what a swarm of one process on loopback is made with.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import type { Store } from '../store/store.ts';
import { LocalSwarm, type LocalSwarmDependencies } from './localSwarm.ts';
import type { ClusterSpec, InitRequest, NodeDescription } from './swarm.ts';

export const spec: ClusterSpec = {
  name: 'default',
  labels: {},
  taskHistoryLimit: 5,
  snapshotInterval: 10_000,
  maxSnapshots: 0,
  heartbeatMs: 5000,
  certificateLifeMs: 7_776_000_000,
  isAutolocked: false,
};

export const description = (hostname: string): NodeDescription => ({
  hostname,
  architecture: 'x86_64',
  os: 'linux',
  nanoCpus: 2e9,
  memoryBytes: 1 << 30,
  engineVersion: '0.1.0',
  engineLabels: { rack: '7' },
});

/** On loopback: `127.0.0.1:41237`. Nobody listens there now. */
export async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}

export const initRequest = (address: string, more: Partial<ClusterSpec> = {}): InitRequest => ({
  ...{ listen: address, advertise: address, dataPath: '', availability: 'active' },
  ...{ spec: { ...spec, ...more }, isForcedNew: false, dataPathPort: 0, addressPools: [], subnetLength: 0 },
});

/** A node without endpoints unless `more` says so. */
export function openNode(
  hostname: string,
  store: Store,
  more: Partial<LocalSwarmDependencies> = {},
): Promise<LocalSwarm> {
  return LocalSwarm.open({
    ...{ store, clock: systemClock, logger: silentLogger, describe: () => description(hostname) },
    ...{ systemAddresses: () => [], ownEndpoints: () => [] },
    ...{ vacate: () => Promise.resolve(), settled: () => Promise.resolve() },
    ...more,
  });
}
