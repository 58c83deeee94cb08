/*
 * Measures overlay networks between three hosts of a lab: how long until a container is found and answers on another
 * host, what its start takes, also on a real dockerd's overlay network in turns, what the tunnel costs beside a bare VXLAN
 * between two namespaces on the same segment, and what joining takes. Prints JSON. Run by bench/report.ts in a lane; alone: scripts/lane scripts/node bench/overlay.ts [ROUNDS]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { downLab, upLab } from '../src/frontends/lab/lab.ts';
import { hostPaths } from '../src/frontends/lab/labFolder.ts';
import { inUnderlay } from '../src/frontends/lab/namespaces.ts';
import { planTopology } from '../src/frontends/lab/topology.ts';
import { callApi } from '../tests/compat/api.ts';
import { eventually } from '../tests/compat/command.ts';
import { DockerSwarm } from './dockerSwarm.ts';
import { makeFolder, removeFolder } from './engines.ts';
import { openBareWireguard } from './bareWireguard.ts';
import { buildPathLoad, type PathLoad, within } from './pathLoad.ts';
import { quantilesOf, timed } from './quantiles.ts';
import type { PathRow } from './trafficTables.ts';
import { measureWays, type Way } from './ways.ts';

const rounds = Number(process.argv[2] ?? 30);
const labFolder = '/run/bench-lab';
const hosts = ['host1', 'host2', 'host3'] as const;
type HostName = (typeof hosts)[number];
const root = join(import.meta.dirname, '..');

async function call<T>(host: HostName, method: string, path: string, body?: object): Promise<T> {
  const { socket } = hostPaths(labFolder, host);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const answer = await callApi(socket, method, path, text, {}, 60_000);
  if (answer.status >= 400) throw new Error(`${host}: ${method} ${path}: ${answer.status} ${answer.body}`);
  return (answer.body === '' ? undefined : JSON.parse(answer.body)) as T;
}

interface Container {
  readonly id: string;
  readonly address: string;
  readonly startedAtMs: number;
}

async function create(host: HostName, name: string, network: string): Promise<string> {
  const { Id } = await call<{ Id: string }>(host, 'POST', `/containers/create?name=${name}`, {
    ...{ Image: 'busybox', Cmd: ['sleep', '6000'] },
    HostConfig: { NetworkMode: network },
  });
  return Id;
}

async function start(host: HostName, id: string, network: string): Promise<Container> {
  await call(host, 'POST', `/containers/${id}/start`);
  const { State, NetworkSettings } = await call<{
    State: { StartedAt: string };
    NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
  }>(host, 'GET', `/containers/${id}/json`);
  const address = NetworkSettings.Networks[network]?.IPAddress ?? '';
  return { id, address, startedAtMs: Date.parse(State.StartedAt) };
}

const remove = (host: HostName, id: string): Promise<void> =>
  call(host, 'DELETE', `/containers/${id}?force=1`);

/** Of a container's process, as this lane counts: its host counts for itself. */
function namespaceOf(id: string): string {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(id)) return `/proc/${pid}/ns/net`;
    } catch {
      // It ended.
    }
  }
  throw new Error(`no process of container ${id}`);
}

/** Asks for names in `namespace`. */
async function openProbe(namespace: string) {
  const words = within(namespace, join(root, 'scripts/node'), join(root, 'bench/nameProbe.ts'));
  const child = spawn('nsenter', words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    find: async (name: string): Promise<readonly [namedMs: number, reachedMs: number]> => {
      child.stdin.write(`${name}\n`);
      const { value = '' } = (await lines.next()) as { value?: string };
      const [, named = '', reached = ''] = value.split(' ');
      return [Number(named), Number(reached)];
    },
    [Symbol.asyncDispose]: async (): Promise<void> => {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** Two namespaces on the lab's segment with a VXLAN device each, and nothing between it and their addresses. */
function makeBareTunnel(segment: string): readonly [client: string, server: string, address: string] {
  const ends = ['bare1', 'bare2'] as const;
  const underlay = inUnderlay(labFolder);
  for (const [i, end] of ends.entries()) {
    const [own, other] = [101 + i, 102 - i];
    const inside = (...args: readonly string[]): void => void execFileSync('ip', ['-n', end, ...args]);
    const between = (...args: readonly string[]): void =>
      void execFileSync(underlay[0] ?? '', [...underlay.slice(1), 'ip', ...args]);
    execFileSync('ip', ['netns', 'add', end]);
    between('link', 'add', end, 'type', 'veth', 'peer', 'name', 'up0', 'netns', `/run/netns/${end}`);
    between('link', 'set', end, 'master', segment, 'up');
    inside('address', 'add', `192.0.2.${own}/24`, 'dev', 'up0');
    inside('link', 'set', 'up0', 'up');
    const ways = ['local', `192.0.2.${own}`, 'remote', `192.0.2.${other}`, 'dstport', '4789', 'nolearning'];
    // As containers have it; the default is 1500, and full packets are fragmented until TCP has found out.
    inside('link', 'add', 'vx0', 'mtu', '1450', 'type', 'vxlan', 'id', '99', ...ways);
    inside('address', 'add', `10.99.0.${own}/24`, 'dev', 'vx0');
    inside('link', 'set', 'vx0', 'up');
  }
  return ['/run/netns/bare1', '/run/netns/bare2', '10.99.0.102'];
}

async function measureStarts(docker: DockerSwarm): Promise<object> {
  const [named, reached, created, first]: [number[], number[], number[], number[]] = [[], [], [], []];
  const onBridge: number[] = [];
  const [dockerCreated, dockerFirst]: [number[], number[]] = [[], []];
  const watcher = await start('host2', await create('host2', 'watcher', 'bench'), 'bench');
  // So that its network is there already.
  await start('host1', await create('host1', 'neighbour', 'bench'), 'bench');
  await using probe = await openProbe(namespaceOf(watcher.id));
  for (let i = 0; i < rounds; i++) {
    const name = `c${i}`;
    const found = probe.find(name);
    let container: Container | undefined;
    await timed(created, async () => {
      container = await start('host1', await create('host1', name, 'bench'), 'bench');
    });
    const [namedMs, reachedMs] = await found;
    named.push(namedMs - (container?.startedAtMs ?? 0));
    reached.push(reachedMs - (container?.startedAtMs ?? 0));
    if (container !== undefined) await remove('host1', container.id);
    await sleep(100);
    // What the host and its containerd take of it.
    await timed(onBridge, async () => {
      container = await start('host1', await create('host1', `b${i}`, 'beside'), 'beside');
    });
    await remove('host1', container?.id ?? '');
    await sleep(100);
    if (i % 3 === 0) await docker.measureNext(dockerCreated);
  }
  for (let i = 0; i < Math.ceil(rounds / 3); i++) {
    let container: Container | undefined;
    await timed(first, async () => {
      container = await start('host3', await create('host3', `first${i}`, 'bench'), 'bench');
    });
    if (container !== undefined) await remove('host3', container.id);
    await sleep(100);
    await docker.measureFirst(dockerFirst);
  }
  return {
    namedMs: quantilesOf(named, 1),
    reachedMs: { ...quantilesOf(reached, 1), most: Number(Math.max(...reached).toFixed(1)) },
    createAndStartMs: quantilesOf(created, 1),
    firstOnHostMs: quantilesOf(first, 1),
    onBridgeMs: quantilesOf(onBridge, 1),
    dockerMs: quantilesOf(dockerCreated, 1),
    dockerFirstMs: quantilesOf(dockerFirst, 1),
  };
}

/** Between containers of two hosts on the network. */
async function makeWay(name: string, network: string): Promise<Way> {
  const [client, server] = await Promise.all(
    (['host1', 'host2'] as const).map(async (host) =>
      start(host, await create(host, `${network}-${host}`, network), network),
    ),
  );
  if (client === undefined || server === undefined) throw new Error('bench: two containers are needed');
  return [name, namespaceOf(client.id), namespaceOf(server.id), server.address];
}

/** An encrypted network and a tunnel of the same engine, of which only wireguard-go's is measured here. */
async function measureEncrypted(load: PathLoad): Promise<readonly PathRow[]> {
  const { Engine } = await call<{ Engine: string }>('host1', 'GET', '/linkspan/v1/tunnels');
  if (Engine !== 'wireguard-go') return [];
  await call('host1', 'POST', '/networks/create', {
    ...{ Name: 'secret', Driver: 'overlay', Options: { encrypted: '' } },
  });
  await sleep(500);
  const ours = await makeWay('linkspan, encrypted', 'secret');
  const [one, other] = [101, 102].map((n, i) => ({
    ...{ namespace: `bare${i + 1}`, outer: `192.0.2.${n}`, inner: `10.98.0.${n}` },
  }));
  if (one === undefined || other === undefined) throw new TypeError('two ends');
  await using _tunnel = await openBareWireguard([one, other], 1370);
  const bare: Way = ['bare wireguard-go', '/run/netns/bare1', '/run/netns/bare2', other.inner];
  return await measureWays(load, [bare, ours]);
}

async function measurePath(segment: string, load: PathLoad): Promise<readonly PathRow[]> {
  const bare = makeBareTunnel(segment);
  return await measureWays(load, [['bare VXLAN', ...bare], await makeWay('linkspan', 'bench')]);
}

async function measureWithDocker(): Promise<object> {
  // Gone before the path is measured.
  await using docker = await DockerSwarm.open(folder);
  return await measureStarts(docker);
}

/** A host that leaves and joins again. */
async function measureJoin(): Promise<object> {
  const samples: number[] = [];
  const { JoinTokens } = await call<{ JoinTokens: { Worker: string } }>('host1', 'GET', '/swarm');
  for (let i = 0; i < Math.ceil(rounds / 3); i++) {
    await call('host3', 'POST', '/swarm/leave');
    await sleep(200);
    await timed(samples, () =>
      call('host3', 'POST', '/swarm/join', {
        ...{ RemoteAddrs: ['192.0.2.11:2377'], JoinToken: JoinTokens.Worker },
        ...{ ListenAddr: '0.0.0.0:2377', AdvertiseAddr: '192.0.2.13' },
      }),
    );
  }
  return quantilesOf(samples, 1);
}

const folder = makeFolder();
const topology = planTopology(hosts);
await upLab({
  ...{ folder: labFolder, topology, managers: 1, withImage: true },
  cgroupParent: process.env['LINKSPAN_LANE_CGROUP'] ?? '',
});
try {
  await call('host1', 'POST', '/networks/create', { Name: 'bench', Driver: 'overlay' });
  await call('host1', 'POST', '/networks/create', { Name: 'beside' });
  await eventually(async () =>
    (await Promise.all(hosts.map((host) => call<{ Name: string }[]>(host, 'GET', '/networks')))).every(
      (all) => all.some(({ Name }) => Name === 'bench'),
    ),
  );
  const starts = await measureWithDocker();
  const load = buildPathLoad(folder);
  const path = await measurePath(topology.segments[0]?.name ?? '', load);
  const encrypted = await measureEncrypted(load);
  const joinMs = await measureJoin();
  process.stdout.write(`${JSON.stringify({ rounds, ...starts, path, encrypted, joinMs }, undefined, 2)}\n`);
} finally {
  await downLab(labFolder);
  removeFolder(folder);
}
