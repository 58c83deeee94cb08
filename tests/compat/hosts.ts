/*
 * The little world of the compat checks, made inside a lane (scripts/lane): host A, where the engine under test runs,
 * and host C, an outside client, on one segment.
 *
 *     A 192.0.2.11/24 (eth0) ───── veth ───── (eth0) 192.0.2.13/24 C
 *
 * Neither has a default route. The machine's own namespaces are not part of it.
 */
import { execFileSync } from 'node:child_process';

export const hostAddress = '192.0.2.11';
export const clientAddress = '192.0.2.13';

export type HostName = 'A' | 'C';

/** The words that run a command in a host's network namespace (and leave /sys and the cgroups as they are). */
export function inHost(host: HostName): readonly string[] {
  return ['nsenter', `--net=/run/netns/${host}`, '--'];
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Makes both hosts anew; throws outside a lane, where it would change the machine. */
export function makeHosts(): void {
  if (process.env['LINKSPAN_LANE'] !== '1') throw new Error('run this inside scripts/lane');
  for (const host of ['A', 'C']) ip('netns', 'add', host);
  ip('link', 'add', 'toC', 'netns', 'A', 'type', 'veth', 'peer', 'name', 'toA', 'netns', 'C');
  for (const [host, device, address] of [
    ['A', 'toC', hostAddress],
    ['C', 'toA', clientAddress],
  ] as const) {
    ip('-n', host, 'link', 'set', 'lo', 'up');
    ip('-n', host, 'link', 'set', device, 'name', 'eth0');
    ip('-n', host, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', host, 'link', 'set', 'eth0', 'up');
  }
}

export function removeHosts(): void {
  for (const host of ['A', 'C']) ip('netns', 'del', host);
}
