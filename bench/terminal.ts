/*
 * Measures what somebody at a terminal waits for, on linkspan and a real dockerd in the same run, taking turns, with the
 * stock docker command line: `run --rm` on the default bridge, `exec`, `logs` of a few lines and of many, and 20 MB
 * through `run -i cat`. Prints JSON. Run by bench/report.ts in a lane; never a test.
 * Usage: terminal.ts [ROUNDS [ENGINE...]]
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  call,
  type EngineName,
  loadImage,
  makeFolder,
  makeImage,
  type RunningEngine,
  removeFolder,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';
import { quantilesOf, timed } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 15);
const names = process.argv.slice(3) as EngineName[];
const warmRounds = 4;
const catBytes = 20_000_000;
const manyLines = 20_000;

interface Operation {
  readonly what: string;
  /** Words after `docker`. */
  readonly words: readonly string[];
  /** Sends the 20 MB, and takes them back. */
  readonly isCat?: boolean;
}

const operations: readonly Operation[] = [
  { what: 'run --rm busybox true', words: ['run', '--rm', 'busybox', 'true'] },
  { what: 'exec C true', words: ['exec', 'sleeper', 'true'] },
  { what: 'logs, 10 lines', words: ['logs', 'few'] },
  { what: `logs, ${manyLines} lines`, words: ['logs', 'many'] },
  {
    what: 'run -i busybox cat, 20 MB',
    words: ['run', '--rm', '-i', '--network', 'none', 'busybox', 'cat'],
    isCat: true,
  },
];

/** Containers whose output is read, and one that programs are run in. */
async function prepare(engine: RunningEngine): Promise<void> {
  const { id } = await startContainer(engine, 'bridge', { name: 'sleeper' });
  if (id === '') throw new Error('bench: no container');
  for (const [name, count] of [
    ['few', 10],
    ['many', manyLines],
  ] as const) {
    const line = 'what a server says of a request that it has answered, some eighty bytes in all';
    const script = `i=0; while [ $i -lt ${count} ]; do echo "$i ${line}"; i=$((i+1)); done`;
    await startContainer(engine, 'none', { name, Cmd: ['sh', '-c', script] });
    await call(engine, 'POST', `/containers/${name}/wait`);
  }
}

function perform(
  { socketPath, folder }: RunningEngine,
  { words, isCat = false }: Operation,
  input: string,
): void {
  const out = openSync(join(folder, 'out'), 'w');
  const stdin = isCat ? openSync(input, 'r') : 'ignore';
  try {
    execFileSync('docker', ['-H', `unix://${socketPath}`, ...words], { stdio: [stdin, out, 'inherit'] });
  } finally {
    closeSync(out);
    if (typeof stdin === 'number') closeSync(stdin);
  }
}

const folder = makeFolder();
const image = makeImage(folder);
const input = join(folder, 'input');
writeFileSync(input, Buffer.alloc(catBytes, 'twenty megabytes of text \n'));
const engines: RunningEngine[] = [];
try {
  for (const name of names.length > 0 ? names : (['linkspan', 'docker'] as const)) {
    const engine = await startEngine(name, folder);
    engines.push(engine);
    loadImage(engine, image);
    await prepare(engine);
  }
  await sleep(3000);
  const samples = new Map<string, number[]>();
  // The first rounds warm caches and are not counted: the daemons were started just now.
  for (let round = -warmRounds; round < rounds; round += 1) {
    for (const operation of operations) {
      for (let turn = 0; turn < engines.length; turn += 1) {
        const engine = engines[(round + warmRounds + turn) % engines.length];
        if (engine === undefined) continue;
        const key = `${engine.name}: ${operation.what}`;
        const series = samples.get(key) ?? [];
        await timed(round < 0 ? [] : series, async () => perform(engine, operation, input));
        samples.set(key, series);
      }
    }
  }
  const result = {
    rounds,
    operations: operations.map(({ what }) => what),
    engines: engines.map(({ name, version }) => ({
      ...{ name, version },
      ms: Object.fromEntries(
        operations.map(({ what }) => [what, quantilesOf(samples.get(`${name}: ${what}`) ?? [], 1)]),
      ),
    })),
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  await stopEngines(engines);
  removeFolder(folder);
}
