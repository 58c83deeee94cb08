/*
 * Measures several ways between two network namespaces side by side, in turns that change their order.
 */
import { medianOf, type PathLoad, throughput } from './pathLoad.ts';
import type { PathRow } from './trafficTables.ts';

const pathRounds = 7;
const seconds = 0.3;

/** `client` and `server` are paths of namespaces, `address` is the server's. */
export type Way = readonly [name: string, client: string, server: string, address: string];

export async function measureWays(load: PathLoad, ways: readonly Way[]): Promise<readonly PathRow[]> {
  const samples = new Map<string, number[]>();
  const note = (key: string, value: number): void =>
    void samples.set(key, [...(samples.get(key) ?? []), value]);
  using servers = new DisposableStack();
  for (const [, , at] of ways) servers.use(await load.serve(at, 7000));
  for (let round = 0; round <= pathRounds; round++) {
    if (round === 1) samples.clear();
    const turns = round % 2 === 0 ? ways : ways.toReversed();
    for (const kind of ['tcp', 'udp', 'connect'] as const)
      for (const [name, from, , address] of turns)
        note(
          `${name} ${kind}`,
          load.measure(kind, from, address, 7000, seconds)[kind === 'connect' ? 'p25' : 'p50'],
        );
    for (const [name, from, to, address] of turns) note(`${name} iperf`, await throughput(from, to, address));
  }
  const of = (name: string, kind: string, digits = 2): number =>
    Number(medianOf(samples.get(`${name} ${kind}`) ?? []).toFixed(digits));
  return ways.map(([name]) => ({
    ...{
      name,
      rounds: pathRounds,
      tcpUs: of(name, 'tcp'),
      udpUs: of(name, 'udp'),
      connectUs: of(name, 'connect'),
    },
    gbitPerSecond: of(name, 'iperf', 4),
  }));
}
