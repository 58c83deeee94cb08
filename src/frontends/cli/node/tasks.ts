/*
 * `node ps`. Tasks belong to services, so that a list of them is empty as long as there are none.
 */
import type { Command } from '../command.ts';
import { forEachName } from '../eachName.ts';
import { listFormat } from '../configFile.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { tableFormatUsage } from '../networks/list.ts';
import { type NodeAnswer, nodePath, resolveSelf } from '../swarm/swarmApi.ts';
import { formatListing, type Listing } from '../text/listing.ts';

interface TaskRow {
  readonly ID: string;
  readonly Name: string;
  readonly Image: string;
  readonly Node: string;
  readonly DesiredState: string;
  readonly CurrentState: string;
  readonly Error: string;
  readonly Ports: string;
}

const listing: Listing<TaskRow> = {
  typeName: '*task.taskContext',
  table:
    '{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}',
  headers: { DesiredState: 'DESIRED STATE', CurrentState: 'CURRENT STATE' },
  columns: {
    ID: ({ ID }) => ID,
    Name: ({ Name }) => Name,
    Image: ({ Image }) => Image,
    Node: ({ Node }) => Node,
    DesiredState: ({ DesiredState }) => DesiredState,
    CurrentState: ({ CurrentState }) => CurrentState,
    Error: (row) => row.Error,
    Ports: ({ Ports }) => Ports,
  },
};

export const nodeTasksCommand: Command = {
  paths: ['node ps'],
  summary: 'List tasks running on one or more nodes, defaults to current node',
  usage: '[OPTIONS] [NODE...]',
  arity: { type: 'atLeast', count: 0 },
  completes: 'node',
  flags: [
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', tableFormatUsage),
    flag('--no-resolve', 'bool', 'Do not map IDs to Names'),
    flag('--no-trunc', 'bool', 'Do not truncate output'),
    flag('-q, --quiet', 'bool', 'Only display task IDs'),
  ],
  examples: [['What runs on this node', 'node ps']],
  run: async ({ flags, args, client, io, config }) => {
    const refs = args.length === 0 ? ['self'] : args;
    // Docker's client asks for those before too.
    const nodes: string[] = [];
    await forEachName(io, refs, async (ref) => {
      const { ID } = await client.json<NodeAnswer>('GET', nodePath(await resolveSelf(client, ref)));
      nodes.push(`node=${ID}`);
      const filters = encodeFilters([...flags.list('filter'), ...nodes]);
      await client.json<readonly unknown[]>('GET', '/tasks', { query: { filters } });
      return undefined;
    });
    if (!flags.bool('quiet'))
      io.out(formatListing(listing, [], listFormat({ flags, config }, 'tasksFormat')));
  },
};
