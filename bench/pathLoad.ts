/*
 * Builds and runs bench/pathLoad.c: traffic between two network namespaces, each named by a path (`/run/netns/x`,
 * `/proc/PID/ns/net`).
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { eventually } from '../tests/compat/command.ts';

export interface LoadSample {
  readonly perSecond: number;
  /**
   * Microseconds. The quarter is for connects, whose median is nobody's: half of them meet a server that is still about
   * the connection before, and take twice as long, whatever is in the way.
   */
  readonly p25: number;
  readonly p50: number;
  readonly p99: number;
}

/** `rate` keeps several connections in flight, the others one thing. */
export type LoadKind = 'tcp' | 'udp' | 'connect' | 'rate';

const inFlight = 16;
const throughputSeconds = 1;

export interface PathLoad {
  /** An echo server on every address of `namespace`, until disposed. */
  serve(namespace: string, port: number): Promise<Disposable>;
  /** What a client in `namespace` measures. Throws if a connection fails. */
  measure(kind: LoadKind, namespace: string, address: string, port: number, seconds: number): LoadSample;
}

/** Words that run a command in a network namespace. */
export function within(namespace: string, ...command: readonly string[]): readonly string[] {
  return [`--net=${namespace}`, '--', ...command];
}

/** Compiles into `folder`; throws without a C compiler. */
export function buildPathLoad(folder: string): PathLoad {
  const program = join(folder, 'pathLoad');
  execFileSync('cc', ['-O2', '-o', program, join(import.meta.dirname, 'pathLoad.c')]);
  return {
    serve: async (namespace, port) => {
      const server = spawn('nsenter', within(namespace, program, 'serve', String(port)), {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(server.stdout, 'data');
      return { [Symbol.dispose]: () => void server.kill('SIGKILL') };
    },
    measure: (kind, namespace, address, port, seconds) => {
      const args = [kind, address, String(port), String(seconds), String(inFlight)];
      const output = execFileSync('nsenter', within(namespace, program, ...args), { encoding: 'utf8' });
      return JSON.parse(output) as LoadSample;
    },
  };
}

/** Gbit/s of one iperf3 stream between two namespaces, the ends on different processors where there are two. */
export async function throughput(client: string, server: string, address: string): Promise<number> {
  const serving = spawn('nsenter', within(server, 'iperf3', '-s', '-1', '-p', '7001'), { stdio: 'ignore' });
  const args = ['-c', address, '-p', '7001', '-t', String(throughputSeconds), '-A', '0,1', '-J'];
  let bitsPerSecond: number | undefined;
  // Until the server is there, which may be told by the exit code or, with -J, only in the result.
  await eventually(() => {
    const { stdout } = spawnSync('nsenter', within(client, 'iperf3', ...args), { encoding: 'utf8' });
    const found = /"sum_received":\s*\{[^}]*"bits_per_second":\s*([\d.e+]+)/.exec(stdout)?.[1];
    bitsPerSecond = found === undefined ? undefined : Number(found);
    return bitsPerSecond !== undefined;
  });
  serving.kill('SIGKILL');
  if (bitsPerSecond === undefined) throw new Error(`bench: no iperf3 from ${client} to ${address}`);
  return bitsPerSecond / 1e9;
}

/** Zero of an empty list. */
export function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
