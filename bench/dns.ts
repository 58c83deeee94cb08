/*
 * Measures names: questions a second and latency at a container's 127.0.0.11:53, on linkspan and a real dockerd in the
 * same run, taking turns. The client keeps a number of questions in flight from one UDP socket each, for ten names of
 * containers, in the container's namespace. Prints JSON. Run by scripts/bench in a lane.
 * The client is a small C program (bench/dnsLoad.c), because one in JavaScript is slower than what it measures.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import {
  call,
  loadImage,
  makeFolder,
  makeImage,
  type RunningContainer,
  type RunningEngine,
  removeFolder,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';

const rounds = Number(process.argv[2] ?? 7);
const seconds = 2;
const names = Array.from({ length: 10 }, (_, i) => `name${i}`);

interface Sample {
  readonly qps: number;
  readonly p50: number;
  readonly p99: number;
  readonly lost: number;
  readonly wrong: number;
}

/** A container that has ten names. */
async function startNamed(engine: RunningEngine): Promise<RunningContainer> {
  await call(engine, 'POST', '/networks/create', { Name: 'bench', Driver: 'bridge' });
  return startContainer(engine, 'bench', {
    NetworkingConfig: { EndpointsConfig: { bench: { Aliases: names } } },
  });
}

function load(program: string, pid: number, inFlight: number): Sample {
  const args = [
    `--net=/proc/${pid}/ns/net`,
    '--',
    program,
    '127.0.0.11',
    '53',
    String(inFlight),
    String(seconds),
  ];
  return JSON.parse(execFileSync('nsenter', [...args, ...names], { encoding: 'utf8' })) as Sample;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const folder = makeFolder();
const image = makeImage(folder);
const program = join(folder, 'dnsLoad');
execFileSync('gcc', ['-O2', '-o', program, join(import.meta.dirname, 'dnsLoad.c')]);
const engines: RunningEngine[] = [];
const containers = new Map<string, RunningContainer & { readonly engine: RunningEngine }>();
try {
  for (const name of ['linkspan', 'docker'] as const) {
    const engine = await startEngine(name, folder);
    engines.push(engine);
    loadImage(engine, image);
  }
  for (const engine of engines) containers.set(engine.name, { engine, ...(await startNamed(engine)) });
  const samples = new Map<string, Sample[]>();
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    for (const inFlight of [1, 20, 64]) {
      for (const { name } of engines) {
        const sample = load(program, containers.get(name)?.pid ?? 0, inFlight);
        const key = `${name} ${inFlight}`;
        if (round > 0) samples.set(key, [...(samples.get(key) ?? []), sample]);
      }
    }
  }
  const result = [...samples].map(([key, list]) => {
    const [name = '', inFlight = ''] = key.split(' ');
    return {
      ...{ name, inFlight: Number(inFlight), rounds },
      qps: Math.round(median(list.map(({ qps }) => qps))),
      p50: median(list.map(({ p50 }) => p50)),
      p99: median(list.map(({ p99 }) => p99)),
      lost: list.reduce((sum, { lost }) => sum + lost, 0),
      wrong: list.reduce((sum, { wrong }) => sum + wrong, 0),
    };
  });
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  await stopEngines(engines);
  removeFolder(folder);
}
