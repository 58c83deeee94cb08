/*
 * For tests of this folder: networks and sandboxes over a real store, with a driver and a kernel that keep a log of
 * what they were told and fail where they are told to.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import { type Logger, silentLogger } from '../../base/logger.ts';
import { openSeam, type Seam } from '../../base/seam.ts';
import type { Driver, DriverPlan } from '../../drivers/interface.ts';
import { completeSources } from '../../ipam/pools.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { formatIp } from '../../net/ip.ts';
import { parsePrefix } from '../../net/prefix.ts';
import { openSqliteStore } from '../../store/sqliteStore.ts';
import type { Store } from '../../store/store.ts';
import { EventLog } from '../events.ts';
import type { AttachmentRequest, Container, NetworkRequest } from '../model.ts';
import { SwarmClaims } from '../overlay/claims.ts';
import { FakeSwarm } from '../overlay/fakeSwarm.ts';
import { SwarmCreator } from '../overlay/swarmCreator.ts';
import { Connections } from './connections.ts';
import { ContainerNetwork } from './containerNetwork.ts';
import type { SandboxFollower } from './follower.ts';
import { GatewayNetwork } from './gateway.ts';
import { LocalNetworks } from './networks.ts';
import { NetworkTable } from './networkTable.ts';
import { plainAttachment, plainNetwork } from './plainRequests.ts';
import { Sandboxes } from './sandboxes.ts';

/** What was done, in words, and what fails. */
export class WorkLog {
  readonly log: string[] = [];
  failing: string | undefined;
  /** Set, `failing` fails once. */
  isHiccup = false;

  do(what: string): Promise<void> {
    this.log.push(what);
    if (what !== this.failing) return Promise.resolve();
    if (this.isHiccup) this.failing = undefined;
    return Promise.reject(new Error(`cannot ${what}`));
  }
}

/** An option of networks, of `RecordingDriver` alone. */
export const noWayOut = 'no-way-out';

export class RecordingDriver extends WorkLog implements Driver {
  readonly name: string = 'bridge';
  readonly scope: Driver['scope'] = 'local';

  /** The networks with the option have no way out of their own. */
  plan({ options, isInternal }: Parameters<Driver['plan']>[0]): DriverPlan {
    const needsGatewayNetwork = options[noWayOut] !== undefined && !isInternal;
    return { needsPools: true, gatewayFamilies: [4, 6], interfacePrefix: 'eth', needsGatewayNetwork };
  }
  checkConflict(): void {}
  ensureNetwork: Driver['ensureNetwork'] = ({ name }) => this.do(`ensure ${name}`);
  removeNetwork: Driver['removeNetwork'] = ({ name }) => this.do(`remove ${name}`);
  attach: Driver['attach'] = ({ name }, { interfaceName, gateways }) =>
    this.do(`attach ${interfaceName} to ${name}${gateways.length > 0 ? ' with default route' : ''}`);
  detach: Driver['detach'] = ({ name }, { interfaceName }) => this.do(`detach ${interfaceName} from ${name}`);
  linkOf: Driver['linkOf'] = ({ name }) => `br-${name}`;
  repairNetwork: Driver['repairNetwork'] = () => Promise.resolve([]);
  repairEndpoint: Driver['repairEndpoint'] = () => Promise.resolve([]);
  sweep: Driver['sweep'] = (_actual, { networks, endpoints }) =>
    this.do(`sweep all but ${networks.length} networks, ${endpoints.length} endpoints`);
}

/** Of the swarm; its work is in the log of `bridge`, so that one log shows the order. */
export class RecordingOverlay extends RecordingDriver {
  override readonly name: string = 'overlay';
  override readonly scope: Driver['scope'] = 'global';
  readonly #bridge: RecordingDriver;

  constructor(bridge: RecordingDriver) {
    super();
    this.#bridge = bridge;
  }

  override do(what: string): Promise<void> {
    return this.#bridge.do(what);
  }
  override sweep: Driver['sweep'] = () => Promise.resolve();
}

export function networkRequest(name: string, more: Partial<NetworkRequest> = {}): NetworkRequest {
  return { ...plainNetwork(name, 'bridge'), ...more };
}

export function attachmentRequest(network: string, more: Partial<AttachmentRequest> = {}): AttachmentRequest {
  return { ...plainAttachment(network), ...more };
}

/** A container's record with no more than this folder reads. */
export function containerRecord(name: string, attachments: readonly AttachmentRequest[] = []): Container {
  const spec = { networkMode: { type: 'networks' }, attachments };
  return { id: newId<'container'>(), name, spec } as unknown as Container;
}

type RecoverKernel = Pick<Kernel, 'routes' | 'links' | 'addresses' | 'createNamespace' | 'removeNamespace'>;

export interface NetworkWorld extends AsyncDisposable {
  readonly table: NetworkTable;
  readonly drivers: ReadonlyMap<string, Driver>;
  readonly kernel: RecoverKernel;
  readonly events: EventLog;
  readonly logger: Logger;
  readonly networks: LocalNetworks;
  readonly sandboxes: Sandboxes;
  readonly connections: Connections;
  readonly containerNetwork: ContainerNetwork;
  readonly driver: RecordingDriver;
  readonly swarm: FakeSwarm;
  readonly claims: SwarmClaims;
  readonly store: Store;
  /** Paths of the namespaces that exist. */
  readonly namespaces: string[];
  /** What the one follower was told; it refuses containers called `unlucky`. */
  readonly following: string[];
  readonly namespaceFolder: string;
  readonly folder: string;
}

/** The default routes are logged by the driver too, so that one log shows the order. */
function recordingKernel(
  driver: RecordingDriver,
  namespaces: string[],
): RecoverKernel & Pick<Kernel, 'setDefaultRoute'> {
  const onLink = parsePrefix('172.18.5.0/24');
  return {
    routes: () =>
      Promise.resolve([
        { destination: onLink, gateway: undefined, ifindex: 2, isOnLink: true, isAdvertised: false },
      ]),
    createNamespace: (path) => Promise.resolve(void namespaces.push(path)),
    removeNamespace: (path) => Promise.resolve(void namespaces.splice(namespaces.indexOf(path) >>> 0, 1)),
    links: () => Promise.resolve([]),
    addresses: () => Promise.resolve([]),
    setDefaultRoute: (link, gateway) => driver.do(`default via ${formatIp(gateway)} dev ${link}`),
  };
}

function recordingFollower(following: string[]): SandboxFollower {
  return {
    apply: ({ container: { name }, attachments }) => {
      following.push(`${name}: ${attachments.map(({ network }) => network.name).join(' ')}`);
      return name === 'unlucky' ? Promise.reject(new Error('cannot follow')) : Promise.resolve();
    },
    release: ({ name }) => Promise.resolve(void following.push(`${name} released`)),
    adopt: (states) => Promise.resolve(void following.push(`adopted ${states.length}`)),
  };
}

/** `path` keeps the store where an earlier world was, as a restart does. `seam`: of the store. */
export async function openNetworkWorld(path?: string, seam: Seam = openSeam()): Promise<NetworkWorld> {
  const folder = path ?? mkdtempSync(join(tmpdir(), 'linkspan-networks-'));
  const store: Store = await openSqliteStore(join(folder, 'store.db'), seam);
  const table = new NetworkTable(store);
  await table.load();
  const driver = new RecordingDriver();
  const drivers = new Map<string, Driver>([
    ['bridge', driver],
    ['overlay', new RecordingOverlay(driver)],
  ]);
  const events = new EventLog();
  const namespaces: string[] = [];
  const kernel = recordingKernel(driver, namespaces);
  const common = { table, drivers, kernel, events, logger: silentLogger };
  const swarm = new FakeSwarm();
  const claims = new SwarmClaims({ table, swarm, logger: silentLogger });
  const networks = new LocalNetworks({
    ...common,
    swarm: new SwarmCreator({
      table,
      swarm,
      clock: systemClock,
      sources6: [],
      checkEncryption: async () => {},
      encryptedUnderlay: () => ({
        ...{ address: { family: 4, bits: 0x64400001n }, mtuBytes: 1500, headerBytes: 80, port: 4789 },
      }),
    }),
    clock: systemClock,
    poolSources: completeSources([], 'test'),
    resolvConfPath: '/nonexistent',
    defaultOptions: {},
  });
  const namespaceFolder = join(folder, 'netns');
  const following: string[] = [];
  const followers = [recordingFollower(following)];
  const getNetwork = networks.get.bind(networks);
  const gateway = new GatewayNetwork({
    ...{ table, drivers, create: (request) => networks.create(request) },
    chooseBridge: () => Promise.resolve('docker_gwbridge'),
  });
  const attaching = { ...common, claims, gateway, getNetwork, followers };
  const sandboxes = new Sandboxes({ ...attaching, namespaceFolder });
  const connections = new Connections({ ...attaching, sandboxes });
  const recover = { ...common, networks, namespaceFolder };
  const containerNetwork = new ContainerNetwork({
    ...{ table, networks, sandboxes, connections, claims, gateway, recover },
    kernel: { linkCounters: () => Promise.resolve([]) },
    ports: { bindings: () => [], apply: () => Promise.resolve() },
    hostGatewayIps: [],
  });
  return {
    ...common,
    ...{ networks, sandboxes, connections, containerNetwork, driver, store, namespaces, following },
    ...{ swarm, claims },
    namespaceFolder,
    folder,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      if (path === undefined) rmSync(folder, { recursive: true });
    },
  };
}
