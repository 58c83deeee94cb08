/*
 * The `network` commands.
 */

import { DaemonError, isDaemonStatus } from '../cliError.ts';
import { type Command, noArguments, someArguments, twoArguments } from '../command.ts';
import { withPruneFilters } from '../configFile.ts';
import { confirm } from '../confirm.ts';
import { endpointSettings } from '../containers/networkFlag.ts';
import { forEachName } from '../eachName.ts';
import { encodeFilters } from '../filters.ts';
import { type Pruned, prunedList } from '../pruned.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { networkCreateCommand } from './create.ts';
import { networkListCommand } from './list.ts';

const networkInspectCommand: Command = {
  paths: ['network inspect'],
  summary: 'Display detailed information on one or more networks',
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  arity: someArguments,
  completes: 'network',
  flags: [
    flag('-f, --format', 'string', formatUsage),
    flag('-v, --verbose', 'bool', 'Verbose output for diagnostics'),
  ],
  examples: [
    ['Everything', 'network inspect mynet'],
    ['The subnet', "network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' mynet"],
    [
      'Containers and their addresses',
      "network inspect -f '{{range .Containers}}{{println .Name .IPv4Address}}{{end}}' mynet",
    ],
  ],
  run: async ({ flags, args, client, io }) => {
    const query = { verbose: flags.bool('verbose') ? 'true' : undefined };
    await inspectAll(io, args, flags.text('format'), (name) =>
      client.text('GET', `/networks/${encodeURIComponent(name)}`, { query }),
    );
  },
};

const ingressWarning =
  'Before removing the routing-mesh network, make sure all the nodes in your swarm run the same docker engine version. ' +
  'Otherwise, removal may not be effective and functionality of newly create ingress networks will be impaired.';

/** One that cannot be looked at is not: what the daemon says to its removal tells better why. */
async function isIngress(client: ApiClient, path: string): Promise<boolean> {
  try {
    return (await client.json<{ readonly Ingress?: boolean }>('GET', path)).Ingress === true;
  } catch (error) {
    if (error instanceof DaemonError) return false;
    throw error;
  }
}

const networkRemoveCommand: Command = {
  paths: ['network rm', 'network remove'],
  summary: 'Remove one or more networks',
  usage: 'NETWORK [NETWORK...]',
  arity: someArguments,
  completes: 'network',
  flags: [flag('-f, --force', 'bool', 'Do not error if the network does not exist')],
  examples: [['Two at once', 'network rm mynet lab']],
  run: async ({ flags, args, client, io }) => {
    await forEachName(io, args, async (name) => {
      const path = `/networks/${encodeURIComponent(name)}`;
      if ((await isIngress(client, path)) && !(await confirm(io, ingressWarning))) return undefined;
      try {
        await client.text('DELETE', path);
        return name;
      } catch (error) {
        if (flags.bool('force') && isDaemonStatus(error, 404)) return undefined;
        throw error;
      }
    });
  },
};

export async function pruneNetworks(client: ApiClient, filters: readonly string[]): Promise<Pruned> {
  const query = { filters: encodeFilters(filters) };
  const report = await client.json<{ NetworksDeleted: string[] | null }>('POST', '/networks/prune', {
    query,
  });
  return prunedList('Deleted Networks', report.NetworksDeleted, 0);
}

const networkPruneCommand: Command = {
  paths: ['network prune'],
  summary: 'Remove all unused networks',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-f, --force', 'bool', 'Do not prompt for confirmation'),
    flag('--filter', 'filter', 'Provide filter values (e.g. "until=<timestamp>")'),
  ],
  examples: [['Those older than a day, without asking', 'network prune -f --filter until=24h']],
  run: async ({ flags, client, io, config }) => {
    const warning = 'This will remove all custom networks not used by at least one container.';
    if (!flags.bool('force') && !(await confirm(io, warning))) return;
    io.out((await pruneNetworks(client, withPruneFilters(flags.list('filter'), config))).text);
  },
};

const networkConnectCommand: Command = {
  paths: ['network connect'],
  summary: 'Connect a container to a network',
  usage: '[OPTIONS] NETWORK CONTAINER',
  arity: twoArguments,
  completes: 'networkThenContainer',
  flags: [
    flag('--ip', 'string', 'IPv4 address (e.g., "172.30.100.104")'),
    flag('--ip6', 'string', 'IPv6 address (e.g., "2001:db8::33")'),
    flag('--link', 'list', 'Add link to another container'),
    flag('--alias', 'strings', 'Add network-scoped alias for the container'),
    flag('--link-local-ip', 'strings', 'Add a link-local address for the container'),
    flag('--driver-opt', 'strings', 'driver options for the network'),
    flag(
      '--gw-priority',
      'int',
      'Highest gw-priority provides the default gateway. Accepts positive and negative values.',
    ),
  ],
  examples: [['With a name of its own there', 'network connect --alias db lab web']],
  run: async ({ flags, args, client }) => {
    const [network = '', container = ''] = args;
    const settings = endpointSettings({
      aliases: flags.list('alias'),
      links: flags.list('link'),
      ipv4: flags.text('ip'),
      ipv6: flags.text('ip6'),
      linkLocal: flags.list('link-local-ip'),
      macAddress: '',
      driverOpts: flags.map('driver-opt'),
      gwPriority: flags.number('gw-priority'),
    });
    const json = {
      Container: container,
      EndpointConfig: {
        ...settings,
        IPAMConfig: settings.IPAMConfig ?? {},
        Aliases: flags.list('alias'),
        DriverOpts: flags.map('driver-opt'),
      },
    };
    await client.text('POST', `/networks/${encodeURIComponent(network)}/connect`, { json });
  },
};

const networkDisconnectCommand: Command = {
  paths: ['network disconnect'],
  summary: 'Disconnect a container from a network',
  usage: '[OPTIONS] NETWORK CONTAINER',
  arity: twoArguments,
  completes: 'networkThenContainer',
  flags: [flag('-f, --force', 'bool', 'Force the container to disconnect from a network')],
  examples: [['Take a container off a network', 'network disconnect lab web']],
  run: async ({ flags, args, client }) => {
    const [network = '', container = ''] = args;
    const json = { Container: container, Force: flags.bool('force') };
    await client.text('POST', `/networks/${encodeURIComponent(network)}/disconnect`, { json });
  },
};

export const networkCommands: readonly Command[] = [
  networkConnectCommand,
  networkCreateCommand,
  networkDisconnectCommand,
  networkInspectCommand,
  networkListCommand,
  networkPruneCommand,
  networkRemoveCommand,
];
