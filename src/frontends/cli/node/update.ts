/*
 * `node update`, `node promote` and `node demote`: changes of what an administrator says of a node.
 */
import { CliError } from '../cliError.ts';
import { type Command, type Invocation, oneArgument, someArguments } from '../command.ts';
import { type Flags, flag } from '../flags.ts';
import type { ApiClient } from '../http/apiClient.ts';
import { type NodeAnswer, nodePath } from '../swarm/swarmApi.ts';

type Spec = NodeAnswer['Spec'];

async function updateNode(client: ApiClient, node: NodeAnswer, spec: Spec): Promise<void> {
  const query = { version: String(node.Version.Index) };
  await client.text('POST', `${nodePath(node.ID)}/update`, { query, json: spec });
}

/** Labels are added before any is removed. Throws CliError for one that is not there. */
function mergeLabels(spec: Spec, flags: Flags): Record<string, string> {
  const labels = new Map([...Object.entries(spec.Labels ?? {}), ...Object.entries(flags.map('label-add'))]);
  for (const name of flags.list('label-rm'))
    if (!labels.delete(name)) throw new CliError(`key ${name} doesn't exist in node's labels`);
  return Object.fromEntries(labels);
}

export const nodeUpdateCommand: Command = {
  paths: ['node update'],
  summary: 'Update a node',
  usage: '[OPTIONS] NODE',
  arity: oneArgument,
  completes: 'node',
  flags: [
    flag('--availability', 'string', 'Availability of the node ("active", "pause", "drain")'),
    flag('--label-add', 'map', 'Add or update a node label ("key=value")'),
    flag('--label-rm', 'list', 'Remove a node label if exists'),
    flag('--role', 'string', 'Role of the node ("worker", "manager")'),
  ],
  examples: [
    ['Before maintenance', 'node update --availability drain host2'],
    ['And after it', 'node update --availability active host2'],
  ],
  run: async ({ flags, args, client, io }) => {
    const ref = args[0] ?? '';
    const node = await client.json<NodeAnswer>('GET', nodePath(ref));
    await updateNode(client, node, {
      ...node.Spec,
      ...(flags.has('role') && { Role: flags.text('role') }),
      ...(flags.has('availability') && { Availability: flags.text('availability') }),
      Labels: mergeLabels(node.Spec, flags),
    });
    io.out(`${ref}\n`);
  },
};

/** Gives each node the role, in order, and stops at the first that is refused. */
async function setRoles(
  { args, client, io }: Invocation,
  role: 'manager' | 'worker',
  done: (ref: string) => string,
): Promise<void> {
  for (const ref of args) {
    const node = await client.json<NodeAnswer>('GET', nodePath(ref));
    if (node.Spec.Role === role) {
      io.out(`Node ${node.ID} is already a ${role}.\n`);
      continue;
    }
    await updateNode(client, node, { ...node.Spec, Role: role });
    io.out(`${done(ref)}\n`);
  }
}

export const nodePromoteCommand: Command = {
  paths: ['node promote'],
  summary: 'Promote one or more nodes to manager in the swarm',
  usage: 'NODE [NODE...]',
  arity: someArguments,
  completes: 'node',
  flags: [],
  examples: [['Three managers outlast the loss of one', 'node promote host2 host3']],
  run: (invocation) =>
    setRoles(invocation, 'manager', (ref) => `Node ${ref} promoted to a manager in the swarm.`),
};

export const nodeDemoteCommand: Command = {
  paths: ['node demote'],
  summary: 'Demote one or more nodes from manager in the swarm',
  usage: 'NODE [NODE...]',
  arity: someArguments,
  completes: 'node',
  flags: [],
  examples: [['Back to a worker', 'node demote host2']],
  run: (invocation) => setRoles(invocation, 'worker', (ref) => `Manager ${ref} demoted in the swarm.`),
};
