/*
 * Measures what the way between two containers of one bridge network costs, on linkspan, a real dockerd and a bare
 * bridge with two bare veth pairs, taking turns: round trips and connects (bench/pathLoad.c) and throughput (iperf3).
 * The kernel shows a bridge's frames to the IP rules where net.bridge.bridge-nf-call-iptables is 1, as it is once
 * br_netfilter is loaded; linkspan is measured with 0 too, as on machines that have not loaded it.
 * Prints JSON. Run by bench/report.ts in a lane; alone: scripts/lane scripts/node bench/path.ts [ROUNDS]
 */
import { execFileSync } from 'node:child_process';
import {
  call,
  loadImage,
  makeFolder,
  makeImage,
  type RunningEngine,
  removeFolder,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';
import { buildPathLoad, medianOf, throughput, within } from './pathLoad.ts';

const rounds = Number(process.argv[2] ?? 9);
const seconds = 0.3;
const port = 7000;
const kinds = ['tcp', 'udp', 'connect'] as const;

/** From one network namespace to another. */
interface Way {
  readonly name: string;
  readonly client: string;
  readonly server: string;
  readonly address: string;
  /** Whose namespace has bridge-nf-call-iptables=0 meanwhile. */
  readonly unfiltered?: RunningEngine;
}

function ip(...args: string[]): void {
  execFileSync('ip', args);
}

/** Two namespaces with a veth pair each in the bridge of a third; nothing else. */
function makeBareWay(): Way {
  const ends = ['bare1', 'bare2'] as const;
  for (const name of ['bare', ...ends]) ip('netns', 'add', name);
  ip('-n', 'bare', 'link', 'add', 'br0', 'up', 'type', 'bridge');
  for (const end of ends) {
    ip('-n', 'bare', 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', end);
    ip('-n', 'bare', 'link', 'set', end, 'master', 'br0', 'up');
    ip('-n', end, 'address', 'add', `10.88.0.${end.slice(-1)}/24`, 'dev', 'eth0');
    ip('-n', end, 'link', 'set', 'eth0', 'up');
  }
  return { name: 'bare', client: '/run/netns/bare1', server: '/run/netns/bare2', address: '10.88.0.2' };
}

async function makeWay(engine: RunningEngine): Promise<Way> {
  await call(engine, 'POST', '/networks/create', { Name: 'bench', Driver: 'bridge' });
  const client = await startContainer(engine, 'bench');
  const server = await startContainer(engine, 'bench');
  const namespaceOf = (pid: number): string => `/proc/${pid}/ns/net`;
  return {
    name: engine.name,
    ...{ client: namespaceOf(client.pid), server: namespaceOf(server.pid), address: server.address },
  };
}

function setFiltering({ unfiltered }: Way, value: 0 | 1): void {
  if (unfiltered === undefined) return;
  const setting = `net.bridge.bridge-nf-call-iptables=${value}`;
  execFileSync('nsenter', within(`/run/netns/${unfiltered.namespace}`, 'sysctl', '-qw', setting));
}

/** With its own state of the kernel. */
async function during<T>(way: Way, work: () => T | Promise<T>): Promise<T> {
  setFiltering(way, 0);
  try {
    return await work();
  } finally {
    setFiltering(way, 1);
  }
}

const folder = makeFolder();
const engines: RunningEngine[] = [];
try {
  const load = buildPathLoad(folder);
  const image = makeImage(folder);
  const ways = [makeBareWay()];
  for (const name of ['linkspan', 'docker'] as const) {
    const engine = await startEngine(name, folder);
    engines.push(engine);
    loadImage(engine, image);
    const way = await makeWay(engine);
    ways.push(way);
    if (name === 'linkspan') ways.push({ ...way, name: 'linkspan, frames not filtered', unfiltered: engine });
  }
  using servers = new DisposableStack();
  for (const server of new Set(ways.map((way) => way.server))) servers.use(await load.serve(server, port));
  const samples = new Map<string, number[]>();
  const note = (key: string, value: number): void => {
    samples.set(key, [...(samples.get(key) ?? []), value]);
  };
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    if (round === 1) samples.clear();
    const turns = ways
      .map((_, turn) => ways[(round + turn) % ways.length])
      .filter((way) => way !== undefined);
    for (const kind of kinds)
      for (const way of turns)
        await during(way, () => {
          const sample = load.measure(kind, way.client, way.address, port, seconds);
          note(`${way.name} ${kind}`, kind === 'connect' ? sample.p25 : sample.p50);
        });
    for (const way of turns)
      note(
        `${way.name} throughput`,
        await during(way, () => throughput(way.client, way.server, way.address)),
      );
  }
  const of = (name: string, kind: string): number =>
    Number(medianOf(samples.get(`${name} ${kind}`) ?? []).toFixed(2));
  const result = ways.map(({ name }) => ({
    ...{ name, rounds, tcpUs: of(name, 'tcp'), udpUs: of(name, 'udp'), connectUs: of(name, 'connect') },
    gbitPerSecond: of(name, 'throughput'),
  }));
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  await stopEngines(engines);
  removeFolder(folder);
}
