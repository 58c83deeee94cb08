/*
 * What the daemon counts, in the text format of Prometheus (exposition format 0.0.4) at /metrics. Durations come in
 * as they happen, one histogram observation each; everything that is a number of things is read when somebody asks.
 * Labels have few values: verbs, routes, states. Never a name or an address that a user chose.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { type CountedHistogram, formatHistogram } from './foreignHistogram.ts';

/** Numbers of things by the value of one label. */
export type Counts = Readonly<Record<string, number>>;

/** What there is at the moment of a scrape. */
export interface Stock {
  readonly networksByDriver: Counts;
  readonly endpointsByState: Counts;
  /** Addresses that endpoints hold, those of stopped containers too; by `4` and `6`. */
  readonly leasesByFamily: Counts;
  readonly containersByState: Counts;
  /** Published ports, one for each port of a range and each address that it is published on. */
  readonly portsByProtocol: Counts;
  readonly conditionsBySeverity: Counts;
  /** Since the daemon's start, by kind. */
  readonly repairsByKind: Counts;
  /** Queries that containers asked, by what became of them: `own`, `forwarded`, `dropped`. */
  readonly dnsByResult: Counts;
  /** Of those that were answered, `own` and `forwarded`. */
  readonly dnsLatencies: CountedHistogram;
}

export interface ServedRequest {
  readonly method: string;
  /** The route's pattern, `/networks/:id`; undefined where no route fitted. */
  readonly route: string | undefined;
  readonly status: number;
  readonly durationMs: number;
}

export interface KernelOperation {
  readonly verb: string;
  /** Inside the kernel's workers, without the wait for its turn. */
  readonly durationMs: number;
  readonly isFailure: boolean;
}

export interface Metrics {
  readonly contentType: string;
  observeRequest(request: ServedRequest): void;
  observeKernel(operation: KernelOperation): void;
  /** Where the numbers of things are read from; before the first call they are absent. */
  readFrom(read: () => Promise<Stock>): void;
  /** All of it as text. */
  render(): Promise<string>;
}

/** Seconds. A kernel verb takes from 10 µs (an element) to 50 ms (one that waits for RCU). */
const kernelBuckets = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 1];
/** Seconds. Lists take 1 ms, starts 100 ms; what waits (logs, events, wait) has no bound. */
const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const stockGauges: readonly (readonly [
  name: string,
  label: string,
  help: string,
  pick: (stock: Stock) => Counts,
])[] = [
  ['linkspan_networks', 'driver', 'Networks', (stock) => stock.networksByDriver],
  [
    'linkspan_endpoints',
    'state',
    'Endpoints, reserved ones of stopped containers too',
    (s) => s.endpointsByState,
  ],
  ['linkspan_leases', 'family', 'Addresses held by endpoints', (stock) => stock.leasesByFamily],
  ['linkspan_containers', 'state', 'Containers', (stock) => stock.containersByState],
  ['linkspan_published_ports', 'protocol', 'Published ports', (stock) => stock.portsByProtocol],
  ['linkspan_conditions', 'severity', 'Conditions that stand', (stock) => stock.conditionsBySeverity],
];

class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #requests = new Histogram({
    name: 'linkspan_api_request_seconds',
    help: 'Time from a request to the end of its answer, by route; for attach and exec until their streams begin',
    labelNames: ['method', 'route', 'status'] as const,
    buckets: requestBuckets,
    registers: [this.#registry],
  });
  readonly #kernel = new Histogram({
    name: 'linkspan_kernel_operation_seconds',
    help: 'Time that a kernel operation took, by verb',
    labelNames: ['verb', 'result'] as const,
    buckets: kernelBuckets,
    registers: [this.#registry],
  });
  readonly #repairs = new Counter({
    name: 'linkspan_repairs_total',
    help: 'Repairs of what somebody else changed, since the daemon started',
    labelNames: ['kind'] as const,
    registers: [this.#registry],
  });
  readonly #dns = new Counter({
    name: 'linkspan_dns_queries_total',
    help: 'DNS queries of containers: answered from our own names, forwarded, dropped',
    labelNames: ['result'] as const,
    registers: [this.#registry],
  });
  readonly #memory = new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory of the daemon',
    registers: [this.#registry],
  });
  readonly #gauges: readonly (readonly [Gauge, (stock: Stock) => Counts, string])[] = stockGauges.map(
    ([name, label, help, pick]) =>
      [new Gauge({ name, help, labelNames: [label], registers: [this.#registry] }), pick, label] as const,
  );
  #read: (() => Promise<Stock>) | undefined;

  get contentType(): string {
    return this.#registry.contentType;
  }

  observeRequest({ method, route, status, durationMs }: ServedRequest): void {
    // Paths without a route are the client's choice, and so would be their labels.
    const labels = { method: route === undefined ? 'other' : method, route: route ?? 'none', status };
    this.#requests.observe(labels, durationMs / 1000);
  }

  observeKernel({ verb, durationMs, isFailure }: KernelOperation): void {
    this.#kernel.observe({ verb, result: isFailure ? 'error' : 'ok' }, durationMs / 1000);
  }

  readFrom(read: () => Promise<Stock>): void {
    this.#read = read;
  }

  async render(): Promise<string> {
    const stock = await this.#read?.();
    this.#memory.set(process.memoryUsage.rss());
    if (stock !== undefined) {
      for (const [gauge, pick, label] of this.#gauges) setAll(gauge, label, pick(stock));
      setTotals(this.#repairs, 'kind', stock.repairsByKind);
      setTotals(this.#dns, 'result', stock.dnsByResult);
    }
    const text = await this.#registry.metrics();
    if (stock === undefined) return text;
    const help = 'Time from the arrival of a DNS query to its answer';
    return text + formatHistogram('linkspan_dns_query_seconds', help, 'result', stock.dnsLatencies);
  }
}

/** A value that is no more there is gone from the gauge too. */
function setAll(gauge: Gauge, label: string, counts: Counts): void {
  gauge.reset();
  for (const [value, count] of Object.entries(counts)) gauge.set({ [label]: value }, count);
}

/** Counted elsewhere: a counter that is set, not added to. */
function setTotals<T extends string>(counter: Counter<T>, label: T, counts: Counts): void {
  counter.reset();
  for (const [value, count] of Object.entries(counts))
    counter.inc({ [label]: value } as Record<T, string>, count);
}

export function createMetrics(): Metrics {
  return new PrometheusMetrics();
}
