/*
 * The lab's wires: a bridge for each segment in the underlay's namespace, a veth pair for each link of a host or router,
 * the routers' ways and NAT, and partitions: an nft table of the bridge family that drops every frame between two of
 * them, in both directions, so that connections stall as on a broken line. The kernel's table is the only record of
 * partitions.
 */
import { CliError } from '../cli/cliError.ts';
import { getHostProcess, getRouterProcess, inUnderlay } from './namespaces.ts';
import { runTool } from './tools.ts';
import {
  type LabHost,
  type LabRouter,
  type NatKind,
  portName,
  routersOf,
  type Station,
  type Topology,
} from './topology.ts';

const table = 'bridge linkspan-lab';

/** `ip -batch` lines for the underlay's namespace. `pidOf`: process of a host or router, as the machine counts it. */
export function planSegments(topology: Topology, pidOf: (station: string) => number): readonly string[] {
  const bridges = topology.segments.flatMap(({ name }) => [
    `link add ${name} type bridge`,
    `link set ${name} up`,
  ]);
  const ports = [...topology.hosts, ...routersOf(topology)].flatMap((station) =>
    station.links.flatMap((link) => {
      const port = portName(station, link);
      return [
        `link add ${port} type veth peer name ${link.device} netns /proc/${pidOf(station.name)}/ns/net`,
        `link set ${port} master ${link.segment} up`,
      ];
    }),
  );
  return [...bridges, ...ports];
}

function planLinks(topology: Topology, { links }: Station): readonly string[] {
  return links.flatMap(({ device, segment, address }) => {
    const length = topology.segments.find(({ name }) => name === segment)?.prefixLength ?? 24;
    return [`address add ${address}/${length} dev ${device}`, `link set ${device} up`];
  });
}

/** `ip -batch` lines for a host's namespace. */
export function planHostLinks(topology: Topology, host: LabHost): readonly string[] {
  const way = host.gateway === undefined ? [] : [`route add default via ${host.gateway}`];
  return [...planLinks(topology, host), ...way];
}

/** `ip -batch` lines for a router's namespace. */
export function planRouterLinks(topology: Topology, router: LabRouter): readonly string[] {
  const ways = router.routes.map(({ to, via }) => `route add ${to} via ${via}`);
  return [...planLinks(topology, router), ...ways];
}

/**
 * nft lines for the namespace of a router with NAT. What nobody inside began ends here without an answer and, being
 * dropped, leaves no connection behind that would take the port of one that begins inside a moment later.
 */
export function planNat(kind: NatKind): readonly string[] {
  const how = kind === 'symmetric' ? 'masquerade fully-random' : 'masquerade';
  return [
    'add table ip nat-site',
    'add chain ip nat-site leaving { type nat hook postrouting priority srcnat; policy accept; }',
    `add rule ip nat-site leaving oifname "wan" ${how}`,
    ...['forward', 'input'].flatMap((hook) => [
      `add chain ip nat-site ${hook} { type filter hook ${hook} priority filter; policy accept; }`,
      `add rule ip nat-site ${hook} ct state established,related accept`,
      `add rule ip nat-site ${hook} iifname "wan" drop`,
    ]),
  ];
}

async function runBatch(into: readonly string[], lines: readonly string[]): Promise<void> {
  await runTool([...into, 'ip', '-batch', '-'], `${lines.join('\n')}\n`);
}

/** Joins the hosts and routers, whose namespaces are there. */
export async function makeLinks(folder: string, topology: Topology): Promise<void> {
  const routers = routersOf(topology);
  const isRouter = (name: string): boolean => routers.some((router) => router.name === name);
  const pidOf = (name: string): number =>
    (isRouter(name) ? getRouterProcess(folder, name) : getHostProcess(folder, name)).pid;
  const inside = (name: string): readonly string[] => ['nsenter', `--net=/proc/${pidOf(name)}/ns/net`, '--'];
  await runBatch(inUnderlay(folder), planSegments(topology, pidOf));
  await Promise.all([
    ...topology.hosts.map((host) => runBatch(inside(host.name), planHostLinks(topology, host))),
    ...routers.map(async (router) => {
      await runBatch(inside(router.name), planRouterLinks(topology, router));
      if (router.nat !== undefined) await runNft(inside(router.name), planNat(router.nat));
    }),
  ]);
}

/** Every pair of ports at one segment between two stations, both ways. */
function portPairs(a: Station, b: Station): string {
  const pairs = a.links.flatMap((one) =>
    b.links
      .filter((other) => other.segment === one.segment)
      .map((other) => [portName(a, one), portName(b, other)] as const),
  );
  return pairs.flatMap(([one, other]) => [`"${one}" . "${other}"`, `"${other}" . "${one}"`]).join(', ');
}

async function runNft(into: readonly string[], lines: readonly string[]): Promise<void> {
  await runTool([...into, 'nft', '-f', '-'], `${lines.join('\n')}\n`);
}

/** nft lines that may be applied again and again. The stations share a segment. */
export function planPartition(a: Station, b: Station): readonly string[] {
  return [
    `add table ${table}`,
    `add set ${table} cut { type ifname . ifname; }`,
    `add chain ${table} forward { type filter hook forward priority 0; policy accept; }`,
    `flush chain ${table} forward`,
    `add rule ${table} forward iifname . oifname @cut drop`,
    `add element ${table} cut { ${portPairs(a, b)} }`,
  ];
}

/** Two stations hear nothing of each other from now on; no change if that is so already. Throws if no segment has both. */
export async function partition(folder: string, a: Station, b: Station): Promise<void> {
  if (portPairs(a, b) === '')
    throw new CliError(
      `lab: ${a.name} and ${b.name} are on no common segment; their sites can be partitioned`,
    );
  await runNft(inUnderlay(folder), planPartition(a, b));
}

/** Takes one partition back. Throws if there is none between these two. */
export async function heal(folder: string, a: Station, b: Station): Promise<void> {
  const cut = await partitions(folder, { segments: [], hosts: [a, b] });
  if (cut.length === 0) throw new CliError(`lab: ${a.name} and ${b.name} are not partitioned`);
  await runNft(inUnderlay(folder), [`delete element ${table} cut { ${portPairs(a, b)} }`]);
}

/** Takes all partitions back; none is success. */
export async function healAll(folder: string): Promise<void> {
  await runNft(inUnderlay(folder), [`add table ${table}`, `delete table ${table}`]);
}

interface SetListing {
  readonly nftables: readonly {
    readonly set?: { readonly elem?: readonly { readonly concat: readonly string[] }[] };
  }[];
}

/** Pairs of names of hosts and routers, each once. */
export async function partitions(
  folder: string,
  topology: Topology,
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
  const areCut = (a: Station, b: Station): boolean =>
    a.links.some((one) => b.links.some((other) => cut.has(`${portName(a, one)} ${portName(b, other)}`)));
  const stations: readonly Station[] = [...topology.hosts, ...routersOf(topology)];
  return stations.flatMap((a, i) =>
    stations.slice(i + 1).flatMap((b) => (areCut(a, b) ? [[a.name, b.name] as const] : [])),
  );
}
