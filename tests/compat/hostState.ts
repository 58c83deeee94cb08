/*
 * What an engine could leave behind on host A, in a form to compare before and after: links, routes, firewall,
 * namespace and overlay mounts, shims, containerd's containers and snapshots, cgroups.
 */
import { readFileSync } from 'node:fs';
import type { ContainerdClient } from '../../src/runtime/containerd/client.ts';
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

type Held = Pick<HostState, 'containers' | 'snapshots'>;

/** What containerd's own client says. A Go program, which takes longer to start than all else here takes. */
async function askCtr(daemon: Daemon): Promise<Held> {
  const { socketPath, namespace } = daemon.containerd;
  const ctr = `ctr -a ${socketPath} -n ${namespace}`;
  const [containers = '', snapshots = ''] = await outputs(
    daemon,
    `${ctr} containers ls -q`,
    `${ctr} snapshots ls`,
  );
  return { containers: lines(containers).toSorted(), snapshots: lines(snapshots).toSorted() };
}

/** The same with an open client, in whose namespace it looks. */
async function askClient(client: ContainerdClient): Promise<Held> {
  const { containers } = await client.call('Containers.List', { filters: [] });
  const snapshots: string[] = [];
  for await (const { info } of client.stream('Snapshots.List', { snapshotter: 'overlayfs', filters: [] }))
    snapshots.push(...info.map(({ name, parent, kind }) => `${name} ${parent} ${kind}`));
  return { containers: containers.map(({ id }) => id).toSorted(), snapshots: snapshots.toSorted() };
}

/** `client` is for who reads many states of our own engine; states to compare are read with it, or all without. */
export async function readHostState(daemon: Daemon, client?: ContainerdClient): Promise<HostState> {
  const [links = '', routes = '', firewall = ''] = await outputs(
    daemon,
    'ip -o link',
    'ip route',
    // An empty ruleset must not be taken for a missing program.
    'nft list ruleset || echo failed',
  );
  const held = client === undefined ? await askCtr(daemon) : await askClient(client);
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
    ...held,
  };
}
