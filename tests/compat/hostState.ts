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

/** One shell for several commands: where many states are read, starting programs is what they cost. */
async function outputs(daemon: Daemon, ...commands: readonly string[]): Promise<readonly string[]> {
  const separator = '-- next --';
  const script = commands.join(`; echo '${separator}'; `);
  const { stdout } = await daemon.host(['sh', '-c', script], { exitCode: undefined });
  const parts = stdout.split(separator);
  if (parts.length !== commands.length) throw new Error(`could not read the host's state: ${stdout}`);
  return parts;
}

export async function readHostState(daemon: Daemon): Promise<HostState> {
  const { socketPath, namespace } = daemon.containerd;
  const ctr = `ctr -a ${socketPath} -n ${namespace}`;
  const [links = '', routes = '', firewall = '', containers = '', snapshots = ''] = await outputs(
    daemon,
    'ip -o link',
    'ip route',
    // An empty ruleset must not be taken for a missing program.
    'nft list ruleset || echo failed',
    `${ctr} containers ls -q`,
    `${ctr} snapshots ls`,
  );
  const mounts = lines(readFileSync('/proc/self/mountinfo', 'utf8'));
  return {
    links: lines(links)
      .map((line) => line.split(/[:@]/)[1]?.trim() ?? line)
      .toSorted(),
    routes: lines(routes).map((line) => line.replace(/ linkdown$/, '')),
    firewall: withoutCounters(firewall),
    namespaceMounts: mounts.filter((line) => line.includes(' nsfs ') && line.includes(daemon.execRoot))
      .length,
    overlayMounts: mounts.filter((line) => line.includes(' - overlay ')).length,
    shims: processes().filter(({ command }) => command.includes('containerd-shim')).length,
    containers: lines(containers).toSorted(),
    snapshots: lines(snapshots).toSorted(),
  };
}
