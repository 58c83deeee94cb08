/*
 * Measures a restart with many containers on one network: from the start of the program, after a kill -9, to an answer
 * that lists all of them as running; and from there to the first answer of the resolver inside one. Prints JSON. Run
 * by bench/report.ts in a lane; alone: scripts/lane scripts/node bench/restart.ts [CONTAINERS [ROUNDS]]
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../tests/compat/command.ts';
import {
  call,
  isGone,
  loadImage,
  makeFolder,
  makeImage,
  type RunningEngine,
  removeFolder,
  startAgain,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';
import { quantilesOf } from './quantiles.ts';

const containers = Number(process.argv[2] ?? 200);
const rounds = Number(process.argv[3] ?? 5);
const atOnce = 8;
const limitMs = 60_000;

async function runningCount(engine: RunningEngine): Promise<number> {
  const list = JSON.parse(await call(engine, 'GET', '/containers/json')) as { State: string }[];
  return list.filter(({ State }) => State === 'running').length;
}

/** One UDP question from inside, given half a second. */
function resolves(pid: number, name: string): boolean {
  const words = [`--net=/proc/${pid}/ns/net`, 'timeout', '0.5', 'busybox', 'nslookup', name, '127.0.0.11'];
  return spawnSync('nsenter', words).status === 0;
}

async function round(before: RunningEngine, pid: number): Promise<[RunningEngine, number, number]> {
  process.kill(before.pid, 'SIGKILL');
  if (!(await isGone(before))) throw new Error('the daemon outlives SIGKILL');
  const startMs = performance.now();
  const engine = await startAgain(before);
  if (!(await eventually(async () => (await runningCount(engine)) === containers, limitMs)))
    throw new Error(`only ${await runningCount(engine)} of ${containers} containers run`);
  const readyMs = performance.now();
  if (!(await eventually(() => resolves(pid, 'c1'), limitMs))) throw new Error('names do not resolve');
  return [engine, readyMs - startMs, performance.now() - readyMs];
}

const folder = makeFolder();
let engine: RunningEngine | undefined;
try {
  engine = await startEngine('linkspan', folder);
  loadImage(engine, makeImage(folder));
  const first = engine;
  await call(first, 'POST', '/networks/create', { Name: 'many', Driver: 'bridge' });
  let next = 0;
  const pids: number[] = [];
  const worker = async (): Promise<void> => {
    while (next < containers) {
      next += 1;
      pids.push((await startContainer(first, 'many', { name: `c${next}` })).pid);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const [ready, names]: [number[], number[]] = [[], []];
  for (let i = 0; i < rounds; i += 1) {
    const [again, readyMs, namesMs] = await round(engine, pids[0] ?? 0);
    engine = again;
    ready.push(readyMs);
    names.push(namesMs);
  }
  const result = { containers, rounds, readyMs: quantilesOf(ready, 0), namesMs: quantilesOf(names, 0) };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} catch (error) {
  if (engine !== undefined)
    process.stderr.write(readFileSync(join(engine.folder, 'log'), 'utf8').slice(-4000));
  throw error;
} finally {
  // Where it failed there may be nobody to ask; the lane ends what is left.
  if (engine !== undefined) await stopEngines([engine]).catch(() => {});
  removeFolder(folder);
}
