/*
 * The lab's wires: a bridge for each segment in the underlay's namespace, a veth pair for each link of a host, and
 * partitions: an nft table of the bridge family that drops every frame between two hosts, in both directions, so that
 * connections stall as on a broken line. The kernel's table is the only record of partitions.
 */
import { CliError } from '../cli/cliError.ts';
import { getHostProcess, inUnderlay } from './namespaces.ts';
import { runTool } from './tools.ts';
import { type LabHost, portName, type Topology } from './topology.ts';

const table = 'bridge linkspan-lab';

/** `ip -batch` lines for the underlay's namespace. `pidOf`: process 1 of a host, as the machine counts it. */
export function planSegments(topology: Topology, pidOf: (host: string) => number): readonly string[] {
  const bridges = topology.segments.flatMap(({ name }) => [
    `link add ${name} type bridge`,
    `link set ${name} up`,
  ]);
  const ports = topology.hosts.flatMap((host) =>
    host.links.flatMap((link) => {
      const port = portName(host, link);
      return [
        `link add ${port} type veth peer name ${link.device} netns /proc/${pidOf(host.name)}/ns/net`,
        `link set ${port} master ${link.segment} up`,
      ];
    }),
  );
  return [...bridges, ...ports];
}

/** `ip -batch` lines for a host's namespace. */
export function planHostLinks(topology: Topology, host: LabHost): readonly string[] {
  return host.links.flatMap(({ device, segment, address }) => {
    const length = topology.segments.find(({ name }) => name === segment)?.prefixLength ?? 24;
    return [`address add ${address}/${length} dev ${device}`, `link set ${device} up`];
  });
}

async function runBatch(into: readonly string[], lines: readonly string[]): Promise<void> {
  await runTool([...into, 'ip', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Joins the hosts, whose namespaces are there. */
export async function makeLinks(folder: string, topology: Topology): Promise<void> {
  const pidOf = (host: string): number => getHostProcess(folder, host).pid;
  await runBatch(inUnderlay(folder), planSegments(topology, pidOf));
  await Promise.all(
    topology.hosts.map((host) =>
      runBatch(['nsenter', `--net=/proc/${pidOf(host.name)}/ns/net`, '--'], planHostLinks(topology, host)),
    ),
  );
}

/** Every pair of ports at one segment between two hosts, both ways. */
function portPairs(a: LabHost, b: LabHost): string {
  const pairs = a.links.flatMap((one) =>
    b.links
      .filter((other) => other.segment === one.segment)
      .map((other) => [portName(a, one), portName(b, other)] as const),
  );
  return pairs.flatMap(([one, other]) => [`"${one}" . "${other}"`, `"${other}" . "${one}"`]).join(', ');
}

async function runNft(folder: string, lines: readonly string[]): Promise<void> {
  await runTool([...inUnderlay(folder), 'nft', '-f', '-'], `${lines.join('\n')}\n`);
}

/** nft lines that may be applied again and again. The hosts share a segment. */
export function planPartition(a: LabHost, b: LabHost): readonly string[] {
  return [
    `add table ${table}`,
    `add set ${table} cut { type ifname . ifname; }`,
    `add chain ${table} forward { type filter hook forward priority 0; policy accept; }`,
    `flush chain ${table} forward`,
    `add rule ${table} forward iifname . oifname @cut drop`,
    `add element ${table} cut { ${portPairs(a, b)} }`,
  ];
}

/** Two hosts hear nothing of each other from now on; no change if that is so already. */
export async function partition(folder: string, a: LabHost, b: LabHost): Promise<void> {
  await runNft(folder, planPartition(a, b));
}

/** Takes one partition back. Throws if there is none between these two. */
export async function heal(folder: string, a: LabHost, b: LabHost): Promise<void> {
  const cut = await partitions(folder, { segments: [], hosts: [a, b] });
  if (cut.length === 0) throw new CliError(`lab: ${a.name} and ${b.name} are not partitioned`);
  await runNft(folder, [`delete element ${table} cut { ${portPairs(a, b)} }`]);
}

/** Takes all partitions back; none is success. */
export async function healAll(folder: string): Promise<void> {
  await runNft(folder, [`add table ${table}`, `delete table ${table}`]);
}

interface SetListing {
  readonly nftables: readonly {
    readonly set?: { readonly elem?: readonly { readonly concat: readonly string[] }[] };
  }[];
}

/** Pairs of names, each once, in the order of the hosts. */
export async function partitions(
  folder: string,
  { hosts }: Topology,
): Promise<readonly (readonly [string, string])[]> {
  // No table, or no nft that could have made it: no partition.
  const { stdout } = await runTool([
    ...inUnderlay(folder),
    'nft',
    '-j',
    'list',
    'set',
    ...table.split(' '),
    'cut',
  ]).catch(() => ({ stdout: '{"nftables":[]}' }));
  const cut = new Set(
    (JSON.parse(stdout) as SetListing).nftables
      .flatMap(({ set }) => set?.elem ?? [])
      .map(({ concat }) => concat.join(' ')),
  );
  const areCut = (a: LabHost, b: LabHost): boolean =>
    a.links.some((one) => b.links.some((other) => cut.has(`${portName(a, one)} ${portName(b, other)}`)));
  return hosts.flatMap((a, i) =>
    hosts.slice(i + 1).flatMap((b) => (areCut(a, b) ? [[a.name, b.name] as const] : [])),
  );
}
