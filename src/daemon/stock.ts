/*
 * Counts what there is for /metrics, when somebody asks: nothing is counted while things happen. Pure.
 */
import type { Counts, Stock } from '../api/metrics/metrics.ts';
import type { Condition } from '../base/condition.ts';
import type { RepairLog } from '../base/repairLog.ts';
import { latencyBoundsMs } from '../dns/latencies.ts';
import type { DnsStatistics } from '../dns/protocol.ts';
import type { Binding, Container, Endpoint, Network } from '../engine/model.ts';

export interface Inventory {
  readonly networks: readonly Network[];
  readonly endpoints: readonly Endpoint[];
  readonly containers: readonly Container[];
  readonly conditions: readonly Condition[];
  readonly bindings: readonly Pick<Binding, 'proto' | 'count'>[];
  /** undefined = the worker is dead. */
  readonly dns: Pick<DnsStatistics, 'own' | 'forwarded' | 'dropped' | 'latencies'> | undefined;
  readonly repairs: Pick<RepairLog, 'counts'>;
}

/** Every value of `all` is there, if with zero: a series that comes and goes cannot be watched. */
function countBy<T>(things: readonly T[], all: readonly string[], labelOf: (thing: T) => string): Counts {
  const counts: Record<string, number> = Object.fromEntries(all.map((value) => [value, 0]));
  for (const thing of things) {
    const label = labelOf(thing);
    counts[label] = (counts[label] ?? 0) + 1;
  }
  return counts;
}

function countPorts(bindings: Inventory['bindings']): Counts {
  const counts = { tcp: 0, udp: 0, sctp: 0 };
  for (const { proto, count } of bindings) counts[proto] += count;
  return counts;
}

export function takeStock({
  networks,
  endpoints,
  containers,
  conditions,
  bindings,
  dns,
  repairs,
}: Inventory): Stock {
  const families = endpoints.flatMap(({ ipv4, ipv6 }) => [
    ...(ipv4 === undefined ? [] : ['4']),
    ...(ipv6 === undefined ? [] : ['6']),
  ]);
  return {
    networksByDriver: countBy(networks, [], ({ driver }) => driver),
    endpointsByState: countBy(endpoints, ['attached', 'reserved'], ({ state }) => state),
    leasesByFamily: countBy(families, ['4', '6'], (family) => family),
    containersByState: countBy(
      containers,
      ['created', 'running', 'restarting', 'exited'],
      ({ state }) => state,
    ),
    portsByProtocol: countPorts(bindings),
    conditionsBySeverity: countBy(conditions, ['warning', 'error'], ({ severity }) => severity),
    dnsByResult: dns === undefined ? {} : { own: dns.own, forwarded: dns.forwarded, dropped: dns.dropped },
    dnsLatencies: { boundsMs: latencyBoundsMs, series: dns === undefined ? {} : dns.latencies },
    repairsByKind: { firewall: 0, forwarding: 0, bridge: 0, endpoint: 0, resolver: 0, ...repairs.counts },
  };
}
