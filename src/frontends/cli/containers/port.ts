/*
 * `port`, and what Docker lacks: `port add` and `port rm`, which change the published ports of a container while it
 * runs (POST /linkspan/v1/containers/{id}/ports).
 */
import { CliError } from '../cliError.ts';
import type { Command, Invocation } from '../command.ts';
import { type Binding, planPorts, splitSources } from './portFlags.ts';
import { joinHostPort } from './ports.ts';

type PortMap = Readonly<
  Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
>;

/** `80/tcp -> 0.0.0.0:8080`, a line each, in order. */
function formatPortMap(ports: PortMap): string {
  const lines = Object.entries(ports).flatMap(([inner, bindings]) =>
    (bindings ?? []).map(({ HostIp, HostPort }) => `${inner} -> ${joinHostPort(HostIp, HostPort)}\n`),
  );
  return lines.sort().join('');
}

async function showPorts({ client, io }: Invocation, name: string): Promise<void> {
  const path = `/containers/${encodeURIComponent(name)}/json`;
  const info = await client.json<{ NetworkSettings: { Ports: PortMap | null } }>('GET', path);
  io.out(formatPortMap(info.NetworkSettings.Ports ?? {}));
}

type Bindings = Record<string, Binding[]>;

async function changePorts(
  { client }: Invocation,
  name: string,
  change: { readonly Add?: Bindings; readonly From?: readonly string[]; readonly Remove?: Bindings },
): Promise<void> {
  await client.json('POST', `/linkspan/v1/containers/${encodeURIComponent(name)}/ports`, { json: change });
}

const addCommand: Command = {
  paths: ['port add'],
  summary: 'Publish more ports of a container, at once if it runs',
  usage: 'CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO][,from=CIDR]...',
  arity: { type: 'atLeast', count: 2 },
  completes: 'container',
  flags: [],
  examples: [
    ['Another port', 'port add web 8443:443'],
    ['For some clients only', 'port add web 8080:80,from=192.0.2.0/24'],
  ],
  run: async (invocation) => {
    const [name = '', ...values] = invocation.args;
    // One request for each set of sources: all of what has the same is published, or none of it.
    const groups = Map.groupBy(values.map(splitSources), ({ sources }) => sources.join(','));
    for (const group of groups.values())
      await changePorts(invocation, name, {
        Add: planPorts(
          group.map(({ publish }) => publish),
          [],
        ).bindings,
        From: group[0]?.sources ?? [],
      });
    await showPorts(invocation, name);
  },
};

const removeCommand: Command = {
  paths: ['port rm'],
  summary: 'Take back published ports of a container, at once if it runs',
  usage: 'CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO]...',
  arity: { type: 'atLeast', count: 2 },
  completes: 'container',
  flags: [],
  examples: [
    ['Wherever it is published', 'port rm web 80'],
    ['Only there', 'port rm web 8080:80'],
  ],
  run: async (invocation) => {
    const [name = '', ...values] = invocation.args;
    await changePorts(invocation, name, { Remove: planPorts(values, []).bindings });
    await showPorts(invocation, name);
  },
};

const portCommand: Command = {
  paths: ['port', 'container port'],
  summary: 'List port mappings or a specific mapping for the container',
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  arity: { type: 'between', low: 1, high: 2 },
  completes: 'container',
  flags: [],
  examples: [
    ['Where port 80 can be reached', 'port web 80'],
    ['Publish one more while it runs', 'port add web 8090:80'],
    ['And take it back', 'port rm web 8090:80'],
  ],
  run: async ({ client, args, io }) => {
    const [name = '', wanted] = args;
    const path = `/containers/${encodeURIComponent(name)}/json`;
    const info = await client.json<{ NetworkSettings: { Ports: PortMap | null } }>('GET', path);
    const ports = info.NetworkSettings.Ports ?? {};
    if (wanted === undefined) {
      return io.out(formatPortMap(ports));
    }
    const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
    const bindings = ports[key];
    if (bindings === undefined || bindings === null)
      throw new CliError(`Error: No public port '${wanted}' published for ${name}`);
    io.out(bindings.map(({ HostIp, HostPort }) => `${joinHostPort(HostIp, HostPort)}\n`).join(''));
  },
};

export const portCommands: readonly Command[] = [portCommand, addCommand, removeCommand];
