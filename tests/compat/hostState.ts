/*
 * What an engine could leave behind on host A, in a form to compare before and after: links, routes, firewall,
 * namespace and overlay mounts, shims, containerd's containers and snapshots, cgroups.
 */
import { readFileSync } from 'node:fs';
import { type Daemon, processes } from './daemonFixture.ts';

export interface HostState {
  readonly links: readonly string[];
  readonly routes: readonly string[];
  readonly firewall: readonly string[];
  readonly namespaceMounts: number;
  readonly overlayMounts: number;
  readonly shims: number;
  readonly containers: readonly string[];
  readonly snapshots: readonly string[];
}

const lines = (text: string): readonly string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** Counters and handles change without anybody's doing. */
function withoutCounters(ruleset: string): readonly string[] {
  return lines(ruleset.replaceAll(/ packets \d+ bytes \d+/g, '').replaceAll(/ expires \S+/g, ''));
}

async function containerdList(daemon: Daemon, ...words: string[]): Promise<readonly string[]> {
  const { socketPath, namespace } = daemon.containerd;
  const { stdout } = await daemon.host(['ctr', '-a', socketPath, '-n', namespace, ...words], {
    exitCode: undefined,
  });
  return lines(stdout).toSorted();
}

export async function readHostState(daemon: Daemon): Promise<HostState> {
  const { host } = daemon;
  const [links, routes, firewall, containers, snapshots] = await Promise.all([
    host(['ip', '-o', 'link']),
    host(['ip', 'route']),
    host(['nft', 'list', 'ruleset']),
    containerdList(daemon, 'containers', 'ls', '-q'),
    containerdList(daemon, 'snapshots', 'ls'),
  ]);
  const mounts = lines(readFileSync('/proc/self/mountinfo', 'utf8'));
  return {
    links: lines(links.stdout)
      .map((line) => line.split(/[:@]/)[1]?.trim() ?? line)
      .toSorted(),
    routes: lines(routes.stdout).map((line) => line.replace(/ linkdown$/, '')),
    firewall: withoutCounters(firewall.stdout),
    namespaceMounts: mounts.filter((line) => line.includes(' nsfs ') && line.includes(daemon.execRoot))
      .length,
    overlayMounts: mounts.filter((line) => line.includes(' - overlay ')).length,
    shims: processes().filter(({ command }) => command.includes('containerd-shim')).length,
    containers,
    snapshots,
  };
}
