/*
 * Runs the benchmark's parts, each in a lane of its own, and writes bench/RESULTS.md: medians, the ratios that the
 * targets are about, the machine and the commit. Figures of different runs or machines do not compare; ratios do.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

interface Quantiles {
  readonly median: number;
  readonly p90: number;
}

interface AttachResult {
  readonly rounds: number;
  readonly namespace: Quantiles;
  readonly attach: Quantiles;
  readonly element: Quantiles;
  readonly whole: Quantiles;
  readonly detachUntilEvent: Quantiles;
}

interface EngineResult {
  readonly name: string;
  readonly version: string;
  readonly rounds: number;
  readonly mediansMs: Readonly<Record<string, number>>;
  readonly idleRssMb: number;
}

function measure(...command: string[]): unknown {
  const output = execFileSync(join(root, 'scripts/lane'), command, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output);
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', 'src') === '' ? '' : ' with changes'}`;
}

function attachTable(result: AttachResult): readonly string[] {
  const row = (what: string, { median, p90 }: Quantiles): string => `| ${what} | ${median} | ${p90} |`;
  return [
    `One endpoint, in the daemon, ${result.rounds} rounds, milliseconds:`,
    '',
    '| step | median | p90 |',
    '|---|---|---|',
    row('make the namespace', result.namespace),
    row('veth, addresses, routes, bridge port', result.attach),
    row('nft element', result.element),
    row('attach, whole (target 1.5)', result.whole),
    row('detach, until its event', result.detachUntilEvent),
  ];
}

function engineTable(engines: readonly EngineResult[]): readonly string[] {
  const rows = Object.keys(engines[0]?.mediansMs ?? {});
  const cells = (text: (engine: EngineResult) => string): string => engines.map(text).join(' | ');
  return [
    `What a user waits for, medians of ${engines[0]?.rounds ?? 0} rounds taking turns, milliseconds:`,
    '',
    `| operation | ${cells(({ name, version }) => `${name} ${version}`)} |`,
    `|---|${engines.map(() => '---').join('|')}|`,
    ...rows.map((key) => `| ${key} | ${cells(({ mediansMs }) => String(mediansMs[key] ?? ''))} |`),
    `| idle memory of the daemon, MB RSS | ${cells(({ idleRssMb }) => String(idleRssMb))} |`,
  ];
}

function ratios(engines: readonly EngineResult[]): readonly string[] {
  const value = (name: string, key: string): number | undefined =>
    engines.find((engine) => engine.name === name)?.mediansMs[key];
  const bridge = 'create+start, bench';
  const none = 'create+start, none';
  const run = 'docker run --rm --network none busybox true';
  const lines: string[] = [];
  const [ours, theirs] = [value('linkspan', run), value('docker', run)];
  if (ours !== undefined && theirs !== undefined)
    lines.push(`- \`${run}\`: ${(ours / theirs).toFixed(2)} of dockerd's time (target 0.75 at most)`);
  for (const { name } of engines) {
    const [withBridge, without] = [value(name, bridge), value(name, none)];
    if (withBridge !== undefined && without !== undefined)
      lines.push(`- a bridge adds ${(withBridge - without).toFixed(1)} ms to create+start on ${name}`);
  }
  const [own, podman] = [value('linkspan', bridge), value('podman', bridge)];
  if (own !== undefined && podman !== undefined)
    lines.push(
      `- create+start on a bridge: ${(own / podman).toFixed(2)} of podman's time (target 1 at most)`,
    );
  return lines;
}

const rounds = process.argv[2] ?? '20';
const node = join(root, 'scripts/node');
const attach = measure(node, 'bench/attach.ts') as AttachResult;
const engines = measure(
  ...['sh', '-c', 'scripts/test-tools overlay && exec "$@"', 'bench', node, 'bench/compare.ts', rounds],
) as readonly EngineResult[];
const load = readFileSync('/proc/loadavg', 'utf8').split(' ')[0];
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
const text = [
  '# Benchmark',
  '',
  `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 16)}Z at commit ${commit()}.`,
  `Machine: ${machine}; load ${load} at the end.`,
  'Only figures of one run compare.',
  '',
  ...attachTable(attach),
  '',
  ...engineTable(engines),
  '',
  ...ratios(engines),
  '',
].join('\n');
writeFileSync(join(root, 'bench/RESULTS.md'), text);
process.stdout.write(text);
