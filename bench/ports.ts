/*
 * Measures published ports: `docker run` with a hundred against none, on linkspan and a real dockerd; and on linkspan,
 * from an outside namespace, connects and new connections a second to the last of few ports and of many. Few and many
 * are published by two daemons, so that they take turns. Prints JSON. Run by bench/report.ts in a lane; alone:
 * scripts/lane scripts/node bench/ports.ts [ROUNDS]
 */
import { execFileSync } from 'node:child_process';
import {
  call,
  type ContainerRequest,
  loadImage,
  makeFolder,
  makeImage,
  type RunningEngine,
  removeFolder,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';
import { buildPathLoad, type LoadKind, medianOf, type PathLoad } from './pathLoad.ts';
import { timed } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 9);
const seconds = 0.5;
/** Not the same, so that each port is an element of its own. */
const firstHostPort = 20_000;
const firstPort = 40_000;

/** Numbers of ports whose traffic is compared. */
const comparisons: readonly { readonly kind: LoadKind; readonly few: number; readonly many: number }[] = [
  { kind: 'connect', few: 10, many: 10_000 },
  { kind: 'rate', few: 1, many: 1000 },
];

/** How often `docker run` is measured: dockerd needs some nine seconds for a hundred ports, and six to remove them. */
const runRounds = { linkspan: 11, docker: 1 };

function ip(...args: string[]): void {
  execFileSync('ip', args);
}

interface Client {
  readonly namespace: string;
  readonly hostAddress: string;
}

/** A namespace on one segment with the engine's. */
function makeClient({ namespace }: RunningEngine): Client {
  const client = `${namespace}-out`;
  ip('netns', 'add', client);
  ip('link', 'add', 'out0', 'netns', namespace, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', client);
  for (const [where, device, address] of [
    [namespace, 'out0', '192.0.2.11'],
    [client, 'eth0', '192.0.2.13'],
  ] as const) {
    ip('-n', where, 'address', 'add', `${address}/24`, 'dev', device);
    ip('-n', where, 'link', 'set', device, 'up');
  }
  return { namespace: `/run/netns/${client}`, hostAddress: '192.0.2.11' };
}

/** `count` ports, as the command line sends a range. */
function publishing(count: number): ContainerRequest {
  const each = Array.from({ length: count }, (_, i) => i);
  const bindings = each.map((i) => [`${firstPort + i}/tcp`, [{ HostPort: String(firstHostPort + i) }]]);
  return { HostConfig: { PortBindings: Object.fromEntries(bindings) } };
}

/** Milliseconds of `docker run -d`, and what is removed again is not part of it. */
async function timeRun(engine: RunningEngine, samples: number[], flags: readonly string[]): Promise<void> {
  const words = ['-H', `unix://${engine.socketPath}`, 'run', '-d', '--name', 'timed', ...flags];
  await timed(samples, async () => {
    execFileSync('docker', [...words, 'busybox', 'sleep', '600'], { stdio: 'ignore' });
  });
  await call(engine, 'DELETE', '/containers/timed?force=1');
}

async function compareRuns(engine: RunningEngine, count: number): Promise<object> {
  const range = ['-p', `${firstHostPort}-${firstHostPort + 99}:${firstPort}-${firstPort + 99}`];
  const [none, hundred]: [number[], number[]] = [[], []];
  await timeRun(engine, [], []);
  for (let round = 0; round < count; round += 1) {
    await timeRun(engine, none, []);
    await timeRun(engine, hundred, range);
  }
  return {
    ...{ name: engine.name, rounds: count },
    ...{ noneMs: Math.round(medianOf(none)), hundredMs: Math.round(medianOf(hundred)) },
  };
}

/** A daemon with its client. */
interface Side {
  readonly engine: RunningEngine;
  readonly client: Client;
}

/** A container with so many ports and a server behind the last of them, until disposed. */
async function publish(load: PathLoad, { engine }: Side, count: number): Promise<AsyncDisposable> {
  const container = await startContainer(engine, 'bridge', publishing(count));
  const server = await load.serve(`/proc/${container.pid}/ns/net`, firstPort + count - 1);
  return {
    [Symbol.asyncDispose]: async () => {
      server[Symbol.dispose]();
      await call(engine, 'DELETE', `/containers/${container.id}?force=1`);
    },
  };
}

async function compare(
  load: PathLoad,
  [few, many]: readonly [Side, Side],
  comparison: (typeof comparisons)[number],
): Promise<object> {
  const { kind } = comparison;
  const series = [
    { side: few, count: comparison.few, values: new Array<number>() },
    { side: many, count: comparison.many, values: new Array<number>() },
  ];
  await using published = new AsyncDisposableStack();
  for (const { side, count } of series) published.use(await publish(load, side, count));
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1)
    for (const { side, count, values } of round % 2 === 0 ? series : series.toReversed()) {
      const { namespace, hostAddress } = side.client;
      const sample = load.measure(kind, namespace, hostAddress, firstHostPort + count - 1, seconds);
      if (round > 0) values.push(kind === 'rate' ? sample.perSecond : sample.p50);
    }
  const [atFew, atMany] = series.map(({ values }) => medianOf(values));
  return { ...comparison, rounds, atFew, atMany };
}

const folder = makeFolder();
const engines: RunningEngine[] = [];
try {
  const load = buildPathLoad(folder);
  const image = makeImage(folder);
  const start = async (name: 'linkspan' | 'docker', namespace: string): Promise<Side> => {
    const engine = await startEngine(name, folder, namespace);
    engines.push(engine);
    loadImage(engine, image);
    return { engine, client: makeClient(engine) };
  };
  const sides = [await start('linkspan', 'few'), await start('linkspan', 'many')] as const;
  const docker = await start('docker', 'docker');
  const runs = [
    await compareRuns(sides[0].engine, runRounds.linkspan),
    await compareRuns(docker.engine, runRounds.docker),
  ];
  const traffic: object[] = [];
  for (const comparison of comparisons) traffic.push(await compare(load, sides, comparison));
  process.stdout.write(`${JSON.stringify({ runs, traffic }, undefined, 2)}\n`);
} finally {
  await stopEngines(engines);
  removeFolder(folder);
}
