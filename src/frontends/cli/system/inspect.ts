/*
 * `inspect`: whatever has the name, containers first, then images, networks, volumes and, on
 * a manager of a swarm, nodes, as Docker searches.
 */
import { CliError, isDaemonStatus } from '../cliError.ts';
import { type Command, type Invocation, someArguments } from '../command.ts';
import { flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { formatUsage, inspectAll } from '../inspection.ts';
import { getInfo } from '../swarm/swarmApi.ts';

type Kind = 'container' | 'image' | 'network' | 'volume' | 'node';

const kinds: readonly Kind[] = ['container', 'image', 'network', 'volume', 'node'];

/** Docker's other kinds: they exist, but nothing of that kind does here. */
const absentKinds: readonly string[] = ['service', 'task', 'plugin', 'secret', 'config'];

const routes: Readonly<Record<Kind, (name: string) => string>> = {
  container: (name) => `/containers/${name}/json`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${name}`,
  volume: (name) => `/volumes/${name}`,
  node: (name) => `/nodes/${name}`,
};

/** Others would answer that they are no manager, which is not what was asked. */
async function isManager(client: ApiClient): Promise<boolean> {
  return (await getInfo(client)).Swarm?.ControlAvailable === true;
}

async function fetchFirst(
  { client, flags }: Invocation,
  name: string,
  tried: readonly Kind[],
): Promise<string> {
  const type = flags.text('type');
  for (const kind of tried) {
    if (kind === 'node' && type === '' && !(await isManager(client))) continue;
    const query = { size: kind === 'container' && flags.bool('size') ? '1' : undefined };
    try {
      return await client.text('GET', routes[kind](encodeURIComponent(name)), { query });
    } catch (error) {
      const isLast = type !== '';
      if (isLast || !isDaemonStatus(error, 404)) throw error;
    }
  }
  throw new CliError(type === '' ? `Error: No such object: ${name}` : `Error: No such ${type}: ${name}`);
}

export const inspectCommand: Command = {
  paths: ['inspect'],
  summary: 'Return low-level information on Linkspan objects',
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  arity: someArguments,
  completes: 'object',
  flags: [
    flag('-f, --format', 'string', formatUsage),
    flag('-s, --size', 'bool', 'Display total file sizes if the type is container'),
    flag('--type', 'string', 'Only inspect objects of the given type'),
  ],
  examples: [
    ['Everything about a container', 'inspect web'],
    ['Its addresses', "inspect -f '{{range .NetworkSettings.Networks}}{{println .IPAddress}}{{end}}' web"],
    ['A network, even if a container has the same name', 'inspect --type network mynet'],
  ],
  run: async (invocation) => {
    const { flags, args, io } = invocation;
    const type = flags.text('type');
    if (flags.has('type') && type === '')
      throw new CliError(
        'type is empty: must be one of "config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"',
      );
    const isKnown = type === '' || kinds.some((kind) => kind === type) || absentKinds.includes(type);
    if (!isKnown)
      throw new CliError(
        `unknown type: "${type}": must be one of "config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"`,
      );
    const tried = type === '' ? kinds : kinds.filter((kind) => kind === type);
    await inspectAll(io, args, flags.text('format'), (name) => fetchFirst(invocation, name, tried));
  },
};
