/*
 * What a host says of its way to another one for encrypted networks, and whether containers get there. Containers are
 * called `on-` and the name of their host, and serve the marker of capture.ts.
 */
import assert from 'node:assert/strict';
import { eventually } from '../compat/command.ts';
import { marker } from './capture.ts';
import type { Host } from './hosts.ts';

export interface TunnelPath {
  readonly Hostname: string;
  readonly State: string;
  readonly Relay: string;
  readonly Endpoint: string;
  readonly Why: string;
  readonly ReceivedBytes: number;
  readonly SentBytes: number;
  readonly MTU: number;
}

export function pathOf(from: Host, to: string): TunnelPath {
  const words = ['curl', '-sf', '--unix-socket', from.socket, 'http://linkspan/linkspan/v1/tunnels'];
  const { Paths } = JSON.parse(from.run(...words)) as { readonly Paths: readonly TunnelPath[] };
  return Paths.find(({ Hostname }) => Hostname === to) ?? assert.fail(`${from.name} does not know ${to}`);
}

/** Within 25 seconds: a way through NATs takes a few. */
export async function becomes(from: Host, to: string, isIt: (path: TunnelPath) => boolean): Promise<void> {
  const isSo = await eventually(() => Promise.resolve(isIt(pathOf(from, to))), 25_000);
  assert.ok(isSo, `${from.name} to ${to}: ${JSON.stringify(pathOf(from, to))}\n${from.tail()}`);
}

/** Each host has a container on network `sec` from now on. */
export async function serveOn(hosts: readonly Host[]): Promise<void> {
  const script = `mkdir /w && echo ${marker} > /w/${marker} && exec httpd -f -p 80 -h /w`;
  await Promise.all(
    hosts.map((host) => {
      const words = ['run', '-d', '--name', `on-${host.name}`, '--network', 'sec'];
      return host.cli([...words, 'busybox', 'sh', '-c', script]);
    }),
  );
}

export async function asks(from: Host, to: string): Promise<boolean> {
  const words = ['exec', `on-${from.name}`, 'wget', '-qO-', '-Y', 'off', `http://on-${to}/${marker}`];
  const { stdout, exitCode } = await from.cli(words, { exitCode: undefined });
  return exitCode === 0 && stdout.includes(marker);
}
