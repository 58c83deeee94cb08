/*
 * Measures what a user waits for, on linkspan, a real dockerd and podman in the same run, taking turns: network
 * create, create+start with and without a network, and a whole `docker run`. Prints JSON: medians in milliseconds,
 * and the daemons' resident memory when idle. Run by scripts/bench in a lane; never a test, since it only measures.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { callApi } from '../tests/compat/api.ts';
import {
  type EngineName,
  makeFolder,
  removeFolder,
  type RunningEngine,
  startEngine,
  stopEngine,
} from './engines.ts';

const root = join(import.meta.dirname, '..');
const rounds = Number(process.argv[2] ?? 20);

type Samples = Map<string, number[]>;

async function call(engine: RunningEngine, method: string, path: string, body?: unknown): Promise<string> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const answer = await callApi(engine.socketPath, method, path, text);
  if (answer.status >= 400)
    throw new Error(`${engine.name}: ${method} ${path}: ${answer.status} ${answer.body}`);
  return answer.body;
}

async function timed(samples: Samples, key: string, work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await work();
  const taken = samples.get(key) ?? [];
  samples.set(key, [...taken, performance.now() - start]);
}

async function networkRound(engine: RunningEngine, samples: Samples, round: number): Promise<void> {
  const name = `bench${round}`;
  await timed(samples, 'network create', () =>
    call(engine, 'POST', '/networks/create', { Name: name, Driver: 'bridge', CheckDuplicate: true }),
  );
  await timed(samples, 'network rm', () => call(engine, 'DELETE', `/networks/${name}`));
}

async function startRound(engine: RunningEngine, samples: Samples, mode: string): Promise<void> {
  let id = '';
  await timed(samples, `create+start, ${mode}`, async () => {
    const HostConfig = { NetworkMode: mode };
    const made = await call(engine, 'POST', '/containers/create', {
      Image: 'busybox',
      Cmd: ['sleep', '600'],
      HostConfig,
    });
    id = (JSON.parse(made) as { Id: string }).Id;
    await call(engine, 'POST', `/containers/${id}/start`);
  });
  await call(engine, 'DELETE', `/containers/${id}?force=1`);
}

async function runRound(engine: RunningEngine, samples: Samples): Promise<void> {
  const words = ['-H', `unix://${engine.socketPath}`, 'run', '--rm', '--network', 'none', 'busybox', 'true'];
  await timed(samples, 'docker run --rm --network none busybox true', async () => {
    execFileSync('docker', words, { stdio: 'ignore' });
  });
}

function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return Number((sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1));
}

async function measure(engines: readonly RunningEngine[]): Promise<Map<EngineName, Samples>> {
  const samples = new Map<EngineName, Samples>(engines.map(({ name }) => [name, new Map()]));
  for (const engine of engines)
    await call(engine, 'POST', '/networks/create', { Name: 'bench', Driver: 'bridge', CheckDuplicate: true });
  // The first round warms caches and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    for (const engine of engines) {
      const own = (round === 0 ? new Map() : samples.get(engine.name)) as Samples;
      await networkRound(engine, own, round);
      for (const mode of ['none', 'bench']) await startRound(engine, own, mode);
      await runRound(engine, own);
    }
  }
  return samples;
}

const folder = makeFolder();
const image = join(folder, 'busybox.tar');
execFileSync(join(root, 'scripts/node'), [join(root, 'tools/busyboxImage.ts'), '--save', image]);
const names: readonly EngineName[] = ['linkspan', 'docker', 'podman'];
const engines: RunningEngine[] = [];
try {
  for (const name of names) {
    try {
      engines.push(await startEngine(name, folder, image));
    } catch (error) {
      process.stderr.write(`bench: ${name} is left out: ${String(error)}\n`);
    }
  }
  const samples = await measure(engines);
  await sleep(3000);
  const result = engines.map((engine) => ({
    name: engine.name,
    version: engine.version,
    rounds,
    mediansMs: Object.fromEntries(
      [...(samples.get(engine.name) ?? [])].map(([key, values]) => [key, median(values)]),
    ),
    idleRssMb: residentMb(engine.pid),
  }));
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  for (const engine of engines) stopEngine(engine);
  await sleep(1500);
  removeFolder(folder);
}
