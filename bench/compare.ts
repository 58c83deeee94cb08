/*
 * Measures what a user waits for, on linkspan, a real dockerd and podman in the same run, taking turns: network
 * create, rm, connect and disconnect, create+start with and without a network, and a whole `docker run`; and what the daemons hold of
 * memory, before they were ever used and after. A C program makes one endpoint a round after the same pause, to tell how
 * fast the machine is for who wakes up. Prints JSON. Run by bench/report.ts in a lane; never a test.
 * Usage: compare.ts [ROUNDS [SECONDS]]: no further round begins after so many seconds.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  call,
  type EngineName,
  loadImage,
  makeFolder,
  makeImage,
  type RunningEngine,
  removeFolder,
  startEngine,
  stopEngines,
} from './engines.ts';
import { silentLogger } from '../src/base/logger.ts';
import { openSeam } from '../src/base/seam.ts';
import { openKernel } from '../src/kernel/openKernel.ts';
import { type Floor, prepareFloor, startFloor } from './floor.ts';
import { type Quantiles, quantilesOf, timed } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 20);
const limitMs = Number(process.argv[3] ?? 200) * 1000;
/** After that a daemon has done all that it does by itself after a start. */
const idleMs = 30_000;
const settleMs = 150;

/** Series by operation. */
class Samples {
  readonly #series = new Map<string, number[]>();

  of(key: string): number[] {
    const series = this.#series.get(key) ?? [];
    this.#series.set(key, series);
    return series;
  }

  quantiles(): Record<string, Quantiles> {
    return Object.fromEntries([...this.#series].map(([key, values]) => [key, quantilesOf(values, 1)]));
  }
}

async function networkRound(engine: RunningEngine, samples: Samples, round: number): Promise<void> {
  const name = `bench${round}`;
  // What was removed before, by whichever engine, holds the kernel's one lock of all links for some 30 ms more.
  await sleep(settleMs);
  await timed(samples.of('POST /networks/create'), () =>
    call(engine, 'POST', '/networks/create', { Name: name, Driver: 'bridge', CheckDuplicate: true }),
  );
  await timed(samples.of('DELETE /networks'), () => call(engine, 'DELETE', `/networks/${name}`));
}

/** A running container to one more network and off again. */
async function connectRound(engine: RunningEngine, samples: Samples, Container: string): Promise<void> {
  for (const what of ['connect', 'disconnect'])
    await timed(samples.of(`POST /networks/${what}`), () =>
      call(engine, 'POST', `/networks/bench-more/${what}`, { Container }),
    );
}

async function startRound(engine: RunningEngine, samples: Samples, network: string): Promise<void> {
  let id = '';
  await timed(samples.of(`create+start, ${network}`), async () => {
    const HostConfig = { NetworkMode: network };
    const request = { Image: 'busybox', Cmd: ['sleep', '600'], HostConfig };
    id = (JSON.parse(await call(engine, 'POST', '/containers/create', request)) as { Id: string }).Id;
    await call(engine, 'POST', `/containers/${id}/start`);
  });
  if (network === 'bench' && engine.name !== 'podman') await connectRound(engine, samples, id);
  await timed(samples.of(`rm -f, ${network}`), () => call(engine, 'DELETE', `/containers/${id}?force=1`));
}

async function runRound(engine: RunningEngine, samples: Samples): Promise<void> {
  const words = ['-H', `unix://${engine.socketPath}`, 'run', '--rm', '--network', 'none', 'busybox', 'true'];
  await timed(samples.of('docker run --rm --network none busybox true'), async () => {
    execFileSync('docker', words, { stdio: 'ignore' });
  });
}

/** Everything once. What a bridge adds is taken within the round, so that the machine's load is the same for both. */
async function engineRound(engine: RunningEngine, samples: Samples, round: number): Promise<void> {
  await networkRound(engine, samples, round);
  for (const network of round % 2 === 0 ? ['none', 'bench'] : ['bench', 'none'])
    await startRound(engine, samples, network);
  const last = (network: string): number => samples.of(`create+start, ${network}`).at(-1) ?? 0;
  samples.of('what a bridge adds to create+start').push(last('bench') - last('none'));
  await runRound(engine, samples);
}

/** Of the daemon alone: its containerd is a process of its own. */
function residentMb({ pid }: RunningEngine): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

/** Milliseconds of one endpoint, out of rest. */
async function floorRound(floor: Floor): Promise<number> {
  await sleep(settleMs);
  const { namespace, attach, element } = await floor.next();
  return namespace + attach + element;
}

/** Resolves with the rounds that were counted. */
async function measure(
  engines: readonly RunningEngine[],
  samples: Map<EngineName, Samples>,
  floor: Floor | undefined,
  floorMs: number[],
): Promise<number> {
  for (const engine of engines)
    for (const Name of ['bench', 'bench-more'])
      await call(engine, 'POST', '/networks/create', { Name, Driver: 'bridge', CheckDuplicate: true });
  const startedAt = performance.now();
  // The first round warms caches and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    if (round > 1 && performance.now() - startedAt > limitMs) return round - 1;
    if (floor !== undefined) floorMs.push(await floorRound(floor));
    for (let turn = 0; turn < engines.length; turn += 1) {
      const engine = engines[(round + turn) % engines.length];
      const own = engine === undefined ? undefined : samples.get(engine.name);
      if (engine === undefined || own === undefined) continue;
      await engineRound(engine, round === 0 ? new Samples() : own, round);
    }
  }
  return rounds;
}

await using kernel = await openKernel({ seam: openSeam(), logger: silentLogger });
await prepareFloor(kernel);
await using floor = startFloor();
const folder = makeFolder();
const image = makeImage(folder);
const names: readonly EngineName[] = ['linkspan', 'docker', 'podman'];
const engines: RunningEngine[] = [];
try {
  for (const name of names) {
    try {
      engines.push(await startEngine(name, folder));
    } catch (error) {
      process.stderr.write(`bench: ${name} is left out: ${String(error)}\n`);
    }
  }
  await sleep(idleMs);
  const idleMb = engines.map(residentMb);
  for (const engine of engines) loadImage(engine, image);
  const samples = new Map<EngineName, Samples>(engines.map(({ name }) => [name, new Samples()]));
  const floorMs: number[] = [];
  const counted = await measure(engines, samples, floor, floorMs);
  await sleep(3000);
  const results = engines.map((engine, i) => ({
    name: engine.name,
    version: engine.version,
    rounds: counted,
    ms: samples.get(engine.name)?.quantiles() ?? {},
    idleRssMb: idleMb[i],
    usedRssMb: residentMb(engine),
  }));
  const result = { engines: results, floor: floorMs.length === 0 ? undefined : quantilesOf(floorMs) };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  await stopEngines(engines);
  removeFolder(folder);
}
