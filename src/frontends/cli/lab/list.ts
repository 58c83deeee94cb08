/*
 * `lab ls`.
 */
import { isDaemonAlive, socketUrl } from '../../lab/labDaemon.ts';
import { addressOf, findRouterOf, type LabHost, routersOf, type Topology } from '../../lab/topology.ts';
import { partitions } from '../../lab/underlay.ts';
import { type Command, noArguments } from '../command.ts';
import { flag } from '../flags.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { formatListing, type Listing } from '../text/listing.ts';
import { folderFlag, standingLab } from './labCommand.ts';

interface HostRow {
  readonly name: string;
  readonly address: string;
  readonly isRunning: boolean;
  readonly partitionedFrom: readonly string[];
  readonly socket: string;
}

const listing: Listing<HostRow> = {
  typeName: '*lab.hostContext',
  table: '{{.Name}}\t{{.Address}}\t{{.Daemon}}\t{{.PartitionedFrom}}\t{{.Socket}}',
  headers: { PartitionedFrom: 'PARTITIONED FROM' },
  columns: {
    Name: ({ name }) => name,
    Address: ({ address }) => address,
    Daemon: ({ isRunning }) => (isRunning ? 'running' : 'dead'),
    PartitionedFrom: ({ partitionedFrom }) => partitionedFrom.join(', '),
    Socket: ({ socket }) => socket,
  },
};

/** What a host is cut off from: stations of its own LAN, and the sites that its own site is cut off from. */
function partitionedFrom(
  topology: Topology,
  cut: readonly (readonly [string, string])[],
  host: LabHost,
): readonly string[] {
  const isSite = (name: string): boolean => routersOf(topology).some((router) => router.name === name);
  const site = findRouterOf(topology, host)?.name;
  return cut.flatMap(([a, b]) => {
    const own = isSite(a) && isSite(b) ? site : host.name;
    return a === own ? [b] : b === own ? [a] : [];
  });
}

export const labListCommand: Command = {
  paths: ['lab ls', 'lab list'],
  summary: 'List the hosts',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    folderFlag,
    flag('--format', 'string', tableFormatUsage),
    flag('-q, --quiet', 'bool', 'Only display names'),
  ],
  examples: [],
  run: async (invocation) => {
    const { folder, state } = standingLab(invocation);
    const { flags, io } = invocation;
    if (flags.bool('quiet')) return io.out(state.topology.hosts.map(({ name }) => `${name}\n`).join(''));
    const cut = await partitions(folder, state.topology);
    const rows = state.topology.hosts.map((host): HostRow => {
      const { name } = host;
      return {
        name,
        address: addressOf(host),
        isRunning: isDaemonAlive(folder, name),
        partitionedFrom: partitionedFrom(state.topology, cut, host),
        socket: socketUrl(folder, name),
      };
    });
    io.out(formatListing(listing, rows, flags.text('format')));
  },
};
