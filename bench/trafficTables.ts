/*
 * Tables and targets of what publish.ts, ports.ts and path.ts measured. Pure; the results are their JSON.
 */
import { type Quantiles, quantileTable } from './quantiles.ts';
import { ratio, type Target } from './target.ts';

/** Milliseconds, by what was done and how many ports were published before. */
export interface PublishResult {
  readonly rounds: number;
  readonly holdAt0: Quantiles;
  readonly elementAt0: Quantiles;
  readonly addAt0: Quantiles;
  readonly workerAt0: Quantiles;
  readonly removeAt0: Quantiles;
  readonly addAt10000: Quantiles;
  readonly workerAt10000: Quantiles;
  readonly removeAt10000: Quantiles;
}

export interface PortsResult {
  readonly runs: readonly {
    readonly name: string;
    readonly rounds: number;
    readonly noneMs: number;
    readonly hundredMs: number;
  }[];
  readonly traffic: readonly {
    readonly kind: string;
    readonly few: number;
    readonly many: number;
    readonly rounds: number;
    readonly atFew: number;
    readonly atMany: number;
  }[];
}

export interface PathRow {
  readonly name: string;
  readonly rounds: number;
  readonly tcpUs: number;
  readonly udpUs: number;
  readonly connectUs: number;
  readonly gbitPerSecond: number;
}

export type PathResult = readonly PathRow[];

export interface TrafficResults {
  readonly publish: PublishResult;
  readonly ports: PortsResult;
  readonly path: PathResult;
}

/** What a packet's way between containers costs, of what it costs on a bare bridge. */
function between(where: string, ours: PathRow | undefined, bare: PathRow | undefined): readonly Target[] {
  return (
    [
      ['TCP round trip', 'tcpUs', 1.1],
      ['UDP round trip', 'udpUs', 1.1],
      ['connect', 'connectUs', 1.2],
    ] as const
  ).map(([what, key, limit]) => ({
    what: `${what} between containers ${where}, of the bare bridge's`,
    value: ratio(ours?.[key], bare?.[key]),
    ...{ limit, unit: '' },
  }));
}

export function trafficTargets({ publish, ports, path }: TrafficResults): readonly Target[] {
  const run = ports.runs.find(({ name }) => name === 'linkspan');
  const traffic = (kind: string): PortsResult['traffic'][number] | undefined =>
    ports.traffic.find((row) => row.kind === kind);
  const connect = traffic('connect');
  const rate = traffic('rate');
  const way = (name: string): PathRow | undefined => path.find((row) => row.name === name);
  const [ours, bare, docker] = [way('linkspan'), way('bare'), way('docker')];
  const unfiltered = way('linkspan, frames not filtered');
  return [
    {
      what: 'one published port, kernel and firewall',
      value: publish.workerAt0.median,
      ...{ limit: 0.2, unit: 'ms' },
    },
    {
      what: 'one published port where 10,000 are, kernel and firewall',
      value: publish.workerAt10000.median,
      ...{ limit: 0.2, unit: 'ms' },
    },
    {
      what: '`docker run` with 100 published ports, of the time with none',
      value: ratio(run?.hundredMs, run?.noneMs),
      ...{ limit: 1.2, unit: '' },
    },
    {
      what: 'connect at 10,000 published ports, of the time at 10',
      value: ratio(connect?.atMany, connect?.atFew),
      ...{ limit: 1.5, unit: '' },
    },
    {
      what: 'new connections a second behind 1,000 published ports, of those behind one',
      value: ratio(rate?.atMany, rate?.atFew),
      ...{ limit: 0.9, isLowerLimit: true, unit: '' },
    },
    {
      what: "throughput between containers, of dockerd's",
      value: ratio(ours?.gbitPerSecond, docker?.gbitPerSecond),
      ...{ limit: 1, isLowerLimit: true, unit: '' },
    },
    ...between('where br_netfilter is not loaded', unfiltered, bare),
    ...between('where it is', ours, bare),
  ];
}

function publishTable(result: PublishResult): readonly string[] {
  return quantileTable(
    `One published port, through the kernel worker, ${result.rounds} rounds, milliseconds:`,
    [
      ['the socket that holds it', result.holdAt0],
      ['the nft element', result.elementAt0],
      ['published', result.addAt0],
      ['published, in the worker alone', result.workerAt0],
      ['taken back', result.removeAt0],
      ['published beside 10,000', result.addAt10000],
      ['published beside 10,000, in the worker alone', result.workerAt10000],
      ['taken back beside 10,000', result.removeAt10000],
    ],
  );
}

function portsTable({ runs, traffic }: PortsResult): readonly string[] {
  const times = (a: number, b: number): string => (a / b).toFixed(2);
  const kinds: Readonly<Record<string, string>> = {
    connect: 'connect from outside, microseconds',
    rate: 'new connections a second from outside',
  };
  return [
    '`docker run -d`, median milliseconds:',
    '',
    '| engine | rounds | no ports | 100 ports | ratio |',
    '|---|---|---|---|---|',
    ...runs.map(
      ({ name, rounds, noneMs, hundredMs }) =>
        `| ${name} | ${rounds} | ${noneMs} | ${hundredMs} | ${times(hundredMs, noneMs)} |`,
    ),
    '',
    'The last published port of few and of many, on two daemons taking turns:',
    '',
    '| linkspan | ports | | ports | | ratio |',
    '|---|---|---|---|---|---|',
    ...traffic.map(
      ({ kind, few, many, atFew, atMany }) =>
        `| ${kinds[kind] ?? kind} | ${few} | ${atFew} | ${many} | ${atMany} | ${times(atMany, atFew)} |`,
    ),
  ];
}

function pathTable(path: PathResult): readonly string[] {
  return [
    `Between two containers of one network, ${path[0]?.rounds ?? 0} rounds taking turns, both ends on one processor, microseconds:`,
    '',
    '| bridge | TCP round trip | UDP round trip | connect (a quarter is faster) | iperf3, Gbit/s |',
    '|---|---|---|---|---|',
    ...path.map(
      ({ name, tcpUs, udpUs, connectUs, gbitPerSecond }) =>
        `| ${name} | ${tcpUs} | ${udpUs} | ${connectUs} | ${gbitPerSecond} |`,
    ),
  ];
}

export function trafficTables({ publish, ports, path }: TrafficResults): readonly string[] {
  return [...publishTable(publish), '', ...portsTable(ports), '', ...pathTable(path)];
}
