/*
 * Tables and targets of what overlay.ts, failover.ts and agents.ts measured. Pure; the results are their JSON.
 */
import { type Quantiles, quantileTable } from './quantiles.ts';
import { ratio, type Target } from './target.ts';
import type { PathRow } from './trafficTables.ts';

export interface OverlayResult {
  readonly rounds: number;
  /** After the container's process began; below zero where it was so before. */
  readonly namedMs: Quantiles;
  readonly reachedMs: Quantiles & { readonly most: number };
  readonly createAndStartMs: Quantiles;
  readonly firstOnHostMs: Quantiles;
  readonly onBridgeMs: Quantiles;
  /** Of a real dockerd, on an overlay network of its own swarm, and the first of the network on its host. */
  readonly dockerMs: Quantiles;
  readonly dockerFirstMs: Quantiles;
  readonly path: readonly PathRow[];
  /** Empty where the kernel encrypts. */
  readonly encrypted: readonly PathRow[];
  readonly joinMs: Quantiles;
}

export interface FailoverResult {
  readonly rounds: number;
  /** Until a network is made, after the manager whose etcd leads was killed with it. */
  readonly writesAgainMs: Quantiles & { readonly most: number };
}

export interface AgentsResult {
  readonly nodes: number;
  readonly rounds: number;
  /** Until the first and the last of the nodes heard of an endpoint, from its claim on. */
  readonly firstMs: Quantiles;
  readonly lastMs: Quantiles;
  readonly endpoints: number;
  /** Until a node that begins to follow a network has its whole table, and has set it in the kernel. */
  readonly snapshotMs: number;
  readonly kernelMs: number;
}

export function failoverTargets({ writesAgainMs, rounds }: FailoverResult): readonly Target[] {
  const what = `changes again after the leader of three managers is killed, the longest of ${rounds}`;
  return [{ what, value: writesAgainMs.most, limit: 5000, unit: 'ms' }];
}

export function agentsTargets({
  nodes,
  lastMs,
  endpoints,
  snapshotMs,
  kernelMs,
}: AgentsResult): readonly Target[] {
  return [
    { what: `one change at the last of ${nodes} nodes`, value: lastMs.median, limit: 50, unit: 'ms' },
    {
      what: `${endpoints} endpoints of other hosts, told to a host and set in its kernel`,
      value: snapshotMs + kernelMs,
      ...{ limit: 1000, unit: 'ms' },
    },
  ];
}

export function agentsTable({
  nodes,
  rounds,
  firstMs,
  lastMs,
  endpoints,
  snapshotMs,
  kernelMs,
}: AgentsResult): readonly string[] {
  return [
    ...quantileTable(
      `A claim of an address, ${rounds} rounds, manager and ${nodes} nodes in one process, milliseconds:`,
      [
        ['heard by the first node', firstMs],
        ['heard by the last', lastMs],
      ],
    ),
    '',
    `A table of ${endpoints} endpoints reaches a node that begins to follow it in ${snapshotMs} ms, and the kernel in another ${kernelMs} ms.`,
  ];
}

function encryptedTargets(rows: readonly PathRow[]): readonly Target[] {
  const [bare, ours] = rows;
  if (bare === undefined || ours === undefined) return [];
  return [
    {
      what: "throughput of an encrypted network between hosts, of a bare tunnel's by the same engine",
      value: ratio(ours.gbitPerSecond, bare.gbitPerSecond),
      ...{ limit: 0.9, isLowerLimit: true, unit: '' },
    },
    {
      what: 'TCP round trip in it, more than in a bare tunnel',
      value: ours.tcpUs - bare.tcpUs,
      ...{ limit: 20, unit: 'µs' },
    },
  ];
}

/** Rows of bench/kernelTunnels.ts. */
export function kernelTunnelsTargets(rows: readonly PathRow[]): readonly Target[] {
  const [bare, ours, esp] = ['bare WireGuard', 'linkspan', 'VXLAN in ESP'].map((name) =>
    rows.find((row) => row.name === name),
  );
  const what = 'by the kernel of an emulated machine: throughput of an encrypted network, of';
  return [
    [`${what} a bare tunnel's`, bare, 0.9] as const,
    [`${what} that in ESP as Docker sets it up`, esp, 1] as const,
  ].map(([text, other, limit]) => ({
    what: text,
    value: ratio(ours?.gbitPerSecond, other?.gbitPerSecond),
    ...{ limit, isLowerLimit: true, unit: '' },
  }));
}

export function kernelTunnelsTable(rows: readonly PathRow[]): readonly string[] {
  const [first] = rows;
  return [
    `Where the kernel encrypts, on a machine whose processor is emulated (the vm lane's): in turns, ${first?.rounds ?? 0} rounds, microseconds:`,
    '',
    ...pathTable(rows),
  ];
}

function pathTable(rows: readonly PathRow[]): readonly string[] {
  return [
    '| tunnel | TCP round trip | UDP round trip | connect (a quarter is faster) | iperf3, Gbit/s |',
    '|---|---|---|---|---|',
    ...rows.map(
      ({ name, tcpUs, udpUs, connectUs, gbitPerSecond }) =>
        `| ${name} | ${tcpUs} | ${udpUs} | ${connectUs} | ${gbitPerSecond} |`,
    ),
  ];
}

export function overlayTargets(result: OverlayResult): readonly Target[] {
  const { reachedMs, createAndStartMs, firstOnHostMs, dockerMs, dockerFirstMs, joinMs, path } = result;
  const [bare, ours] = ['bare VXLAN', 'linkspan'].map((name) => path.find((row) => row.name === name));
  const found = "found by name and answering on another host, after the container's process began";
  return [
    { what: `${found}, median`, value: reachedMs.median, limit: 50, unit: 'ms' },
    { what: `${found}, the longest`, value: reachedMs.most, limit: 150, unit: 'ms' },
    { what: 'create+start on an overlay', value: createAndStartMs.median, limit: 150, unit: 'ms' },
    { what: 'the same, the first of its host', value: firstOnHostMs.median, limit: 150, unit: 'ms' },
    // dockerd took 440 and 800 ms where 150 were asked for.
    {
      what: "create+start on an overlay, of dockerd's time",
      value: ratio(createAndStartMs.median, dockerMs.median),
      ...{ limit: 0.34, unit: '' },
    },
    {
      what: "the same, the first of its host, of dockerd's time",
      value: ratio(firstOnHostMs.median, dockerFirstMs.median),
      ...{ limit: 0.19, unit: '' },
    },
    {
      what: "throughput between hosts, of a bare VXLAN's",
      value: ratio(ours?.gbitPerSecond, bare?.gbitPerSecond),
      ...{ limit: 0.95, isLowerLimit: true, unit: '' },
    },
    ...(
      [
        ['TCP', 'tcpUs'],
        ['UDP', 'udpUs'],
      ] as const
    ).map(([proto, key]) => ({
      what: `${proto} round trip between hosts, of a bare VXLAN's`,
      value: ratio(ours?.[key], bare?.[key]),
      ...{ limit: 1.1, unit: '' },
    })),
    ...encryptedTargets(result.encrypted),
    { what: '`swarm join` by the API', value: joinMs.median, limit: 300, unit: 'ms' },
  ];
}

export function overlayTables(result: OverlayResult): readonly string[] {
  return [
    ...quantileTable(`An overlay network on three hosts of a lab, ${result.rounds} rounds, milliseconds:`, [
      ['create+start', result.createAndStartMs],
      ['create+start of the first container on a host', result.firstOnHostMs],
      ['create+start on a bridge network of such a host', result.onBridgeMs],
      ['create+start on an overlay of dockerd', result.dockerMs],
      ['create+start of the first container on a host, dockerd', result.dockerFirstMs],
      ['its name is known on another host, after its process began', result.namedMs],
      ['it answers there, after its process began', result.reachedMs],
      ['leave, then join again', result.joinMs],
    ]),
    '',
    `Between two hosts, ${result.path[0]?.rounds ?? 0} rounds taking turns, microseconds:`,
    '',
    ...pathTable([...result.path, ...result.encrypted]),
  ];
}
