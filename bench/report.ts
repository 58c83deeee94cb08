/*
 * Runs the benchmark's parts, each in a lane of its own, and writes bench/RESULTS.md: medians, the ratios that the
 * targets are about, the machine and the commit. Figures of different runs or machines do not compare; ratios do.
 * Usage: report.ts [ROUNDS]
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import {
  type AgentsResult,
  agentsTable,
  agentsTargets,
  type FailoverResult,
  failoverTargets,
  kernelTunnelsTable,
  kernelTunnelsTargets,
  type OverlayResult,
  overlayTables,
  overlayTargets,
} from './overlayTables.ts';
import { type Quantiles, quantileTable } from './quantiles.ts';
import { ratio, type Target, targetTable } from './target.ts';
import { type TerminalResult, terminalTable, terminalTargets } from './terminalTables.ts';
import { type TrafficResults, trafficTables, trafficTargets } from './trafficTables.ts';

const root = join(import.meta.dirname, '..');

interface AttachResult {
  readonly rounds: number;
  readonly namespace: Quantiles;
  readonly attach: Quantiles;
  readonly whole: Quantiles;
  readonly floor?: Quantiles;
  readonly detachUntilEvent: Quantiles;
}

interface EngineResult {
  readonly name: string;
  readonly version: string;
  readonly rounds: number;
  readonly ms: Readonly<Record<string, Quantiles>>;
  readonly idleRssMb: number;
  readonly usedRssMb: number;
}

const lane = join(root, 'scripts/lane');
const measure = (...command: string[]): unknown => measureBy(lane, command);
/** On another kernel, of a machine whose processor is emulated; `modules` are loaded there before. */
const measureInGuest = (modules: string, ...command: string[]): unknown =>
  measureBy(join(root, 'tools/vmrun'), ['-m', modules, '--', lane, ...command]);

function measureBy(program: string, args: readonly string[]): unknown {
  const output = execFileSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output);
}

/** Unknown in an unpacked release. */
function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', 'src', 'bin', 'bench', ':!bench/RESULTS.md');
    return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : ' with changes'}`;
  } catch {
    return 'unknown';
  }
}

function attachTable(result: AttachResult): readonly string[] {
  return quantileTable(
    `One endpoint, through the kernel worker, ${result.rounds} rounds in turns with the C program, milliseconds:`,
    [
      ['namespace with lo up', result.namespace],
      ['nft element, veth, bridge port, addresses, routes', result.attach],
      ['whole attach', result.whole],
      ...(result.floor === undefined
        ? []
        : [['the same by a C program (attachFloor.c)', result.floor] as const]),
      ['detach, until its event', result.detachUntilEvent],
    ],
  );
}

/** What compare.ts prints. */
interface Comparison {
  readonly engines: readonly EngineResult[];
  /** The C program, after the same pause as each operation; undefined without a compiler. */
  readonly floor: Quantiles | undefined;
}

function engineTable({ engines, floor }: Comparison): readonly string[] {
  const rows = Object.keys(engines[0]?.ms ?? {});
  const cells = (text: (engine: EngineResult) => string): string => engines.map(text).join(' | ');
  const cell = (quantiles: Quantiles | undefined): string =>
    quantiles === undefined ? '' : `${quantiles.median} (${quantiles.p25})`;
  return [
    `What a user waits for, ${engines[0]?.rounds ?? 0} rounds taking turns, milliseconds, median (lower quartile):`,
    '',
    `| operation | ${cells(({ name, version }) => `${name} ${version}`)} |`,
    `|---|${engines.map(() => '---').join('|')}|`,
    ...rows.map((key) => `| ${key} | ${cells(({ ms }) => cell(ms[key]))} |`),
    `| the daemon, MB RSS, idle for 30 s after its start | ${cells(({ idleRssMb }) => String(idleRssMb))} |`,
    ...(floor === undefined
      ? []
      : [
          `| the C program's endpoint (attachFloor.c), after the same pause | ${floor.median} (${floor.p25}) |${' |'.repeat(engines.length - 1)}`,
        ]),
    `| the daemon, MB RSS, after all this | ${cells(({ usedRssMb }) => String(usedRssMb))} |`,
  ];
}

interface DnsSample {
  readonly name: string;
  readonly inFlight: number;
  readonly qps: number;
  readonly p99: number;
}

function targets(attach: AttachResult, { engines, floor }: Comparison): readonly Target[] {
  const of = (name: string, key: string): number | undefined =>
    engines.find((engine) => engine.name === name)?.ms[key]?.median;
  const bridge = 'create+start, bench';
  const run = 'docker run --rm --network none busybox true';
  const added = 'what a bridge adds to create+start';
  const idle = engines.find(({ name }) => name === 'linkspan')?.idleRssMb;
  return [
    { what: 'attach', value: attach.whole.median, limit: 1.5, unit: 'ms' },
    {
      what: "attach, of the C program's time",
      value: ratio(attach.whole.median, attach.floor?.median),
      // 1.5 ms where the C program needs 0.95.
      limit: 1.58,
      unit: '',
    },
    {
      what: '`POST /networks/create`',
      value: of('linkspan', 'POST /networks/create'),
      limit: 5,
      unit: 'ms',
    },
    {
      what: '`POST /networks/connect`',
      value: of('linkspan', 'POST /networks/connect'),
      limit: 5,
      unit: 'ms',
    },
    // 5 ms where the C program needs 0.95: what an operation costs after a pause is the machine's, most of it.
    ...['POST /networks/create', 'POST /networks/connect'].map((key) => ({
      what: `\`${key}\`, of the C program's time after the same pause`,
      value: ratio(of('linkspan', key), floor?.median),
      limit: 5.26,
      unit: '',
    })),
    { what: '`DELETE /networks`', value: of('linkspan', 'DELETE /networks'), limit: 10, unit: 'ms' },
    { what: added, value: of('linkspan', added), limit: 5, unit: 'ms' },
    // The same limits by what dockerd needed on the machine where they were set: 67.5, 75, 170 and 66 ms.
    ...(
      [
        ['POST /networks/create', 5 / 67.5],
        ['POST /networks/connect', 5 / 75],
        ['DELETE /networks', 10 / 170],
        [added, 5 / 66],
      ] as const
    ).map(([key, limit]) => ({
      what: `${key === added ? key : `\`${key}\``}, of dockerd's time`,
      value: ratio(of('linkspan', key), of('docker', key)),
      limit: Number(limit.toFixed(3)),
      unit: '',
    })),
    {
      what: "create+start on a bridge, of podman's time",
      value: ratio(of('linkspan', bridge), of('podman', bridge)),
      limit: 1,
      unit: '',
    },
    {
      what: `\`${run}\`, of dockerd's time`,
      value: ratio(of('linkspan', run), of('docker', run)),
      limit: 0.75,
      unit: '',
    },
    { what: 'idle daemon', value: idle, limit: 90, unit: 'MB RSS' },
  ];
}

interface RestartResult {
  readonly containers: number;
  readonly rounds: number;
  readonly readyMs: Quantiles;
  readonly namesMs: Quantiles;
}

function restartTargets({ containers, readyMs, namesMs }: RestartResult): readonly Target[] {
  const after = `after a kill -9 with ${containers} containers`;
  return [
    { what: `ready ${after}`, value: readyMs.median, limit: 3000, unit: 'ms' },
    { what: `names answered ${after}, once ready`, value: namesMs.median, limit: 1000, unit: 'ms' },
  ];
}

function dnsTargets(samples: readonly DnsSample[]): readonly Target[] {
  const at = (name: string): DnsSample | undefined =>
    samples.find((sample) => sample.name === name && sample.inFlight === 64);
  const [ours, theirs] = [at('linkspan'), at('docker')];
  return [
    {
      what: "answers a second of the resolver, 64 questions in flight, of dockerd's",
      value: ratio(ours?.qps, theirs?.qps),
      ...{ limit: 1.5, isLowerLimit: true, unit: '' },
    },
    {
      what: "99th percentile of the same, of dockerd's",
      value: ratio(ours?.p99, theirs?.p99),
      ...{ limit: 1, unit: '' },
    },
  ];
}

function dnsTable(samples: readonly DnsSample[]): readonly string[] {
  const find = (name: string, inFlight: number): DnsSample | undefined =>
    samples.find((sample) => sample.name === name && sample.inFlight === inFlight);
  const flights = [...new Set(samples.map(({ inFlight }) => inFlight))];
  const rows = flights.flatMap((inFlight) => {
    const [ours, theirs] = [find('linkspan', inFlight), find('docker', inFlight)];
    if (ours === undefined || theirs === undefined) return [];
    const ratio = (ours.qps / theirs.qps).toFixed(2);
    return `| ${inFlight} | ${ours.qps} | ${ours.p99} | ${theirs.qps} | ${theirs.p99} | ${ratio} |`;
  });
  return [
    'Names of containers asked at 127.0.0.11:53, answers a second and latency in microseconds:',
    '',
    '| in flight | linkspan | p99 | docker | p99 | ratio |',
    '|---|---|---|---|---|---|',
    ...rows,
  ];
}

const rounds = process.argv[2] ?? '20';
const node = join(root, 'scripts/node');
/** In a lane with the programs that dockerd and podman need. */
const withTools = (part: string, ...args: string[]): unknown =>
  measure('sh', '-c', 'scripts/test-tools overlay && exec "$@"', 'bench', node, part, ...args);
const loadBefore = loadavg()[0] ?? 0;
process.stderr.write('bench: one endpoint, beside a C program\n');
const attach = measure(node, 'bench/attach.ts') as AttachResult;
process.stderr.write('bench: linkspan, dockerd and podman taking turns, up to five minutes\n');
const { engines, floor } = withTools('bench/compare.ts', rounds) as Comparison;
process.stderr.write("bench: docker's command line at linkspan and dockerd\n");
const terminal = withTools('bench/terminal.ts', rounds) as TerminalResult;
process.stderr.write('bench: restart with many containers\n');
const restart = measure(node, 'bench/restart.ts') as RestartResult;
process.stderr.write('bench: names, linkspan and dockerd taking turns\n');
const dns = withTools('bench/dns.ts') as readonly DnsSample[];
process.stderr.write('bench: published ports\n');
const publish = measure(node, 'bench/publish.ts') as TrafficResults['publish'];
const ports = withTools('bench/ports.ts') as TrafficResults['ports'];
process.stderr.write('bench: between two containers, linkspan, dockerd and a bare bridge taking turns\n');
const path = withTools('bench/path.ts') as TrafficResults['path'];
process.stderr.write('bench: an overlay network on three hosts\n');
const overlay = withTools('bench/overlay.ts') as OverlayResult;
process.stderr.write('bench: three managers, one of them killed\n');
const failover = measure(node, 'bench/failover.ts') as FailoverResult;
process.stderr.write('bench: the tables of many nodes\n');
const agents = measure(node, 'bench/agents.ts') as AgentsResult;
process.stderr.write('bench: encryption by the kernel of an emulated machine, up to five minutes\n');
const cipherModules = 'wireguard veth bridge vxlan esp4 xfrm_user gcm aesni_intel';
const byKernel = measureInGuest(cipherModules, node, 'bench/kernelTunnels.ts') as TrafficResults['path'];
const traffic: TrafficResults = { publish, ports, path };
const loads = [loadBefore, loadavg()[0] ?? 0];
const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
const isBusy = loadBefore > cpus().length / 2;
const text = [
  '# Benchmark',
  '',
  `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 16)}Z at commit ${commit()}.`,
  `Machine: ${machine}; load ${loads.map((load) => load.toFixed(1)).join(' before, ')} after.`,
  'Only figures of one run compare.',
  ...(isBusy
    ? ['**The machine was busy with other things: ratios say something, milliseconds little.**']
    : []),
  '',
  ...targetTable([
    ...targets(attach, { engines, floor }),
    ...terminalTargets(terminal),
    ...restartTargets(restart),
    ...trafficTargets(traffic),
    ...dnsTargets(dns),
    ...overlayTargets(overlay),
    ...kernelTunnelsTargets(byKernel),
    ...failoverTargets(failover),
    ...agentsTargets(agents),
  ]),
  '',
  ...attachTable(attach),
  '',
  ...engineTable({ engines, floor }),
  '',
  ...terminalTable(terminal),
  '',
  ...dnsTable(dns),
  '',
  ...trafficTables(traffic),
  '',
  ...overlayTables(overlay),
  '',
  ...kernelTunnelsTable(byKernel),
  '',
  ...agentsTable(agents),
  '',
].join('\n');
writeFileSync(join(root, 'bench/RESULTS.md'), text);
process.stdout.write(text);
