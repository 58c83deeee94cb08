/*
 * What one published port costs of kernel and firewall: a socket that holds the host's port, and an element of the map
 * that translates it, through the kernel worker into the table as the daemon makes it; before and after ten thousand
 * others are published. Taken by whoever waits, with the changes of threads, and in the worker, without. Prints milliseconds as JSON. Run inside scripts/lane. Not for the rest of a `docker run`: see
 * bench/ports.ts.
 */
import { silentLogger } from '../src/base/logger.ts';
import { openSeam } from '../src/base/seam.ts';
import { planBinding } from '../src/firewall/bindingElements.ts';
import { mainSkeleton } from '../src/firewall/skeleton.ts';
import { planSkeleton } from '../src/firewall/tableSkeleton.ts';
import type { HostPort } from '../src/kernel/kernel.ts';
import { openKernel } from '../src/kernel/openKernel.ts';
import { ipFromBytes } from '../src/net/ip.ts';
import { quantilesOf, timed } from './quantiles.ts';

const rounds = Number(process.argv[2] ?? 300);
/** They warm caches and are not counted. */
const warmRounds = 20;
const many = 10_000;
const firstOfMany = 20_000;
const table = 'bench';
const anyAddress = ipFromBytes(Uint8Array.of(0, 0, 0, 0));
const target = ipFromBytes(Uint8Array.of(172, 18, 0, 2));

/** What the worker's calls took there. */
let workerMs = 0;
await using kernel = await openKernel({
  seam: openSeam(),
  logger: silentLogger,
  onOperation: ({ durationMs }) => {
    workerMs += durationMs;
  },
});
const skeleton = {
  table,
  marksAccepted: false,
  guardedFamilies: [],
  asksHost: false,
  servesLoopback6: false,
};
await kernel.nft(planSkeleton(mainSkeleton(skeleton)).join('\n'));

/** Ports of the host, all to port 80: an element each. */
function holdersOf(first: number, count: number): readonly HostPort[] {
  return Array.from({ length: count }, (_, i) => ({ proto: 'tcp', ip: anyAddress, port: first + i }));
}

async function change(op: 'add' | 'destroy', ports: readonly HostPort[]): Promise<void> {
  const changes = ports.flatMap(({ port }) =>
    planBinding(
      {
        ...{ proto: 'tcp', hostIp: undefined, hostPort: port, count: 1, target, port: 80 },
        ...{ isRouted: false, sources: [], trustedLinks: [] },
      },
      false,
    ).map((element) => ({ op, element })),
  );
  await kernel.changeElements({ family: 'inet', table, changes });
}

async function hold(ports: readonly HostPort[]): Promise<void> {
  const refused = await kernel.holdPorts(ports);
  if (refused !== undefined) throw new Error(`bench: port ${refused.port.port}: ${refused.code}`);
}

async function publish(ports: readonly HostPort[], holding: number[], adding: number[]): Promise<void> {
  await timed(holding, () => hold(ports));
  await timed(adding, () => change('add', ports));
}

async function unpublish(ports: readonly HostPort[]): Promise<void> {
  await change('destroy', ports);
  await kernel.releasePorts(ports);
}

const samples = new Map<string, number[]>();

async function measure(published: number): Promise<void> {
  const series = (what: string): number[] => {
    const values: number[] = [];
    samples.set(`${what}At${published}`, values);
    return values;
  };
  const [holding, adding, whole, removal, inWorker] = [
    series('hold'),
    series('element'),
    series('add'),
    series('remove'),
    series('worker'),
  ];
  const ports = holdersOf(8080, 1);
  for (let round = 0; round < rounds + warmRounds; round += 1) {
    if (round === warmRounds) for (const values of samples.values()) values.length = 0;
    workerMs = 0;
    await timed(whole, () => publish(ports, holding, adding));
    inWorker.push(workerMs);
    await timed(removal, () => unpublish(ports));
  }
}

await measure(0);
const kept = new Map([...samples].map(([key, values]) => [key, [...values]]));
samples.clear();
const all = holdersOf(firstOfMany, many);
// A thousand a transaction, as large as the daemon's become with containers of many ports.
for (let i = 0; i < many; i += 1000) await publish(all.slice(i, i + 1000), [], []);
await measure(many);

const result = {
  rounds,
  ...Object.fromEntries([...kept, ...samples].map(([key, values]) => [key, quantilesOf(values, 3)])),
};
process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
