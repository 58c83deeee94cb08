/*
 * Runs the test lanes named on the command line and sums up what the runners themselves counted; the last line is
 * `N passed, N failed, N skipped`. A skip that tests/skips.json does not list is a failure. `--` and file names narrow
 * a lane to these files. Two files of the lanes in namespaces run at once, and each one's output is shown when it ends;
 * with LINKSPAN_TEST_JOBS=1 (or where there is one core) one after the other, with its output as it comes. Started by
 * scripts/check and scripts/test, which see to set-up and root.
 */
import { spawn, spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AllowedSkip, unlistedSkips } from '../tests/arch/skips.ts';
import type { ReportLine } from './countReporter.ts';

interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What failed and why, said once more at the end: of a long run often only the end is at hand. */
  readonly failures: readonly string[];
}

const none: Totals = { passed: 0, failed: 0, skipped: 0, failures: [] };
const root = join(import.meta.dirname, '..');
const judgesDockerd = (process.env['LINKSPAN_COMPAT_ENGINE'] ?? '').split(',').includes('dockerd');
const node = join(root, 'scripts/node');
const bin = join(root, 'node_modules/.bin');

const laneNames = ['static', 'unit', 'kernel', 'compat', 'cluster', 'vm'] as const;
type LaneName = (typeof laneNames)[number];

const staticChecks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['format', join(bin, 'biome'), 'format', '.'],
  ['lint', join(bin, 'oxlint'), '--type-aware'],
  ['types', join(bin, 'tsc'), '-p', '.'],
  ['dead code', join(bin, 'knip')],
];

/** Two at a time would be faster, but their output would mix; all four take some seconds. */
function runStatic(): Totals {
  let passed = 0;
  let failed = 0;
  for (const [name, command, ...args] of staticChecks) {
    const startedAt = performance.now();
    const { status, stdout, stderr } = spawnSync(node, [command, ...args], { cwd: root, encoding: 'utf8' });
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    process.stdout.write(`${status === 0 ? '✔' : '✖'} ${name} (${seconds} s)\n`);
    if (status === 0) passed += 1;
    else {
      failed += 1;
      process.stdout.write(`${stdout}${stderr}\n`);
    }
  }
  return { ...none, passed, failed };
}

const patterns: Readonly<Record<Exclude<LaneName, 'static'>, readonly string[]>> = {
  unit: ['src/**/*.test.ts', 'tests/arch/*.test.ts', 'tools/**/*.test.ts'],
  kernel: ['tests/kernel/*.test.ts'],
  compat: ['tests/compat/*.test.ts'],
  cluster: ['tests/cluster/*.test.ts'],
  vm: ['tests/vm/*.test.ts'],
};

/** Lanes whose files get namespaces of their own; the vm lane's files start their machine themselves. */
const inNamespaces: readonly LaneName[] = ['kernel', 'compat', 'cluster'];

/** Files that take minutes start first where several run at once, so that none is left to run alone at the end. */
const longest: readonly string[] = [
  'tests/compat/crashWalk.test.ts',
  'tests/compat/compose.test.ts',
  'tests/compat/copy.test.ts',
  'tests/compat/pull.test.ts',
  'tests/compat/ports.test.ts',
  'tests/cluster/lab.test.ts',
  'tests/cluster/overlay.test.ts',
  'tests/cluster/simulation.test.ts',
];

/** How many of a lane's files run at once. */
function jobsOf(lane: LaneName): number {
  if (!inNamespaces.includes(lane)) return 1;
  const jobs = Number(process.env['LINKSPAN_TEST_JOBS'] ?? Math.min(2, availableParallelism()));
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error('LINKSPAN_TEST_JOBS is a number from 1 on');
  return jobs;
}

interface Ended {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a command to its end; its output goes to ours as it comes, or is kept. Rejects if it cannot start. */
function runCommand(command: string, args: readonly string[], keepOutput: boolean): Promise<Ended> {
  const { promise, resolve, reject } = Promise.withResolvers<Ended>();
  const out = keepOutput ? 'pipe' : 'inherit';
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', out, out] });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
    });
  child.once('error', reject);
  child.once('close', (status) => resolve({ status, output: Buffer.concat(chunks).toString() }));
  return promise;
}

async function runFiles(lane: LaneName, files: readonly string[]): Promise<Totals> {
  const folder = mkdtempSync(join(tmpdir(), 'linkspan-report-'));
  try {
    const report = join(folder, 'report');
    const timeoutMs = lane === 'unit' ? 60_000 : 600_000;
    const args = [
      ...(inNamespaces.includes(lane) ? [node] : []),
      '--test',
      `--test-timeout=${timeoutMs}`,
      // Of files; Node's own number leaves a core idle, on two that is every second.
      `--test-concurrency=${availableParallelism()}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      `--test-reporter=${join(root, 'tools/countReporter.ts')}`,
      `--test-reporter-destination=${report}`,
      ...files,
    ];
    const command = inNamespaces.includes(lane) ? join(root, 'scripts/lane') : node;
    const startedAt = performance.now();
    const isOneOfSeveral = jobsOf(lane) > 1;
    const { status, output } = await runCommand(command, args, isOneOfSeveral);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    if (isOneOfSeveral) process.stdout.write(`\n${files.join(' ')} (${seconds} s)\n${output}`);
    return sumReport(report, status, files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A runner that died without its summary, or ended non-zero with no failure counted, is one failure. */
function sumReport(report: string, status: number | null, files: readonly string[]): Totals {
  const lines = readReport(report);
  const counts = lines.find((line) => line.type === 'counts');
  const skips = lines.filter((line) => line.type === 'skip');
  const unlisted = unlistedSkips(skips, allowedSkips(), judgesDockerd);
  const failures = lines
    .filter((line) => line.type === 'failure')
    .map(({ file, name, reason }) => `✖ ${file}: ${name}\n${reason.replaceAll(/^/gm, '    ')}`);
  for (const sentence of unlisted) failures.push(`✖ ${sentence}`);
  const { passed, failed, skipped } = counts ?? { passed: 0, failed: 0, skipped: 0 };
  const died = counts === undefined || (status !== 0 && failed === 0) ? 1 : 0;
  if (died === 1) failures.push(`✖ the runner of ${files.join(' ')} ended with status ${status}`);
  return { passed, failed: failed + died + unlisted.length, skipped, failures };
}

function readReport(path: string): readonly ReportLine[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as ReportLine);
  } catch {
    return [];
  }
}

function allowedSkips(): readonly AllowedSkip[] {
  const text = readFileSync(join(root, 'tests/skips.json'), 'utf8');
  return (JSON.parse(text) as { allowed: AllowedSkip[] }).allowed;
}

function add(a: Totals, b: Totals): Totals {
  return {
    ...{ passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped },
    failures: [...a.failures, ...b.failures],
  };
}

/** The totals of a lane's files, `jobsOf(lane)` at a time, the longest first. */
async function runEach(lane: LaneName, files: readonly string[]): Promise<Totals> {
  const rank = (file: string): number => longest.indexOf(file) + 1 || longest.length + 1;
  const waiting = jobsOf(lane) === 1 ? [...files] : files.toSorted((a, b) => rank(a) - rank(b));
  let totals = none;
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const one = await runFiles(lane, [file]);
      totals = add(totals, one);
    }
  };
  await Promise.all(Array.from({ length: jobsOf(lane) }, work));
  return totals;
}

async function runLane(lane: LaneName, only: readonly string[]): Promise<Totals> {
  const startedAt = performance.now();
  process.stdout.write(`\n── ${lane} ──\n`);
  let totals = none;
  if (lane === 'static') totals = runStatic();
  else {
    const files = globSync(patterns[lane], { cwd: root })
      .sort()
      .filter((file) => only.length === 0 || only.includes(file));
    if (lane !== 'unit') totals = await runEach(lane, files);
    else if (files.length > 0) totals = await runFiles(lane, files);
  }
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(
    `${lane}: ${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped in ${seconds} s\n`,
  );
  return totals;
}

const separator = process.argv.indexOf('--');
const names = process.argv.slice(2, separator === -1 ? undefined : separator);
const only = separator === -1 ? [] : process.argv.slice(separator + 1);
const lanes = names.includes('all') ? laneNames : laneNames.filter((lane) => names.includes(lane));
const unknown = names.filter((name) => name !== 'all' && !laneNames.some((lane) => lane === name));
if (lanes.length === 0 || unknown.length > 0) {
  process.stderr.write(`runTests: lanes are ${laneNames.join(', ')} and all, not '${unknown.join(' ')}'\n`);
  process.exit(2);
}
// Each test file is a program that reads much of src/: to strip and compile it anew is a third of the unit lane's time.
process.env['NODE_COMPILE_CACHE'] ??= join(root, '.cache/compile');
// The vm lane boots its machine for minutes unless it is asked for by name.
if (names.includes('all')) process.env['LINKSPAN_VM'] ??= 'short';
let totals = none;
for (const lane of lanes) totals = add(totals, await runLane(lane, only));
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;
for (const failure of totals.failures) process.stdout.write(`\n${failure}\n`);
process.stdout.write(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
