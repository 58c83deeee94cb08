/*
 * Measures how a swarm's tables spread: one change to the last of many nodes, all of this process with real TLS
 * sessions, and a large table to a node that begins to follow it, which then sets it in the kernel. Prints JSON. Run by
 * bench/report.ts in a lane; alone: scripts/lane scripts/node bench/agents.ts [NODES [ENDPOINTS]]
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../src/base/clock.ts';
import { silentLogger } from '../src/base/logger.ts';
import { openSeam } from '../src/base/seam.ts';
import { LocalSwarm } from '../src/cluster/localSwarm.ts';
import type { ClusterSpec } from '../src/cluster/swarm.ts';
import type { EndpointClaim, SwarmNetworks } from '../src/cluster/swarmNetworks.ts';
import type { OverlayPeer } from '../src/drivers/overlay/peerTable.ts';
import { MemoryStore } from '../src/engine/containers/fakes.ts';
import { parseIp } from '../src/net/ip.ts';
import { macFromBytes } from '../src/net/mac.ts';
import { openSqliteStore } from '../src/store/sqliteStore.ts';
import type { Store } from '../src/store/store.ts';
import { makeNetwork, openOverlayWorld, type OverlayHost } from '../tests/kernel/overlayWorld.ts';
import { makeFolder, removeFolder } from './engines.ts';
import { quantilesOf } from './quantiles.ts';

const nodes = Number(process.argv[2] ?? 500);
const endpoints = Number(process.argv[3] ?? 10_000);
const rounds = 30;
const joinsAtOnce = 10;
const claimsAtOnce = 64;
const address = '127.0.0.1:12377';

const spec: ClusterSpec = {
  ...{ name: 'default', labels: {}, taskHistoryLimit: 5, snapshotInterval: 10_000, maxSnapshots: 0 },
  ...{ heartbeatMs: 5000, certificateLifeMs: 7_776_000_000, isAutolocked: false },
};

async function openNode(name: string, store: Store): Promise<LocalSwarm> {
  const swarm = await LocalSwarm.open({
    ...{ store, clock: systemClock, logger: silentLogger },
    describe: () => ({
      ...{ hostname: name, architecture: 'x86_64', os: 'linux', nanoCpus: 2e9, memoryBytes: 2 ** 30 },
      ...{ engineVersion: '0.1.0', engineLabels: {} },
    }),
    systemAddresses: () => [],
    ownEndpoints: () => [],
    vacate: () => Promise.resolve(),
    settled: () => Promise.resolve(),
  });
  swarm.start();
  return swarm;
}

async function joinAs(name: string, token: string): Promise<LocalSwarm> {
  const swarm = await openNode(name, new MemoryStore());
  await swarm.join({
    ...{ listen: '127.0.0.1:2377', advertise: '127.0.0.1', dataPath: '', availability: 'active' },
    ...{ remotes: [address], token },
  });
  return swarm;
}

const macOf = (i: number): string => macFromBytes(Uint8Array.of(2, 0, 0, i >> 16, (i >> 8) & 0xff, i & 0xff));

function claimOf(networkId: string, i: number): EndpointClaim {
  const id = randomBytes(32).toString('hex');
  return {
    ...{ endpointId: id, networkId, containerId: id, containerName: `c${i}`, mac: macOf(i) },
    ...{ dnsNames: [`c${i}`], isUp: true },
  };
}

/** Milliseconds until each of `followers` has heard of an endpoint that is claimed now, in order. */
async function spread(manager: SwarmNetworks, followers: readonly SwarmNetworks[], claim: EndpointClaim) {
  const begunMs = performance.now();
  const heard = followers.map(
    (follower) =>
      new Promise<number>((resolve) => {
        const listening = follower.events.on('peers', ({ added }) => {
          if (!added.some(({ endpointId }) => endpointId === claim.endpointId)) return;
          listening[Symbol.dispose]();
          resolve(performance.now() - begunMs);
        });
      }),
  );
  await manager.claim(claim);
  return (await Promise.all(heard)).toSorted((a, b) => a - b);
}

/** Milliseconds that a host needs to set them in the kernel. */
async function setInKernel(
  host: OverlayHost,
  rows: Awaited<ReturnType<SwarmNetworks['endpoints']>>,
): Promise<number> {
  const network = makeNetwork('4097', ['10.64.0.0/12']);
  await host.driver.ensureNetwork(network);
  const vtep = { family: 4 as const, bits: 0xc0000202n };
  const peers = rows.flatMap(({ endpointId, mac, ipv4 = '' }): readonly OverlayPeer[] => {
    const ip = parseIp(ipv4);
    return ip === undefined ? [] : [{ endpointId, ip, mac: mac as OverlayPeer['mac'], vtep }];
  });
  const begunMs = performance.now();
  await host.driver.setPeers(network, peers);
  return performance.now() - begunMs;
}

const folder = makeFolder();
try {
  // Before the sessions take the descriptors that libnftables can wait on.
  await using world = await openOverlayWorld(1);
  const [host] = world.hosts;
  if (host === undefined) throw new Error('bench: no host');
  const store = await openSqliteStore(join(folder, 'manager.db'), openSeam());
  const manager = await openNode('manager', store);
  await manager.init({
    ...{ listen: address, advertise: address, dataPath: '', availability: 'active', spec },
    ...{ isForcedNew: false, dataPathPort: 0, addressPools: [], subnetLength: 0 },
  });
  const { id } = await manager.networks.createNetwork(() => ({
    ...{ name: 'bench', isInternal: false, isAttachable: false, isIngress: false },
    ...{ hasIpv4: true, hasIpv6: false, vnis: [4097], options: {}, labels: {} },
    pools: [{ subnet: '10.64.0.0/12', gateway: '10.64.0.1', auxAddresses: {} }],
  }));
  const token = manager.cluster().tokens.worker;
  const all: LocalSwarm[] = [];
  while (all.length < nodes)
    all.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(joinsAtOnce, nodes - all.length) }, (_, i) =>
          joinAs(`n${all.length + i}`, token),
        ),
      )),
    );
  await Promise.all(all.map(({ networks }) => networks.follow(id)));
  const followers = all.map(({ networks }) => networks);
  const [first, last]: [number[], number[]] = [[], []];
  for (let i = 0; i <= rounds; i++) {
    const times = await spread(manager.networks, followers, claimOf(id, i));
    await sleep(50);
    // The first warms up.
    if (i === 0) continue;
    first.push(times[0] ?? 0);
    last.push(times.at(-1) ?? 0);
  }
  // The table grows without them.
  for (const { networks } of all) networks.unfollow(id);
  for (let i = 0; i < endpoints; i += claimsAtOnce)
    await Promise.all(
      Array.from({ length: Math.min(claimsAtOnce, endpoints - i) }, (_, k) =>
        manager.networks.claim(claimOf(id, 1000 + i + k)),
      ),
    );
  const [joining] = all;
  if (joining === undefined) throw new Error('bench: no node');
  const begunMs = performance.now();
  await joining.networks.follow(id);
  const snapshotMs = performance.now() - begunMs;
  const rows = joining.networks.peers(id);
  const kernelMs = await setInKernel(host, rows);
  const result = {
    ...{ nodes, rounds, firstMs: quantilesOf(first, 1), lastMs: quantilesOf(last, 1) },
    ...{ endpoints: rows.length, snapshotMs: Math.round(snapshotMs), kernelMs: Math.round(kernelMs) },
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  removeFolder(folder);
  // Hundreds of sessions would each say goodbye.
  setImmediate(() => process.exit());
}
